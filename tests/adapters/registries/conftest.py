"""Registries of every kind in one emulated world, read through the product's own way out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from basetracker.adapters.azure_identity import AzureIdentity, AzureSettings, azure_identity
from basetracker.adapters.host_limits import HostLimits
from basetracker.adapters.http import Http
from basetracker.adapters.registries.oci import OciRegistry
from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.cloud import Cloud
from basetracker.emulators.identities import Identity
from basetracker.emulators.images import Image, Index
from basetracker.emulators.timeline import ManualClock, utcnow
from basetracker.oci.refs import Digest, ImageRef, parse_image
from basetracker.ports import Credential

USER = Credential(username="reader", password="a-password-of-nobody")
REPOSITORY = "base/python"


class Time:
    """The clock of a test: it moves when told to, and when somebody sleeps."""

    def __init__(self) -> None:
        self.manual = ManualClock(utcnow())  # Azure's clients judge a token's end by the real time
        self._start = self.manual.now
        self.slept = 0.0

    def now(self) -> datetime:
        return self.manual.now

    def monotonic(self) -> float:
        return (self.manual.now - self._start).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.manual.advance(seconds)
        await asyncio.sleep(0)


@dataclass
class World:
    """The emulated world of a test and how the product sees it."""

    cloud: Cloud
    time: Time
    directory: Path
    contoso: AzureRegistry
    operator: Identity
    outcomes: Counter[str] = field(default_factory=Counter)
    _open: list[Callable[[], object]] = field(default_factory=list)

    def http(self, *, trusting: bool = True, timeout: float = 30.0, rate: float = 1_000.0) -> Http:
        """A way out that goes through the world's proxy."""

        def count(host: str, outcome: str) -> None:
            self.outcomes[f"{host} {outcome}"] += 1

        ca = self.cloud.authority.write(self.directory / "ca.pem")
        http = Http(
            self.time,
            limits=HostLimits(self.time, rate=rate, burst=1_000 if rate >= 1_000 else 20),
            ca_bundle=str(ca) if trusting else None,
            timeout=timeout,
            proxies={"https": self.cloud.proxy_url},
            count=count,
        )
        self._open.append(http.close)
        return http

    def identity(self, http: Http, identity: Identity | None = None) -> AzureIdentity:
        """The operator's Azure identity by workload identity."""
        variables = self.cloud.environment(self.directory, identity or self.operator)
        found = azure_identity(AzureSettings.from_environment(variables), http)
        assert found is not None
        return found

    def reader(self, *, azure: bool = True, http: Http | None = None, cache_size: int = 2_000) -> OciRegistry:
        """The registry port; with `azure` it has the operator's identity."""
        http = http or self.http()
        identity = self.identity(http) if azure else None
        return OciRegistry(http, self.time, identity=identity, cache_size=cache_size)

    def push(self, reference: str, image: Image | Index) -> ImageRef:
        """Push, and answer the reference with the digest."""
        return parse_image(reference).pinned(Digest(self.cloud.push(reference, image)))

    def asked(self, pattern: str = "") -> list[str]:
        """Requests that the world's servers saw, as `METHOD host path -> status`."""
        return [str(one) for one in self.cloud.faults.asked(pattern)]

    async def close(self) -> None:
        for close in self._open:
            await close()  # type: ignore[misc]  # every one of them is a coroutine function


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An Azure registry `contoso`, whose content an identity may pull, and nothing else yet."""
    time = Time()
    cloud = Cloud(clock=time.manual)
    contoso = cloud.add_azure_registry("contoso")
    operator = cloud.add_identity("operator", subject="system:serviceaccount:basetracker:operator")
    operator.assign("AcrPull", contoso.id)
    async with cloud:
        world = World(cloud, time, tmp_path, contoso, operator)
        yield world
        await world.close()


@dataclass
class Kind:
    """A registry of one kind with the way that it is read."""

    name: str
    host: str
    azure: bool
    credential: Credential | None
    warm_up: int
    """The most requests that the first look at a tag may take, at all hosts but Entra."""
    guarded: bool = True


def add_kind(world: World, name: str) -> Kind:
    """Set up the registry of this kind."""
    cloud = world.cloud
    match name:
        case "acr-entra":
            return Kind(name, world.contoso.host, True, None, 4)
        case "acr-repository-roles":
            world.contoso.access.abac = True
            world.operator.unassign("AcrPull")
            world.operator.assign("Container Registry Repository Reader", world.contoso.id, "base/*")
            return Kind(name, world.contoso.host, True, None, 4)
        case "acr-user":
            world.contoso.access.accounts[USER.username] = USER.password
            cloud.ledger.issue(USER.password, "password", {world.contoso.host})
            return Kind(name, world.contoso.host, True, USER, 4)
        case "acr-anonymous":
            world.contoso.access.anonymous_pull = True
            return Kind(name, world.contoso.host, False, None, 4)
        case "bearer-user":
            cloud.add_token_registry("registry.example.com", "auth.example.com", {USER.username: USER.password})
            return Kind(name, "registry.example.com", True, USER, 4)
        case "bearer-anonymous":
            registry = cloud.add_token_registry("registry.example.com", "auth.example.com", {})
            registry.access.anonymous_pull = True
            return Kind(name, "registry.example.com", True, None, 4)
        case "basic":
            cloud.add_basic_registry("basic.example.com", {USER.username: USER.password})
            return Kind(name, "basic.example.com", True, USER, 2)
        case "open":
            cloud.add_open_registry("open.example.com")
            return Kind(name, "open.example.com", True, None, 1, guarded=False)
        case _:
            raise KeyError(name)


KINDS = [
    "acr-entra",
    "acr-repository-roles",
    "acr-user",
    "acr-anonymous",
    "bearer-user",
    "bearer-anonymous",
    "basic",
    "open",
]
GUARDED = [name for name in KINDS if name != "open"]


@pytest.fixture(params=KINDS)
def kind(world: World, request: pytest.FixtureRequest) -> Kind:
    """A registry of every kind in turn."""
    return add_kind(world, request.param)
