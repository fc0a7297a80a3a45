"""Reports about Pods: evidence as long as a Pod is what its ReplicaSet's template says, and nothing has changed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from basetracker.adapters.gates.reports.gate import ReportsJudge
from basetracker.adapters.gates.reports.subjects import PODS
from basetracker.adapters.kube import Json
from basetracker.api.names import GateVerdict
from basetracker.emulators.cluster import Fault
from basetracker.errors import UnavailableError

from .reporting import DIGEST, OTHER, REPOSITORY, Reports, policy

SOURCES = [("PolicyReport", "policy-report"), ("Report", "openreports")]


async def _with_pod(reports: Reports, change: Callable[[Json], None]) -> None:
    """Let the API server tell of the Pod as changed: what admission or a patch would have made of it."""
    pod = await reports.pod()
    change(pod)
    page = json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]})
    reports.world.emulated.faults.append(Fault(match="GET .*/pods", times=None, status=200, body=page))


@pytest.mark.parametrize(("kind", "source"), SOURCES)
async def test_a_clean_report_about_a_pod_is_evidence(reports: Reports, kind: str, source: str) -> None:
    """As Kyverno writes them by default: about Deployments and Pods, and not about ReplicaSets."""
    await reports.write_policies(policy(), kind=kind, about="Pod")
    await reports.write_policies(policy(), kind=kind, about="Deployment")
    answer = await reports.judge(source)
    assert (answer.verdict, answer.reason) == (GateVerdict.PASS, "ReportsClean")


@pytest.mark.parametrize(("kind", "source"), SOURCES)
async def test_a_pod_that_fails_objects(reports: Reports, kind: str, source: str) -> None:
    await reports.write_policies(policy("fail", policy="no-latest"), kind=kind, about="Pod")
    answer = await reports.judge(source)
    assert (answer.verdict, answer.message) == (GateVerdict.FAIL, f"{source}: 1 result fails: HIGH no-latest (check)")


async def test_pods_are_asked_about_only_where_nothing_is_said_of_the_replica_set(
    reports: Reports, emulated: Any
) -> None:
    await reports.write_policies(policy())
    emulated.requests.clear()
    assert (await reports.judge("policy-report")).verdict is GateVerdict.PASS
    assert [one.path for one in emulated.requests if one.path.endswith("/pods")] == []


async def test_only_some_pods_of_many_are_asked_about(
    world: Any, kinds: None, emulated: Any, make_deployment: Callable[..., Json]
) -> None:
    document = make_deployment(app=f"{REPOSITORY}:main@{DIGEST}")
    document["spec"]["replicas"] = PODS + 5
    await world.create("deployments", document)
    reports = Reports(world, ReportsJudge(world.kube))
    await reports.pod()
    emulated.requests.clear()
    assert (await reports.judge("policy-report")).verdict is GateVerdict.PENDING
    pods = [one for one in emulated.requests if one.path.endswith("/pods")]
    assert [one.query["limit"] for one in pods] == [str(PODS)]
    assert len(emulated.requests) <= PODS + 12


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda pod: None, GateVerdict.PASS),
        (lambda pod: pod["metadata"].pop("generation"), GateVerdict.PASS),
        (lambda pod: pod["metadata"].update(generation=2), GateVerdict.PENDING),
        (lambda pod: pod["metadata"].update(ownerReferences=[]), GateVerdict.PENDING),
        (lambda pod: pod["metadata"]["ownerReferences"][0].update(uid="theirs"), GateVerdict.PENDING),
        (lambda pod: pod["metadata"].update(uid="theirs"), GateVerdict.PENDING),
        (lambda pod: pod["spec"]["containers"][0].update(image=f"{REPOSITORY}:main@{OTHER}"), GateVerdict.PENDING),
        (lambda pod: pod["spec"]["containers"][0].update(image=f"{REPOSITORY}:main"), GateVerdict.PENDING),
        (lambda pod: pod["spec"]["containers"].append({"name": "proxy", "image": "mesh:1"}), GateVerdict.PENDING),
        (lambda pod: pod["spec"].update(initContainers=[{"name": "i", "image": "mesh:1"}]), GateVerdict.PENDING),
        (lambda pod: pod["spec"].update(containers="none"), GateVerdict.PENDING),
        (lambda pod: pod.update(spec=None), GateVerdict.PENDING),
    ],
)
async def test_a_pod_that_is_not_as_its_template_is_no_evidence(
    reports: Reports, emulated: Any, change: Callable[[Json], None], verdict: GateVerdict
) -> None:
    await reports.write_policies(policy(), about="Pod")
    await _with_pod(reports, change)
    assert (await reports.judge("policy-report")).verdict is verdict


async def test_a_pod_of_a_tag_is_no_evidence(world: Any, kinds: None, make_deployment: Callable[..., Json]) -> None:
    """It runs another digest as soon as it is started again."""
    await world.create("deployments", make_deployment(app=f"{REPOSITORY}:main"))
    reports = Reports(world, ReportsJudge(world.kube))
    await reports.write_policies(policy(), about="Pod")
    assert (await reports.judge("policy-report")).verdict is GateVerdict.PENDING


@pytest.mark.parametrize("body", ["garbage", "[]", "{}", '{"items": "none"}'])
async def test_a_list_of_pods_that_cannot_be_read_is_no_verdict(reports: Reports, body: str, emulated: Any) -> None:
    await reports.write_policies(policy(), about="Pod")
    emulated.faults[:] = [Fault(match="GET .*/pods", times=None, status=200, body=body)]
    with pytest.raises(UnavailableError):
        await reports.judge("policy-report", onMissing="Pass")
