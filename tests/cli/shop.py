"""A shop in an emulated cluster and an emulated Azure, and the real commands run as child processes beside it.

The emulators answer in this process while a command runs in its own, as it does on a person's machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from basetracker.demo.files import documents
from basetracker.emulators import samples
from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.authority import Authority
from basetracker.emulators.cloud import Cloud
from basetracker.emulators.cluster import Cluster
from basetracker.emulators.identities import Identity
from basetracker.emulators.images import build_on
from basetracker.emulators.tasks.definition import Task
from basetracker.emulators.timeline import ManualClock, utcnow

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
CRD = "crds/baseimagetrackers.basetracker.dev.yaml"
PROGRAM = str(Path(sys.executable).with_name("basetracker"))
BASE = "contoso.azurecr.io/base/python:3.12"
CHECKOUT = "contoso.azurecr.io/shop/checkout:main"
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def plain_environment() -> dict[str, str]:
    """The environment without anything that would lead a command elsewhere."""
    foreign = ("BASETRACKER_", "AZURE_", "KUBE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}


async def run(*arguments: str, environment: Mapping[str, str] | None = None, stdin: bytes | None = None) -> Ran:
    """Run `basetracker` with these arguments; `environment` is added to a plain one."""
    child = await asyncio.create_subprocess_exec(
        PROGRAM,
        *arguments,
        env=plain_environment() | dict(environment or {}),
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await child.communicate(stdin)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode is not None
    return Ran(child.returncode, out.decode(), err.decode())


def tracker(name: str = "python", *, base: str = BASE, image: str = CHECKOUT, **spec: Any) -> Json:
    """A tracker of the namespace shop with one image, its task and its Deployment."""
    item: Json = {
        "name": "checkout",
        "image": image,
        "build": {"acrTask": {"name": "build-checkout", "baseArgument": "BASE_IMAGE"}},
        "deploy": [{"kind": "Deployment", "name": "checkout"}],
    }
    return {
        "apiVersion": "basetracker.dev/v1alpha1",
        "kind": "BaseImageTracker",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"base": {"image": base}, "downstream": [item]} | spec,
    }


def deployment(image: str, name: str = "checkout") -> Json:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}},
        },
    }


@dataclass
class Shop:
    """The emulated world with its one image, built on the base, and what a person has at hand."""

    cloud: Cloud
    cluster: Cluster
    clock: ManualClock
    contoso: AzureRegistry
    task: Task
    person: Identity
    directory: Path
    base_digest: str
    image_digest: str
    environment: dict[str, str] = field(default_factory=dict)

    def write_kubeconfig(self, name: str = "kubeconfig", *, token: str | None = None, namespace: str = "shop") -> Path:
        path = self.directory / name
        path.write_text(yaml.safe_dump(self.cluster.kubeconfig(namespace=namespace, token=token)))
        return path

    async def run(self, *arguments: str, azure: bool = True, **options: Any) -> Ran:
        """Run a command with the person's kubeconfig and, if so, Azure credentials."""
        environment = self.environment | {"KUBECONFIG": str(self.directory / "kubeconfig")}
        if not azure:
            environment = {key: value for key, value in environment.items() if not key.startswith("AZURE_")}
        return await run(*arguments, environment=environment | options.pop("environment", {}), **options)

    def move_base(self, version: str = "3.12.12") -> str:
        """Another image under the base's tag; its digest."""
        return self.cloud.push(BASE, samples.python(version))

    async def set_status(self, status: Json, name: str = "python") -> None:
        await self.cluster.patch("BaseImageTracker", "shop", name, {"status": status}, status=True)

    def writes(self) -> list[str]:
        """Every request that could change something, but for those by which one gets a token."""
        cluster = [f"{one.method} {one.path}" for one in self.cluster.requests if one.method != "GET"]
        cloud = [
            str(one)
            for one in self.cloud.faults.log
            if one.method not in {"GET", "HEAD"} and "/oauth2/" not in one.path and "/token" not in one.path
        ]
        return cluster + cloud


@asynccontextmanager
async def open_shop(directory: Path) -> AsyncIterator[Shop]:
    """A shop whose image is current, with no tracker yet."""
    authority, clock = Authority(), ManualClock(utcnow())
    cloud = Cloud(authority=authority, clock=clock, queue_seconds=5, start_seconds=5, run_seconds=20)
    contoso = cloud.add_azure_registry("contoso")
    base = samples.python("3.12.11")
    base_digest = cloud.push(BASE, base)
    image_digest = cloud.push(CHECKOUT, build_on(base, *samples.application("checkout")))
    task = cloud.tasks.add("build-checkout", contoso, image="shop/checkout:main", base=BASE)
    person = cloud.add_identity("person")
    person.assign("AcrPull", contoso.id)
    person.assign("basetracker operator", contoso.id)
    cluster = Cluster(authority, resolve_image=cloud.resolve_image, pod_start_seconds=0.01)
    async with cloud, cluster:
        await cluster.apply(*documents(CRD))
        await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        await cluster.apply(deployment(f"{CHECKOUT}@{image_digest}"))
        found = Shop(cloud, cluster, clock, contoso, task, person, directory, base_digest, image_digest)
        found.environment = cloud.environment(directory, person)
        found.write_kubeconfig()
        yield found
