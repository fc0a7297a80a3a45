"""Jobs, the Pods that end, and what these have written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from basetracker.emulators.cluster import Cluster

from .api import Api

Json = dict[str, Any]
EXIT_CODE, LOG = "emulator.basetracker.dev/exit-code", "emulator.basetracker.dev/log"


def job(name: str = "once", *, annotations: Json | None = None, **spec: Any) -> Json:
    pod = {"restartPolicy": "Never", "containers": [{"name": "scan", "image": "scan:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"metadata": {"annotations": annotations or {}}, "spec": pod}} | spec,
    }


async def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # what is waited for is the state of a server
            await asyncio.sleep(0.01)


def condition(cluster: Cluster, name: str = "once") -> tuple[str, str]:
    status = (cluster.get("Job", "default", name) or {}).get("status", {})
    found = status.get("conditions") or [{"type": "", "reason": ""}]
    return found[0]["type"], found[0]["reason"]


async def test_a_job_runs_one_pod_to_its_end(cluster: Cluster) -> None:
    await cluster.apply(job())
    await until(lambda: condition(cluster) == ("Complete", "CompletionsReached"))
    found = cluster.get("Job", "default", "once")
    assert found is not None
    assert found["status"]["succeeded"] == 1
    (pod,) = cluster.list("Pod", "default")
    assert pod["status"]["phase"] == "Succeeded"
    assert pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == found["metadata"]["uid"]
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "once"


async def test_a_job_gives_up_after_so_many_failures(cluster: Cluster) -> None:
    await cluster.apply(job(annotations={EXIT_CODE: "3"}, backoffLimit=1))
    await until(lambda: condition(cluster) == ("Failed", "BackoffLimitExceeded"))
    pods = cluster.list("Pod", "default")
    assert [pod["status"]["phase"] for pod in pods] == ["Failed", "Failed"]
    assert pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


async def test_a_job_is_ended_at_its_deadline(cluster: Cluster) -> None:
    await cluster.apply(job(annotations={EXIT_CODE: "never"}, activeDeadlineSeconds=1))
    await until(lambda: condition(cluster) == ("Failed", "DeadlineExceeded"))
    await until(lambda: cluster.list("Pod", "default") == [])


async def test_a_job_goes_after_its_time_and_its_pods_with_it(cluster: Cluster) -> None:
    await cluster.apply(job(ttlSecondsAfterFinished=0))
    await until(lambda: cluster.get("Job", "default", "once") is None)
    await until(lambda: cluster.list("Pod", "default") == [])


async def test_a_pod_tells_what_it_wrote(cluster: Cluster) -> None:
    await cluster.apply(job(annotations={LOG: "one\ntwo\nthree\n", EXIT_CODE: "1"}, backoffLimit=0))
    await until(lambda: condition(cluster)[0] == "Failed")
    (pod,) = cluster.list("Pod", "default")
    path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}/log"
    async with Api(cluster.kubeconfig()) as api:
        for query, status, text in (
            ({}, 200, "one\ntwo\nthree\n"),
            ({"tailLines": 2}, 200, "two\nthree\n"),
            ({"tailLines": 2, "limitBytes": 5}, 200, "two\nt"),
            ({"container": "other"}, 400, "not valid for pod"),
        ):
            answer = await api.get(path, **query)
            assert answer.status == status
            assert text in str(answer.body["message"] if status == 400 else answer.body)
