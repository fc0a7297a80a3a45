"""Protection: what runs is locked against deletion, and only a lock of ours is ever taken back."""

from __future__ import annotations

import pytest

from basetracker.api.names import ProtectionState, State
from basetracker.api.status import DownstreamStatus
from basetracker.errors import DeniedError, UnavailableError
from basetracker.oci.refs import Digest, parse_image

from ..core.stories.world import ref
from .ports_in_memory import CrashError, House
from .shop import KEY, digest_name, move_base, open_shop


def protected(house: House) -> dict[str, str]:
    """State by the name of the digest."""
    found = item_of(house).protected
    return {house.world.registry.readable(str(entry.digest)): str(entry.state) for entry in found}


def item_of(house: House) -> DownstreamStatus:
    item = house.trackers.stored[KEY].status.of("checkout")
    assert item is not None
    return item


def done(house: House) -> list[str]:
    """What is locked, by the names of the digests."""
    return sorted(house.world.registry.readable(place.partition("@")[2]) for place in house.locks.locked)


def place(house: House) -> str:
    """What runs, as the locks have it."""
    image = parse_image(house.world.cluster.deployments["checkout"].containers[0].image)
    return f"{image.repository}@{image.digest}"


async def test_what_runs_is_locked_and_what_ran_is_unlocked() -> None:
    house = House()
    open_shop(house, protect=True)
    await house.run(5)
    assert protected(house) == {"checkout#1": "Locked"}
    assert done(house) == ["checkout#1"]
    move_base(house)
    await house.run(30)
    assert digest_name(house) == "checkout#2"
    assert protected(house) == {"checkout#2": "Locked"}
    assert done(house) == ["checkout#2"]
    assert [word.split()[0] for word in house.locks.done] == ["lock", "lock", "unlock"]


async def test_what_still_runs_while_the_next_one_rolls_out_stays_locked() -> None:
    house = House()
    open_shop(house, protect=True)
    await house.run(5)
    house.world.cluster.breaks = True
    move_base(house)
    await house.run(20)
    assert item_of(house).state is State.BLOCKED
    assert done(house) == ["checkout#1", "checkout#2"]


async def test_somebody_else_s_lock_is_left_alone() -> None:
    house = House()
    open_shop(house, protect=True)
    house.locks.locked.add(place(house))
    await house.run(5)
    assert protected(house) == {"checkout#1": "Foreign"}
    move_base(house)
    await house.run(30)
    assert done(house) == ["checkout#1", "checkout#2"]
    assert protected(house) == {"checkout#2": "Locked"}


async def test_a_lock_of_somebody_else_that_is_gone_is_noticed_within_a_day_and_ours_takes_its_place() -> None:
    house = House()
    open_shop(house, protect=True)
    house.locks.locked.add(place(house))
    await house.run(48 * 60)
    assert protected(house) == {"checkout#1": "Foreign"}
    looks = house.faults.calls.count("locks.is_locked")
    assert 2 <= looks <= 3, "once when it was met, then once a day"
    house.locks.locked.clear()
    await house.run(10)
    house.faults.always["locks.is_locked"] = UnavailableError("away")
    await house.run(25 * 60)
    assert protected(house) == {"checkout#1": "Foreign"}, "not knowing changes nothing"
    assert house.faults.calls.count("locks.is_locked") <= looks + 2
    house.faults.always.clear()
    await house.run(25 * 60)
    assert protected(house) == {"checkout#1": "Locked"}
    assert done(house) == ["checkout#1"]
    assert house.faults.calls.count("locks.unlock") == 0
    move_base(house)
    await house.run(30)
    assert done(house) == ["checkout#2"], "it is ours by now"


async def test_a_lock_of_somebody_else_is_looked_at_again_when_a_person_asks() -> None:
    house = House()
    key = open_shop(house, protect=True)
    house.locks.locked.add(place(house))
    await house.run(5)
    house.locks.locked.clear()
    house.trackers.change(key, requested_at="now")
    house.poke(key)
    await house.run(1)
    assert protected(house) == {"checkout#1": "Locked"}


async def test_a_lock_of_somebody_else_is_left_alone_until_it_is_looked_at() -> None:
    """A new process takes it for looked at."""
    house = House()
    open_shop(house, protect=True)
    house.locks.locked.add(place(house))
    await house.run(5)
    for _ in range(5):
        house.restart()
        await house.run(5)
    assert house.faults.calls.count("locks.is_locked") <= 2


async def test_without_protect_nothing_is_looked_at_and_ours_is_taken_back() -> None:
    house = House()
    open_shop(house)
    await house.run(5)
    assert house.faults.calls.count("locks.is_locked") == 0
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    for locks, names in ((True, ["checkout#1"]), (False, [])):
        house.trackers.change(KEY, spec=spec.model_copy(update={"protect": locks}))
        house.poke(KEY)
        await house.run(2)
        assert done(house) == names
    assert protected(house) == {}


@pytest.mark.parametrize("fields", [{"suspend": True}, {"rollout": {"mode": "Plan"}}])
async def test_a_tracker_that_only_looks_locks_nothing(fields: dict[str, object]) -> None:
    house = House()
    open_shop(house, protect=True, **fields)
    await house.run(30)
    assert house.locks.done == []


async def test_it_is_asked_once_while_nothing_changes() -> None:
    house = House()
    open_shop(house, protect=True)
    await house.run(5)
    calls = [call for call in house.faults.calls if call.startswith("locks.")]
    writes = house.metrics.status_writes.labels(kind="Status")._value.get()
    await house.run(60)
    assert calls == ["locks.is_locked", "locks.lock"]
    assert [call for call in house.faults.calls if call.startswith("locks.")] == calls
    assert house.metrics.status_writes.labels(kind="Status")._value.get() == writes


@pytest.mark.parametrize("error", [DeniedError("no right to lock"), UnavailableError("away")])
@pytest.mark.parametrize("method", ["locks.is_locked", "locks.lock"])
async def test_a_lock_that_fails_holds_nothing_and_is_tried_again(method: str, error: Exception) -> None:
    house = House()
    open_shop(house, protect=True)
    house.faults.always[method] = error
    move_base(house)
    await house.run(30)
    assert digest_name(house) == "checkout#2"
    assert item_of(house).state is State.CURRENT
    (entry,) = item_of(house).protected
    assert entry.message == str(error)
    assert entry.state is (ProtectionState.UNREAD if method == "locks.is_locked" else ProtectionState.REQUESTED)
    house.faults.always.clear()
    await house.run(15)
    assert protected(house) == {"checkout#2": "Locked"}
    assert done(house) == ["checkout#2"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_process_that_dies_while_it_locks_still_knows_the_lock_as_its_own(moment: str) -> None:
    house = House()
    open_shop(house, protect=True)
    house.faults.at_method["locks.lock", 0] = (moment, CrashError())
    await house.run(5)
    assert house.crashes == 1
    assert protected(house) == {"checkout#1": "Locked"}
    move_base(house)
    await house.run(30)
    assert done(house) == ["checkout#2"]


async def test_trackers_of_one_digest_own_its_lock_together() -> None:
    house = House()
    first = open_shop(house, protect=True)
    second = open_shop(house, name="twin", protect=True)
    await house.run(5)
    for key in (first, second):
        item = house.trackers.stored[key].status.of("checkout")
        assert item is not None
        assert [entry.state for entry in item.protected] == [ProtectionState.LOCKED]
    for key, names in ((first, ["checkout#1"]), (second, [])):
        spec = house.trackers.stored[key].spec
        assert spec is not None
        house.trackers.change(key, spec=spec.model_copy(update={"protect": False}))
        house.poke(key)
        await house.run(2)
        assert done(house) == names


async def test_two_tags_of_one_digest_own_its_lock_together() -> None:
    house = House()
    key = open_shop(house, protect=True)
    image = house.world.cluster.deployments["checkout"].containers[0].image
    stable = ref("shop/checkout:stable")
    house.world.registry.tags[stable] = Digest(image.partition("@")[2])
    house.world.cluster.deployment("steady", f"{stable}@{image.partition('@')[2]}")
    spec = house.trackers.stored[key].spec
    assert spec is not None
    document = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    twin = {"name": "steady", "image": str(stable), "deploy": [{"kind": "Deployment", "name": "steady"}]}
    document["downstream"].append(twin)
    house.trackers.change(key, spec=type(spec).model_validate(document), generation=2)
    await house.run(5)
    move_base(house)
    await house.run(60)
    assert digest_name(house) == "checkout#2"
    assert done(house) == ["checkout#1", "checkout#2"], "steady has no build and still runs the first one"


async def test_a_lock_that_is_half_done_keeps_nobody_busy() -> None:
    house = House()
    key = open_shop(house, protect=True)
    house.faults.always["locks.lock"] = DeniedError("no right to lock")
    await house.run(5)
    turns = house.metrics.turns.labels(outcome="Done")._value.get()
    spec = house.trackers.stored[key].spec
    assert spec is not None
    house.trackers.change(key, spec=spec.model_copy(update={"suspend": True}), generation=2)
    house.poke(key)
    await house.run(60)
    assert house.metrics.turns.labels(outcome="Done")._value.get() - turns < 5
