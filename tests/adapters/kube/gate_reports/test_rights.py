"""The component's rights with those of the base are enough for the gate, and each of the component's is needed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from basetracker.adapters.gates.reports.gate import ReportsJudge
from basetracker.adapters.kube import Json, Kube
from basetracker.adapters.kube_login import Login
from basetracker.api.names import GateVerdict
from basetracker.errors import DeniedError

from .reporting import Reports, policy

MANIFESTS = Path(__file__).parents[4] / "manifests"
ALL = ("trivy-operator", "policy-report", "openreports", "kube-bench")


def shipped(path: str) -> list[Json]:
    """The rights as they are shipped."""
    return [item for item in yaml.safe_load_all((MANIFESTS / path).read_text()) if item]


COMPONENT = shipped("components/gate-reports/cluster-role.yaml")
RIGHTS = [(number, verb) for number, rule in enumerate(COMPONENT[0]["rules"]) for verb in rule["verbs"]]


def write(path: Path, kubeconfig: Json) -> None:
    path.write_text(yaml.safe_dump(kubeconfig))


async def judged(reports: Reports, component: list[Json], path: Path) -> GateVerdict:
    """The verdict, asked by the operator's account with the base's rights and these."""
    cluster = reports.world.emulated
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "basetracker-system"}}
    account = {"name": "basetracker", "namespace": "basetracker-system"}
    await cluster.apply(home, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    await cluster.apply(*shipped("base/cluster-role.yaml"), *component)
    token = cluster.token("basetracker-system", "basetracker")
    write(path, cluster.kubeconfig(token=token))
    async with Kube(Login(kubeconfig=path)) as kube:
        answer = await ReportsJudge(kube).judge(reports.question(*ALL), None)
        return answer.verdict


async def write_all(reports: Reports) -> None:
    await reports.write_vulnerabilities()
    await reports.write_policies(policy())
    await reports.write_policies(policy(), kind="Report", about="Pod")
    await reports.write_bench({})


async def test_the_shipped_rights_are_enough(reports: Reports, emulated: Any, tmp_path: Path) -> None:
    await write_all(reports)
    assert await judged(reports, COMPONENT, tmp_path / "kubeconfig") is GateVerdict.PASS


@pytest.mark.parametrize(("number", "verb"), RIGHTS)
async def test_each_right_is_needed(reports: Reports, emulated: Any, tmp_path: Path, number: int, verb: str) -> None:
    await write_all(reports)
    less = copy.deepcopy(COMPONENT)
    less[0]["rules"][number]["verbs"].remove(verb)
    with pytest.raises(DeniedError, match="add the component manifests/components/gate-reports"):
        await judged(reports, less, tmp_path / "kubeconfig")
