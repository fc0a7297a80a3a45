"""The overlay for one namespace on a real API server: it does the work there, with no right anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster, scratch_namespace
from .harness.installation import NAME, install_definition, installed, single_namespace
from .harness.operator_pod import OperatorPod, connect
from .harness.registry import DockerRegistry
from .harness.replicas import Replicas, complaints
from .harness.team import TRACKER, Team

pytestmark = pytest.mark.e2e


@pytest.fixture
def served(
    real_cluster: RealCluster,
    azure: EmulatedAzure,
    private_registry: DockerRegistry,
    programs: Path,
    namespace: str,
    tmp_path: Path,
) -> Iterator[Team]:
    """The team of the namespace that the operator is in and serves."""
    install_definition(real_cluster)
    team = Team(real_cluster, azure, private_registry, namespace, operator_namespace=namespace)
    team.set_up()
    overlay = single_namespace(tmp_path / "overlay", namespace)
    with installed(real_cluster, overlay, namespace=namespace):
        connect(real_cluster, azure, namespace)
        replicas = Replicas(real_cluster, OperatorPod(real_cluster, azure, programs, tmp_path, namespace), tmp_path)
        try:
            replicas.start()
            yield team
            assert complaints(replicas, namespace) == []
        finally:
            replicas.stop()


def test_its_own_namespace_is_served_and_no_other(
    real_cluster: RealCluster, azure: EmulatedAzure, private_registry: DockerRegistry, served: Team
) -> None:
    with scratch_namespace(real_cluster, f"{served.namespace}-other") as elsewhere:
        other = Team(real_cluster, azure, private_registry, elsewhere, operator_namespace=served.namespace)
        other.set_up()
        other.apply_tracker()
        served.apply_tracker()
        served.settle_on(served.push_base("3.12.1"))
        new = served.push_base("3.12.2")
        other.push_base("3.12.2")
        served.settle_on(new)

        assert served.runs() == ["Succeeded", "Succeeded"]
        assert served.stands_on(new)
        assert other.runs() == ["Succeeded"]
        assert "status" not in other.get("basetracker", TRACKER)
        assert other.image_in_spec() == other.image


def test_no_role_reaches_beyond_the_namespace(real_cluster: RealCluster, served: Team) -> None:
    bound = real_cluster.admin.get("clusterrolebindings")["items"]
    assert not any(subject["name"] == NAME for item in bound for subject in item.get("subjects", ()))
