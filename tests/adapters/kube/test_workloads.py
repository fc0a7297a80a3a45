"""Reading workloads from the cache that a watch fills."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from basetracker.adapters.workloads import ClusterWorkloads
from basetracker.errors import (
    DeniedError,
    UnavailableError,
)

from .delivering import APPS, NEW, OLD, REPOSITORY, Eventually, Make, delivery, found, settled


async def test_our_own_write_is_known_before_the_watch_tells_of_it(
    scripted: Any, scripted_kube: Any, clock: Any, make_deployment: Make
) -> None:
    before = make_deployment(app=f"{REPOSITORY}:main@{OLD}")
    before["metadata"] |= {"namespace": "shop", "uid": "u", "resourceVersion": "5"}
    after = make_deployment(app=f"{REPOSITORY}:main@{NEW}")
    after["metadata"] |= {"namespace": "shop", "uid": "u", "resourceVersion": "6"}

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    scripted.says("GET", 200, {"metadata": {"resourceVersion": "5"}, "items": [before]})
    scripted.on("watch=true", silent)
    scripted.says("PATCH", 200, after)
    told: list[str] = []
    adapter = ClusterWorkloads(
        scripted_kube, clock=clock, changed=lambda _, __, name: told.append(name), cluster_wide=False
    )
    try:
        workload = await adapter.find("shop", "Deployment", "checkout")
        assert workload is not None
        stored = await adapter.deliver(delivery(workload))
        assert await adapter.find("shop", "Deployment", "checkout") == stored
        assert stored.containers[0].image.endswith(str(NEW))
        assert told == ["checkout"], "other trackers of the workload hear of it"
    finally:
        await adapter.stop()


async def test_an_unchanged_cluster_costs_nothing(
    world: Any,
    workloads: ClusterWorkloads,
    make_deployment: Make,
    eventually: Eventually,
    changes: Counter[tuple[str, str, str]],
) -> None:
    await world.create("deployments", make_deployment())
    await settled(workloads, world, eventually)
    world.counts.clear()
    changes.clear()
    for _ in range(200):
        await found(workloads, world)
        assert await workloads.find(world.namespace, "Deployment", "absent") is None
    assert (dict(world.counts), dict(changes)) == ({}, {})


async def test_changes_are_told_once_and_only_when_they_matter(
    world: Any,
    workloads: ClusterWorkloads,
    make_deployment: Make,
    eventually: Eventually,
    changes: Counter[tuple[str, str, str]],
) -> None:
    await world.create("deployments", make_deployment())
    before = await settled(workloads, world, eventually)
    key = (world.namespace, "Deployment", "checkout")
    changes.clear()
    await world.merge(*APPS, {"metadata": {"labels": {"a": "b"}}})
    informer = workloads._informers[world.namespace, "Deployment"]
    await eventually(lambda: informer.items[key[0], "checkout"].resource_version != before.resource_version)
    assert not changes, "a label is none of our business"
    await world.merge(*APPS, {"spec": {"paused": True}})
    await eventually(lambda: changes[key] > 0)
    changes.clear()
    await world.delete(*APPS)
    await eventually(lambda: (key[0], "checkout") not in informer.items)
    assert await workloads.find(world.namespace, "Deployment", "checkout") is None
    assert changes[key] >= 1


async def test_the_writer_of_an_override_is_known(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    await world.create("deployments", make_deployment())
    stored = await workloads.deliver(delivery(await settled(workloads, world, eventually)))
    assert stored.containers[0].writer == "basetracker"
    await asyncio.sleep(1.1)  # managed fields tell time by the second
    containers = [{"name": "app", "image": "other:1"}]
    await world.merge(*APPS, {"spec": {"template": {"spec": {"containers": containers}}}})
    informer = workloads._informers[world.namespace, "Deployment"]
    await eventually(lambda: informer.items[world.namespace, "checkout"].containers[0].image == "other:1")
    assert (await found(workloads, world)).containers[0].writer == "somebody"


@pytest.mark.parametrize("workloads", [True], indirect=True)
async def test_one_watch_serves_the_whole_cluster(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make
) -> None:
    await world.create("deployments", make_deployment())
    await found(workloads, world)
    assert await workloads.find("elsewhere", "Deployment", "checkout") is None
    workloads.start(["a", "b"])
    workloads.retain([])
    await found(workloads, world)
    assert len(workloads._tasks) == 1
    assert world.requests() <= 2 + 1  # list and watch; one more page on a large cluster


async def test_namespaces_are_watched_as_long_as_they_are_needed(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    await world.create("deployments", make_deployment())
    assert workloads.is_synced()
    workloads.start([world.namespace, "other"])
    await eventually(workloads.is_synced)
    tasks = dict(workloads._tasks)
    workloads.retain([world.namespace])
    await eventually(tasks["other", "Deployment"].done)
    assert not tasks[world.namespace, "Deployment"].done()
    world.counts.clear()
    await found(workloads, world)
    assert world.requests() == 0
    assert workloads.silent_for() < 60


async def test_a_cache_that_may_not_list_says_so(scripted: Any, scripted_kube: Any, fast_clock: Any) -> None:
    scripted.says("GET", 403, {"message": 'forbidden: User "x" cannot list resource "deployments"'})
    adapter = ClusterWorkloads(scripted_kube, clock=fast_clock, changed=lambda *_: None, cluster_wide=False)
    try:
        with pytest.raises(DeniedError, match="cannot list"):
            await adapter.find("shop", "Deployment", "checkout")
    finally:
        await adapter.stop()


async def test_a_cache_that_is_slow_is_waited_for_and_then_given_up(
    scripted: Any, scripted_kube: Any, fast_clock: Any, eventually: Eventually, make_deployment: Make
) -> None:
    gate = asyncio.Event()
    document = make_deployment()
    document["metadata"] |= {"namespace": "shop", "uid": "u", "resourceVersion": "5"}
    told: list[str] = []

    async def slow(request: Any) -> Any:
        if "watch" in request.query:
            await asyncio.sleep(5)
        await gate.wait()
        return web.json_response({"metadata": {"resourceVersion": "9"}, "items": [document]})

    scripted.on("GET", slow)
    adapter = ClusterWorkloads(
        scripted_kube, clock=fast_clock, changed=lambda _, __, name: told.append(name), cluster_wide=False
    )
    try:
        with pytest.raises(UnavailableError, match="aren't listed yet"):
            await adapter.find("shop", "Deployment", "checkout")
        gate.set()
        await eventually(lambda: told == ["checkout"])
        assert await adapter.find("shop", "Deployment", "checkout") is not None
    finally:
        await adapter.stop()
