"""Restarts, two replicas and a troubled API server: whatever was half done goes on, and nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from basetracker.adapters.lease import LeadLostError
from basetracker.emulators.cluster.instruments import Fault as ClusterFault
from basetracker.emulators.faults import Fault
from basetracker.emulators.tasks.definition import Behaviour
from basetracker.errors import UnavailableError

from .world import NAMESPACE, World, a_tracker

SCHEDULE = r"^POST management\.azure\.com .*/scheduleRun\?"
PATCH = r"^PATCH /apis/apps/v1/namespaces/shop/deployments/"


async def everything_happened_once(world: World, base: str) -> None:
    digest = await world.catches_up(base)
    assert len(world.runs("checkout")) == 1
    assert world.runs_digests() == {digest}
    # The tag, the first pin, the new base: no rollout more than these three.
    assert world.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


def build_state(world: World) -> str:
    return str(world.image().get("build", {}).get("state"))


def prepare_answer_lost(world: World) -> Callable[[], bool]:
    """The run is started, and nobody has been told its id."""
    world.cloud.tasks.queue_seconds = 0.5
    world.cloud.faults.add(Fault(match=SCHEDULE, after=True, drop=True))
    return lambda: bool(world.runs("checkout"))


def prepare_queued(world: World) -> Callable[[], bool]:
    world.cloud.tasks.queue_seconds = 0.5
    return lambda: build_state(world) == "Queued"


def prepare_running(world: World) -> Callable[[], bool]:
    world.cloud.tasks.run_seconds = 0.5
    return lambda: build_state(world) == "Running"


def prepare_succeeded(world: World) -> Callable[[], bool]:
    """The run ends while nobody looks."""
    world.cloud.tasks.run_seconds = 0.3
    return lambda: build_state(world) in {"Queued", "Running"}


def prepare_delivering(world: World) -> Callable[[], bool]:
    world.cluster.faults.append(ClusterFault(match=PATCH, delay=0.4))
    return lambda: not world.cluster.faults


def prepare_delivered(world: World) -> Callable[[], bool]:
    """The patch is done, its answer never arrives."""
    count = world.deliveries()
    world.cluster.faults.append(ClusterFault(match=PATCH, after=True, delay=0.4, drop=True))
    return lambda: not world.cluster.faults or world.deliveries() > count


def prepare_rolling_out(world: World) -> Callable[[], bool]:
    world.cluster.pod_start_seconds = 0.8
    return lambda: world.state() == "RollingOut RolloutProgressing"


PHASES = [
    prepare_answer_lost,
    prepare_queued,
    prepare_running,
    prepare_succeeded,
    prepare_delivering,
    prepare_delivered,
    prepare_rolling_out,
]


@pytest.mark.parametrize("prepare", PHASES, ids=lambda prepare: prepare.__name__.removeprefix("prepare_"))
async def test_an_operator_that_is_broken_off_is_taken_over_from(
    world: World, prepare: Callable[[World], Callable[[], bool]]
) -> None:
    await world.begin()
    is_there = prepare(world)
    new = await world.push_and_ask()
    await world.until(is_there, f"the story is at {prepare.__name__}")
    await world.operators.pop().killed()
    await world.operate("two")
    await everything_happened_once(world, new)


async def test_a_stuck_rollout_stays_stuck_and_is_not_delivered_again(world: World) -> None:
    await world.begin()
    await world.cluster.patch("Deployment", NAMESPACE, "checkout", {"spec": {"progressDeadlineSeconds": 1}})
    known = world.image()["validated"]["digest"]

    async def crashes(image: str) -> bool:
        return known not in image

    world.cluster.crashes = crashes
    await world.move_base()
    await world.becomes("Blocked RolloutStuck")
    count = world.deliveries()
    await world.operators.pop().ended()
    await world.operate("two")
    await world.look()
    assert world.state() == "Blocked RolloutStuck"
    assert world.deliveries() == count


async def test_the_second_replica_takes_over_when_the_first_ends(world: World) -> None:
    await world.begin()
    second = await world.operate("two", wait=False)
    world.cloud.tasks.run_seconds = 0.5
    new = await world.move_base()
    await world.becomes("Building")
    first = world.operators[0]
    assert world.leader() == "one"
    await first.ended()
    await world.until(lambda: world.leader() == "two", "the second one leads")
    await everything_happened_once(world, new)
    assert (first.error, second.error) == (None, None)


async def test_a_replica_that_wakes_up_after_another_took_over_does_nothing(world: World) -> None:
    """Frozen in the middle of a build, as by a stalled node: the other one finishes, the first one has to end."""
    await world.begin()
    first = world.operators[0]
    await world.operate("two", wait=False)
    world.cloud.tasks.run_seconds = 0.5
    new = await world.move_base()
    await world.becomes("Building")
    first.freeze()
    await world.until(lambda: world.leader() == "two", "the second one leads", 30.0)
    await everything_happened_once(world, new)
    before = world.cluster.writes.copy(), world.schedulings()
    world.operators.remove(first)
    first.thaw()
    await world.until(lambda: first.is_over, "the first one has ended")
    assert isinstance(first.error, LeadLostError)
    after = world.cluster.writes.copy(), world.schedulings()
    # What has happened may be told late, by either of them.
    changed = {name for name in after[0] - before[0] if not name.endswith((" leases", " events"))}
    assert (changed, after[1]) == (set(), before[1])


@pytest.mark.parametrize("trouble", ["restart", "drop_watches", "compact"])
async def test_a_troubled_api_server_is_survived(world: World, trouble: str) -> None:
    await world.begin()
    world.cloud.tasks.run_seconds = 0.3
    new = await world.move_base()
    await world.becomes("Building")
    if trouble == "restart":
        await world.cluster.restart()
    else:
        if trouble == "compact":
            world.cluster.compact()
        assert world.cluster.drop_watches() > 0
    await everything_happened_once(world, new)


async def test_after_refused_credentials_another_process_goes_on(world: World) -> None:
    await world.begin()
    operator = world.operators.pop()
    world.cluster.faults.append(ClusterFault(match=r"^GET /apis/basetracker\.dev/.*watch=true", times=1, status=401))
    assert world.cluster.drop_watches() > 0
    new = await world.push_and_ask()
    await world.until(lambda: operator.is_over, "it has ended", 30.0)
    assert isinstance(operator.error, UnavailableError)
    assert "doesn't accept the operator's credentials" in str(operator.error)
    assert world.leader() == "", "the Lease is free at once"
    await world.operate("two")
    await everything_happened_once(world, new)


async def test_a_network_that_breaks_all_connections_is_survived(world: World) -> None:
    await world.begin()
    world.cloud.tasks.run_seconds = 0.3
    new = await world.push_and_ask()
    for _ in range(10):
        world.cloud.proxy.cut_tunnels()
        await asyncio.sleep(0.05)
    await everything_happened_once(world, new)


async def test_a_status_that_cant_be_written_repeats_no_effect(world: World) -> None:
    await world.begin()
    match = r"^PATCH /apis/basetracker\.dev/.*/status"
    world.cluster.faults.append(ClusterFault(match=match, times=2, status=500))
    new = await world.push_and_ask()
    await everything_happened_once(world, new)


async def test_a_tracker_that_is_made_anew_validates_again_before_it_delivers(world: World) -> None:
    """Its status is gone, and so is what was validated; what runs is judged by its layers, not by memory."""
    await world.begin()
    digest = await world.catches_up(await world.move_base())
    count = world.deliveries()
    await world.cluster.delete("BaseImageTracker", "shop", "python")
    await world.apply(a_tracker())
    await world.becomes("Current")
    assert world.image()["validated"]["digest"] == digest
    assert len(world.runs("checkout")) == 1
    assert world.deliveries() == count


async def test_a_deleted_tracker_leaves_its_workloads_alone(world: World) -> None:
    task = await world.begin()
    task.behaviour = Behaviour(run_seconds=0.3)
    await world.move_base()
    await world.becomes("Building")
    before = world.deployment()["spec"]
    await world.cluster.delete("BaseImageTracker", "shop", "python")
    await world.until(lambda: not world.runs("checkout")[0].live, "the run has ended")
    await world.apply(a_tracker("gateway", name="other"))  # a turn of another tracker has been taken since
    await world.until(lambda: bool(world.status("other")), "the other tracker is looked at")
    assert world.deployment()["spec"] == before
