"""The world of one story: emulated Azure and cluster on the virtual loop, images, tasks, Deployments and replicas.

Says what is there and does what it is told. What happens when is the story's matter, what must hold the model's.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from basetracker.api.names import API_VERSION, KIND
from basetracker.demo.files import SYSTEM, installation
from basetracker.emulators import samples
from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.authority import Authority
from basetracker.emulators.cloud import Cloud
from basetracker.emulators.cluster import Cluster
from basetracker.emulators.images import Image, build_on
from basetracker.emulators.references import parse
from basetracker.emulators.tasks.definition import Task, dependency

from .gates import Gates
from .loop import VirtualLoop
from .replicas import Notices, Replica

Json = dict[str, Any]
NAMESPACE = "shop"
HOST = "contoso.azurecr.io"
PUBLIC = "registry.example.com"
OPERATORS = "operators"
ALLOWED = [{"namespaces": [NAMESPACE], "registries": ["contoso"], "tasks": ["build-*"]}]


@dataclass(slots=True, kw_only=True)
class Product:
    """An image of the shop: `base` is the tag that it is built on, `task` builds it."""

    name: str
    base: str
    task: Task

    @property
    def image(self) -> str:
        return f"{HOST}/shop/{self.name}:main"


@dataclass(slots=True, kw_only=True)
class Shop:
    """All that there is in one story."""

    loop: VirtualLoop
    cloud: Cloud
    cluster: Cluster
    registry: AzureRegistry
    directory: Path
    rng: random.Random
    products: dict[str, Product] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)
    notices: Notices
    gates: Gates
    bases: dict[str, int] = field(default_factory=dict)
    """How many versions each base tag has had."""

    # -- images ---------------------------------------------------------------------------------------

    def push_base(self, reference: str, version: int | None = None) -> str:
        """Let the tag point to a version of the base, by default the next one; the answer is its digest."""
        if version is None:
            version = self.bases[reference] = self.bases.get(reference, 0) + 1
        return self.cloud.push(reference, samples.python(f"{reference.rpartition('/')[2]}.{version}"))

    def tag(self, reference: str) -> str:
        """The digest that a tag points to."""
        named = parse(reference)
        found = self.cloud.registries[named.host].digest(named.repository, named.manifest)
        assert found is not None, f"there is no {reference}"
        return found

    def pull(self, reference: str) -> Image:
        """The image behind a full reference."""
        named = parse(reference)
        found = self.cloud.registries[named.host].storage.pull(named.repository, named.manifest)
        assert isinstance(found, Image), f"there is no {reference}"
        return found

    def push_by_hand(self, product: Product, base: str, version: str) -> str:
        """Push a product built on `base` (a full reference) on somebody's machine."""
        steps = samples.application(product.name, version)
        return self.cloud.push(product.image, build_on(self.pull(base), *steps, created=self.loop.utcnow()))

    def add_product(self, name: str, base: str, **settings: Any) -> Product:
        """A product with its task and its first image, built on what its base's tag points to."""
        task = self.cloud.tasks.add(f"build-{name}", self.registry, image=f"shop/{name}:main", base=base, **settings)
        task.dependency = dependency(base, self.tag(base))
        product = self.products[name] = Product(name=name, base=base, task=task)
        self.push_by_hand(product, base, "1.0.0")
        return product

    # -- cluster --------------------------------------------------------------------------------------

    async def deploy(self, name: str, containers: Json) -> None:
        """A Deployment as a team writes it: containers by name, each with its image."""
        labels = {"app": name}
        pods = {"containers": [{"name": key, "image": image} for key, image in containers.items()]}
        template = {"metadata": {"labels": labels}, "spec": pods}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
        await self.cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})

    async def apply_tracker(self, name: str, spec: Json) -> None:
        """What `kubectl apply` does with a tracker."""
        metadata = {"name": name, "namespace": NAMESPACE}
        await self.cluster.apply({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec})

    async def annotate(self, tracker: str, annotation: str, value: str) -> None:
        """Ask something of the operator by an annotation."""
        body = {"metadata": {"annotations": {annotation: value}}}
        await self.cluster.patch(KIND, NAMESPACE, tracker, body)

    def trackers(self) -> dict[str, Json]:
        """The trackers as they are stored, by name."""
        return {one["metadata"]["name"]: one for one in self.cluster.list(KIND, NAMESPACE)}

    def deployments(self) -> dict[str, Json]:
        """The Deployments as they are stored, by name."""
        return {one["metadata"]["name"]: one for one in self.cluster.list("Deployment", NAMESPACE)}

    # -- replicas -------------------------------------------------------------------------------------

    def operate(self) -> Replica:
        """Start a replica of the operator, with names of its own in the cluster and in Azure."""
        name = f"replica-{len(self.replicas) + 1}"
        home = self.directory / name
        home.mkdir()
        identity = self.cloud.add_identity(name, subject=f"system:serviceaccount:{SYSTEM}:{name}")
        identity.assign("AcrPull", self.registry.id)
        identity.assign("basetracker operator", f"/subscriptions/{self.cloud.subscription}")
        token = self.cluster.user_token(name, OPERATORS)
        (home / "kubeconfig").write_text(yaml.safe_dump(self.cluster.kubeconfig(name, SYSTEM, token=token)))
        environ = self.cloud.environment(home, identity)
        self.cloud.federated_token(str(identity.subject), path=home / "token", seconds=1e6)  # kubelet renews it
        settings = {
            "allow_list": self.directory / "tasks.yaml",
            "ca_file": environ["SSL_CERT_FILE"],
            "lease_namespace": SYSTEM,
            "run_interval": "15s",
        }
        replica = Replica(name, self.loop, settings, home / "kubeconfig", environ, self.notices, self.gates)
        self.replicas.append(replica)
        return replica

    def holder(self) -> str:
        """The name of the replica that holds the Lease; empty for none."""
        lease = self.cluster.get("Lease", SYSTEM, "basetracker") or {}
        return str(lease.get("spec", {}).get("holderIdentity") or "").rpartition("_")[0]

    def leader(self) -> Replica | None:
        """The replica that holds the Lease, if it goes on."""
        name = self.holder()
        return next((one for one in self.replicas if one.name == name and one.works), None)


@asynccontextmanager
async def opened(loop: VirtualLoop, directory: Path, authority: Authority, rng: random.Random) -> AsyncIterator[Shop]:
    """A shop with nothing in it; at the end every replica is ended, dead ones too."""
    cloud = Cloud(
        authority=authority,
        clock=loop.utcnow,
        queue_seconds=10,
        start_seconds=5,
        run_seconds=30,
        tick_seconds=5,
    )
    cluster = Cluster(authority, resolve_image=cloud.resolve_image, clock=loop.utcnow, pod_start_seconds=5)
    notices = Notices(rng=random.Random(rng.random()))
    async with cloud, cluster:
        registry = cloud.add_azure_registry("contoso")
        cloud.add_open_registry(PUBLIC)
        await cluster.apply(*_installed(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        (directory / "tasks.yaml").write_text(yaml.safe_dump(ALLOWED))
        shop = Shop(
            loop=loop,
            cloud=cloud,
            cluster=cluster,
            registry=registry,
            directory=directory,
            rng=rng,
            notices=notices,
            gates=Gates(loop, random.Random(rng.random())),
        )
        try:
            yield shop
        finally:
            cloud.faults.clear()
            cluster.faults.clear()
            for replica in shop.replicas:
                await replica.ended()


def _installed() -> Iterator[Json]:
    """The installation, its rights given to the group of the replicas' users as well."""
    for item in installation():
        for subject in list(item.get("subjects") or ()):
            assert subject["name"] == "basetracker"
            group = {"kind": "Group", "name": OPERATORS, "apiGroup": "rbac.authorization.k8s.io"}
            item["subjects"].append(group)
        yield item
