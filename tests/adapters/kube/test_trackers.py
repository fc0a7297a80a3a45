"""The store of trackers, and the one write to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from basetracker.adapters.fence import FencedError
from basetracker.adapters.trackers import TrackerStore
from basetracker.api.status import LastHandled, Status
from basetracker.api.tracker import Key
from basetracker.errors import ConflictError, MissingError, UnavailableError

API = "basetracker.dev/v1alpha1"
PLURAL = "baseimagetrackers"
Make = Callable[..., dict[str, Any]]


def body(name: str = "python", version: str = "10", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": "u1", "generation": 1, "resourceVersion": version}
        | metadata,
        "spec": {"base": {"image": "a.io/b:1"}, "downstream": [{"name": "c", "image": "a.io/c:1"}]},
    }


KEY = Key(namespace="shop", name="python")
OTHER = Key(namespace="shop", name="other")


@pytest.fixture
def store(scripted_kube: Any) -> TrackerStore:
    return TrackerStore(scripted_kube)


def test_only_what_asks_for_a_turn_calls_for_one(store: TrackerStore) -> None:
    assert store.seen(body())
    assert not store.seen(body()), "a replay"
    assert not store.seen(body(version="11") | {"status": {"observedGeneration": 1}}), "our own status"
    assert not store.seen(body(version="12", labels={"a": "b"}))
    assert store.seen(body(version="13", generation=2))
    assert store.seen(body(version="14", generation=2, annotations={"basetracker.dev/requested-at": "1"}))
    assert store.seen(body(version="15", generation=2, annotations={"basetracker.dev/resume": "1"}))
    assert store.seen(body(version="16", generation=2, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert store.seen(body(version="17", uid="u2")), "deleted and made anew"


def test_a_store_never_goes_back(store: TrackerStore) -> None:
    store.seen(body(version="100", generation=3))
    assert not store.seen(body(version="99", generation=2))
    tracker = store.get(KEY)
    assert tracker is not None
    assert tracker.generation == 3


def test_versions_that_are_no_numbers_are_taken_as_they_come(store: TrackerStore) -> None:
    store.seen(body(version="b"))
    assert store.seen(body(version="a", generation=2))


def test_what_is_gone_is_gone_but_not_its_successor(store: TrackerStore) -> None:
    store.seen(body())
    store.seen(body("other"))
    assert {tracker.key for tracker in store.in_namespace("shop")} == {KEY, OTHER} == set(store.keys())
    assert not store.gone(KEY, "u0"), "the late news of an earlier object of that name"
    assert store.gone(KEY, "u1")
    assert not store.gone(KEY)
    assert store.get(KEY) is None
    assert store.gone(OTHER)
    assert (store.keys(), store.namespaces(), store.in_namespace("shop")) == ((), frozenset(), ())


def test_an_unreadable_spec_is_kept_with_its_problem(store: TrackerStore) -> None:
    assert store.seen(body() | {"spec": {"base": {}}})
    tracker = store.get(KEY)
    assert tracker is not None
    assert tracker.spec is None
    assert "image" in tracker.problem


def status(mark: str) -> Status:
    return Status(observed_generation=1, last_handled=LastHandled(requested_at=mark))


async def made(world: Any, make: Make, name: str = "python") -> tuple[TrackerStore, Key]:
    written: list[Key] = []
    store = TrackerStore(world.kube, wrote=written.append)
    store.written = written  # type: ignore[attr-defined]  # read by the tests alone
    assert store.seen(await world.create(PLURAL, make(name)))
    return store, Key(namespace=world.namespace, name=name)


def known(store: TrackerStore, key: Key) -> Any:
    tracker = store.get(key)
    assert tracker is not None
    return tracker


async def test_a_status_is_written_once_and_remembered(world: Any, make_tracker: Make) -> None:
    store, key = await made(world, make_tracker)
    stored = await store.write_status(known(store, key), status("1"), guarded=True)
    assert stored.status.last_handled.requested_at == "1"
    assert known(store, key) == stored
    assert dict(world.counts) == {"PATCH 200": 1}
    assert store.written == [key]  # type: ignore[attr-defined]  # set in `made`
    document = await world.get(API, PLURAL, "python")
    assert document["status"] == {"observedGeneration": 1, "lastHandled": {"requestedAt": "1"}}
    assert document["metadata"]["generation"] == 1
    managers = {entry["manager"]: entry.get("subresource") for entry in document["metadata"]["managedFields"]}
    assert managers["basetracker"] == "status"
    assert not store.seen(document), "the watch tells of our own write"


async def test_writing_the_same_changes_nothing(world: Any, make_tracker: Make) -> None:
    store, key = await made(world, make_tracker)
    first = await store.write_status(known(store, key), status("1"), guarded=False)
    second = await store.write_status(known(store, key), status("1"), guarded=True)
    assert second.resource_version == first.resource_version


async def test_a_guarded_write_meets_any_other_write(world: Any, make_tracker: Make) -> None:
    store, key = await made(world, make_tracker)
    await world.merge(API, PLURAL, "python", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(ConflictError):
        await store.write_status(known(store, key), status("1"), guarded=True)
    assert "status" not in await world.get(API, PLURAL, "python")
    assert store.written == []  # type: ignore[attr-defined]  # set in `made`
    await store.write_status(known(store, key), status("1"), guarded=False)
    document = await world.get(API, PLURAL, "python")
    assert document["metadata"]["labels"] == {"a": "b"}
    assert document["status"]["lastHandled"] == {"requestedAt": "1"}


async def test_a_spec_that_changed_under_a_write_still_calls_for_a_turn(world: Any, make_tracker: Make) -> None:
    store, key = await made(world, make_tracker)
    changed = await world.merge(API, PLURAL, "python", {"spec": {"suspend": True}})
    stored = await store.write_status(known(store, key), status("1"), guarded=False)
    assert stored.generation == 2
    assert store.seen(changed), "its own sighting comes after our answer, and counts"
    assert known(store, key).status.last_handled.requested_at == "1"
    assert not store.seen(await world.get(API, PLURAL, "python"))


async def test_a_tracker_of_the_same_name_is_another_one(world: Any, make_tracker: Make) -> None:
    store, key = await made(world, make_tracker)
    await world.delete(API, PLURAL, "python")
    with pytest.raises(MissingError):
        await store.write_status(known(store, key), status("1"), guarded=False)
    await world.create(PLURAL, make_tracker())
    with pytest.raises(ConflictError):
        await store.write_status(known(store, key), status("1"), guarded=False)
    assert "status" not in await world.get(API, PLURAL, "python")


async def test_an_answer_does_not_bring_back_what_is_gone(world: Any, make_tracker: Make) -> None:
    store, key = await made(world, make_tracker)
    tracker = known(store, key)
    store.gone(key)
    await store.write_status(tracker, status("1"), guarded=False)
    assert store.get(key) is None


async def test_a_resync_finds_what_the_watch_missed(world: Any, make_tracker: Make) -> None:
    store, key = await made(world, make_tracker)
    for name in ("gone", "changed"):
        store.seen(await world.create(PLURAL, make_tracker(name)))
    await world.create(PLURAL, make_tracker("missed"))
    await world.delete(API, PLURAL, "gone")
    await world.merge(API, PLURAL, "changed", {"spec": {"suspend": True}})
    found = await store.resync([world.namespace])
    assert [one.name for one in found.gone] == ["gone"]
    assert sorted(one.name for one in found.changed) == ["changed", "missed"]
    assert sorted(one.name for one in store.keys()) == ["changed", "missed", "python"]  # noqa: SIM118  # not a mapping
    world.counts.clear()
    quiet = await store.resync([world.namespace])
    assert (quiet.gone, quiet.changed) == ((), ())
    assert dict(world.counts) == {"GET 200": 1}, "names and versions alone"
    assert known(store, key).key == key


async def test_a_resync_keeps_what_is_younger_than_its_list(scripted: Any, store: TrackerStore) -> None:
    store.seen(body(version="10"))
    store.seen(body("other", version="30"))
    scripted.says("GET", 200, {"metadata": {"resourceVersion": "20"}, "items": []})
    found = await store.resync()
    assert (found.gone, store.keys()) == ((KEY,), (OTHER,))


async def test_a_failed_resync_forgets_nothing(scripted: Any, store: TrackerStore) -> None:
    store.seen(body())
    scripted.says("GET", 503, {"message": "down"})
    with pytest.raises(UnavailableError):
        await store.resync()
    assert store.keys() == (KEY,)


async def test_a_resync_begins_again_when_a_page_expires(scripted: Any, store: TrackerStore) -> None:
    store.seen(body())
    item = {"metadata": {"namespace": "shop", "name": "python", "resourceVersion": "10"}}
    pages = [
        (200, {"metadata": {"resourceVersion": "20", "continue": "x"}, "items": []}),
        (410, {"message": "expired"}),
        (200, {"metadata": {"resourceVersion": "21"}, "items": [item]}),
    ]

    async def next_page(_: Any) -> Any:
        code, document = pages.pop(0)
        return web.json_response(document, status=code)

    scripted.on("GET", next_page)
    assert (await store.resync()).gone == ()
    assert pages == []
    assert "PartialObjectMetadataList" in scripted.requests[0].headers["Accept"]


async def test_a_status_leaves_only_while_we_lead(world: Any, make_tracker: Make) -> None:
    created = await world.admin.post(f"/apis/{API}/namespaces/{world.namespace}/{PLURAL}", make_tracker())
    leads = [True, False]
    store = TrackerStore(world.kube, may=lambda: leads[0])
    store.seen(created)
    key = Key(namespace=world.namespace, name=created["metadata"]["name"])
    tracker = store.get(key)
    assert tracker is not None
    stored = await store.write_status(tracker, Status(last_handled=LastHandled(resume="1")), guarded=False)
    leads.pop(0)
    with pytest.raises(FencedError):
        await store.write_status(stored, Status(last_handled=LastHandled(resume="2")), guarded=False)
    await store.resync([world.namespace])
    found = store.get(key)
    assert found is not None
    assert found.status.last_handled.resume == "1"
