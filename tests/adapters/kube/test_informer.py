"""The cache under cut watches, forgotten versions, restarts and refusals: nothing is lost, nothing is told twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from basetracker.adapters.informer import Informer
from basetracker.adapters.projection import KINDS, project
from basetracker.adapters.workloads import ClusterWorkloads, _differs
from basetracker.core.observed import Workload
from basetracker.emulators.cluster import Fault
from basetracker.errors import DeniedError, UnavailableError

DEPLOYMENT = KINDS["Deployment"]
Make = Callable[..., dict[str, Any]]
Eventually = Callable[..., Awaitable[None]]


class Cache:
    """An informer on Deployments that runs, with what it told."""

    def __init__(self, kube: Any, path: str, clock: Any) -> None:
        self.told: Counter[str] = Counter()
        self.informer: Informer[Workload] = Informer(
            kube,
            path,
            project=lambda document: project(DEPLOYMENT, document),
            differs=_differs,
            changed=lambda _, name: self.told.update([name]),
            clock=clock,
        )
        self.task: asyncio.Task[None] = asyncio.create_task(self.informer.run())

    @property
    def names(self) -> set[str]:
        return {name for _, name in self.informer.items}

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Cache]]:
    caches: list[Cache] = []

    def begin(kube: Any, path: str, clock: Any) -> Cache:
        caches.append(Cache(kube, path, clock))
        return caches[-1]

    yield begin
    for cache in caches:
        await cache.stop()


@pytest.fixture
async def cache(
    world: Any, clock: Any, start: Callable[..., Cache], make_deployment: Make, eventually: Eventually
) -> Cache:
    """A cache that has seen the Deployments `one` and `two`, whose controller has nothing more to do."""
    for name in ("one", "two"):
        document = make_deployment(name)
        document["spec"]["replicas"] = 0
        await world.create("deployments", document)
    running = start(world.kube, DEPLOYMENT.path(world.namespace), clock)
    await running.informer.synced.wait()
    await eventually(lambda: all(one.rollout.observed_generation == 1 for one in running.informer.items.values()))
    await asyncio.sleep(0.5)
    running.told.clear()
    world.counts.clear()
    return running


async def pause(world: Any, name: str) -> None:
    await world.merge("apps/v1", "deployments", name, {"spec": {"paused": True}})


def is_paused(cache: Cache, world: Any, name: str) -> Callable[[], bool]:
    return lambda: cache.informer.items[world.namespace, name].rollout.paused


async def test_a_cut_watch_goes_on_where_it_was(
    world: Any, cache: Cache, emulated: Any, eventually: Eventually
) -> None:
    assert emulated.drop_watches() >= 1
    await pause(world, "one")
    await eventually(is_paused(cache, world, "one"))
    lists = [one for one in emulated.requests if one.path.endswith("/deployments") and "limit" in one.query]
    assert len(lists) == 1, "no list but the first"
    assert set(cache.told) == {"one"}


async def test_a_forgotten_version_is_listed_anew_and_lost_deletions_are_found(
    world: Any, cache: Cache, emulated: Any, eventually: Eventually, make_deployment: Make
) -> None:
    emulated.faults.append(Fault(match="GET /apis/apps/.*watch=true", times=None, status=503))
    emulated.drop_watches()
    await world.delete("apps/v1", "deployments", "two")
    await world.create("deployments", make_deployment("three"))
    emulated.compact()
    emulated.faults.clear()
    await eventually(lambda: cache.names == {"one", "three"})
    assert cache.told["two"] == 1
    assert "one" not in cache.told, "what is as it was isn't told"
    await pause(world, "one")
    await eventually(is_paused(cache, world, "one"))


async def test_a_server_that_restarts_is_found_again(
    world: Any, cache: Cache, emulated: Any, eventually: Eventually
) -> None:
    await emulated.restart()
    await pause(world, "two")
    await eventually(is_paused(cache, world, "two"))
    assert set(cache.told) == {"two"}
    assert cache.informer.problem is None


async def test_refusals_are_outlived_and_told_by_their_kind(
    world: Any, cache: Cache, emulated: Any, eventually: Eventually
) -> None:
    denied = b'{"message": "forbidden: User \\"x\\" cannot watch resource"}'
    emulated.faults.append(Fault(match="GET /apis/apps/.*watch=true", times=None, status=403, body=denied))
    emulated.drop_watches()
    await eventually(lambda: isinstance(cache.informer.problem, DeniedError))
    assert cache.names == {"one", "two"}, "what is known stays known"
    emulated.faults.clear()
    await pause(world, "one")
    await eventually(is_paused(cache, world, "one"))
    assert cache.informer.problem is None


async def test_a_quiet_cluster_costs_one_watch(world: Any, cache: Cache) -> None:
    await asyncio.sleep(1)
    assert (dict(world.counts), dict(cache.told)) == ({}, {})
    assert world.writes() == 0


def item(name: str, version: int, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "uid": name, "resourceVersion": str(version)}, "spec": spec}


class Feed:
    """A scripted list with a watch that a test feeds, line by line."""

    def __init__(self, scripted: Any, *items: dict[str, Any]) -> None:
        self.items = list(items)
        self.version = "10"
        self.lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.lists = 0
        self.watches: list[str] = []
        scripted.on("GET", self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.lists += 1
            return web.json_response({"metadata": {"resourceVersion": self.version}, "items": self.items})
        self.watches.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        while (line := await self.lines.get()) is not None:
            await response.write(json.dumps(line).encode() + b"\n")
        return response

    def send(self, kind: str, document: dict[str, Any]) -> None:
        self.lines.put_nowait({"type": kind, "object": document})

    def end(self) -> None:
        self.lines.put_nowait(None)


PATH = "/apis/apps/v1/namespaces/shop/deployments"


async def test_bookmarks_move_the_place_where_a_watch_goes_on(
    scripted: Any, scripted_kube: Any, start: Callable[..., Cache], fast_clock: Any, eventually: Eventually
) -> None:
    feed = Feed(scripted, item("one", 5))
    cache = start(scripted_kube, PATH, fast_clock)
    feed.send("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
    feed.end()
    await eventually(lambda: len(feed.watches) == 2)
    assert (feed.watches, feed.lists, dict(cache.told)) == (["10", "40"], 1, {})


async def test_old_news_is_no_news(
    scripted: Any, scripted_kube: Any, start: Callable[..., Cache], fast_clock: Any, eventually: Eventually
) -> None:
    feed = Feed(scripted, item("one", 9, replicas=3))
    cache = start(scripted_kube, PATH, fast_clock)
    feed.send("MODIFIED", item("one", 8, replicas=1))
    late = item("one", 9)
    late["metadata"]["uid"] = "an earlier one"
    feed.send("DELETED", late)
    feed.send("MODIFIED", item("one", 12, replicas=5))
    feed.send("DELETED", item("one", 13))
    await eventually(lambda: cache.told["one"] == 2)
    assert cache.names == set()


async def test_an_answer_to_a_write_is_ahead_of_the_watch(
    scripted: Any, scripted_kube: Any, start: Callable[..., Cache], fast_clock: Any, eventually: Eventually
) -> None:
    feed = Feed(scripted, item("one", 9, replicas=1))
    cache = start(scripted_kube, PATH, fast_clock)
    await cache.informer.synced.wait()
    cache.informer.adopt(item("one", 20, replicas=2))
    assert cache.told["one"] == 1
    feed.send("MODIFIED", item("one", 15, replicas=7))
    feed.send("MODIFIED", item("one", 20, replicas=2))
    feed.send("ADDED", item("two", 21))
    await eventually(lambda: cache.told["two"] == 1)
    assert cache.told["one"] == 1
    cache.informer.adopt(item("unknown", 30))
    assert cache.names == {"one", "two"}, "what the watch doesn't know may be gone already"


async def test_one_object_that_cannot_be_read_does_not_end_the_cache(
    scripted: Any, scripted_kube: Any, start: Callable[..., Cache], fast_clock: Any, eventually: Eventually
) -> None:
    broken = item("broken", 4)
    broken["spec"] = {"template": {"spec": {"containers": [3]}}}
    feed = Feed(scripted, broken, item("one", 5))
    cache = start(scripted_kube, PATH, fast_clock)
    feed.send("MODIFIED", {"metadata": {"name": "nameless", "resourceVersion": "11"}, "spec": [1]})
    feed.send("ADDED", item("two", 12))
    await eventually(lambda: cache.names >= {"one", "two"})
    assert "broken" not in cache.names


async def test_a_410_leads_to_a_list_and_a_diff(
    scripted: Any, scripted_kube: Any, start: Callable[..., Cache], fast_clock: Any, eventually: Eventually
) -> None:
    feed = Feed(scripted, item("one", 5, replicas=1), item("two", 6))
    cache = start(scripted_kube, PATH, fast_clock)
    await cache.informer.synced.wait()
    feed.items, feed.version = [item("one", 5, replicas=1), item("three", 33)], "40"
    feed.send("ERROR", {"code": 410, "message": "too old resource version: 10 (39)"})
    feed.end()
    await eventually(lambda: cache.names == {"one", "three"})
    await eventually(lambda: len(feed.watches) == 2)
    assert dict(cache.told) == {"two": 1, "three": 1}
    assert (feed.watches, feed.lists) == (["10", "40"], 2)


async def test_watches_that_end_at_once_are_not_begun_in_a_tight_loop(
    scripted: Any, scripted_kube: Any, start: Callable[..., Cache], clock: Any
) -> None:
    feed = Feed(scripted)
    for _ in range(1000):
        feed.end()
    start(scripted_kube, PATH, clock)
    await asyncio.sleep(1)
    assert 1 <= len(feed.watches) <= 6


async def test_a_cache_without_contact_for_a_minute_is_not_believed(
    scripted: Any, scripted_kube: Any, fast_clock: Any, eventually: Eventually
) -> None:
    feed = Feed(scripted, item("one", 5))
    adapter = ClusterWorkloads(scripted_kube, clock=fast_clock, changed=lambda *_: None, cluster_wide=False)
    try:
        assert await adapter.find("shop", "Deployment", "one") is not None
        await eventually(lambda: len(feed.watches) == 1)
        scripted.says("GET", 503, {"message": "down"})
        feed.end()
        informer = adapter._informers["shop", "Deployment"]
        await eventually(lambda: informer.problem is not None)
        assert await adapter.find("shop", "Deployment", "one") is not None, "a short trouble is bridged"
        await eventually(lambda: informer.troubled_for() > 60)
        with pytest.raises(UnavailableError, match="down"):
            await adapter.find("shop", "Deployment", "one")
        scripted.on("GET", feed.answer)
        await eventually(lambda: informer.problem is None)
        assert await adapter.find("shop", "Deployment", "one") is not None
    finally:
        await adapter.stop()
