"""Taking locks back: of what the spec names no more, by the last one that has it, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest

from basetracker.api.gates import GateKind
from basetracker.api.names import GateVerdict, ProtectionState
from basetracker.api.status import DownstreamStatus
from basetracker.api.tracker import Key
from basetracker.errors import DeniedError
from basetracker.oci.refs import Digest

from ..core.stories.world import ref
from .gates_in_memory import GateInMemory, a_shop, says
from .ports_in_memory import CrashError, House
from .shop import IMAGE, KEY, move_base, open_shop
from .test_desk import SIGNED
from .test_protecting import done, place, protected

OTHER = ref("shop/other:1")


def respecify(house: House, key: Key = KEY, **fields: Any) -> None:
    """Change the tracker's spec as a person does."""
    tracker = house.trackers.stored[key]
    assert tracker.spec is not None
    document = {**tracker.spec.model_dump(by_alias=True, mode="json", exclude_none=True), **fields}
    house.trackers.change(key, spec=type(tracker.spec).model_validate(document), generation=tracker.generation + 1)
    house.poke(key)


def other_image(house: House) -> dict[str, Any]:
    """A downstream image that is current, of another repository."""
    if OTHER not in house.world.registry.tags:
        house.world.registry.push(OTHER, ("os 1", "python 1", "other 1"))
    return {"name": "other", "image": str(OTHER)}


def left(house: House, key: Key = KEY) -> list[tuple[str, str]]:
    """Repository and name of what is yet to be unlocked."""
    entries = house.trackers.stored[key].status.unlocking
    return [(one.repository, house.world.registry.readable(str(one.digest))) for one in entries]


def row(house: House, key: Key, name: str = "checkout") -> DownstreamStatus:
    found = house.trackers.stored[key].status.of(name)
    assert found is not None
    return found


async def protecting(**fields: Any) -> House:
    house = House()
    open_shop(house, protect=True, **fields)
    await house.run(5)
    assert done(house) == ["checkout#1"]
    return house


def taken_out(house: House) -> None:
    respecify(house, downstream=[other_image(house)])


def moved(house: House) -> None:
    respecify(house, downstream=[other_image(house) | {"name": "checkout"}])


LEAVES = pytest.mark.parametrize("leaves", [taken_out, moved])


@LEAVES
async def test_what_the_spec_names_no_more_is_unlocked(leaves: Any) -> None:
    house = await protecting()
    leaves(house)
    await house.run(10)
    assert done(house) == ["other#1"]
    assert left(house) == []
    assert house.faults.calls.count("locks.unlock") == 1


@LEAVES
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_process_that_dies_while_it_unlocks_unlocks_again(leaves: Any, moment: str) -> None:
    house = await protecting()
    leaves(house)
    house.faults.at_method["locks.unlock", 0] = (moment, CrashError())
    await house.run(10)
    assert house.crashes == 1
    assert done(house) == ["other#1"]
    assert left(house) == []


@LEAVES
async def test_what_can_t_be_unlocked_yet_is_kept_in_mind_for_as_long_as_it_takes(leaves: Any) -> None:
    house = await protecting()
    house.faults.always["locks.unlock"] = DeniedError("no right to unlock")
    leaves(house)
    await house.run(10)
    respecify(house, rescan={"interval": "12h"})
    await house.run(10)
    house.restart()
    await house.run(10)
    assert left(house) == [(str(IMAGE.repository), "checkout#1")]
    assert house.trackers.stored[KEY].status.unlocking[0].message == "no right to unlock"
    writes = house.metrics.status_writes.labels(kind="Status")._value.get()
    await house.run(30)
    assert house.metrics.status_writes.labels(kind="Status")._value.get() == writes
    house.faults.always.clear()
    await house.run(10)
    assert (done(house), left(house)) == (["other#1"], [])


@LEAVES
async def test_what_comes_back_keeps_its_lock(leaves: Any) -> None:
    house = await protecting()
    before = house.trackers.stored[KEY].spec
    assert before is not None
    house.faults.always["locks.unlock"] = DeniedError("no right to unlock")
    leaves(house)
    await house.run(10)
    assert left(house) == [(str(IMAGE.repository), "checkout#1")]
    house.faults.always.clear()
    respecify(house, **before.model_dump(by_alias=True, mode="json", exclude_none=True))
    await house.run(10)
    assert protected(house) == {"checkout#1": "Locked"}
    assert (done(house), left(house)) == (["checkout#1"], [])
    (entry,) = row(house, KEY).protected
    assert f"unlock {entry.digest.short}" not in house.locks.done, "not even for a moment"
    move_base(house)
    await house.run(30)
    assert done(house) == ["checkout#2"]


async def test_an_image_of_another_name_keeps_its_lock() -> None:
    house = await protecting()
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    (item,) = spec.model_dump(by_alias=True, mode="json", exclude_none=True)["downstream"]
    respecify(house, downstream=[item | {"name": "renamed"}])
    await house.run(10)
    assert [str(one.state) for one in row(house, KEY, "renamed").protected] == ["Locked"]
    assert (done(house), left(house)) == (["checkout#1"], [])
    assert house.faults.calls.count("locks.unlock") == 0


@LEAVES
async def test_somebody_else_s_lock_is_never_taken_back(leaves: Any) -> None:
    house = House()
    open_shop(house, protect=True)
    house.locks.locked.add(place(house))
    await house.run(5)
    leaves(house)
    await house.run(10)
    assert done(house) == ["checkout#1", "other#1"]
    assert left(house) == []


@LEAVES
@pytest.mark.parametrize("fields", [{"suspend": True}, {"rollout": {"mode": "Plan"}}])
async def test_a_tracker_that_only_looks_unlocks_when_it_works_again(leaves: Any, fields: dict[str, Any]) -> None:
    house = await protecting()
    respecify(house, **fields)
    leaves(house)
    await house.run(10)
    assert done(house) == ["checkout#1"]
    assert left(house) == [(str(IMAGE.repository), "checkout#1")]
    respecify(house, suspend=False, rollout={"mode": "Apply"})
    await house.run(10)
    assert (done(house), left(house)) == (["other#1"], [])


@pytest.mark.parametrize("order", [("python", "twin"), ("twin", "python")])
async def test_what_another_tracker_protects_stays_locked_until_that_one_lets_go(order: tuple[str, str]) -> None:
    house = await protecting()
    open_shop(house, name="twin", protect=True)
    await house.run(5)
    first, second = (Key(namespace="shop", name=name) for name in order)
    respecify(house, first, protect=False)
    await house.run(10)
    assert done(house) == ["checkout#1"]
    respecify(house, second, protect=False)
    await house.run(20)
    assert done(house) == []
    for key in (first, second):
        assert (row(house, key).protected, left(house, key)) == ((), [])


@pytest.mark.parametrize("change", [{"protect": False}, {"downstream": "out"}])
async def test_two_images_of_one_digest_that_let_go_at_once_leave_nothing_locked(change: dict[str, Any]) -> None:
    house = await protecting()
    image = house.world.cluster.deployments["checkout"].containers[0].image
    stable = ref("shop/checkout:stable")
    house.world.registry.tags[stable] = Digest(image.partition("@")[2])
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    downstream = spec.model_dump(by_alias=True, mode="json", exclude_none=True)["downstream"]
    respecify(house, downstream=[*downstream, {"name": "steady", "image": str(stable)}])
    await house.run(10)
    assert [str(one.state) for one in row(house, KEY, "steady").protected] == ["Locked"]
    if "downstream" in change:
        change = {"downstream": [other_image(house)], "protect": False}
    respecify(house, **change)
    await house.run(20)
    assert (done(house), left(house)) == ([], [])


async def test_an_unlock_and_a_lock_of_one_digest_wait_for_each_other() -> None:
    house = await protecting()
    await house.run(5)
    twin = Key(namespace="shop", name="twin")

    def join() -> None:
        """Another tracker writes down that it will lock the digest, just while it is being unlocked."""
        entry = row(house, KEY).protected[0].model_copy(update={"state": ProtectionState.REQUESTED})
        open_shop(house, name="twin", protect=True)
        tracker = house.trackers.stored[twin]
        item = row(house, KEY).model_copy(update={"protected": (entry,)})
        house.trackers.change(twin, status=tracker.status.model_copy(update={"downstream": (item,)}))

    house.faults.deeds["locks.unlock", 0] = join
    respecify(house, protect=False)
    await house.run(10)
    assert done(house) == ["checkout#1"]
    assert [str(one.state) for one in row(house, twin).protected] == ["Locked"]


async def test_an_unreadable_spec_forgets_nothing() -> None:
    house = await protecting()
    house.faults.always["locks.unlock"] = DeniedError("no right to unlock")
    taken_out(house)
    await house.run(10)
    spec = house.trackers.stored[KEY].spec
    house.trackers.change(KEY, spec=None, problem="unreadable", generation=9)
    assert left(house) == [(str(IMAGE.repository), "checkout#1")]
    house.faults.always.clear()
    house.poke(KEY)
    await house.run(10)
    assert left(house) == [(str(IMAGE.repository), "checkout#1")]
    house.trackers.change(KEY, spec=spec, problem="", generation=10)
    house.poke(KEY)
    await house.run(10)
    assert left(house) == []


async def test_what_runs_keeps_its_lock_while_its_gates_are_asked_under_another_name() -> None:
    house = House()
    gate = GateInMemory(says(GateVerdict.PASS))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate}, protect=True)
    move_base(house)
    await house.run(30)
    assert done(house)[-1] == "checkout#2"
    before = len(house.locks.done)
    gate.mind = says(GateVerdict.PENDING)
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    document = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    respecify(house, downstream=[{**document["downstream"][0], "name": "renamed"}])
    await house.run(60)
    assert row(house, KEY, "renamed").validated is None
    assert done(house) == ["checkout#2"]
    assert not [one for one in house.locks.done[before:] if one.startswith("unlock")]
