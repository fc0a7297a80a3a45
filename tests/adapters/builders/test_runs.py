"""Looking at runs: states, outputs, triggers, lists, cancelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from basetracker.adapters.builders.runs import facts_of, run_of
from basetracker.api.names import BuildState
from basetracker.core.observed import TaskRef
from basetracker.emulators import samples
from basetracker.emulators.faults import Fault
from basetracker.emulators.tasks.definition import Behaviour
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import parse_image

from .conftest import BASE, IMAGE, World, based_on, request

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def test_a_run_goes_through_its_states_and_tells_what_it_pushed(world: World) -> None:
    run_id = (await world.builder.start(request(world))).run_id
    seen = []
    for _ in range(4):
        found = await world.builder.run(world.ref, run_id)
        assert found is not None
        seen.append(found.state)
        await world.pass_time(11)
    assert seen == [BuildState.QUEUED, BuildState.RUNNING, BuildState.RUNNING, BuildState.SUCCEEDED]
    digest = world.cloud.registry("contoso").digest("shop/checkout", "main")
    assert digest is not None
    assert found.outputs == (based_on(str(IMAGE), digest),)
    assert found.created is not None
    assert found.finished == found.created + timedelta(seconds=30)
    assert not found.automatic
    assert found.triggered_by == ()


async def test_a_run_that_is_not_there_is_none(world: World) -> None:
    assert await world.builder.run(world.ref, "cf99") is None


@pytest.mark.parametrize(
    ("behaviour", "state"),
    [
        (Behaviour(fail="failed during run, err: exit status 1"), BuildState.FAILED),
        (Behaviour(outcome="Error"), BuildState.FAILED),
        (Behaviour(outcome="Canceled"), BuildState.CANCELED),
        (Behaviour(outcome="Timeout"), BuildState.TIMED_OUT),
        (Behaviour(shown="Paused"), BuildState.UNKNOWN),
        (Behaviour(shown="SUCCEEDED"), BuildState.SUCCEEDED),
        (Behaviour(stuck="Queued"), BuildState.QUEUED),
        (Behaviour(stuck="Running"), BuildState.RUNNING),
    ],
)
async def test_states_are_told_whatever_their_case(world: World, behaviour: Behaviour, state: BuildState) -> None:
    world.task.behaviour = behaviour
    run_id = (await world.builder.start(request(world))).run_id
    await world.pass_time(60)
    found = await world.builder.run(world.ref, run_id)
    assert found is not None
    assert found.state is state
    assert found.message == (behaviour.fail or "")


async def test_a_run_that_pushes_nothing_has_no_outputs(world: World) -> None:
    world.task.behaviour = Behaviour(push=False)
    run_id = (await world.builder.start(request(world))).run_id
    await world.pass_time(60)
    found = await world.builder.run(world.ref, run_id)
    assert found is not None
    assert (found.state, found.outputs) == (BuildState.SUCCEEDED, ())


async def test_a_run_of_acr_s_own_trigger_names_the_base_that_started_it(world: World) -> None:
    world.task.trigger = True
    await world.builder.start(request(world))
    await world.pass_time(60)
    digest = world.cloud.push(BASE, samples.python_index("3.12.12"))
    await world.pass_time(1)
    newest, ours = await world.builder.recent(world.ref, LONG_AGO)
    assert newest.automatic
    assert newest.triggered_by == (based_on(BASE, digest),)
    assert newest.token == ""
    assert ours.token != ""
    assert not ours.automatic


async def test_recent_runs_are_those_of_the_task_since_then_newest_first(world: World) -> None:
    world.cloud.tasks.add("build-cart", world.contoso, image="shop/cart:main", base=BASE)
    other = TaskRef(world.ref.registry, "build-cart")
    ids = []
    for number in range(4):
        ids.append((await world.builder.start(request(world, f"key {number}"))).run_id)
        await world.pass_time(60)
    assert [run.run_id for run in await world.builder.recent(world.ref, LONG_AGO)] == ids[::-1]
    since = world.time.now() - timedelta(seconds=150)
    assert [run.run_id for run in await world.builder.recent(world.ref, since)] == [ids[3], ids[2]]
    assert await world.builder.recent(other, LONG_AGO) == []


async def test_recent_runs_are_bounded_and_asked_for_in_one_request(world: World) -> None:
    for number in range(130):
        world.cloud.tasks.schedule(world.task, {"overrideTaskStepProperties": {"updateTriggerToken": str(number)}})
        world.time.manual.advance(1)
    await world.builder.facts(world.ref)
    before = len(world.asked("GET .*/runs"))
    found = await world.builder.recent(world.ref, LONG_AGO)
    assert [run.token for run in found] == [str(number) for number in range(129, 29, -1)]
    assert len(world.asked("GET .*/runs")) - before <= 2


async def test_a_run_that_is_cancelled_ends(world: World) -> None:
    run_id = (await world.builder.start(request(world))).run_id
    await world.builder.cancel(world.ref, run_id)
    found = await world.builder.run(world.ref, run_id)
    assert found is not None
    assert found.state is BuildState.CANCELED


@pytest.mark.parametrize("status", [200, 400, 409])
async def test_cancelling_a_run_that_has_ended_leaves_it_as_it_is(world: World, status: int) -> None:
    run_id = (await world.builder.start(request(world))).run_id
    await world.pass_time(60)
    if status != 200:
        body = {"error": {"code": "RunHasEnded", "message": "The run has ended."}}
        world.cloud.faults.add(Fault(match="/cancel", status=status, body=body))
    await world.builder.cancel(world.ref, run_id)
    found = await world.builder.run(world.ref, run_id)
    assert found is not None
    assert found.state is BuildState.SUCCEEDED


async def test_a_live_run_that_cannot_be_cancelled_is_told(world: World) -> None:
    run_id = (await world.builder.start(request(world))).run_id
    world.cloud.faults.add(Fault(match="/cancel", status=409, body={"error": {"code": "Busy", "message": "no"}}))
    with pytest.raises(InvalidError, match="Busy: no"):
        await world.builder.cancel(world.ref, run_id)
    with pytest.raises(MissingError):
        await world.builder.cancel(world.ref, "cf99")


# -- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_look_that_fails_is_unavailable_after_one_request(world: World, status: int) -> None:
    world.cloud.faults.add(Fault(match="/runs", n=None, status=status))
    with pytest.raises(UnavailableError, match=r"management\.azure\.com"):
        await world.builder.run(world.ref, "cf1")
    assert len(world.asked("/runs")) == 1


async def test_a_look_whose_connection_breaks_is_unavailable(world: World) -> None:
    world.cloud.faults.add(Fault(match="/runs", n=None, drop=True))
    with pytest.raises(UnavailableError, match=r"the connection to management\.azure\.com broke"):
        await world.builder.run(world.ref, "cf1")


async def test_a_look_that_is_refused_names_the_action(world: World) -> None:
    world.operator.unassign("basetracker operator")
    with pytest.raises(DeniedError, match=r"Microsoft\.ContainerRegistry/registries/runs/read"):
        await world.builder.run(world.ref, "cf1")
    with pytest.raises(DeniedError, match=r"Microsoft\.ContainerRegistry/registries/runs/read"):
        await world.builder.recent(world.ref, LONG_AGO)
    with pytest.raises(DeniedError, match=r"Microsoft\.ContainerRegistry/registries/tasks/read"):
        await world.builder.facts(world.ref)


@pytest.mark.parametrize("fault", [Fault(match="/runs/", truncate=30), Fault(match="/runs/", torn=True)])
async def test_a_damaged_answer_is_unavailable(world: World, fault: Fault) -> None:
    run_id = (await world.builder.start(request(world))).run_id
    world.cloud.faults.add(fault)
    with pytest.raises(UnavailableError):
        await world.builder.run(world.ref, run_id)


# -- what Azure may tell --------------------------------------------------------------------------------------


def told(**properties: Any) -> Any:
    from azure.mgmt.containerregistrytasks import models

    return models.Run({"properties": {"runId": "cf1", **properties}})


def test_outputs_that_name_no_digest_are_left_out() -> None:
    whole = {"registry": "Contoso.azurecr.io", "repository": "a/b", "tag": "1", "digest": "sha256:" + "a" * 64}
    broken = [whole | {"digest": None}, whole | {"digest": "x"}, whole | {"repository": "A B"}, {"digest": "x"}, {}]
    untagged = whole | {"tag": None}
    run = run_of(told(outputImages=[*broken, whole, untagged]))
    assert [str(one) for one in run.outputs] == [
        f"contoso.azurecr.io/a/b:1@sha256:{'a' * 64}",
        f"contoso.azurecr.io/a/b@sha256:{'a' * 64}",
    ]


def test_docker_hub_is_called_by_its_name() -> None:
    image = {"registry": "registry.hub.docker.com", "repository": "library/python", "digest": "sha256:" + "a" * 64}
    run = run_of(told(imageUpdateTrigger={"images": [image]}, runType="autobuild"))
    assert run.triggered_by == (parse_image(f"python@sha256:{'a' * 64}"),)
    assert run.automatic


def test_a_run_of_which_next_to_nothing_is_told_may_be_live() -> None:
    run = run_of(told())
    assert run.state is BuildState.UNKNOWN
    assert run.state.is_live
    assert (run.created, run.outputs, run.token, run.message) == (None, (), "", "")


def test_a_message_is_short_and_shows_no_signature() -> None:
    link = "https://x.blob.core.windows.net/log?sv=1&sig=secret"
    run = run_of(told(status="Failed", runErrorMessage=f"failed: see {link} for more\n" + "x" * 2_000))
    assert run.message.startswith("failed: see https://x.blob.core.windows.net/log for more xxx")
    assert "secret" not in run.message
    assert len(run.message) == 500


def test_a_task_without_trigger_or_step_has_facts() -> None:
    from azure.mgmt.containerregistrytasks import models

    facts = facts_of(TaskRef("r", "n"), models.Task({"properties": {"status": "Enabled"}}))
    assert (facts.enabled, facts.base_trigger, facts.dependencies) == (True, False, ())
