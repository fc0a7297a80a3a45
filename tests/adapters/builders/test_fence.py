"""The fence: an effect that was decided on by the leader doesn't leave once another one leads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from basetracker.adapters.azure_identity import AzureSettings, azure_identity
from basetracker.adapters.builders.acr_tasks import AcrTasks
from basetracker.adapters.builders.arm import Arm
from basetracker.adapters.fence import FencedError, only_while
from basetracker.emulators.cloud import SUBSCRIPTION
from basetracker.emulators.faults import Fault

from .conftest import World, request

SCHEDULE = "POST management.azure.com .*/scheduleRun"


class Lead:
    """Held until told otherwise."""

    def __init__(self) -> None:
        self.holds = True

    def is_held(self) -> bool:
        return self.holds


@pytest.fixture
async def fenced(world: World, tmp_path: Path) -> AsyncIterator[tuple[AcrTasks, Lead]]:
    """A builder that asks a lead, on a session of its own identity that has no token yet."""
    lead = Lead()
    variables = world.cloud.environment(tmp_path, world.operator)
    own = azure_identity(AzureSettings.from_environment(variables), world.http)
    builder = AcrTasks(Arm(world.http, own), world.time, subscriptions=(SUBSCRIPTION,), may=lead.is_held)
    yield builder, lead
    await builder.close()


async def test_a_leader_starts_runs(world: World, fenced: tuple[AcrTasks, Lead]) -> None:
    builder, _ = fenced
    run = await builder.start(request(world))
    assert [one.id for one in world.cloud.tasks.runs] == [run.run_id]


async def test_one_that_lost_the_lead_on_the_way_sends_nothing(world: World, fenced: tuple[AcrTasks, Lead]) -> None:
    builder, lead = fenced

    def lose(asked: object) -> None:
        lead.holds = False

    world.cloud.faults.listeners.append(lose)  # while the token is fetched
    with pytest.raises(FencedError, match="another replica leads"):
        await builder.start(request(world))
    assert not world.cloud.tasks.runs
    assert world.asked(SCHEDULE) == []
    assert world.asked("POST login") != []


async def test_no_run_is_ended_without_the_lead(world: World, fenced: tuple[AcrTasks, Lead]) -> None:
    builder, lead = fenced
    run = await builder.start(request(world))
    lead.holds = False
    with pytest.raises(FencedError):
        await builder.cancel(world.ref, run.run_id)
    assert world.cloud.tasks.runs[0].live


async def test_reading_goes_on_without_the_lead(world: World, fenced: tuple[AcrTasks, Lead]) -> None:
    builder, lead = fenced
    run = await builder.start(request(world))
    lead.holds = False
    assert [one.run_id for one in await builder.recent(world.ref, world.time.now())] == [run.run_id]


async def test_what_is_asked_on_the_way_is_held_back_as_well(world: World) -> None:
    world.cloud.faults.add(Fault(match="GET", n=None, status=500))
    with only_while(lambda: False), pytest.raises(FencedError):
        await world.http.request("GET", URL("https://management.azure.com/"))
    assert world.asked() == []
