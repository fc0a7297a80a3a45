"""Counts over hours of set time: how often a registry is asked, what is written, how long is waited."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from basetracker.emulators import samples
from basetracker.emulators.cluster.instruments import Fault as ClusterFault
from basetracker.emulators.faults import Fault
from basetracker.emulators.tasks.definition import Behaviour, Task

from .virtual import SetClock, Virtual, virtual
from .world import BASE, HOST, NAMESPACE, World, a_tracker, image_of

Hold = Callable[[World, Virtual], Awaitable[str]]
"""Brings a tracker to where it waits; the answer is the state and reason that it is held in."""
SCHEDULE = r"^POST management\.azure\.com .*/scheduleRun\?"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def operator(world: World, clock: SetClock) -> AsyncIterator[Virtual]:
    """The parts of an operator in a world in set time."""
    async with virtual(world, clock) as made:
        yield made


def find_task(world: World) -> Task:
    found = world.cloud.tasks.find(f"{world.registry.id}/tasks/build-checkout")
    assert found is not None
    return found


def heads(world: World, path: str = "") -> int:
    return len(world.cloud.faults.asked(f"^HEAD {HOST} /v2/{path}"))


def requests(world: World) -> int:
    return sum(world.cloud.faults.counts.values())


async def test_an_unchanged_poll_is_one_request_and_no_write(world: World, operator: Virtual) -> None:
    await world.furnish()
    await world.apply(a_tracker())
    await operator.settle()
    assert world.state() == "Current Current"
    before = requests(world), heads(world), world.cluster.resource_version, Counter(world.cluster.writes)
    await operator.advance(3 * 3600)
    polls = heads(world) - before[1]
    expected = 2 * 3 * 360  # two tags, every ten seconds, for three hours
    assert 0.95 * expected <= polls <= 1.05 * expected
    assert requests(world) - before[0] <= 1.02 * polls
    assert (world.cluster.resource_version, Counter(world.cluster.writes)) == before[2:]


async def test_fifty_trackers_of_one_base_share_its_polls(world: World, operator: Virtual) -> None:
    await world.furnish()
    row = f"[{{name: checkout, image: '{image_of('checkout')}'}}]"
    for number in range(50):
        await world.apply(a_tracker(name=f"tracker-{number}", fields={"downstream": row}))
    await operator.settle()
    assert world.state(tracker="tracker-49") == "Current Current"
    before = heads(world, "base/"), heads(world, "shop/"), Counter(world.cluster.writes)
    await operator.advance(200)
    assert 18 <= heads(world, "base/") - before[0] <= 22
    assert 18 <= heads(world, "shop/") - before[1] <= 22
    assert Counter(world.cluster.writes) == before[2]


async def test_nothing_is_asked_before_a_retry_after_ends(world: World, operator: Virtual) -> None:
    await world.furnish()
    await world.apply(a_tracker())
    await operator.settle()
    world.cloud.faults.add(Fault(match=f"^HEAD {HOST} ", status=429, headers={"Retry-After": "120"}))
    await operator.advance(15)
    before = requests(world)
    await operator.advance(100)
    assert requests(world) == before
    assert world.state() == "Current Current"
    await operator.advance(60)
    assert requests(world) > before
    new = world.push_base("3.12.12")
    await operator.settle()
    assert world.image()["validated"]["baseDigest"] == new


async def test_an_outage_is_asked_less_and_less_often_and_writes_nothing(world: World, operator: Virtual) -> None:
    await world.furnish()
    fields = {"base": f"{{image: {BASE}, interval: 5m}}"}
    await world.apply(a_tracker(fields=fields))
    await operator.settle()
    version = world.cluster.resource_version
    world.cloud.faults.add(Fault(match=f" {HOST} ", n=None, status=503))
    await operator.advance(3600)
    # Two tags: from the first failure on waits of 5 s, 10 s … 5 min.
    assert 20 <= heads(world) <= 50
    assert world.cluster.resource_version == version
    world.cloud.faults.clear()
    await operator.advance(360)
    assert world.state() == "Current Current"


async def test_a_request_that_never_arrived_is_made_again(world: World, operator: Virtual) -> None:
    await world.furnish()
    await world.apply(a_tracker())
    await operator.settle()
    new = world.push_base("3.12.12")
    world.cloud.faults.add(Fault(match=SCHEDULE, drop=True))
    await operator.advance(60)
    assert world.state() == "Building BuildOutcomeUnknown"
    assert world.runs("checkout") == []
    await operator.advance(600)
    await operator.settle()
    assert world.image()["validated"]["baseDigest"] == new
    assert len(world.runs("checkout")) == 1


async def test_an_intent_whose_answer_is_lost_starts_one_run_in_the_end(world: World, operator: Virtual) -> None:
    """The intent is stored, the operator can't know: it searches before it asks again."""
    await world.furnish()
    await world.apply(a_tracker())
    await operator.settle()
    new = world.push_base("3.12.12")
    match = r"^PATCH /apis/basetracker\.dev/.*/status"
    world.cluster.faults.append(ClusterFault(match=match, after=True, status=500))
    with pytest.raises(Exception, match="can't answer now"):
        await operator.advance(15)
    assert world.image()["build"]["state"] == "Requested"
    await operator.advance(600)
    await operator.settle()
    assert world.image()["validated"]["baseDigest"] == new
    assert len(world.runs("checkout")) == 1


async def test_a_build_that_always_fails_is_tried_five_times_with_growing_waits(
    world: World, operator: Virtual
) -> None:
    (task,) = (await world.furnish()).values()
    await world.apply(a_tracker())
    await operator.settle()
    task.behaviour = Behaviour(fail="no space left on device")
    world.push_base("3.12.12")
    await operator.advance(3600)
    assert world.state() == "Failed BuildFailed"
    assert "the build failed 5 times" in world.image()["message"]
    assert "no space left on device" in world.image()["message"]
    created = [run.created for run in world.runs("checkout")]
    waits = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(created)]
    assert [round(wait / 60) for wait in waits] == [1, 2, 4, 8]
    # A newer base is a fresh start.
    task.behaviour = Behaviour()
    newer = world.push_base("3.12.13")
    await operator.settle()
    assert world.image()["validated"]["baseDigest"] == newer


async def test_a_rollout_is_stuck_when_the_trackers_own_deadline_has_passed(world: World, operator: Virtual) -> None:
    await world.furnish()
    await world.apply(a_tracker(rollout="{progressDeadline: 2m}"))
    await operator.settle()
    known = world.image()["validated"]["digest"]

    async def crashes(image: str) -> bool:
        return known not in image

    world.cluster.crashes = crashes
    world.push_base("3.12.12")
    await operator.advance(100)
    assert world.state() == "RollingOut RolloutProgressing"
    await operator.advance(60)
    assert world.state() == "Blocked RolloutStuck"
    assert world.runs_digests() == {known}


async def test_polling_goes_on_while_other_registries_are_down(world: World, operator: Virtual) -> None:
    world.cloud.add_open_registry("registry.example.com")
    world.push_base("1", reference="registry.example.com/other/base:1")
    await world.furnish("checkout", "gateway")
    await world.apply(a_tracker())
    await world.apply(a_tracker("gateway", name="other", base="registry.example.com/other/base:1"))
    world.cloud.faults.add(Fault(match=r" registry\.example\.com ", n=None, delay=0.05, status=500))
    await operator.settle()
    assert world.state("gateway", "other") == "Unknown RegistryUnavailable"
    assert world.condition("Ready", "other")["status"] == "Unknown"
    new = world.push_base("3.12.12")
    await operator.settle()
    assert world.image()["validated"]["baseDigest"] == new


async def test_metrics_tell_what_is_stale(world: World, operator: Virtual) -> None:
    await world.furnish()
    await world.apply(a_tracker())
    await operator.settle()
    task = world.cloud.tasks.find(f"{world.registry.id}/tasks/build-checkout")
    assert task is not None
    task.enabled = False
    world.push_base("3.12.12")
    await operator.advance(15)
    text = operator.parts.metrics.render().decode()
    labels = f'image="checkout",namespace="{NAMESPACE}"'
    assert f'basetracker_image_state{{{labels},state="Blocked",tracker="python"}} 1.0' in text
    since = int(operator.clock.now().timestamp()) - 15
    (line,) = [one for one in text.splitlines() if one.startswith("basetracker_stale_since_timestamp_seconds{")]
    assert since <= float(line.rpartition(" ")[2]) <= since + 15


async def test_bases_that_were_purged_are_not_asked_for_at_every_poll(world: World, clock: SetClock) -> None:
    await world.furnish()
    await world.apply(a_tracker())
    async with virtual(world, clock) as first:
        await first.settle()
        purged = world.digest(BASE)
        world.push_base("3.12.12")
        await first.settle()
        await first.settle()
        assert world.state() == "Current Current"
    world.registry.storage.delete_manifest("base/python", purged)
    async with virtual(world, clock) as second:  # which has read nothing yet
        await second.settle()
        before = requests(world), heads(world)
        await second.advance(3600)
        polls = heads(world) - before[1]
        assert polls > 600
        assert requests(world) - before[0] <= 1.02 * polls


async def as_task_is_disabled(world: World, operator: Virtual) -> str:
    find_task(world).enabled = False
    world.push_base("3.12.12")
    return "Blocked TaskDisabled"


async def as_task_is_missing(world: World, operator: Virtual) -> str:
    await world.apply(a_tracker(build="{acrTask: {name: build-nothing}}"))
    world.push_base("3.12.12")
    return "Blocked TaskNotFound"


async def as_not_allowed(world: World, operator: Virtual) -> str:
    world.allow([])
    await operator.advance(10)
    world.push_base("3.12.12")
    return "Blocked TaskNotAllowed"


async def as_rejected(world: World, operator: Virtual) -> str:
    find_task(world).behaviour = Behaviour(squash=True)
    world.push_base("3.12.12")
    return "Blocked LineageNotProven"


async def as_without_output(world: World, operator: Virtual) -> str:
    find_task(world).behaviour = Behaviour(push=False)
    world.push_base("3.12.12")
    return "Blocked NoOutputImage"


async def as_workload_missing(world: World, operator: Virtual) -> str:
    await world.cluster.delete("Deployment", NAMESPACE, "checkout")
    return "Blocked WorkloadNotFound"


async def as_tag_differs(world: World, operator: Virtual) -> str:
    world.cloud.push(f"{HOST}/shop/checkout:release", samples.python())
    await world.deploy("checkout", f"{HOST}/shop/checkout:release")
    return "Blocked TagDiffers"


async def as_base_gone(world: World, operator: Virtual) -> str:
    del world.registry.storage.repositories["base/python"]
    return "Blocked BaseNotFound"


async def as_image_gone(world: World, operator: Virtual) -> str:
    del world.registry.storage.repositories["shop/checkout"]
    return "Blocked ImageNotFound"


async def as_denied(world: World, operator: Virtual) -> str:
    world.cloud.faults.add(Fault(match=f"^HEAD {HOST} /v2/base/", n=None, status=403))
    return "Blocked AccessDenied"


async def as_unreadable(world: World, operator: Virtual) -> str:
    world.push_base("3.12.12")
    world.cloud.faults.add(Fault(match=f"^GET {HOST} /v2/base/python/manifests/", n=None, truncate=50))
    return "Blocked InvalidImage"


async def as_arm_down(world: World, operator: Virtual) -> str:
    world.push_base("3.12.12")
    world.cloud.faults.add(Fault(match=r" management\.azure\.com ", n=None, status=503))
    return "Stale BaseMoved"


async def as_planned(world: World, operator: Virtual) -> str:
    await world.apply(a_tracker(rollout="{mode: Plan}"))
    world.push_base("3.12.12")
    return "Stale Planned"


async def as_nothing_builds(world: World, operator: Virtual) -> str:
    edit = [{"op": "remove", "path": "/spec/downstream/0/build"}]
    media_type = "application/json-patch+json"
    await world.cluster.patch("BaseImageTracker", NAMESPACE, "python", edit, media_type=media_type)
    world.push_base("3.12.12")
    return "Stale NoBuild"


async def as_stuck(world: World, operator: Virtual) -> str:
    known = world.image()["validated"]["digest"]

    async def crashes(image: str) -> bool:
        return known not in image

    world.cluster.crashes = crashes
    await world.cluster.patch("Deployment", NAMESPACE, "checkout", {"spec": {"progressDeadlineSeconds": 1}})
    world.push_base("3.12.12")
    return "Blocked RolloutStuck"


async def as_overridden(world: World, operator: Virtual) -> str:
    edit = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image_of("checkout")}]
    media_type = "application/json-patch+json"
    await world.cluster.patch("Deployment", NAMESPACE, "checkout", edit, media_type=media_type)
    return "Blocked Overridden"


HOLDS = [
    as_task_is_disabled,
    as_task_is_missing,
    as_not_allowed,
    as_rejected,
    as_without_output,
    as_workload_missing,
    as_tag_differs,
    as_base_gone,
    as_image_gone,
    as_denied,
    as_unreadable,
    as_arm_down,
    as_planned,
    as_nothing_builds,
    as_stuck,
    as_overridden,
]


@pytest.mark.parametrize("hold", HOLDS, ids=lambda hold: hold.__name__.removeprefix("as_"))
async def test_whatever_holds_it_nothing_is_written_while_nothing_changes(
    world: World, operator: Virtual, hold: Hold
) -> None:
    await world.furnish()
    await world.apply(a_tracker())
    await operator.settle()
    assert world.state() == "Current Current"
    state = await hold(world, operator)
    await operator.advance(60)
    await asyncio.sleep(1.5 if hold is as_stuck else 0.3)  # the cluster's own controllers need real time
    await operator.advance(60)
    assert world.state() == state
    # The rest of the cluster has come to rest too.
    before = Counter(world.cluster.writes), requests(world), operator.turns
    await operator.advance(600)
    assert world.state() == state
    assert Counter(world.cluster.writes) == before[0]
    assert requests(world) - before[1] <= 1200
    assert operator.turns - before[2] <= 1300
