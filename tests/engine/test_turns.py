"""Turns of the real engine: what they ask for, what they leave alone, and who else gets a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from basetracker.api.names import BuildState, Reason, State
from basetracker.api.status import DownstreamStatus
from basetracker.api.tracker import Tracker
from basetracker.core.actions import StartBuild
from basetracker.core.observed import Problem, ProblemKind
from basetracker.engine.problems import problem_of
from basetracker.engine.starts import Starter
from basetracker.errors import (
    BasetrackerError,
    ConflictError,
    DeniedError,
    InvalidError,
    MissingError,
    UnavailableError,
)

from ..core.builders import body, image_spec
from ..core.stories.world import ARM, ref
from .ports_in_memory import House
from .shop import BASE, IMAGE, KEY, assert_done_once, digest_name, move_base, open_shop


def item(house: House, name: str = "checkout") -> DownstreamStatus:
    found = house.trackers.stored[KEY].status.of(name)
    assert found is not None
    return found


async def test_the_base_arrives() -> None:
    house = House()
    open_shop(house)
    await house.run(1)
    move_base(house)
    await house.run(20)
    assert_done_once(house)
    reasons = [reason for about, reason, _ in house.events.told if about == "BaseImageTracker/python"]
    told = ["Validated", "BaseMoved", "BuildStarted", "BuildSucceeded", "Validated", "Delivered", "Healthy"]
    assert reasons == told
    on_workload = [reason for about, reason, _ in house.events.told if about == "Deployment/checkout"]
    assert on_workload == ["Delivered", "Healthy"]


async def test_nothing_is_written_while_nothing_changes() -> None:
    house = House()
    open_shop(house)
    await house.run(1)
    writes, told = house.trackers.writes, len(house.events.told)
    await house.run(180)
    assert (house.trackers.writes, len(house.events.told)) == (writes, told)
    assert house.registry.heads[BASE] > 30


async def test_one_head_serves_fifty_trackers() -> None:
    house = House()
    open_shop(house)
    for number in range(49):
        image = ref(f"shop/image{number}:main")
        house.world.registry.push(image, ("os 1", "python 1", "more"))
        entry = image_spec(f"image{number}", image=image, deploy=(), build=False)
        house.track(body(f"tracker{number}", base=BASE, downstream=[entry]))
    await house.run(4)
    assert house.registry.heads[BASE] == 1
    await house.run(56)
    assert 60 / 5 / 1.1 - 1 <= house.registry.heads[BASE] - 1 <= 60 / 5 / 0.9


@pytest.mark.parametrize("spelling", [ARM, ARM.upper()])
async def test_two_trackers_with_one_task_start_one_run(spelling: str) -> None:
    house = House()
    open_shop(house)
    entry = image_spec("checkout", image=IMAGE, deploy=())
    entry["build"]["acrTask"]["registry"] = spelling
    second = house.track(body("second", base=BASE, downstream=[entry]))
    await house.run(1)
    move_base(house)
    house.world.advance(house.world.now + timedelta(minutes=6))
    await asyncio.gather(house.turn(KEY), house.turn(second))
    await house.run(60)
    assert_done_once(house)
    builds = [tracker.status.of("checkout").build for tracker in house.trackers.stored.values()]  # type: ignore[union-attr]  # all have it
    assert {build.run_id for build in builds if build} == {"cf1"}
    assert sorted(build.adopted for build in builds if build) == [False, True]


async def test_two_images_of_one_task_build_one_after_the_other() -> None:
    house = House()
    open_shop(house)
    other = ref("shop/other:main")
    house.world.registry.push(other, ("os 1", "python 1", "other 1"))
    entries = [image_spec("checkout", image=IMAGE), image_spec("other", image=other, task="build-checkout", deploy=())]
    house.track(body("python", base=BASE, downstream=entries))
    await house.run(1)
    move_base(house)
    await house.run(60)
    live = [(ran.run.created, ran.run.finished) for ran in house.world.builder.runs]
    assert len(live) == 2
    assert live[0][1] is not None
    assert live[1][0] is not None
    assert live[0][1] <= live[1][0]


async def test_a_tag_that_moved_since_the_look_is_judged_first() -> None:
    """Somebody pushes between the look and the start: no run is needed."""
    house = House()
    open_shop(house)
    await house.run(1)
    move_base(house)
    looks = house.faults.calls.count("registry.digest")
    layers = ("os 2", "python 2", "checkout 2")
    house.faults.deeds["registry.digest", looks + 2] = lambda: house.world.registry.push(IMAGE, layers)
    house.world.advance(house.world.now + timedelta(minutes=6))
    await house.turn(KEY)
    assert "the tag has just moved" in item(house).message
    await house.run(20)
    assert house.world.builder.runs == []
    assert digest_name(house) == "checkout#2"


async def test_a_run_that_has_just_begun_elsewhere_goes_first() -> None:
    """Somebody starts the task between the look and the start."""
    house = House()
    open_shop(house)
    await house.run(1)
    move_base(house)
    task = house.world.builder.tasks["build-checkout"]
    house.faults.deeds["builder.recent", 1] = lambda: house.world.builder.begin(task, house.world.now)
    house.world.advance(house.world.now + timedelta(minutes=6))
    await house.turn(KEY)
    assert "run cf1 of the task has just been started" in item(house).message
    await house.run(60)
    assert digest_name(house) == "checkout#2"
    assert [ran.key for ran in house.world.builder.runs] == [""]


async def test_nothing_is_started_while_the_tag_cant_be_looked_at() -> None:
    house = House()
    open_shop(house)
    await house.run(1)
    move_base(house)
    looks = house.faults.calls.count("registry.digest")
    house.faults.at_method["registry.digest", looks + 2] = ("before", UnavailableError("down"))
    house.world.advance(house.world.now + timedelta(minutes=6))
    await house.turn(KEY)
    assert (house.faults.met, house.world.builder.runs) == (1, [])
    assert item(house).reason is Reason.RETRY_WAITING
    await house.run(20)
    assert_done_once(house)


async def test_a_rollout_half_done_goes_on_after_a_restart() -> None:
    """A new process every twenty seconds: each workload gets the digest once, one after the other."""
    house = House()
    places = ("checkout", "web", "worker")
    open_shop(house)
    old = house.world.cluster.deployments["checkout"].containers[0].image
    for place in places[1:]:
        house.world.cluster.deployment(place, old)
    house.track(body("python", base=BASE, downstream=[image_spec("checkout", image=IMAGE, deploy=places)]))
    await house.run(1)
    move_base(house)
    for _ in range(60):
        await house.run(1 / 3)
        house.restart()
        rolling = [one.name for one in house.world.cluster.deployments.values() if not one.complete]
        assert len(rolling) <= 1
    assert [name for name, _, _ in house.world.cluster.delivered] == list(places)
    assert len(house.world.builder.runs) == 1
    assert item(house).state is State.CURRENT


async def test_a_run_that_takes_too_long_is_ended_once_and_tried_again() -> None:
    house = House()
    open_shop(house)
    house.world.builder.tasks["build-checkout"].hangs = True
    await house.run(1)
    move_base(house)
    house.faults.at_method["builder.cancel", 0] = ("before", UnavailableError("down"))
    await house.run(67)
    states = [ran.run.state for ran in house.world.builder.runs]
    assert (states[0], house.faults.calls.count("builder.cancel")) == (BuildState.CANCELED, 2)
    house.world.builder.tasks["build-checkout"].hangs = False
    await house.run(20)
    assert digest_name(house) == "checkout#2"
    assert len(house.world.builder.runs) == 2


async def test_a_task_that_isnt_on_the_list_is_never_started() -> None:
    house = House()
    house.world.allowed = False
    open_shop(house)
    await house.run(1)
    move_base(house)
    await house.run(60)
    assert (item(house).reason, house.world.builder.runs) == (Reason.TASK_NOT_ALLOWED, [])
    assert "builder.start" not in house.faults.calls


async def test_a_person_who_asks_is_answered_at_once() -> None:
    house = House()
    open_shop(house)
    await house.run(1)
    move_base(house)
    await house.run(1)
    assert house.world.builder.runs == []
    house.trackers.change(KEY, requested_at="1")
    house.poke(KEY)
    await house.run(0.1)
    assert len(house.world.builder.runs) == 1
    heads = house.registry.heads[BASE]
    await house.run(2)
    assert house.registry.heads[BASE] == heads


async def test_an_image_that_is_gone_from_the_registry_blocks() -> None:
    """The tag names a digest that can't be read any more: nobody knows what it holds, so nothing is built."""
    house = House()
    open_shop(house)
    del house.world.registry.images[house.world.registry.tags[IMAGE]]
    await house.run(20)
    assert (item(house).reason, house.world.builder.runs) == (Reason.IMAGE_NOT_FOUND, [])


async def test_an_image_that_nobody_builds_stays_stale() -> None:
    house = House()
    open_shop(house)
    house.track(body("python", base=BASE, downstream=[image_spec("checkout", image=IMAGE, build=False)]))
    await house.run(1)
    move_base(house)
    await house.run(20)
    assert item(house).reason is Reason.NO_BUILD
    assert not any(name.startswith("builder.") for name in house.faults.calls)


async def test_a_start_without_a_tag_looks_for_runs_alone() -> None:
    house = House()
    key = open_shop(house)
    await house.run(1)
    move_base(house)
    base = BASE.pinned(house.world.registry.tags[BASE])
    start = StartBuild(
        downstream="checkout",
        task=house.world.builder.tasks["build-checkout"].ref,
        image=IMAGE,
        base=base,
        tag=None,
        attempt=1,
        arguments=(),
        values=(),
    )
    tracker = house.trackers.stored[key]

    async def intend(starts: Sequence[StartBuild]) -> Tracker:
        assert starts == [start]
        return tracker

    _, (outcome,) = await Starter(house.engine).start(tracker, [start], intend)
    assert outcome.run is not None
    assert not outcome.adopted


async def test_a_child_follows_at_once() -> None:
    """The parent's validated digest gives the child a turn, also when an intent was written in the same turn."""
    house = House()
    world = house.world
    root = ref("base/os:12")
    world.push_base(root, "os 1")
    middle, other = BASE, ref("base/other:1")
    world.registry.push(middle, ("os 1", "python 1"))
    world.registry.push(other, ("os 0", "other 1"))
    world.builder.task("build-other", other, root)
    entries = [
        image_spec("python", image=middle, deploy=(), build=False),
        image_spec("other", image=other, deploy=()),
    ]
    world.registry.push(IMAGE, ("os 1", "python 1", "checkout 1"))
    child = house.track(body("child", base=middle, downstream=[image_spec("checkout", deploy=(), build=False)]))
    parent = house.track(body("parent", base=root, downstream=entries))
    await house.turn(child)
    found = house.trackers.stored[child].status.of("checkout")
    assert found is not None
    assert found.reason is Reason.PARENT_NOT_VALIDATED
    await house.turn(parent)
    assert len(world.builder.runs) == 1
    assert house.wakes[child] == world.now
    await house.run(1)
    found = house.trackers.stored[child].status.of("checkout")
    assert found is not None
    assert found.state is State.CURRENT


@pytest.mark.parametrize("hands_off", ["suspend", "circle", "invalid"])
async def test_hands_off_asks_for_nothing(hands_off: str) -> None:
    house = House()
    key = open_shop(house, suspend=hands_off == "suspend")
    if hands_off == "circle":
        house.track(body("other", base=IMAGE, downstream=[image_spec("python", image=BASE, deploy=())]))
    if hands_off == "invalid":
        house.trackers.change(key, spec=None, problem="spec.base: Field required")
    await house.run(60)
    asked = set(house.faults.calls) - {"trackers.write_status", "workloads.find"}
    assert asked == set()
    assert house.world.cluster.delivered == []
    first = {item.type: item.status for item in house.trackers.stored[key].status.conditions}
    assert first["Ready"] == ("True" if hands_off == "suspend" else "False")  # type: ignore[index]  # the enum is a str


async def test_what_was_seen_stays_while_suspended() -> None:
    house = House()
    key = open_shop(house)
    await house.run(1)
    before = item(house)
    spec = house.trackers.stored[key].spec
    assert spec is not None
    house.trackers.change(key, spec=spec.model_copy(update={"suspend": True}), generation=2)
    house.poke(key)
    await house.run(1)
    after = item(house)
    assert after.state is State.SUSPENDED
    assert (after.latest, after.validated, after.lineage) == (before.latest, before.validated, before.lineage)


async def test_another_base_isnt_taken_for_the_old_one_in_an_outage() -> None:
    house = House()
    key = open_shop(house)
    await house.run(1)
    spec = house.trackers.stored[key].spec
    assert spec is not None
    other = spec.base.model_copy(update={"image": ref("base/python:3.13")})
    house.world.registry.down = True
    house.trackers.change(key, spec=spec.model_copy(update={"base": other}), generation=2)
    house.poke(key)
    await house.run(10)
    assert (item(house).reason, house.trackers.stored[key].status.base) == (Reason.REGISTRY_UNAVAILABLE, None)


async def test_a_deleted_tracker_has_no_more_turns() -> None:
    house = House()
    key = open_shop(house)
    await house.run(1)
    house.trackers.change(key, deleting=True)
    assert await house.turn(key) is None
    del house.trackers.stored[key]
    assert await house.turn(key) is None
    assert b'tracker="python"' not in house.metrics.render()


async def test_a_tracker_of_the_same_name_isnt_written_over() -> None:
    """Created anew while the turn was under way."""
    house = House()
    key = open_shop(house)
    turn = asyncio.ensure_future(house.turn(key))
    await asyncio.sleep(0)
    house.trackers.change(key, uid="another")
    await turn
    assert house.trackers.stored[key].status.document() == {}


async def test_credentials_that_are_missing_block_and_name_the_secret() -> None:
    house = House()
    house.faults.at_method["credentials.find", 0] = ("before", MissingError("there is no Secret shop/hub"))
    key = open_shop(house, secret=True)
    await house.turn(key)
    assert item(house).reason is Reason.BASE_NOT_FOUND
    assert "there is no Secret shop/hub" in item(house).message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidError("x"), ProblemKind.INVALID),
        (MissingError("x"), ProblemKind.MISSING),
        (DeniedError("x"), ProblemKind.DENIED),
        (UnavailableError("x"), ProblemKind.UNAVAILABLE),
        (ConflictError("x"), ProblemKind.UNAVAILABLE),
    ],
)
def test_errors_become_problems(error: BasetrackerError, kind: ProblemKind) -> None:
    assert problem_of(error) == Problem(kind=kind, message="x")
