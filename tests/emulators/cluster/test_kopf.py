"""kopf runs on the emulated cluster as on a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import kopf

from basetracker.emulators.cluster import Cluster

from .api import Api
from .conftest import Place, widget

GROUP, VERSION, PLURAL = "test.basetracker.dev", "v1alpha1", "widgets"


@asynccontextmanager
async def _operator(cluster: Cluster, registry: kopf.OperatorRegistry, namespace: str) -> AsyncIterator[None]:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        found = cluster.kubeconfig()["clusters"][0]["cluster"]
        return kopf.ConnectionInfo(
            server=cluster.url, ca_data=found["certificate-authority-data"], token=cluster.admin_token
        )

    stop = asyncio.Event()
    ready = asyncio.Event()
    running = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=settings,
            namespaces=[namespace],
            standalone=True,
            stop_flag=stop,
            ready_flag=ready,
        )
    )
    try:
        await asyncio.wait_for(ready.wait(), 20)
        yield
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(running, return_exceptions=True), 20)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # what is waited for is the state of a server
            await asyncio.sleep(0.02)


async def test_kopf_sees_every_change(cluster: Cluster, api: Api, widgets: Place) -> None:
    registry, seen = kopf.OperatorRegistry(), []

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def note(event: Any, name: str, **_: Any) -> None:
        seen.append((event["type"], name))

    (await api.post(widgets.widgets, widget("before"))).expect(201)
    async with _operator(cluster, registry, widgets.name):
        await _until(lambda: (None, "before") in seen)
        (await api.post(widgets.widgets, widget("after"))).expect(201)
        await _until(lambda: ("ADDED", "after") in seen)
        (await api.patch(f"{widgets.widgets}/after", {"spec": {"replicas": 3}})).expect(200)
        await _until(lambda: ("MODIFIED", "after") in seen)
        cluster.drop_watches()
        (await api.delete(f"{widgets.widgets}/after")).expect(200)
        await _until(lambda: ("DELETED", "after") in seen)
    assert seen.count(("ADDED", "after")) == 1


async def test_kopf_relists_when_its_version_has_expired(cluster: Cluster, api: Api, widgets: Place) -> None:
    registry, seen = kopf.OperatorRegistry(), []

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def note(event: Any, name: str, **_: Any) -> None:
        seen.append((event["type"], name))

    async with _operator(cluster, registry, widgets.name):
        (await api.post(widgets.widgets, widget("one"))).expect(201)
        await _until(lambda: bool(seen))
        seen.clear()
        (await api.post(widgets.core("configmaps"), {"metadata": {"name": "gap"}})).expect(201)
        cluster.compact()
        cluster.drop_watches()
        await _until(lambda: (None, "one") in seen)


async def test_kopf_handles_creation_once_and_cleans_up(cluster: Cluster, api: Api, widgets: Place) -> None:
    registry, calls = kopf.OperatorRegistry(), []

    @kopf.on.create(GROUP, VERSION, PLURAL, registry=registry)
    async def create(name: str, patch: kopf.Patch, **_: Any) -> None:
        calls.append(("create", name))
        patch.status["replicas"] = 1

    @kopf.on.delete(GROUP, VERSION, PLURAL, registry=registry)
    async def delete(name: str, **_: Any) -> None:
        calls.append(("delete", name))

    async with _operator(cluster, registry, widgets.name):
        (await api.post(widgets.widgets, widget("one"))).expect(201)
        path = f"{widgets.widgets}/one"
        held = await api.until(path, lambda body, status: body.get("status", {}).get("replicas") == 1)
        assert held["metadata"]["finalizers"]
        (await api.delete(path)).expect(200)
        await api.until(path, lambda body, status: status == 404)
    assert calls == [("create", "one"), ("delete", "one")]
