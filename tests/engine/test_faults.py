"""One thing goes wrong at a time: every error at every port, a crash at every await point, the lead lost at every effect.

However it goes, the base arrives in the end, by one run and one delivery.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import cache

import pytest

from basetracker.engine.reconcile import SOON
from basetracker.errors import (
    BasetrackerError,
    ConflictError,
    DeniedError,
    InvalidError,
    MissingError,
    UnavailableError,
    UnknownOutcomeError,
)

from .ports_in_memory import CrashError, House
from .shop import KEY, assert_done_once, move_base, open_shop

ENOUGH = 30
"""Minutes in which the base arrives also after a request that was refused."""

DOWN = UnavailableError("it does not answer")
DENIED = DeniedError("it refuses the credentials")
INVALID = InvalidError("it can't be used")
MISSING = MissingError("it isn't there")
CONFLICT = ConflictError("it has moved")
UNKNOWN = UnknownOutcomeError("the connection broke")

ERRORS: dict[str, tuple[BasetrackerError, ...]] = {
    "registry.digest": (DOWN, DENIED, INVALID),
    "registry.image": (DOWN, DENIED, INVALID),
    "credentials.find": (MISSING, DENIED, INVALID),
    "builder.resolve": (DOWN, DENIED, INVALID, MISSING),
    "builder.facts": (DOWN, DENIED),
    "builder.recent": (DOWN, DENIED),
    "builder.run": (DOWN, DENIED),
    "builder.start": (UNKNOWN, DOWN, DENIED, INVALID, MISSING),
    "allow_list.allows": (DOWN, DENIED),
    "trackers.write_intent": (CONFLICT, DOWN, DENIED),
    "trackers.write_status": (CONFLICT, DOWN, DENIED),
    "workloads.find": (DOWN, DENIED),
    "workloads.deliver": (CONFLICT, DOWN, DENIED, INVALID),
    "events.tell": (),
}
"""What each port may raise; telling events raises nothing."""
AFTER = {
    "builder.start": UNKNOWN,
    "trackers.write_intent": DOWN,
    "trackers.write_status": DOWN,
    "workloads.deliver": DOWN,
}
"""Errors that may come although the effect has."""
EFFECTS = {"trackers.write_intent", "trackers.write_status", "builder.start", "workloads.deliver", "events.tell"}


async def base_moves(house: House) -> None:
    open_shop(house, secret=True)
    await house.run(1)
    move_base(house)
    await house.run(ENOUGH)


@cache
def calls() -> tuple[str, ...]:
    """Every call of a port in the story without a fault, in order."""
    house = House()
    asyncio.run(base_moves(house))
    assert_done_once(house)
    return tuple(house.faults.calls)


def first_calls() -> list[int]:
    """The calls until the base has arrived, without the polls after it."""
    last = max(index for index, name in enumerate(calls()) if name == "trackers.write_status")
    return list(range(last + 1))


def test_the_story_calls_every_port() -> None:
    assert set(calls()) == set(ERRORS)


@pytest.mark.parametrize("method", ERRORS)
def test_each_error_at_each_call(method: str) -> None:
    times = [index for index in first_calls() if calls()[index] == method]
    for number in range(len(times)):
        for error in ERRORS[method]:
            house = House()
            house.faults.at_method[method, number] = ("before", error)
            asyncio.run(base_moves(house))
            assert house.faults.met == 1, (number, error)
            assert_done_once(house)


@pytest.mark.parametrize("method", AFTER)
def test_an_effect_whose_answer_is_lost_isnt_repeated(method: str) -> None:
    for number in range(calls().count(method)):
        house = House()
        house.faults.at_method[method, number] = ("after", AFTER[method])
        asyncio.run(base_moves(house))
        assert house.faults.met == 1
        assert_done_once(house)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_every_await_point(when: str) -> None:
    for index in first_calls():
        house = House()
        house.faults.at_call[index] = (when, CrashError())
        asyncio.run(base_moves(house))
        assert house.crashes == 1, index
        assert_done_once(house)


def test_no_effect_without_the_lead() -> None:
    house = House()
    asyncio.run(base_moves(house))
    for held in range(house.lead.asked):
        asyncio.run(_lose_the_lead_after(held))


async def _lose_the_lead_after(held: int) -> None:
    """The lead is lost before the effect with this number; nothing follows it, and the next leader goes on."""
    house = House()
    house.lead.asks_left = held
    open_shop(house, secret=True)
    await house.run(1)
    move_base(house)
    await house.run(ENOUGH)
    assert sum(name in EFFECTS for name in house.faults.calls) == held
    house.lead.asks_left = None
    house.restart()
    await house.run(ENOUGH)
    assert_done_once(house)


async def test_a_tracker_that_has_moved_starts_nothing() -> None:
    house = House()
    key = open_shop(house)
    await house.run(1)
    move_base(house)
    house.world.advance(house.world.now + timedelta(minutes=6))
    house.faults.at_method["trackers.write_intent", 0] = ("before", CONFLICT)
    wake = await house.turn(key)
    assert (house.faults.met, house.world.builder.runs) == (1, [])
    assert wake == house.world.now + SOON
    await house.run(ENOUGH)
    assert_done_once(house)


async def test_a_tracker_that_goes_during_its_turn_ends_it() -> None:
    for method in ("trackers.write_intent", "trackers.write_status"):
        house = House()
        open_shop(house)
        await house.run(1)
        move_base(house)
        number = house.faults.calls.count(method)
        house.faults.at_method[method, number] = ("before", MISSING)
        await house.run(ENOUGH)
        assert house.faults.met == 1


async def test_an_outage_of_everything_keeps_what_was_found() -> None:
    house = House()
    open_shop(house)
    await house.run(1)
    before = house.trackers.stored[KEY].status.document()
    house.world.registry.down = True
    await house.run(30)
    assert house.trackers.stored[KEY].status.document() == before
    house.restart()
    await house.run(30)
    after = house.trackers.stored[KEY].status.document()
    assert (after["base"], after["downstream"][0]["validated"]) == (
        before["base"],
        before["downstream"][0]["validated"],
    )
    move_base(house)
    house.world.registry.down = False
    await house.run(ENOUGH)
    assert_done_once(house)
