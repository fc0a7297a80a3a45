"""What the pages tell to type on a cluster, typed on a real one: from the installation to its end, in the pages' order.

The tests of this module are one story. Azure is emulated, so what the pages do with `az` is done by the fixtures: the
registry, the tasks, and the operator's image, which is there only to be pulled. The operator itself runs beside the
cluster, in a container of this machine, with what the installation gives it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from basetracker.emulators import samples
from basetracker.emulators.images import Index

from ..docs.console import Step, files
from ..docs.coverage import INSTEAD, PLACES, Where, steps_at
from ..docs.pages import pages
from ..docs.shell import Shell
from .conftest import GIVEN
from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster, scratch_namespace
from .harness.installation import CRD, SYSTEM, await_served
from .harness.kubectl import kubectl_binary
from .harness.operator_pod import OperatorPod, connect
from .harness.replicas import Replicas, complaints
from .harness.repository import ROOT

pytestmark = pytest.mark.e2e

README, AKS, TROUBLE = "README.md", "docs/howto/aks.md", "docs/howto/troubleshooting.md"
ANNOTATIONS, SINGLE = "docs/reference/annotations.md", "docs/howto/single-namespace.md"
NAMESPACE, TRACKER, WORKLOAD = "shop", "python-3-12", "checkout"
BASE, IMAGE = "contoso.azurecr.io/base/python:3.12", "shop/checkout:main"
OPERATOR_IMAGE = "contoso.azurecr.io/platform/basetracker:0.1.0"
DELETING = "kubectl delete basetrackers"


@dataclass(slots=True, kw_only=True)
class Reader:
    """Somebody who follows the pages in a checkout of the project, with kubectl and the installed basetracker."""

    cluster: RealCluster
    azure: EmulatedAzure
    checkout: Path
    shell: Shell
    programs: Path
    task: Any
    replicas: Replicas | None = None

    def write(self, page: str, folder: str) -> None:
        """Write the files that the page shows, two folders below the checkout as the page's paths have it, and go there."""
        directory = self.checkout / "clusters" / folder
        directory.mkdir(parents=True)
        for name, text in files(pages()[page]).items():
            (directory / name).write_text(text)
        self.shell.directory = directory

    def play(self, *steps: Step) -> None:
        """Do them, and what the pages do in the operator's Pod in a container like the operator's beside the cluster."""
        for step in steps:
            if step.command.startswith(INSTEAD):
                assert self.replicas is not None
                container = self.replicas.leader().container
                told = [f"{name}={value}" for name, value in container.environment.items()]
                inside = shlex.join(["env", "-i", *told, *container.sandbox()])
                self.shell.play(step, f"{inside} {step.command.removeprefix(INSTEAD)}")
            else:
                self.shell.play(step)

    def operate(self) -> None:
        """Start the operator with what is installed; its Pods hold nothing that runs."""
        directory = self.checkout.parent / "operator"
        directory.mkdir()
        connect(self.cluster, self.azure)
        self.replicas = Replicas(
            self.cluster, OperatorPod(self.cluster, self.azure, self.programs, directory), directory
        )
        self.replicas.start()
        self.replicas.leader()

    def push_base(self, version: str) -> Index:
        """Move the base's tag."""
        pushed = samples.python_index(version, point=version)
        self.azure.push(BASE, pushed)
        return pushed

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.admin.run("-n", NAMESPACE, *arguments)

    def settle_on(self, base: Index) -> None:
        """Wait until the tracker has seen this base and is Ready."""
        for condition in (f"jsonpath={{.status.base.digest}}={base.digest}", "condition=Ready"):
            self.kubectl("wait", f"basetracker/{TRACKER}", f"--for={condition}", "--timeout=120s")

    def image_in_spec(self) -> str:
        return self.kubectl("get", "deployment", WORKLOAD, "-o", "jsonpath={.spec.template.spec.containers[0].image}")


@pytest.fixture(scope="module")
def reader(real_cluster: RealCluster, azure: EmulatedAzure, programs: Path, workspace: Path) -> Iterator[Reader]:
    """A reader whose team has a base, an image built on it, and a Deployment that runs it; nothing of ours is installed."""
    if GIVEN:
        pytest.skip("the pages' names may be taken in a cluster that was given")
    home = workspace / "docs"
    checkout = home / "checkout"
    for folder in ("manifests", "crds"):
        shutil.copytree(ROOT / folder, checkout / folder)
    path = os.pathsep.join([str(programs / "bin"), str(Path(kubectl_binary()).parent), os.environ["PATH"]])
    environment = {"PATH": path, "KUBECONFIG": str(real_cluster.kubeconfig), **azure.environment(home)}
    azure.push(OPERATOR_IMAGE, samples.python())
    azure.push(BASE, samples.python_index("3.12.1", point="3.12.1"))
    task = azure.add_task("build-checkout", image=IMAGE, base=BASE)
    shell = Shell(checkout, home / "state", environment)
    found = Reader(cluster=real_cluster, azure=azure, checkout=checkout, shell=shell, programs=programs, task=task)
    with scratch_namespace(real_cluster, NAMESPACE):
        real_cluster.admin.apply(deployment(real_cluster))
        try:
            yield found
        finally:
            if found.replicas is not None:
                found.replicas.stop()
            for folder in ("manifests/overlays/aks-workload-identity", "manifests/overlays/single-namespace", "crds"):
                real_cluster.admin.run("delete", "-k", str(checkout / folder), "--ignore-not-found", seconds=150)


def deployment(cluster: RealCluster) -> dict[str, Any]:
    """What the team runs before there is a tracker: the tag, no digest."""
    labels = {"app": WORKLOAD}
    containers = [{"name": "app", "image": f"contoso.azurecr.io/{IMAGE}"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": WORKLOAD, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {**cluster.placement, "containers": containers}},
        },
    }


def commands(page: str) -> list[Step]:
    found = steps_at(Where.REAL, page)
    assert found
    return found


def test_the_pages_are_those_of_the_table() -> None:
    told = {README, AKS, TROUBLE, ANNOTATIONS, SINGLE}
    assert {page for (page, _), place in PLACES.items() if place is Where.REAL} == told


def test_the_three_lines_of_the_readme(reader: Reader) -> None:
    (tracker,) = [block.text for block in pages()[README].blocks("yaml") if "kind: BaseImageTracker" in block.text]
    (reader.checkout / "tracker.yaml").write_text(tracker)
    installing, applying = commands(README)
    reader.play(installing)
    await_served(reader.cluster, CRD)
    reader.play(applying)
    assert reader.kubectl("get", "basetrackers", "-o", "name").split() == [
        f"baseimagetracker.basetracker.dev/{TRACKER}"
    ]


def test_the_installation_on_aks(reader: Reader) -> None:
    reader.write(AKS, "prod")
    steps = until_deleting(commands(AKS))
    (leading,) = [step for step in steps if "get lease" in step.command]
    (applying,) = [step for step in steps if step.command == "kubectl apply -f tracker.yaml"]
    (letting,) = [step for step in steps if " patch basetracker " in step.command]
    reader.play(*steps[: steps.index(leading)])
    role = json.loads((reader.shell.directory / "basetracker-role.json").read_text())
    assert role["Name"] == "basetracker operator"
    tasks = yaml.safe_load(
        reader.cluster.admin.get("configmap", "basetracker-tasks", "-n", SYSTEM)["data"]["tasks.yaml"]
    )
    assert tasks == [{"namespaces": [NAMESPACE], "registries": ["contoso"], "tasks": ["build-checkout"]}]

    reader.play(applying)  # in Plan mode before an operator sees what the README applies
    reader.operate()
    reader.play(*steps[steps.index(leading) : steps.index(letting)])
    assert "@sha256:" not in reader.image_in_spec(), "Plan mode has touched the Deployment"

    reader.play(*steps[steps.index(letting) :])
    until_pinned(reader)
    assert reader.azure.runs(reader.task) == ["Succeeded"], "what is current isn't built again"


def test_to_ask_for_something(reader: Reader) -> None:
    base = reader.push_base("3.12.2")
    reader.play(*commands(ANNOTATIONS))
    reader.settle_on(base)
    assert reader.azure.runs(reader.task) == ["Succeeded", "Succeeded"]


def test_where_to_look(reader: Reader) -> None:
    reader.play(*commands(TROUBLE))
    assert reader.azure.runs(reader.task) == ["Succeeded", "Succeeded"]
    assert reader.replicas is not None
    assert complaints(reader.replicas, NAMESPACE) == []


def test_the_end_of_the_installation(reader: Reader) -> None:
    kept = reader.image_in_spec()
    deleting, *rest = commands(AKS)[len(until_deleting(commands(AKS))) :]
    reader.play(deleting)
    assert reader.replicas is not None
    reader.replicas.stop()  # as its Pods end
    reader.play(*rest)
    found = reader.cluster.admin.run("get", "namespace,crd,clusterrole,clusterrolebinding", "-o", "name")
    # The contract tests, which may have run on this cluster before, leave a resource of their own.
    left = [
        name for name in found.split() if "basetracker" in name and not name.endswith("/widgets.test.basetracker.dev")
    ]
    assert left == []
    assert reader.image_in_spec() == kept
    assert "@sha256:" in kept


def test_the_installation_for_one_namespace(reader: Reader) -> None:
    once, *own = commands(SINGLE)
    reader.shell.directory = reader.checkout
    reader.play(once)
    reader.write(SINGLE, "shop")
    reader.play(*own)
    assert "deployment.apps/basetracker" in reader.kubectl("get", "deployments", "-o", "name").split()


def until_deleting(steps: list[Step]) -> list[Step]:
    """Those before the uninstallation."""
    return steps[: next(place for place, step in enumerate(steps) if step.command.startswith(DELETING))]


def until_pinned(reader: Reader) -> None:
    """Wait until the Deployment names a digest, as the page says."""
    end = time.monotonic() + 60
    while "@sha256:" not in reader.image_in_spec():
        assert time.monotonic() < end, "the Deployment is never pinned"
        time.sleep(0.2)
