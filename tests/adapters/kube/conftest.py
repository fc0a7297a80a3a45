"""What the tests of the Kubernetes adapters share: clocks, a scripted API server, and a cluster.

The cluster is the emulated one, or the real one that the kubeconfig in BASETRACKER_TEST_KUBECONFIG names. Tests that
need faults ask for `emulated` and are left out on a real one.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from aiohttp import web

from basetracker.adapters.kube import MERGE_PATCH, Json, Kube, path_of
from basetracker.adapters.kube_login import Login
from basetracker.adapters.workloads import ClusterWorkloads
from basetracker.demo.files import documents
from basetracker.errors import BasetrackerError, ConflictError

REAL = os.environ.get("BASETRACKER_TEST_KUBECONFIG")
CRD = "crds/baseimagetrackers.basetracker.dev.yaml"


class ScaledClock:
    """Real time, `speed` times faster; `skew` shifts the wall clock alone."""

    def __init__(self, speed: float = 1.0, skew: float = 0.0) -> None:
        self.speed = speed
        self.skew = skew

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self.skew, UTC)

    def monotonic(self) -> float:
        return time.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)


class SetClock:
    """A clock that stands until it is moved; sleeping moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(1_800_000_000 + self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> ScaledClock:
    return ScaledClock()


@pytest.fixture
def fast_clock() -> ScaledClock:
    return ScaledClock(speed=25)


@pytest.fixture
def set_clock() -> SetClock:
    return SetClock()


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Scripted:
    """An HTTP server that answers what a test says, for the answers that a sound API server doesn't give."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, Answer]] = []
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.url = ""

    def on(self, match: str, answer: Answer) -> None:
        """Answer requests whose `METHOD /path?query` matches; the latest rule wins."""
        self.answers.insert(0, (match, answer))

    def says(self, match: str, status: int, document: Any = None, **headers: str) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            if isinstance(document, str | bytes):
                return web.Response(status=status, body=document, headers=headers)
            return web.json_response(document, status=status, headers=headers)

        self.on(match, answer)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.json() if request.can_read_body else None)
        line = f"{request.method} {request.raw_path}"
        for match, answer in self.answers:
            if re.search(match, line):
                return await answer(request)
        return web.json_response({"message": f"nothing is said for {line}"}, status=404)


async def serve(scripted: Scripted, ssl_context: Any = None) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", scripted.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context).start()
    scripted.url = f"http{'s' if ssl_context else ''}://127.0.0.1:{runner.addresses[0][1]}"
    return runner


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    server = Scripted()
    runner = await serve(server)
    yield server
    await runner.cleanup()


@pytest.fixture
async def served() -> AsyncIterator[Callable[..., Awaitable[Scripted]]]:
    """Start further scripted servers, with TLS if a context is given."""
    runners = []

    async def start(ssl_context: Any = None) -> Scripted:
        server = Scripted()
        runners.append(await serve(server, ssl_context))
        return server

    yield start
    for runner in runners:
        await runner.cleanup()


def kubeconfig_of(url: str, user: Json | None = None, cluster: Json | None = None) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main", "namespace": "shop"}}],
        "clusters": [{"name": "main", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "main", "user": user or {"token": "token-0"}}],
    }


@pytest.fixture
def write_kubeconfig(tmp_path: Path) -> Callable[..., Path]:
    def write(url: str, user: Json | None = None, cluster: Json | None = None) -> Path:
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig_of(url, user, cluster)))
        return path

    return write


@pytest.fixture
async def scripted_kube(scripted: Scripted, write_kubeconfig: Callable[..., Path]) -> AsyncIterator[Kube]:
    async with Kube(Login(kubeconfig=write_kubeconfig(scripted.url))) as kube:
        yield kube


@dataclass
class World:
    """A cluster, a namespace of the test's own, an administrator's client and a counted one for the adapters."""

    kubeconfig: Path
    namespace: str
    admin: Kube
    kube: Kube
    counts: Counter[str]
    emulated: Any = None
    made: list[str] = field(default_factory=list)

    def path(self, api_version: str, plural: str, name: str = "", subresource: str = "") -> str:
        return path_of(api_version, plural, self.namespace, name, subresource)

    async def create(self, plural: str, document: Json) -> Json:
        path = self.path(document["apiVersion"], plural)
        return await self.admin.post(path, document, {"fieldManager": "kubectl-create"})

    async def merge(self, api_version: str, plural: str, name: str, change: Json, subresource: str = "") -> Json:
        path = self.path(api_version, plural, name, subresource)
        return await self.admin.patch(path, change, {"fieldManager": "somebody"}, content_type=MERGE_PATCH)

    async def get(self, api_version: str, plural: str, name: str) -> Json | None:
        return await self.admin.get(self.path(api_version, plural, name))

    async def delete(self, api_version: str, plural: str, name: str) -> None:
        response = await self.admin._send(_delete(self.path(api_version, plural, name)))
        response.close()
        assert response.status in (200, 202), response.status

    def writes(self) -> int:
        return sum(count for method, count in self.counts.items() if method.split()[0] != "GET")

    def requests(self) -> int:
        return sum(self.counts.values())


def _delete(path: str) -> Any:
    from basetracker.adapters.kube import _Request

    return _Request("DELETE", path, {"propagationPolicy": "Background"})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    cluster = None
    if REAL:
        kubeconfig = Path(REAL)
    else:
        from basetracker.emulators.authority import Authority
        from basetracker.emulators.cluster import Cluster

        async def resolve(image: str) -> str | None:
            return None if "missing" in image else "sha256:" + "0" * 64

        cluster = Cluster(Authority(), resolve_image=resolve, pod_start_seconds=0.05)
        await cluster.start()
        kubeconfig = tmp_path / "cluster.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(cluster.kubeconfig()))
    counts: Counter[str] = Counter()

    def count(method: str, status: int) -> None:
        counts[f"{method} {status}"] += 1

    admin, kube = Kube(Login(kubeconfig=kubeconfig)), Kube(Login(kubeconfig=kubeconfig), counted=count)
    namespace = f"t-{uuid4().hex[:8]}"
    await _prepare(admin, namespace)
    try:
        yield World(kubeconfig, namespace, admin, kube, counts, cluster)
    finally:
        if REAL:
            await admin._send(_delete(path_of("v1", "namespaces", name=namespace)))
        await admin.close()
        await kube.close()
        if cluster is not None:
            await cluster.stop()


async def _prepare(admin: Kube, namespace: str) -> None:
    await admin.post(
        path_of("v1", "namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    )
    crds = path_of("apiextensions.k8s.io/v1", "customresourcedefinitions")
    try:
        (definition,) = documents(CRD)
        await admin.post(crds, definition)
    except ConflictError:
        return
    for _ in range(100):
        try:
            if await admin.get(path_of("basetracker.dev/v1alpha1", "baseimagetrackers")) is not None:
                return
        except BasetrackerError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError("the CRD isn't served")


@pytest.fixture
def emulated(world: World) -> Any:
    """The emulated cluster, with its faults."""
    return world.emulated


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until it holds; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for knows no event
            await asyncio.sleep(0.01)


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    return until


IMAGE = "contoso.azurecr.io/shop/checkout:main@sha256:"


def deployment(name: str = "checkout", **containers: str) -> Json:
    containers = containers or {"app": IMAGE + "a" * 64}
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": key, "image": image} for key, image in containers.items()]},
            },
        },
    }


@pytest.fixture
def make_deployment() -> Callable[..., Json]:
    return deployment


def tracker(name: str = "python") -> Json:
    return {
        "apiVersion": "basetracker.dev/v1alpha1",
        "kind": "BaseImageTracker",
        "metadata": {"name": name},
        "spec": {
            "base": {"image": "contoso.azurecr.io/base/python:3.12"},
            "downstream": [{"name": "checkout", "image": "contoso.azurecr.io/shop/checkout:main"}],
        },
    }


@pytest.fixture
def make_tracker() -> Callable[..., Json]:
    return tracker


@pytest.fixture
def changes() -> Counter[tuple[str, str, str]]:
    return Counter()


@pytest.fixture
async def workloads(
    world: Any, clock: Any, changes: Counter[tuple[str, str, str]], request: pytest.FixtureRequest
) -> AsyncIterator[ClusterWorkloads]:
    def changed(namespace: str, kind: str, name: str) -> None:
        changes[namespace, kind, name] += 1

    wide = getattr(request, "param", False)
    adapter = ClusterWorkloads(world.kube, clock=clock, changed=changed, cluster_wide=wide)
    yield adapter
    await adapter.stop()
