"""The reports gate on a real control plane, with the shipped component and the real schemas of all kinds of reports.

The reports are written by the tests, as trivy-operator, Kyverno and kube-bench's adapter would: their scanners need nodes on
which something runs. The API server, the rights and the operator are real.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster
from .harness.installation import NAME, SYSTEM, await_served, installed
from .harness.operator_pod import OperatorPod, connect
from .harness.registry import DockerRegistry
from .harness.replicas import Replicas, complaints
from .harness.reports import bench, definitions, policies, vulnerabilities
from .harness.repository import ROOT
from .harness.team import TRACKER, WORKLOAD, Object, Team

pytestmark = pytest.mark.e2e

ALLOWED = [{"namespaces": ["e2e-*"], "registries": ["contoso"], "tasks": ["build-*"]}]
GROUPS = ("aquasecurity.github.io", "wgpolicyk8s.io", "openreports.io")
ALL = ("trivy-operator", "policy-report", "openreports", "kube-bench")
REQUESTED_AT = "basetracker.dev/requested-at"


@pytest.fixture(scope="module")
def replicas(real_cluster: RealCluster, azure: EmulatedAzure, programs: Path, workspace: Path) -> Iterator[Replicas]:
    """The operator with the component of the gate."""
    directory = workspace / "operator-reports"
    directory.mkdir()
    way = Path(os.path.relpath(ROOT / "manifests", (directory / "overlay").resolve()))
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(way / "base")],
        "components": [str(way / "components" / "gate-reports")],
    }
    (directory / "overlay").mkdir()
    (directory / "overlay" / "kustomization.yaml").write_text(yaml.safe_dump(body))
    with installed(real_cluster, directory / "overlay", allowed=ALLOWED):
        connect(real_cluster, azure)
        running = Replicas(real_cluster, OperatorPod(real_cluster, azure, programs, directory), directory)
        try:
            running.start()
            running.leader()
            yield running
        finally:
            running.stop()


@pytest.fixture
def kinds(real_cluster: RealCluster) -> Iterator[None]:
    """The CRDs of all kinds of reports, as long as the test lasts."""
    listed = definitions()
    names = [one["metadata"]["name"] for one in listed]
    if real_cluster.admin.run("get", "crd", *names, "--ignore-not-found", "-o", "name"):
        pytest.skip("the cluster has kinds of reports of its own")
    real_cluster.admin.apply(*listed)
    await_served(real_cluster, *names)
    yield
    real_cluster.admin.run("delete", "crd", *names, "--timeout=60s", seconds=70)


class Reported(Team):
    """A team whose tracker has a reports gate; it can see what runs, and let a canary run a digest."""

    def gated(self, *sources: str) -> Object:
        """Its tracker with the gate."""
        tracker = self.tracker()
        tracker["spec"]["gates"] = [{"reports": {"sources": list(sources)}}]
        return tracker

    def row(self) -> dict[str, Any]:
        """What the status tells of the image."""
        (found,) = self.get("basetracker", TRACKER).get("status", {}).get("downstream") or [{}]
        return dict(found)

    def state(self) -> str:
        return f"{self.row().get('state')} {self.row().get('reason')}"

    def digest(self) -> str:
        """What the image's tag points to."""
        return str(self._azure.image(self.image).digest)

    def replica_set(self, name: str = WORKLOAD) -> Object:
        """The Deployment's newest ReplicaSet."""
        self.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
        found = self.get("replicasets", "-l", f"app={name}")["items"]
        return dict(
            max(found, key=lambda one: int(one["metadata"]["annotations"]["deployment.kubernetes.io/revision"]))
        )

    def canary(self, digest: str) -> Object:
        """Let somebody run the digest beside; the answer is the ReplicaSet."""
        canary = self._deployment()
        labels = {"app": "canary"}
        canary["metadata"] |= {"name": "canary", "labels": labels}
        canary["spec"]["selector"]["matchLabels"] = labels
        canary["spec"]["template"]["metadata"]["labels"] = labels
        (container,) = canary["spec"]["template"]["spec"]["containers"]
        container["image"] = f"{self.image}@{digest}"
        self._cluster.admin.apply(canary)
        return self.replica_set("canary")

    def report(self, *documents: Object) -> None:
        """Let scanners have written these, and the operator look again."""
        self._cluster.admin.apply(*documents)
        # The operator's clock has whole seconds, and asks a gate again only after its last answer.
        time.sleep(1.1)
        self.kubectl("annotate", "basetracker", TRACKER, "--overwrite", f"{REQUESTED_AT}={time.time_ns()}")

    def until(self, holds: Callable[[], bool], *, seconds: float = 90) -> None:
        """Wait until it holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not in {seconds:g} s: {self.row()}"
            time.sleep(0.3)

    def says(self, words: str) -> None:
        self.until(lambda: words in str(self.row().get("message", "")))

    def rebuilt(self, version: str) -> str:
        """Move the base and wait for the image built on it; the answer is its digest."""
        before = self.digest()
        self.push_base(version)
        self.until(lambda: self.digest() != before)
        return self.digest()


@pytest.fixture
def team(
    real_cluster: RealCluster,
    azure: EmulatedAzure,
    private_registry: DockerRegistry,
    replicas: Replicas,
    namespace: str,
) -> Iterator[Reported]:
    found = Reported(real_cluster, azure, private_registry, namespace)
    found.set_up()
    yield found
    assert complaints(replicas, namespace) == []


def test_a_cluster_without_the_kinds_holds_and_is_not_flooded(
    real_cluster: RealCluster, team: Reported, replicas: Replicas
) -> None:
    def asked() -> int:
        assert real_cluster.audit is not None
        return sum(
            any(group in request.path for group in GROUPS) for request in real_cluster.audit.requests(SYSTEM, NAME)
        )

    real_cluster.admin.apply(team.gated(*ALL))
    team.until(lambda: team.state() == "Validating GatePending")
    team.says("no evidence yet: kube-bench: there is no report about the cluster; openreports: there is no report")
    if real_cluster.audit is not None:
        before = asked()
        assert before > 0
        time.sleep(15)  # longer than a poll
        assert asked() - before < 20
    assert "@" not in team.image_in_spec(), "nothing is delivered"
    assert replicas.leader().is_running


def test_what_a_canarys_reports_say_decides(real_cluster: RealCluster, team: Reported, kinds: None) -> None:
    old = team.digest()
    first = team.replica_set()
    real_cluster.admin.apply(vulnerabilities(first, old, ("CVE-2026-1", "LOW")), team.gated("trivy-operator"))
    team.until(lambda: team.row().get("state") == "Current")
    delivered = team.image_in_spec()
    assert delivered.endswith(f"@{old}")

    bad = team.rebuilt("3.12.2")
    team.says("nothing in the namespace runs the digest")
    canary = team.canary(bad)
    team.report(vulnerabilities(canary, old))
    team.says("there is no report about the digest")
    assert team.state() == "Validating GatePending"
    team.report(vulnerabilities(canary, bad, ("CVE-2026-2", "CRITICAL"), ("CVE-2026-3", "LOW")))
    team.until(lambda: team.state() == "Blocked GateFailed")
    team.says("trivy-operator: 1 result fails: CRITICAL CVE-2026-2 (openssl)")
    assert team.image_in_spec() == delivered

    good = team.rebuilt("3.12.3")
    team.report(vulnerabilities(team.canary(good), good))
    team.until(lambda: team.image_in_spec().endswith(f"@{good}"))


@pytest.mark.parametrize(
    ("source", "api_version"),
    [("policy-report", "wgpolicyk8s.io/v1alpha2"), ("openreports", "openreports.io/v1alpha1")],
)
def test_what_policies_say_of_a_canarys_pods_decides(
    real_cluster: RealCluster, team: Reported, kinds: None, source: str, api_version: str
) -> None:
    """As Kyverno does by default: it leaves ReplicaSets out."""
    digest = team.digest()
    canary = team.canary(digest)
    real_cluster.admin.apply(team.gated(source))
    team.says(f"{source}: there is no report about the digest")
    deployment = team.get("deployment", "canary")
    team.report(policies(deployment, "pass", api_version=api_version))
    team.says("there are reports about Deployments only")
    pods = team.get("pods", "-l", "app=canary")["items"]
    assert {pod["metadata"].get("generation") for pod in pods} <= {1, None}
    assert all(pod["metadata"]["ownerReferences"][0]["uid"] == canary["metadata"]["uid"] for pod in pods)
    team.report(policies(pods[0], "fail", api_version=api_version))
    team.until(lambda: team.state() == "Blocked GateFailed")
    team.says(f"{source}: 1 result fails: HIGH require-run-as-nonroot (run-as-non-root)")
    assert "@" not in team.image_in_spec()
    team.report(policies(pods[0], "pass", api_version=api_version))
    team.until(lambda: team.image_in_spec().endswith(f"@{digest}"))


def test_nothing_rolls_out_on_a_cluster_that_fails_its_controls(
    real_cluster: RealCluster, team: Reported, kinds: None
) -> None:
    name = f"kube-bench-{team.namespace}"
    real_cluster.admin.apply(bench(name, "fail"), team.gated("kube-bench"))
    team.until(lambda: team.state() == "Blocked GateFailed")
    team.says("kube-bench: 1 result fails: 1.2.1 (Ensure that anonymous requests are refused)")
    assert "@" not in team.image_in_spec()
    team.report(bench(name, "pass"))
    team.until(lambda: team.image_in_spec().endswith(f"@{team.digest()}"))
