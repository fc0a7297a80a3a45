"""Watches. A contract: true of a real server too."""

from __future__ import annotations

import asyncio
from typing import Any

from .api import TABLE, Api
from .conftest import Place, widget


def _seen(events: list[Any]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


async def _version(api: Api, place: Place) -> str:
    return str((await api.get(place.widgets)).expect(200)["metadata"]["resourceVersion"])


async def test_changes_after_a_version_are_replayed(api: Api, widgets: Place) -> None:
    version = await _version(api, widgets)
    (await api.post(widgets.widgets, widget("a"))).expect(201)
    (await api.patch(f"{widgets.widgets}/a", {"spec": {"replicas": 3}})).expect(200)
    (await api.delete(f"{widgets.widgets}/a")).expect(200)
    events = await api.watch(widgets.widgets, 3, resourceVersion=version)
    assert _seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


async def test_a_running_watch_sees_a_change(api: Api, widgets: Place) -> None:
    version = await _version(api, widgets)
    watching = asyncio.create_task(api.watch(widgets.widgets, 1, resourceVersion=version))
    await asyncio.sleep(0.1)
    (await api.post(widgets.widgets, widget("later"))).expect(201)
    assert _seen(await watching) == [("ADDED", "later")]


async def test_without_a_version_it_begins_with_what_is_there(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget("a"))).expect(201)
    (await api.post(widgets.widgets, widget("b"))).expect(201)
    assert sorted(_seen(await api.watch(widgets.widgets, 2))) == [("ADDED", "a"), ("ADDED", "b")]


async def test_initial_events_end_with_a_mark(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget("a"))).expect(201)
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    first, mark = await api.watch(widgets.widgets, 2, **query)
    assert _seen([first]) == [("ADDED", "a")]
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_ends_at_its_time(api: Api, widgets: Place) -> None:
    version = await _version(api, widgets)
    assert await api.watch(widgets.widgets, 1, resourceVersion=version, timeoutSeconds=1) == []


async def test_selected_objects_come_and_go(api: Api, widgets: Place) -> None:
    version = await _version(api, widgets)
    path = f"{widgets.widgets}/a"
    (await api.post(widgets.widgets, widget("a"))).expect(201)
    (await api.patch(path, {"metadata": {"labels": {"pick": "me"}}})).expect(200)
    (await api.patch(path, {"spec": {"replicas": 2}})).expect(200)
    (await api.patch(path, {"metadata": {"labels": {"pick": None}}})).expect(200)
    events = await api.watch(widgets.widgets, 3, resourceVersion=version, labelSelector="pick=me")
    assert _seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_one_object_is_watched_by_its_name(api: Api, widgets: Place) -> None:
    version = await _version(api, widgets)
    (await api.post(widgets.widgets, widget("a"))).expect(201)
    (await api.post(widgets.widgets, widget("b"))).expect(201)
    events = await api.watch(widgets.widgets, 1, resourceVersion=version, fieldSelector="metadata.name=b")
    assert _seen(events) == [("ADDED", "b")]


async def test_a_watch_as_a_table(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget("a"))).expect(201)
    (event,) = await api.watch(widgets.widgets, 1, accept=TABLE)
    assert event["object"]["kind"] == "Table"
    assert event["object"]["rows"][0]["cells"][0] == "a"


async def test_a_version_that_is_too_old_is_told_in_the_stream(api: Api, widgets: Place) -> None:
    events = await api.watch(widgets.widgets, 1, resourceVersion="1", timeoutSeconds=2)
    if not events:  # a server that has kept everything may replay instead
        return
    assert events[0]["type"] in ("ERROR", "ADDED")
    if events[0]["type"] == "ERROR":
        assert events[0]["object"]["code"] == 410
