"""The Trivy gate from the shipped manifests: the real Trivy, a database served by the registry, and a rebuilt image.

The program lies in the container as Dockerfile.trivy would put it there; room and memory are those of the component.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from basetracker.emulators.images import Index, copy, index
from basetracker.emulators.samples import BOTH, PACKAGES, application, debian, python

from ..adapters.gates.trivy.vulnerability_database import MADE, Hole, artifact
from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster
from .harness.installation import installed
from .harness.missing import missing
from .harness.operator_pod import OperatorPod, connect
from .harness.registry import DockerRegistry
from .harness.replicas import Replicas
from .harness.repository import ROOT
from .harness.team import TRACKER, WORKLOAD, Object, Team

pytestmark = pytest.mark.e2e

ALLOWED = [{"namespaces": ["e2e-*"], "registries": ["contoso"], "tasks": ["build-*"]}]
BAD, GOOD = "3.0.17-1~deb12u1", "3.0.17-1~deb12u2"
KNOWN = [Hole(id="CVE-2026-1", package="zlib1g", fixed="9", bucket="debian 12")]
HOLE = Hole(id="CVE-2026-77", package="openssl", fixed=GOOD, severity="CRITICAL", bucket="debian 12")
WHEEL = Hole(id="CVE-2026-99", package="jinja2", fixed="3.2.0", severity="CRITICAL", bucket="pip")
LATE = Hole(id="CVE-2026-88", package="libc6", fixed="2.36-9+deb12u99", severity="CRITICAL", bucket="debian 12")


@pytest.fixture(scope="module")
def database(azure: EmulatedAzure) -> str:
    """Where the database is served."""
    reference = f"{azure.registry.host}/own/trivy-db:2"
    azure.push(reference, artifact(KNOWN))
    return reference


@pytest.fixture(scope="module")
def replicas(
    real_cluster: RealCluster, azure: EmulatedAzure, programs: Path, workspace: Path, database: str
) -> Iterator[Replicas]:
    """The operator with the component of the gate, and one replica with Trivy in its image."""
    trivy = Path(sys.executable).with_name("trivy")
    if not trivy.exists():
        missing("no Trivy in this environment; its package is for Linux on x86-64")
    directory = workspace / "operator-trivy"
    directory.mkdir()
    with (
        _program(trivy, programs / "bin" / "trivy"),
        installed(real_cluster, _overlay(directory / "overlay"), allowed=ALLOWED),
    ):
        connect(
            real_cluster,
            azure,
            settings={"BASETRACKER_TRIVY_DB_REPOSITORY": database, "BASETRACKER_TRIVY_DB_INTERVAL": "5s"},
        )
        running = Replicas(real_cluster, OperatorPod(real_cluster, azure, programs, directory), directory)
        try:
            running.start()
            running.leader()
            yield running
        finally:
            running.stop()


@contextmanager
def _program(source: Path, place: Path) -> Iterator[None]:
    """The program at its place in the image for the time of the tests."""
    shutil.copy(source, place)
    try:
        yield
    finally:
        place.unlink()


def _overlay(directory: Path) -> Path:
    """The installation with the component, as the how-to tells to write it."""
    directory.mkdir()
    way = Path(os.path.relpath(ROOT / "manifests", directory.resolve()))
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(way / "base")],
        "components": [str(way / "components" / "gate-trivy")],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(body))
    return directory


@pytest.fixture
def team(
    real_cluster: RealCluster,
    azure: EmulatedAzure,
    private_registry: DockerRegistry,
    replicas: Replicas,
    namespace: str,
) -> Team:
    """A team whose Deployment runs an image on its first base."""
    found = ScannedTeam(real_cluster, azure, private_registry, namespace)
    found.set_up()
    return found


class ScannedTeam(Team):
    """A team whose base is a release of Debian that scanners know, of two platforms; its version is that of openssl."""

    def set_up(self) -> None:
        """See `Team`; what is built from now on has a package of its own."""
        super().set_up()
        self.requires("3.1.0")

    def requires(self, version: str) -> None:
        """The version of jinja2 that the next build gets from the package index."""
        place = f"/usr/lib/python3/site-packages/jinja2-{version}.dist-info/METADATA"
        metadata = f"Metadata-Version: 2.1\nName: jinja2\nVersion: {version}\n"
        self.task.steps = (*application(WORKLOAD), copy({place: metadata}))

    def tracker(self) -> Object:
        """See `Team`; the base lies in the Azure registry as well, since Trivy gets no login for a local name."""
        tracker = super().tracker()
        del tracker["spec"]["base"]["pullSecretRef"]
        return tracker

    def push_base(self, version: str) -> Index:
        """See `Team`; the first one, 3.12.1, is newer than any that has a hole."""
        packages = {**PACKAGES, "openssl": version}
        pushed = index([python(on=debian(packages=packages, platform=one), platform=one) for one in BOTH])
        self.base = f"{self._azure.registry.host}/{self._base}"
        self._azure.push(self.base, pushed)
        return pushed


def until(holds: Callable[[], bool], what: Callable[[], Any], *, seconds: float = 90) -> None:
    """Wait until it holds; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what()}"
        time.sleep(0.3)


def test_a_rebuilt_image_with_a_hole_is_held_back_and_a_mended_one_is_delivered(
    team: Team,
    real_cluster: RealCluster,
    azure: EmulatedAzure,
    database: str,
    replicas: Replicas,
) -> None:
    def image() -> dict[str, Any]:
        (found,) = team.get("basetracker", TRACKER).get("status", {}).get("downstream") or [{}]
        return dict(found)

    def gate() -> dict[str, Any]:
        return next((dict(one) for one in image().get("gates", ()) if one["name"] == "trivy"), {})

    azure.push(database, artifact([*KNOWN, HOLE], MADE + timedelta(minutes=1)))
    tracker = team.tracker()
    tracker["spec"] |= {"gates": [{"trivy": {"timeout": "1m"}}], "rescan": {"rebuild": True}}
    real_cluster.admin.apply(tracker)
    until(lambda: image().get("state") == "Current", image)
    assert gate()["reason"] == "NoFindings", gate()
    (before,) = set(team.running())

    team.push_base(BAD)
    until(lambda: image().get("reason") == "GateFailed", image)
    assert gate()["message"] == f"1 CRITICAL: CVE-2026-77 in openssl {BAD} (fixed in {GOOD})"
    assert set(team.running()) == {before}, "what failed isn't delivered"

    mended = team.push_base(GOOD)
    until(lambda: image().get("state") == "Current" and team.stands_on(mended), image)
    (after,) = set(team.running())
    assert image()["validated"]["digest"] == after.partition("@")[2] != before.partition("@")[2]
    assert [one["name"] for one in image()["validated"]["gates"]] == ["trivy"]

    azure.push(database, artifact([*KNOWN, HOLE, LATE], MADE + timedelta(minutes=2)))

    def conditions() -> list[str]:
        found = team.get("basetracker", TRACKER)["status"]["conditions"]
        return [one["type"] for one in found if one["status"] == "True"]

    until(lambda: "RunningImageFails" in conditions(), lambda: (conditions(), image()))
    assert "a rebuild would not mend it: the base has CVE-2026-88 in libc6" in gate()["message"]
    assert set(team.running()) == {after}, "what runs stays"
    runs = team.runs()

    team.requires("3.2.0")
    azure.push(database, artifact([*KNOWN, HOLE, WHEEL], MADE + timedelta(minutes=3)))
    until(lambda: image().get("state") == "Current" and set(team.running()).isdisjoint({after, before}), image)
    until(lambda: "RunningImageFails" not in conditions(), lambda: (conditions(), image()))
    assert team.stands_on(mended), "on the same base"
    assert image()["build"]["replaces"] == after.partition("@")[2]
    assert team.runs() == [*runs, "Succeeded"], "once, and nothing for what the base has"
    assert not [line for line in replicas.leader().log() if line.get("levelname") == "ERROR"]
