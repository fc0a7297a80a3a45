"""The real parts themselves: what the scenarios rely on holds before they start.

Everything is said with kubectl, as a person would, and read back from the API server.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from basetracker.emulators import samples
from basetracker.emulators.images import index

from .harness.api import Api
from .harness.audit import AuditLog
from .harness.cluster import RealCluster
from .harness.installation import await_served
from .harness.kubectl import Kubectl, KubectlError
from .harness.missing import missing
from .harness.pods import CRASH_ANNOTATION
from .harness.registry import DockerRegistry, write_layout

pytestmark = pytest.mark.e2e

Object = dict[str, Any]
PATIENCE_SECONDS = 60.0


def deployment(cluster: RealCluster, image: str, *, replicas: int = 2, crash: bool = False) -> Object:
    labels = {"app": "web"}
    annotations = {CRASH_ANNOTATION: "true"} if crash else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {**cluster.placement, "containers": [{"name": "app", "image": image}]},
            },
        },
    }


def container_statuses(cluster: RealCluster, namespace: str) -> list[Object]:
    listed = cluster.admin.get("pods", "-n", namespace, "-l", "app=web")["items"]
    return [status for pod in listed for status in pod.get("status", {}).get("containerStatuses", [])]


def wait_for_waiting_reason(cluster: RealCluster, namespace: str, reason: str) -> list[Object]:
    """The container statuses once one of them waits for this reason; fails when none does in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        statuses = container_statuses(cluster, namespace)
        if any(status["state"].get("waiting", {}).get("reason") == reason for status in statuses):
            return statuses
        time.sleep(0.2)
    raise AssertionError(f"no container waits with {reason}: {container_statuses(cluster, namespace)}")


@pytest.fixture
def served(real_cluster: RealCluster, docker_registry: DockerRegistry) -> DockerRegistry:
    """The registry, known to the nodes."""
    real_cluster.images.add(docker_registry.host, docker_registry.source().resolve)
    return docker_registry


def test_server_and_nodes_are_ready(real_cluster: RealCluster) -> None:
    version = real_cluster.admin.run("version")
    assert "Server Version: v1." in version
    real_cluster.admin.run(
        "wait", "--for=condition=Ready", "--timeout=30s", *(f"node/{n}" for n in real_cluster.kubelet.nodes)
    )


def test_what_a_starting_server_forbids_is_no_missing_right(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.log")
    second = timedelta(seconds=1)

    def note(time: datetime, decision: str) -> None:
        event = {
            "verb": "get",
            "requestURI": "/apis",
            "user": {"username": "system:serviceaccount:team:operator"},
            "responseStatus": {"code": 200 if decision == "allow" else 403},
            "requestReceivedTimestamp": time.isoformat().replace("+00:00", "Z"),
            "annotations": {"authorization.k8s.io/decision": decision},
        }
        with log.path.open("a") as file:
            file.write(json.dumps(event) + "\n")

    note(datetime.now(UTC) - second, "forbid")
    with log.start():
        note(datetime.now(UTC), "forbid")
        note(datetime.now(UTC), "allow")
    note(datetime.now(UTC) + second, "forbid")
    note(datetime.now(UTC) + second, "allow")
    assert [one.lacks_right for one in log.requests("team", "operator")] == [True, False, False, True, False]
    assert [one.code for one in log.requests("team", "operator")] == [403, 403, 200, 403, 200]
    assert log.requests("team", "other") == []


async def test_a_nodes_write_waits_for_the_api_server(real_cluster: RealCluster, namespace: str) -> None:
    plane = real_cluster.plane
    if plane is None:
        pytest.skip("the API server of a cluster that was given can't be taken away")
    async with Api(real_cluster.proxy_socket) as api:
        plane.stop_apiserver()
        try:
            patch = {"metadata": {"labels": {"written": "yes"}}}
            writing = asyncio.create_task(api.patch(f"/api/v1/namespaces/{namespace}", patch))
            await asyncio.sleep(1)
            assert not writing.done()
        finally:
            plane.restart_apiserver()
        await asyncio.wait_for(writing, PATIENCE_SECONDS)
    assert real_cluster.admin.get("namespace", namespace)["metadata"]["labels"]["written"] == "yes"


def test_rollout_runs_the_digest_of_the_registry(
    real_cluster: RealCluster, namespace: str, served: DockerRegistry
) -> None:
    digest = served.push(samples.debian("12.1"), "team/web", "main")
    image = f"{served.host}/team/web"

    real_cluster.admin.apply(deployment(real_cluster, f"{image}:main"), namespace=namespace)
    real_cluster.admin.run("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    first = container_statuses(real_cluster, namespace)
    assert [status["imageID"] for status in first] == [f"{image}@{digest}"] * 2
    assert all(status["ready"] for status in first)

    newer = served.push(index([samples.debian("12.2")]), "team/web", "main")
    assert newer != digest
    real_cluster.admin.run("set", "image", "deployment/web", f"app={image}@{newer}", "-n", namespace)
    real_cluster.admin.run("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    real_cluster.admin.run(
        "wait", "--for=jsonpath={.status.replicas}=2", "deployment/web", "-n", namespace, "--timeout=30s"
    )
    running = {
        status["imageID"]
        for pod in real_cluster.admin.get("pods", "-n", namespace)["items"]
        if "deletionTimestamp" not in pod["metadata"]
        for status in pod["status"]["containerStatuses"]
    }
    assert running == {f"{image}@{newer}"}
    assert "2" in real_cluster.admin.run("rollout", "history", "deployment/web", "-n", namespace)


def test_missing_image_backs_off_until_it_is_there(
    real_cluster: RealCluster, namespace: str, served: DockerRegistry
) -> None:
    image = f"{served.host}/team/late:main"
    real_cluster.admin.apply(deployment(real_cluster, image, replicas=1), namespace=namespace)
    (status,) = wait_for_waiting_reason(real_cluster, namespace, "ImagePullBackOff")
    assert status["imageID"] == ""
    assert not status["ready"]

    digest = served.push(samples.debian("12.3"), "team/late", "main")
    real_cluster.admin.run("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    (status,) = container_statuses(real_cluster, namespace)
    assert status["imageID"].endswith(f"@{digest}")


def test_crashing_pods_never_become_ready(real_cluster: RealCluster, namespace: str, served: DockerRegistry) -> None:
    served.push(samples.debian("12.4"), "team/crash", "main")
    broken = deployment(real_cluster, f"{served.host}/team/crash:main", replicas=1, crash=True)
    broken["spec"]["progressDeadlineSeconds"] = 2
    real_cluster.admin.apply(broken, namespace=namespace)
    (status,) = wait_for_waiting_reason(real_cluster, namespace, "CrashLoopBackOff")
    assert status["lastState"]["terminated"]["exitCode"] == 1
    with pytest.raises(KubectlError, match="exceeded its progress deadline"):
        real_cluster.admin.run("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")


def test_job_completes(real_cluster: RealCluster, namespace: str, served: DockerRegistry) -> None:
    served.push(samples.debian("12.5"), "team/job", "main")
    container = {"name": "app", "image": f"{served.host}/team/job:main"}
    pod = {**real_cluster.placement, "restartPolicy": "Never", "containers": [container]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {"template": {"spec": pod}},
    }
    real_cluster.admin.apply(job, namespace=namespace)
    real_cluster.admin.run("wait", "--for=condition=Complete", "job/once", "-n", namespace, "--timeout=60s")


def test_nodes_pull_from_a_private_registry(
    real_cluster: RealCluster, namespace: str, private_registry: DockerRegistry
) -> None:
    digest = private_registry.push(samples.debian("12.6"), "team/secret", "main")
    image = f"{private_registry.host}/team/secret:main"
    real_cluster.images.add(private_registry.host, private_registry.source().resolve)
    real_cluster.admin.apply(deployment(real_cluster, image, replicas=1), namespace=namespace)
    real_cluster.admin.run("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    (status,) = container_statuses(real_cluster, namespace)
    assert status["imageID"].endswith(f"@{digest}")


def test_rbac_refuses_a_bare_service_account(real_cluster: RealCluster, namespace: str) -> None:
    bare = Kubectl(real_cluster.kubeconfig_of(namespace, "default"))
    who = f'User "system:serviceaccount:{namespace}:default"'
    with pytest.raises(KubectlError) as refused:
        bare.run("get", "deployments", "-n", namespace)
    assert f'{who} cannot list resource "deployments" in API group "apps"' in refused.value.message

    real_cluster.admin.run(
        "create", "rolebinding", "look", "--clusterrole=view", f"--serviceaccount={namespace}:default", "-n", namespace
    )
    assert bare.get("deployments", "-n", namespace)["items"] == []
    with pytest.raises(KubectlError, match="cannot create resource"):
        bare.run("create", "configmap", "mine", "-n", namespace)


def test_requested_token_is_the_service_account(real_cluster: RealCluster, namespace: str) -> None:
    bare = Kubectl(real_cluster.kubeconfig_of(namespace, "default"))
    assert bare.run("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") == (
        f"system:serviceaccount:{namespace}:default"
    )


CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: probes.e2e.basetracker.dev}
spec:
  group: e2e.basetracker.dev
  scope: Namespaced
  names: {plural: probes, singular: probe, kind: Probe}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {low: {type: integer}, high: {type: integer}}
              x-kubernetes-validations:
                - {rule: "self.low <= self.high", message: low must not be above high}
                - {rule: "self.low >= oldSelf.low", message: low never falls}
"""


def test_cel_rules_of_a_crd_refuse(real_cluster: RealCluster, namespace: str) -> None:
    admin = real_cluster.admin

    def probe(low: int, high: int) -> Object:
        spec = {"low": low, "high": high}
        return {"apiVersion": "e2e.basetracker.dev/v1", "kind": "Probe", "metadata": {"name": "p"}, "spec": spec}

    admin.run("apply", "-f", "-", stdin=CRD)
    try:
        await_served(real_cluster, "probes.e2e.basetracker.dev")
        with pytest.raises(KubectlError, match="low must not be above high"):
            admin.apply(probe(5, 1), namespace=namespace)
        admin.apply(probe(2, 3), namespace=namespace)
        with pytest.raises(KubectlError, match="low never falls"):
            admin.apply(probe(1, 3), namespace=namespace)
        assert admin.get("probe", "p", "-n", namespace)["spec"] == {"low": 2, "high": 3}
    finally:
        admin.run("delete", "crd", "probes.e2e.basetracker.dev", "--timeout=60s")


def test_skopeo_pushes_to_the_registry(private_registry: DockerRegistry, tmp_path: Path) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        missing("no skopeo on this machine (Debian: apt-get install skopeo)")
    assert private_registry.credentials is not None
    image = samples.debian("12.7")
    write_layout(image, tmp_path / "layout", "main")
    user = f"{private_registry.credentials.user}:{private_registry.credentials.password}"
    trust = private_registry.authority_file.parent / "trust"
    trust.mkdir(exist_ok=True)
    shutil.copy(private_registry.authority_file, trust / "ca.crt")

    def copy_as(*credentials: str) -> subprocess.CompletedProcess[str]:
        target = f"docker://{private_registry.host}/team/skopeo:main"
        flags = [f"--dest-cert-dir={trust}", *credentials]
        command = [skopeo, "--insecure-policy", "copy", *flags, f"oci:{tmp_path / 'layout'}:main", target]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    refused = copy_as()
    assert refused.returncode != 0
    assert "authentication required" in refused.stderr
    assert private_registry.digest("team/skopeo", "main") is None
    pushed = copy_as(f"--dest-creds={user}")
    assert pushed.returncode == 0, pushed.stderr
    assert private_registry.digest("team/skopeo", "main") == image.digest
