"""Builds: started exactly once, followed to their end, and judged by what they made."""

from __future__ import annotations

import asyncio

import pytest

from basetracker.emulators.faults import Fault
from basetracker.emulators.tasks.definition import Behaviour

from .world import BASE, World, a_tracker, image_of

SCHEDULE = r"^POST management\.azure\.com .*/scheduleRun\?"
REPOSITORY = BASE.rpartition(":")[0]


async def test_a_rebuild_that_lacks_the_base_is_never_delivered(world: World) -> None:
    task = await world.begin()
    before, old = world.deployment()["spec"], world.digest(BASE)
    task.behaviour = Behaviour(base=f"{REPOSITORY}@{old}")
    await world.move_base()
    row = await world.becomes("Blocked LineageNotProven")
    (run,) = world.runs("checkout")
    assert f"run {run.id} made" in row["message"]
    assert "layer 2 of 2 for linux/amd64 is" in row["message"]
    assert world.condition("Stalled")["reason"] == "LineageNotProven"
    await world.look()
    await world.look()
    assert world.state() == "Blocked LineageNotProven"
    assert len(world.runs("checkout")) == 1
    assert world.deployment()["spec"] == before
    assert len(world.history("Rejected")) == 1


async def test_a_task_that_is_mended_after_a_rejected_result_frees_it(world: World) -> None:
    task = await world.begin()
    task.behaviour = Behaviour(base=f"{REPOSITORY}@{world.digest(BASE)}")
    new = await world.move_base()
    await world.becomes("Blocked LineageNotProven")
    task.behaviour = Behaviour()
    digest = await world.built(task)
    await world.look()
    assert await world.catches_up(new) == digest
    assert world.runs_digests() == {digest}


async def test_a_squashed_result_is_not_proven(world: World) -> None:
    task = await world.begin()
    before = world.runs_digests()
    task.behaviour = Behaviour(squash=True)
    await world.move_base()
    row = await world.becomes("Blocked LineageNotProven")
    assert "squashed" in row["message"]
    assert world.runs_digests() == before


async def test_a_squashed_result_is_accepted_as_claimed_where_the_tracker_says_so(world: World) -> None:
    await world.begin(a_tracker(fields={"gates": "[{lineage: {accept: Claimed}}]"}))
    task = world.cloud.tasks.find(f"{world.registry.id}/tasks/build-checkout")
    assert task is not None
    task.behaviour = Behaviour(squash=True)
    new = await world.move_base()
    digest = await world.catches_up(new)
    assert world.image()["lineage"] == "Claimed"
    assert world.runs_digests() == {digest}


async def test_a_failed_build_is_told_and_repeated_when_asked(world: World) -> None:
    task = await world.begin()
    before = world.runs_digests()
    task.behaviour = Behaviour(fail="the compiler found a missing header")
    new = await world.move_base()
    row = await world.becomes("Stale RetryWaiting")
    assert "attempt 1 of 5 failed: the compiler found a missing header" in row["message"]
    assert row["build"]["nextAttemptAt"]
    assert world.runs_digests() == before
    task.behaviour = Behaviour()
    await world.look()
    digest = await world.catches_up(new)
    assert [run.status for run in world.runs("checkout")] == ["Failed", "Succeeded"]
    assert world.runs_digests() == {digest}


async def test_a_failed_build_for_an_old_base_doesnt_hold_the_next_base(world: World) -> None:
    task = await world.begin()
    task.behaviour = Behaviour(fail_first=task.runs_ended + 1)
    await world.move_base()
    await world.becomes("Stale RetryWaiting")
    new = world.push_base("3.12.13")
    await world.look()
    await world.catches_up(new)
    assert len(world.runs("checkout")) == 2


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(hide_output=True), Behaviour(tag="nightly")],
    ids=["an output that isn't told", "another tag"],
)
async def test_a_result_that_isnt_where_it_belongs_is_found_and_proven(world: World, behaviour: Behaviour) -> None:
    task = await world.begin()
    task.behaviour = behaviour
    new = await world.move_base()
    digest = await world.catches_up(new)
    assert len(world.runs("checkout")) == 1
    assert world.runs_digests() == {digest}
    containers = world.deployment()["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == f"{image_of('checkout')}@{digest}"


async def test_a_run_that_pushes_nothing_is_not_repeated(world: World) -> None:
    task = await world.begin()
    before = world.runs_digests()
    task.behaviour = Behaviour(push=False)
    new = await world.move_base()
    row = await world.becomes("Blocked NoOutputImage")
    assert "reports no image" in row["message"]
    await world.look()
    assert len(world.runs("checkout")) == 1
    assert world.runs_digests() == before
    task.behaviour = Behaviour()
    await world.built(task)
    await world.look()
    await world.catches_up(new)


async def test_a_run_of_acrs_own_trigger_is_adopted(world: World) -> None:
    (task,) = (await world.furnish(trigger=True)).values()
    await world.operate()
    await world.apply(a_tracker())
    await world.becomes("Current")
    task.behaviour = Behaviour(run_seconds=0.6)
    new = world.push_base("3.12.12")
    await world.until(lambda: len(world.runs("checkout")) == 1, "the trigger has started a run")
    await world.look()
    await world.until(lambda: world.image().get("build", {}).get("adopted") is True, "the run is adopted")
    digest = await world.catches_up(new)
    (run,) = world.runs("checkout")
    assert run.kind == "AutoRun"
    assert world.schedulings() == 0
    assert world.runs_digests() == {digest}
    condition = world.condition("TaskTriggerEnabled")
    assert condition["status"] == "True"
    assert "contoso/build-checkout" in condition["message"]


async def test_what_acrs_own_trigger_built_before_the_look_needs_no_run(world: World) -> None:
    (task,) = (await world.furnish(trigger=True)).values()
    await world.operate()
    await world.apply(a_tracker())
    await world.becomes("Current")
    new = world.push_base("3.12.12")
    await world.until(lambda: task.runs_ended == 2, "the trigger's run has ended")
    await world.look()
    await world.catches_up(new)
    assert len(world.runs("checkout")) == 1
    assert world.schedulings() == 0


async def test_a_later_run_for_the_same_base_is_recorded_and_not_delivered(world: World) -> None:
    task = await world.begin()
    new = await world.move_base()
    digest = await world.catches_up(new)
    await asyncio.sleep(1.1)  # images are stamped with the second in which they are built
    later = await world.built(task)
    assert later != digest
    await world.look()
    await world.look()
    row = world.image()
    assert (row["state"], row["latest"]["digest"]) == ("Current", later)
    assert "which is not delivered" in row["message"]
    (moved,) = world.history("TagMoved")
    assert (moved["from"], moved["to"]) == (digest, later)
    assert world.runs_digests() == {digest}
    assert world.deliveries("checkout") == 2  # the first pin and the new base


async def test_a_trigger_that_fires_twice_is_adopted_once(world: World) -> None:
    (task,) = (await world.furnish(trigger=True, trigger_runs=2)).values()
    await world.operate()
    await world.apply(a_tracker())
    await world.becomes("Current")
    count = world.deliveries()
    new = world.push_base("3.12.12")
    await world.until(lambda: len(world.runs("checkout")) == 2, "the trigger has started two runs")
    await world.look()
    digest = await world.catches_up(new)
    await world.until(lambda: task.runs_ended == 3, "both runs have ended")
    await world.look()
    assert world.schedulings() == 0
    assert world.deliveries() == count + 1
    assert world.runs_digests() == {digest}


async def test_a_trigger_that_fires_after_our_request_delivers_nothing(world: World) -> None:
    (task,) = (await world.furnish(trigger=True, trigger_delay=0.3)).values()
    await world.operate()
    await world.apply(a_tracker())
    await world.becomes("Current")
    count = world.deliveries()
    task.behaviour = Behaviour(run_seconds=0.6)
    new = await world.move_base()
    digest = await world.catches_up(new)
    await world.until(lambda: task.runs_ended == 3, "both runs have ended")
    await world.look()
    ours = next(run for run in world.runs("checkout") if run.kind == "QuickRun")
    assert ours.outputs[0]["digest"] == digest
    assert world.schedulings() == 1
    assert world.deliveries() == count + 1


async def test_a_task_that_pushes_a_tag_of_its_own_for_each_run(world: World) -> None:
    await world.begin(unique_tag="{{.Run.ID}}")
    digest = await world.catches_up(await world.move_base())
    containers = world.deployment()["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == f"{image_of('checkout')}@{digest}"


async def test_arguments_and_values_reach_the_run(world: World) -> None:
    build = """
    acrTask:
      name: build-checkout
      registry: REGISTRY
      baseArgument: BASE_IMAGE
      arguments: [{name: CHANNEL, value: stable}]
      values: [{name: ID, value: "42"}]
    """
    await world.begin(a_tracker(build=build.replace("REGISTRY", world.registry.id)))
    new = await world.move_base()
    await world.catches_up(new)
    (run,) = world.runs("checkout")
    assert {one["name"]: one["value"] for one in run.override["arguments"]} == {
        "CHANNEL": "stable",
        "BASE_IMAGE": f"{BASE}@{new}",
    }
    assert [(one["name"], one["value"]) for one in run.override["values"]] == [("ID", "42")]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(match=SCHEDULE, status=500, after=True),
        Fault(match=SCHEDULE, status=504, after=True),
        Fault(match=SCHEDULE, drop=True, after=True),
        Fault(match=SCHEDULE, torn=True),
        Fault(match=SCHEDULE, truncate=20),
    ],
    ids=["500", "504", "cut", "torn", "truncated"],
)
@pytest.mark.parametrize("echoes", [True, False], ids=["token", "no-token"])
async def test_a_request_whose_answer_is_lost_starts_exactly_one_run(world: World, fault: Fault, echoes: bool) -> None:
    world.cloud.tasks.echoes_token = echoes
    await world.begin()
    world.cloud.faults.add(Fault(**{name: getattr(fault, name) for name in Fault.__slots__}))
    new = await world.move_base()
    digest = await world.catches_up(new)
    assert len(world.runs("checkout")) == 1
    assert world.schedulings() == 1
    assert world.runs_digests() == {digest}


async def test_a_builder_that_asks_for_patience_is_given_it(world: World) -> None:
    await world.begin()
    world.cloud.faults.add(Fault(match=SCHEDULE, status=429, headers={"Retry-After": "1"}, body={}))
    new = await world.move_base()
    await world.catches_up(new)
    assert len(world.runs("checkout")) == 1
    assert world.schedulings() == 2
    assert world.image()["build"]["attempt"] == 1


async def test_a_refused_request_is_told_and_repeated_when_asked(world: World) -> None:
    await world.begin()
    world.cloud.faults.add(Fault(match=SCHEDULE, status=403, body={"error": {"code": "AuthorizationFailed"}}))
    new = await world.move_base()
    row = await world.becomes("Blocked AccessDenied")
    assert "scheduleRun/action" in row["message"]
    assert world.runs("checkout") == []
    await world.look()
    await world.catches_up(new)
    assert world.image()["build"]["attempt"] == 1


async def test_an_outage_of_arm_holds_the_build_and_nothing_else(world: World) -> None:
    await world.begin()
    world.cloud.faults.add(Fault(match=r" management\.azure\.com ", n=None, status=503))
    new = await world.move_base()
    row = await world.becomes("Stale BaseMoved")
    assert "the builder can't be asked: management.azure.com can't answer now" in row["message"]
    world.cloud.faults.clear()
    digest = await world.catches_up(new)
    assert len(world.runs("checkout")) == 1
    assert world.runs_digests() == {digest}


async def test_an_outage_of_arm_during_a_run_is_survived(world: World) -> None:
    task = await world.begin()
    task.behaviour = Behaviour(run_seconds=0.3)
    new = await world.move_base()
    world.cloud.faults.add(Fault(match=r" management\.azure\.com ", n=None, status=503))
    await world.until(lambda: "can't answer now" in world.image()["message"], "the outage is told")
    world.cloud.faults.clear()
    await world.catches_up(new)
    assert len(world.runs("checkout")) == 1


@pytest.mark.parametrize("stuck", ["Queued", "Running"])
async def test_a_run_that_takes_too_long_is_ended(world: World, stuck: str) -> None:
    task = await world.begin(a_tracker(build="{timeout: 1s}"))
    task.behaviour = Behaviour(stuck="Queued" if stuck == "Queued" else "Running")
    new = await world.move_base()
    await world.until(lambda: world.image()["build"]["state"] == "TimedOut", "the build has timed out")
    assert [run.status for run in world.runs("checkout")] == ["Canceled"]
    row = await world.becomes("Stale RetryWaiting")
    assert "took too long" in row["message"]
    task.behaviour = Behaviour()
    await world.look()
    await world.catches_up(new)


async def test_a_status_that_nobody_knows_is_waited_out(world: World) -> None:
    task = await world.begin()
    task.behaviour = Behaviour(shown="Hibernating")
    new = await world.move_base()
    await world.becomes("Building BuildOutcomeUnknown")
    await world.look()
    assert len(world.runs("checkout")) == 1
    task.behaviour = Behaviour()
    await world.catches_up(new)
    assert len(world.runs("checkout")) == 1


async def test_a_run_that_somebody_else_started_goes_first(world: World) -> None:
    task = await world.begin()
    task.behaviour = Behaviour(run_seconds=1.0, base=f"{REPOSITORY}@{world.digest(BASE)}")
    foreign = world.cloud.tasks.schedule(task, {})
    new = await world.move_base()
    row = await world.becomes("Stale ForeignRun")
    assert f"run {foreign.id} of the task" in row["message"]
    await world.until(lambda: not foreign.live, "the foreign run has ended")
    task.behaviour = Behaviour()
    await world.catches_up(new)
    assert len(world.runs("checkout")) == 2


async def test_a_run_of_somebody_else_that_brings_the_base_is_enough(world: World) -> None:
    task = await world.begin()
    task.behaviour = Behaviour(run_seconds=0.5)
    foreign = world.cloud.tasks.schedule(task, {})
    new = await world.move_base()
    assert await world.catches_up(new) == foreign.outputs[0]["digest"]
    assert world.schedulings() == 0


async def test_a_base_that_moves_during_a_build_is_built_next(world: World) -> None:
    task = await world.begin()
    task.behaviour = Behaviour(run_seconds=0.5)
    middle = await world.move_base()
    await world.becomes("Building")
    task.behaviour = Behaviour()
    new = world.push_base("3.12.13")
    await world.look()
    digest = await world.catches_up(new)
    assert [run.argument("BASE_IMAGE") for run in world.runs("checkout")] == [f"{BASE}@{middle}", f"{BASE}@{new}"]
    assert world.runs_digests() == {digest}


async def test_two_trackers_of_one_task_and_image_share_the_run(world: World) -> None:
    await world.begin()
    second = a_tracker(name="again", fields={"downstream": SECOND})
    await world.apply(second)
    await world.becomes("Current", tracker="again")
    new = world.push_base("3.12.12")
    await asyncio.gather(world.look(), world.look("again"))
    await world.catches_up(new)
    await world.catches_up(new, tracker="again")
    assert len(world.runs("checkout")) == 1


SECOND = f"""
- name: checkout
  image: {image_of("checkout")}
  build: {{acrTask: {{name: build-checkout, baseArgument: BASE_IMAGE}}}}
  deploy: []
"""
