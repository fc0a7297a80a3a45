"""kopf logs in with our connection, and what it sees fills the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import kopf

from basetracker.adapters.trackers import TrackerStore
from basetracker.api.tracker import Key

API = "basetracker.dev/v1alpha1"
PLURAL = "baseimagetrackers"


async def test_what_kopf_sees_fills_the_store(
    world: Any, make_tracker: Callable[..., dict[str, Any]], eventually: Callable[..., Awaitable[None]]
) -> None:
    store, pokes, logins = TrackerStore(world.kube), [], []
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        logins.append(1)
        return kopf.ConnectionInfo(**asdict(await world.kube.connection()))

    @kopf.on.event(API, PLURAL, registry=registry)
    async def sighted(type: str, body: Any, name: str, uid: str, **_: Any) -> None:
        key = Key(namespace=world.namespace, name=name)
        if store.gone(key, uid) if type == "DELETED" else store.seen(body):
            pokes.append(name)

    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    stop = asyncio.Event()
    running = asyncio.create_task(
        kopf.operator(
            registry=registry, settings=settings, namespaces=[world.namespace], stop_flag=stop, standalone=True
        )
    )
    try:
        await world.create(PLURAL, make_tracker())
        await eventually(lambda: pokes == ["python"])
        await world.merge(API, PLURAL, "python", {"metadata": {"labels": {"a": "b"}}})
        await world.merge(API, PLURAL, "python", {"spec": {"suspend": True}})
        await eventually(lambda: len(pokes) == 2)
        await world.delete(API, PLURAL, "python")
        await eventually(lambda: len(pokes) == 3)
        assert store.keys() == ()
        assert logins == [1]
    finally:
        stop.set()
        await asyncio.wait({running})
