"""Events: one for each thing that is told, counted, spared, and never in the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from basetracker.adapters.events import REMEMBERED, ClusterEvents
from basetracker.ports import ObjectRef

Make = Callable[..., dict[str, Any]]


async def about(world: Any, make_tracker: Make) -> ObjectRef:
    tracker = await world.create("baseimagetrackers", make_tracker())
    return ref(world.namespace, tracker["metadata"]["uid"])


def ref(namespace: str = "shop", uid: str = "u", name: str = "python") -> ObjectRef:
    return ObjectRef(
        api_version="basetracker.dev/v1alpha1", kind="BaseImageTracker", namespace=namespace, name=name, uid=uid
    )


async def events(world: Any) -> list[dict[str, Any]]:
    found = await world.admin.get(world.path("v1", "events"))
    return [event for event in found["items"] if event["involvedObject"]["kind"] == "BaseImageTracker"]


async def test_an_event_says_what_happened_to_what(world: Any, set_clock: Any, make_tracker: Make) -> None:
    teller = ClusterEvents(world.kube, clock=set_clock, instance="pod-1")
    tracker = await about(world, make_tracker)
    await teller.tell(tracker, reason="Validated", message="checkout is proven")
    await teller.tell(tracker, reason="BuildFailed", message="run cf1 failed", warning=True)
    told = {event["reason"]: event for event in await events(world)}
    assert told["Validated"]["type"] == "Normal"
    assert told["BuildFailed"]["type"] == "Warning"
    event = told["Validated"]
    assert (event["message"], event["count"]) == ("checkout is proven", 1)
    assert event["involvedObject"]["uid"] == tracker.uid
    assert (event["reportingComponent"], event["reportingInstance"]) == ("basetracker", "pod-1")
    assert dict(world.counts) == {"POST 201": 2}


async def test_the_same_is_counted_at_most_once_a_minute(world: Any, set_clock: Any, make_tracker: Make) -> None:
    teller = ClusterEvents(world.kube, clock=set_clock, instance="pod-1")
    tracker = await about(world, make_tracker)
    for _ in range(50):
        await teller.tell(tracker, reason="Validated", message="x")
    assert dict(world.counts) == {"POST 201": 1}
    set_clock.seconds += 61
    await teller.tell(tracker, reason="Validated", message="x")
    assert dict(world.counts) == {"POST 201": 1, "PATCH 200": 1}
    (event,) = await events(world)
    assert event["count"] == 51
    assert event["lastTimestamp"] > event["firstTimestamp"]


async def test_a_successor_goes_on_counting(world: Any, set_clock: Any, make_tracker: Make) -> None:
    tracker = await about(world, make_tracker)
    for instance in ("pod-1", "pod-2", "pod-3"):
        await ClusterEvents(world.kube, clock=set_clock, instance=instance).tell(tracker, reason="A", message="x")
    (event,) = await events(world)
    assert (event["count"], event["reportingInstance"]) == (3, "pod-1")


async def test_an_event_that_the_cluster_dropped_is_written_anew(
    world: Any, set_clock: Any, make_tracker: Make
) -> None:
    teller = ClusterEvents(world.kube, clock=set_clock, instance="pod-1")
    tracker = await about(world, make_tracker)
    await teller.tell(tracker, reason="A", message="x")
    (event,) = await events(world)
    await world.delete("v1", "events", event["metadata"]["name"])
    set_clock.seconds += 3600
    await teller.tell(tracker, reason="A", message="x")
    (event,) = await events(world)
    assert event["count"] == 1


async def test_long_names_and_messages_are_accepted(world: Any, set_clock: Any, make_tracker: Make) -> None:
    document = make_tracker("a" * 200 + "." + "b" * 40)
    tracker = await world.create("baseimagetrackers", document)
    teller = ClusterEvents(world.kube, clock=set_clock, instance="pod-1")
    await teller.tell(
        ref(world.namespace, tracker["metadata"]["uid"], document["metadata"]["name"]), reason="A", message="x" * 5000
    )
    (event,) = await events(world)
    assert len(event["message"]) == 1000


@pytest.mark.parametrize("code", [403, 409, 422, 429, 500])
async def test_telling_never_raises_and_does_not_insist(
    scripted: Any, scripted_kube: Any, set_clock: Any, code: int
) -> None:
    scripted.says(".*", code, {"message": "no"})
    teller = ClusterEvents(scripted_kube, clock=set_clock, instance="pod-1")
    for _ in range(10):
        await teller.tell(ref(), reason="A", message="x")
    assert len(scripted.requests) == (2 if code == 409 else 1)
    set_clock.seconds += 61
    scripted.says("POST", 201, {})
    await teller.tell(ref(), reason="A", message="x")
    assert scripted.bodies[-1]["count"] == 11, "what couldn't be told is counted"


async def test_memory_is_bounded(scripted: Any, scripted_kube: Any, set_clock: Any) -> None:
    scripted.says("POST", 201, {})
    teller = ClusterEvents(scripted_kube, clock=set_clock, instance="pod-1")
    for number in range(REMEMBERED + 20):
        await teller.tell(ref(uid=str(number)), reason="A", message="x")
    assert len(teller._told) == REMEMBERED
