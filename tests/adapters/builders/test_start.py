"""Starting a run: once, or told as a run that may exist."""

from __future__ import annotations

from datetime import timedelta

import pytest

from basetracker.adapters.builders.acr_tasks import AcrTasks
from basetracker.adapters.builders.arm import Arm
from basetracker.api.names import BuildState
from basetracker.core.builds import run_token
from basetracker.core.observed import TaskRef
from basetracker.emulators.faults import Fault
from basetracker.errors import (
    BasetrackerError,
    DeniedError,
    InvalidError,
    MissingError,
    UnavailableError,
    UnknownOutcomeError,
)
from basetracker.ports import BuildRequest

from .conftest import World, request

SCHEDULE = "POST management.azure.com .*/scheduleRun"
TOKEN = "POST login.microsoftonline.com .*/token"


async def test_a_run_is_started_with_its_arguments_and_its_token(world: World) -> None:
    asked = BuildRequest(task=world.ref, key="a key", arguments=(("BASE_IMAGE", "x@y"),), values=(("ID", "42"),))
    run = await world.builder.start(asked)
    assert run.state is BuildState.QUEUED
    assert run.created is not None
    (started,) = world.cloud.tasks.runs
    assert started.id == run.run_id
    assert started.task is world.task
    assert started.override == {
        "arguments": [{"name": "BASE_IMAGE", "value": "x@y", "isSecret": False}],
        "values": [{"name": "ID", "value": "42", "isSecret": False}],
        "updateTriggerToken": run_token("a key"),
    }


async def test_without_arguments_nothing_of_the_task_is_overridden(world: World) -> None:
    await world.builder.start(request(world))
    (started,) = world.cloud.tasks.runs
    assert set(started.override) == {"updateTriggerToken"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(match=SCHEDULE, status=500, after=True),
        Fault(match=SCHEDULE, status=502, after=True),
        Fault(match=SCHEDULE, status=503, after=True, headers={"Retry-After": "5"}),
        Fault(match=SCHEDULE, status=504, after=True),
        Fault(match=SCHEDULE, status=408, after=True),
        Fault(match=SCHEDULE, drop=True, after=True),
        Fault(match=SCHEDULE, torn=True),
        Fault(match=SCHEDULE, truncate=20),
        Fault(match=SCHEDULE, status=200, after=True, body="[]"),
        Fault(match=SCHEDULE, status=200, after=True, body="{}"),
        Fault(match=SCHEDULE, status=200, after=True, body="<html>"),
        Fault(match=SCHEDULE, status=307, after=True, headers={"Location": "https://management.azure.com/again"}),
    ],
    ids=["500", "502", "503", "504", "408", "drop", "torn", "cut", "list", "empty", "html", "redirect"],
)
async def test_a_lost_answer_is_an_unknown_outcome_after_one_request(world: World, fault: Fault) -> None:
    await world.builder.facts(world.ref)  # a connection that is used again is one more reason to send twice
    world.cloud.faults.add(fault)
    with pytest.raises(UnknownOutcomeError, match="task build-checkout of registry contoso"):
        await world.builder.start(request(world))
    assert len(world.asked("POST management.azure.com")) == 1
    assert len(world.cloud.tasks.runs) == 1


async def test_a_run_whose_answer_was_lost_is_found_again_by_its_token(world: World) -> None:
    world.cloud.faults.add(Fault(match=SCHEDULE, drop=True, after=True))
    before = world.time.now()
    with pytest.raises(UnknownOutcomeError):
        await world.builder.start(request(world, "the key"))
    (found,) = await world.builder.recent(world.ref, before - timedelta(minutes=1))
    assert found.token == run_token("the key")


@pytest.mark.parametrize("fault", [Fault(match=SCHEDULE, status=500), Fault(match=SCHEDULE, drop=True)])
async def test_even_when_nothing_was_started_it_is_not_claimed(world: World, fault: Fault) -> None:
    world.cloud.faults.add(fault)
    with pytest.raises(UnknownOutcomeError):
        await world.builder.start(request(world))
    assert len(world.asked("POST management.azure.com")) == 1
    assert not world.cloud.tasks.runs


@pytest.mark.parametrize(
    ("status", "code", "error", "match"),
    [
        (400, "TasksOperationsNotAllowed", InvalidError, "TasksOperationsNotAllowed: It is paused"),
        (401, "AuthenticationFailed", DeniedError, "scheduleRun/action"),
        (403, "AuthorizationFailed", DeniedError, "scheduleRun/action"),
        (404, "ResourceNotFound", MissingError, "task build-checkout of registry contoso"),
        (409, "Conflict", InvalidError, "Conflict: It is paused"),
        (422, "Other", InvalidError, "Other: It is paused"),
        (429, "TooManyRequests", UnavailableError, "fewer requests"),
    ],
)
async def test_a_refusal_is_told_as_one_after_one_request(
    world: World, status: int, code: str, error: type[BasetrackerError], match: str
) -> None:
    message = "It is paused. Correlation ID: 5e3c1f7a-1111-2222-3333-444455556666"
    world.cloud.faults.add(
        Fault(match=SCHEDULE, n=None, status=status, body={"error": {"code": code, "message": message}})
    )
    with pytest.raises(error, match=match) as caught:
        await world.builder.start(request(world))
    assert "5e3c1f7a" not in str(caught.value)
    assert len(world.asked("POST management.azure.com")) == 1
    assert not world.cloud.tasks.runs


async def test_a_paused_subscription_is_told_in_azure_s_words(world: World) -> None:
    world.cloud.tasks.paused = True
    with pytest.raises(InvalidError, match="TasksOperationsNotAllowed"):
        await world.builder.start(request(world))


async def test_a_missing_role_is_named(world: World) -> None:
    world.operator.unassign("basetracker operator")
    world.operator.assign("Reader", world.contoso.id)
    with pytest.raises(DeniedError, match=r"Microsoft\.ContainerRegistry/registries/scheduleRun/action"):
        await world.builder.start(request(world))
    assert not world.cloud.tasks.runs


async def test_after_a_429_nothing_is_sent_until_the_pause_is_over(world: World) -> None:
    world.cloud.faults.add(Fault(match=SCHEDULE, status=429, headers={"Retry-After": "17"}))
    with pytest.raises(UnavailableError) as caught:
        await world.builder.start(request(world))
    assert caught.value.retry_after == 17
    before = len(world.cloud.faults.log)
    world.time.manual.advance(16)
    for call in (world.builder.start(request(world)), world.builder.run(world.ref, "cf1")):
        with pytest.raises(UnavailableError) as held:
            await call
        assert held.value.retry_after == 1
    assert len(world.cloud.faults.log) == before
    world.time.manual.advance(1)
    assert (await world.builder.start(request(world))).run_id == "cf1"


async def test_what_entra_refuses_is_no_unknown_outcome(world: World) -> None:
    world.cloud.faults.add(Fault(match="login.microsoftonline.com", status=500))
    with pytest.raises(UnavailableError, match=r"login\.microsoftonline\.com"):
        await world.builder.start(request(world))
    assert not world.asked("management.azure.com")


async def test_a_token_that_arm_takes_no_more_is_replaced_and_the_run_started_once(world: World) -> None:
    assert await world.builder.recent(world.ref, world.time.now()) == []
    await world.pass_time(60)
    world.cloud.expire_tokens()
    assert (await world.builder.start(request(world))).state is BuildState.QUEUED
    assert [one[-3:] for one in world.asked(SCHEDULE)] == ["401", "200"]
    assert len(world.cloud.tasks.runs) == 1
    assert len(world.asked(TOKEN)) == 2
    await world.builder.start(request(world, "another key"))
    assert len(world.asked(TOKEN)) == 2, "the new one is kept"
    assert not world.cloud.faults.leaks


async def test_arm_that_takes_no_token_at_all_is_asked_twice_and_entra_seldom(world: World) -> None:
    world.cloud.faults.add(
        Fault(match=SCHEDULE, n=None, status=401, headers={"WWW-Authenticate": 'Bearer authorization_uri="https://x"'})
    )
    await world.builder.recent(world.ref, world.time.now())
    for _ in range(3):
        with pytest.raises(DeniedError, match="grant it a role"):
            await world.builder.start(request(world))
    assert [len(world.asked(SCHEDULE)), len(world.asked(TOKEN))] == [3, 1], "what was just given isn't at fault"
    await world.pass_time(60)
    for _ in range(3):
        with pytest.raises(DeniedError, match="grant it a role"):
            await world.builder.start(request(world))
    assert [len(world.asked(SCHEDULE)), len(world.asked(TOKEN))] == [3 + 4, 2], "one more try with another token"


async def test_without_an_identity_it_is_told_how_to_give_one(world: World) -> None:
    builder = AcrTasks(Arm(world.http, None), world.time)
    with pytest.raises(DeniedError, match=r"azure\.workload\.identity/use=true"):
        await builder.start(request(world))
    with pytest.raises(DeniedError, match=r"azure\.workload\.identity/use=true"):
        await builder.facts(world.ref)


@pytest.mark.parametrize("name", ["x", "a b", "it's-me", "x' or TaskName ne '", "a/b/c", "a" * 51, "täsk-name"])
async def test_a_name_that_no_task_can_have_reaches_no_request(world: World, name: str) -> None:
    wrong = TaskRef(world.ref.registry, name)
    with pytest.raises(InvalidError, match="is not a task name"):
        await world.builder.recent(wrong, world.time.now())
    with pytest.raises(InvalidError, match="is not a task name"):
        await world.builder.start(BuildRequest(task=wrong, key="k"))
    assert not world.asked()


async def test_tokens_go_to_arm_alone(world: World) -> None:
    await world.builder.start(request(world))
    await world.builder.facts(world.ref)
    assert not world.cloud.faults.leaks
    assert {one.host for one in world.cloud.faults.log} == {"management.azure.com", "login.microsoftonline.com"}
