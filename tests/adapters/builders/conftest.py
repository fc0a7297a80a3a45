"""ACR Tasks in an emulated Azure, and the builder that speaks to them through the product's own way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from basetracker.adapters.azure_identity import AzureSettings, azure_identity
from basetracker.adapters.builders.acr_tasks import AcrTasks
from basetracker.adapters.builders.arm import Arm
from basetracker.adapters.builders.arm_ids import RegistryId
from basetracker.adapters.host_limits import HostLimits
from basetracker.adapters.http import Http
from basetracker.api.tracker import AcrTask
from basetracker.core.observed import TaskRef
from basetracker.emulators import samples
from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.cloud import SUBSCRIPTION, Cloud
from basetracker.emulators.identities import Identity
from basetracker.emulators.tasks.definition import Task
from basetracker.emulators.timeline import ManualClock, utcnow
from basetracker.oci.refs import ImageRef, parse_image
from basetracker.ports import BuildRequest

BASE = "contoso.azurecr.io/base/python:3.12"
IMAGE = parse_image("contoso.azurecr.io/shop/checkout:main")


class Time:
    """The clock of a test: it moves when told to, and when somebody sleeps."""

    def __init__(self) -> None:
        self.manual = ManualClock(utcnow())  # Azure's clients judge a token's end by the real time
        self._start = self.manual.now

    def now(self) -> datetime:
        return self.manual.now

    def monotonic(self) -> float:
        return (self.manual.now - self._start).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.manual.advance(seconds)
        await asyncio.sleep(0)


@dataclass
class World:
    """The emulated Azure of a test, and the builder port on it."""

    cloud: Cloud
    time: Time
    contoso: AzureRegistry
    operator: Identity
    task: Task
    http: Http
    builder: AcrTasks
    ref: TaskRef

    def asked(self, pattern: str = "") -> list[str]:
        """Requests that the world's servers saw, as `METHOD host path -> status`."""
        return [str(one) for one in self.cloud.faults.asked(pattern)]

    async def pass_time(self, seconds: float) -> None:
        """Let time pass and everything that is due happen."""
        self.time.manual.advance(seconds)
        await self.cloud.settle()


def request(world: World, key: str = "build:contoso/build-checkout#1", **arguments: str) -> BuildRequest:
    """A request for a run of the task with these build arguments."""
    return BuildRequest(task=world.ref, key=key, arguments=tuple(arguments.items()))


def acr_task(name: str = "build-checkout", registry: str | None = None) -> AcrTask:
    """What a tracker says of its task."""
    return AcrTask.model_validate({"name": name, "registry": registry})


def based_on(reference: str, digest: str) -> ImageRef:
    """The reference with this digest."""
    return parse_image(f"{reference}@{digest}")


def make_builder(
    cloud: Cloud, time: Time, http: Http, directory: Path, identity: Identity | None, *, search: bool = False
) -> AcrTasks:
    """A builder of this identity; with `search` it has to find the subscriptions itself."""
    variables = cloud.environment(directory, identity)
    own = azure_identity(AzureSettings.from_environment(variables), http)
    return AcrTasks(Arm(http, own), time, subscriptions=() if search else (SUBSCRIPTION,))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A registry `contoso` with a base, a task `build-checkout`, and an identity that may run it."""
    time = Time()
    cloud = Cloud(clock=time.manual, queue_seconds=5, start_seconds=5, run_seconds=20)
    contoso = cloud.add_azure_registry("contoso")
    cloud.push(BASE, samples.python_index())
    task = cloud.tasks.add("build-checkout", contoso, image="shop/checkout:main", base=BASE)
    operator = cloud.add_identity("operator", subject="system:serviceaccount:basetracker:operator")
    operator.assign("basetracker operator", contoso.id)
    async with cloud:
        http = Http(
            time,
            limits=HostLimits(time, rate=1_000, burst=1_000),
            ca_bundle=str(cloud.authority.write(tmp_path / "ca.pem")),
            proxies={"https": cloud.proxy_url},
        )
        builder = make_builder(cloud, time, http, tmp_path, operator)
        ref = TaskRef(str(RegistryId.parse(contoso.id)), "build-checkout")
        yield World(cloud, time, contoso, operator, task, http, builder, ref)
        await builder.close()
        await http.close()
