"""A team of the story: a namespace with a base of its own, an image built on it, a Deployment and a tracker.

Owns what the team writes (its objects) and what it can see of its Pods. The base lies in a real registry that asks for
a password, the image in the emulated Azure. Nothing here asks the operator.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import yaml

from basetracker.emulators import samples
from basetracker.emulators.images import Image, Index

from .azure import EmulatedAzure
from .cluster import RealCluster
from .installation import SYSTEM
from .registry import DockerRegistry
from .repository import ROOT

Object = dict[str, Any]
REPLICAS = 2
PLATFORM = "linux/amd64"
TRACKER, WORKLOAD, SECRET = "python-3-12", "checkout", "hub"


class Team:
    """All that is in one namespace; the names are those of the samples."""

    def __init__(
        self,
        cluster: RealCluster,
        azure: EmulatedAzure,
        bases: DockerRegistry,
        namespace: str,
        *,
        operator_namespace: str = SYSTEM,
    ) -> None:
        self.namespace = namespace
        self._operator_namespace = operator_namespace
        self._cluster = cluster
        self._azure = azure
        self._bases = bases
        self._base = f"{namespace}/python:3.12"
        self._image = f"{namespace}/checkout:main"
        self.base = f"{bases.host}/{self._base}"
        self.image = f"{azure.registry.host}/{self._image}"

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints, in the namespace."""
        return self._cluster.admin.run("-n", self.namespace, *arguments)

    def get(self, *arguments: str) -> Object:
        """An object, or a list of them."""
        return self._cluster.admin.get("-n", self.namespace, *arguments)

    # -- what the team does ----------------------------------------------------------------------------

    def set_up(self) -> None:
        """Base, image, pull secret and a running Deployment, as they are before there is a tracker."""
        self.push_base("3.12.1")
        self.task = self._azure.add_task(f"build-{self.namespace}", image=self._image, base=self.base)
        user = self._bases.credentials
        assert user is not None
        server = [f"--docker-server={self._bases.host}"]
        self.kubectl(
            *("create", "secret", "docker-registry", SECRET, *server),
            *(f"--docker-username={user.user}", f"--docker-password={user.password}"),
        )
        self._cluster.admin.apply(*self._rights(), self._deployment())
        self.kubectl("rollout", "status", f"deployment/{WORKLOAD}", "--timeout=60s")

    def push_base(self, version: str) -> Index:
        """Move the base's tag to another digest."""
        pushed = samples.python_index(version, point=version)
        self._bases.push(pushed, *self._base.split(":"))
        return pushed

    def apply_tracker(self) -> None:
        """Declare the tracker."""
        self._cluster.admin.apply(self.tracker())

    def settle_on(self, base: Index, *, seconds: int = 120) -> None:
        """Wait, as a person would with kubectl, until the tracker has seen this base and is Ready."""
        for condition in (f"jsonpath={{.status.base.digest}}={base.digest}", "condition=Ready"):
            self._cluster.admin.run(
                *("-n", self.namespace, "wait", f"basetracker/{TRACKER}", f"--for={condition}"),
                f"--timeout={seconds}s",
                seconds=seconds + 10,
            )

    # -- what is so ------------------------------------------------------------------------------------

    def runs(self) -> list[str]:
        """How each run of the team's task ended; the first is from before the tracker."""
        return self._azure.runs(self.task)

    def image_in_spec(self) -> str:
        """The image that the Deployment asks for."""
        (container,) = self.get("deployment", WORKLOAD)["spec"]["template"]["spec"]["containers"]
        return str(container["image"])

    def running(self) -> list[str]:
        """What the nodes say that the ready Pods run, once those that are ending are gone."""
        deadline = time.monotonic() + 30
        while True:
            pods = self.get("pods", "-l", f"app={WORKLOAD}")["items"]
            if not any("deletionTimestamp" in pod["metadata"] for pod in pods) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", ())]
        return [status["imageID"] for status in statuses if status["ready"]]

    def stands_on(self, base: Index) -> bool:
        """Whether what every ready Pod runs begins with the base's layers, by the registries' own bytes."""
        expected = base.image(PLATFORM)
        assert expected is not None
        images: list[Image] = [self._azure.image(reference) for reference in self.running()]
        return len(images) == REPLICAS and all(
            image.diff_ids[: len(expected.diff_ids)] == expected.diff_ids for image in images
        )

    # -- what the team writes --------------------------------------------------------------------------

    def tracker(self) -> Object:
        """Its one tracker."""
        return {
            "apiVersion": "basetracker.dev/v1alpha1",
            "kind": "BaseImageTracker",
            "metadata": {"name": TRACKER, "namespace": self.namespace},
            "spec": {
                "base": {"image": self.base, "interval": "10s", "pullSecretRef": {"name": SECRET}},
                "downstream": [
                    {
                        "name": WORKLOAD,
                        "image": self.image,
                        "build": {"acrTask": {"name": self.task.name, "baseArgument": "BASE_IMAGE"}},
                        "deploy": [{"kind": "Deployment", "name": WORKLOAD}],
                    }
                ],
            },
        }

    def _rights(self) -> Sequence[Object]:
        """The sample's Role for one pull secret, in this namespace."""
        text = (ROOT / "manifests" / "samples" / "pull-secret.yaml").read_text()
        rights = [item for item in yaml.safe_load_all(text) if item["kind"] in {"Role", "RoleBinding"}]
        for item in rights:
            item["metadata"]["namespace"] = self.namespace
            for subject in item.get("subjects", ()):
                subject["namespace"] = self._operator_namespace
        return rights

    def _deployment(self) -> Object:
        labels = {"app": WORKLOAD}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": WORKLOAD, "namespace": self.namespace, "labels": labels},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {**self._cluster.placement, "containers": [{"name": "app", "image": self.image}]},
                },
            },
        }
