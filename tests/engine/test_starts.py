"""Starting runs: what keeps a build to one run when the list of runs doesn't tell of the newest."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from basetracker.api.names import BuildState, Reason
from basetracker.api.status import Status
from basetracker.api.tracker import Key
from basetracker.errors import UnknownOutcomeError

from ..core.builders import body, image_spec
from .ports_in_memory import House
from .shop import BASE, IMAGE, KEY, assert_done_once, move_base, open_shop

SECOND = Key(namespace="shop", name="second")


async def two_trackers_of_one_image(house: House) -> None:
    """All is current, then the base moves; the list of runs is a minute behind."""
    open_shop(house)
    house.track(body(SECOND.name, base=BASE, downstream=[image_spec("checkout", image=IMAGE, deploy=())]))
    await house.run(1)
    move_base(house)
    house.world.advance(house.world.now + timedelta(minutes=6))
    house.builder.lag = timedelta(minutes=1)


async def test_a_run_that_is_not_listed_yet_is_adopted_by_the_other_tracker() -> None:
    house = House()
    await two_trackers_of_one_image(house)
    await asyncio.gather(house.turn(KEY), house.turn(SECOND))
    await house.run(60)
    assert_done_once(house)


async def test_a_run_that_is_not_listed_yet_is_known_from_the_record_after_a_restart() -> None:
    house = House()
    await two_trackers_of_one_image(house)
    await house.turn(KEY)
    house.restart()
    await house.turn(SECOND)
    await house.run(60)
    assert_done_once(house)


async def test_a_run_that_is_not_listed_yet_is_known_though_the_status_is_lost() -> None:
    house = House()
    open_shop(house)
    await house.run(1)
    move_base(house)
    house.world.advance(house.world.now + timedelta(minutes=6))
    house.builder.lag = timedelta(minutes=1)
    await house.turn(KEY)
    house.trackers.change(KEY, status=Status(), uid="another")
    await house.turn(KEY)
    await house.run(60)
    assert_done_once(house)


async def test_a_request_without_an_answer_holds_the_other_tracker_until_it_is_found() -> None:
    house = House()
    await two_trackers_of_one_image(house)
    house.faults.at_method["builder.start", 0] = ("after", UnknownOutcomeError("the connection broke"))
    await house.turn(KEY)
    house.restart()
    await house.turn(SECOND)
    waiting = house.trackers.stored[SECOND].status.of("checkout")
    assert waiting is not None
    assert waiting.reason is Reason.RETRY_WAITING
    assert "shop/python/checkout has asked for this very run" in waiting.message
    await house.run(60)
    assert_done_once(house)


async def test_a_request_of_a_suspended_tracker_holds_the_other_no_longer_than_a_run_takes_to_appear() -> None:
    house = House()
    await two_trackers_of_one_image(house)
    house.faults.at_method["builder.start", 0] = ("before", UnknownOutcomeError("the connection broke"))
    await house.turn(KEY)
    house.restart()
    before = house.trackers.stored[KEY]
    assert before.spec is not None
    house.trackers.change(KEY, spec=before.spec.model_copy(update={"suspend": True}), generation=before.generation + 1)
    begun = house.world.now
    await house.run(60)
    (run,) = [ran.run for ran in house.world.builder.runs]
    assert run.created is not None
    assert run.created - begun >= timedelta(minutes=2), "until then the request may have started one"
    found = house.trackers.stored[SECOND].status.of("checkout")
    assert found is not None
    assert found.reason is Reason.CURRENT


async def test_a_run_elsewhere_that_failed_holds_nobody() -> None:
    house = House()
    await two_trackers_of_one_image(house)
    house.world.builder.tasks["build-checkout"].fails = 1
    await asyncio.gather(house.turn(KEY), house.turn(SECOND))
    await house.run(60)
    states = [ran.run.state for ran in house.world.builder.runs]
    assert states == [BuildState.FAILED, BuildState.SUCCEEDED]
