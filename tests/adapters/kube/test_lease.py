"""Leadership: never two, handed over quickly, given up in time. The clocks run ten times faster than real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from basetracker.adapters.kube import Kube
from basetracker.adapters.kube_login import Login
from basetracker.adapters.lease import LeadLostError, Lease, StillWorkingError, Terms

API = "coordination.k8s.io/v1"
NAME = "basetracker"
SPEED = 10
Eventually = Callable[..., Awaitable[None]]


class Gated(Kube):
    """A client whose requests can be made to hang before or after they have taken effect."""

    def __init__(self, login: Login) -> None:
        super().__init__(login)
        self.before = asyncio.Event()
        self.after = asyncio.Event()
        self.before.set()
        self.after.set()
        self.asked = 0

    async def get(self, *args: Any, **settings: Any) -> Any:
        self.asked += 1
        await self.before.wait()
        return await super().get(*args, **settings)

    async def put(self, *args: Any, **settings: Any) -> Any:
        self.asked += 1
        await self.before.wait()
        stored = await super().put(*args, **settings)
        await self.after.wait()
        return stored


class Candidate:
    """A process that would lead."""

    def __init__(self, world: Any, clock: Any, pod: str) -> None:
        self.kube = Gated(Login(kubeconfig=world.kubeconfig))
        self.clock = clock
        self.lease = Lease(self.kube, namespace=world.namespace, name=NAME, pod=pod, clock=clock)
        self.working = False
        self.ended_under_lease: bool | None = None
        self.task = asyncio.create_task(self.lease.run(self.work))

    async def work(self) -> None:
        self.working = True
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            self.working = False
            self.ended_under_lease = self.lease.is_held()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


class Electorate:
    """Some candidates, watched all the time for two that lead at once."""

    def __init__(self, world: Any, clock_type: type) -> None:
        self.world = world
        self.clock_type = clock_type
        self.candidates: list[Candidate] = []
        self.most = 0
        self.watching = asyncio.create_task(self.watch())

    async def watch(self) -> None:
        while True:
            self.most = max(self.most, sum(one.lease.is_held() for one in self.candidates))
            await asyncio.sleep(0.002)

    def add(self, skew: float = 0.0) -> Candidate:
        clock = self.clock_type(SPEED, skew)
        self.candidates.append(Candidate(self.world, clock, f"pod-{len(self.candidates)}"))
        return self.candidates[-1]

    def leaders(self) -> list[Candidate]:
        return [one for one in self.candidates if one.lease.is_held()]

    async def stored(self) -> Any:
        return (await self.world.get(API, "leases", NAME))["spec"]

    async def stop(self) -> None:
        for one in self.candidates:
            one.kube.before.set()
            one.kube.after.set()
            await one.stop()
            await one.kube.close()
        self.watching.cancel()
        await asyncio.wait({self.watching})


@pytest.fixture
async def electorate(world: Any, clock: Any) -> AsyncIterator[Electorate]:
    voters = Electorate(world, type(clock))
    yield voters
    await voters.stop()
    assert voters.most <= 1, "two led at once"


async def led(electorate: Electorate, eventually: Eventually, *, by: Candidate | None = None) -> Candidate:
    await eventually(lambda: any(one.working and by in (None, one) for one in electorate.leaders()))
    return next(one for one in electorate.leaders() if one.working)


async def test_one_of_three_leads_and_hands_over_within_a_second(
    electorate: Electorate, eventually: Eventually
) -> None:
    for _ in range(3):
        electorate.add()
    left = []
    for transitions in range(3):
        leader = await led(electorate, eventually)
        spec = await electorate.stored()
        assert spec["holderIdentity"] == leader.lease.identity
        assert spec["leaseTransitions"] == transitions
        assert spec["leaseDurationSeconds"] == 15
        before = leader.clock.monotonic()
        await leader.stop()
        left.append(leader)
        assert leader.ended_under_lease is True, "the work ends before another begins"
        assert not leader.lease.is_held()
        if transitions < 2:
            await led(electorate, eventually)
            assert leader.clock.monotonic() - before < 5, "not by waiting for the Lease to run out"
    assert len(set(left)) == 3
    assert (await electorate.stored())["holderIdentity"] == ""
    assert electorate.most == 1


async def test_a_leader_renews_and_stays(electorate: Electorate, eventually: Eventually) -> None:
    leader = electorate.add()
    await led(electorate, eventually)
    electorate.add()
    first = await electorate.stored()
    await leader.clock.sleep(30)
    spec = await electorate.stored()
    assert electorate.leaders() == [leader]
    assert (spec["leaseTransitions"], spec["acquireTime"]) == (0, first["acquireTime"])
    assert spec["renewTime"] > first["renewTime"]


async def test_a_dead_leader_is_replaced_after_the_lease_ran_out(
    electorate: Electorate, eventually: Eventually
) -> None:
    leader = electorate.add()
    await led(electorate, eventually)
    other = electorate.add(skew=3600)
    await other.clock.sleep(5)  # so that it has renewed
    leader.kube.before.clear()
    hung = leader.clock.monotonic()
    await eventually(leader.task.done)
    assert isinstance(leader.task.exception(), LeadLostError)
    assert not leader.working
    assert leader.clock.monotonic() - hung < 15
    await led(electorate, eventually, by=other)
    assert leader.clock.monotonic() - hung >= 15 - 2.5, "at the earliest a whole lease after the last renewal"
    leader.kube.before.set()
    await other.clock.sleep(5)
    assert (await electorate.stored())["holderIdentity"] == other.lease.identity


async def test_an_answer_that_hangs_is_no_answer(electorate: Electorate, eventually: Eventually) -> None:
    leader = electorate.add()
    await led(electorate, eventually)
    leader.kube.after.clear()
    await eventually(leader.task.done)
    assert isinstance(leader.task.exception(), LeadLostError)
    other = electorate.add()
    await led(electorate, eventually, by=other)


async def test_leading_ends_by_the_local_clock_even_if_nothing_else_runs(
    electorate: Electorate, eventually: Eventually
) -> None:
    leader = electorate.add()
    await led(electorate, eventually)
    leader.clock.__class__ = type("Ahead", (type(leader.clock),), {"monotonic": lambda self: 1e12})
    assert not leader.lease.is_held(), "no task has run since the clock moved"


async def test_a_short_outage_is_outlived(electorate: Electorate, eventually: Eventually) -> None:
    leader = electorate.add()
    await led(electorate, eventually)
    other = electorate.add()
    await leader.clock.sleep(1)
    leader.kube.before.clear()
    await leader.clock.sleep(4)
    leader.kube.before.set()
    await leader.clock.sleep(20)
    assert electorate.leaders() == [leader]
    assert not other.working


async def test_a_stolen_lease_is_left_to_the_thief(electorate: Electorate, world: Any, eventually: Eventually) -> None:
    leader = electorate.add()
    await led(electorate, eventually)
    await world.merge(API, "leases", NAME, {"spec": {"holderIdentity": "thief"}})
    await eventually(leader.task.done)
    assert isinstance(leader.task.exception(), LeadLostError)
    assert "thief" in str(leader.task.exception())
    assert (await electorate.stored())["holderIdentity"] == "thief"


async def test_a_touched_lease_is_still_ours(electorate: Electorate, world: Any, eventually: Eventually) -> None:
    leader = electorate.add()
    await led(electorate, eventually)
    for number in range(3):
        await world.merge(API, "leases", NAME, {"metadata": {"labels": {"touched": str(number)}}})
        await leader.clock.sleep(5)
    assert electorate.leaders() == [leader]
    lease = await world.get(API, "leases", NAME)
    assert lease["metadata"]["labels"] == {"touched": "2"}, "what others wrote stays"


async def test_a_deleted_lease_is_lost(electorate: Electorate, world: Any, eventually: Eventually) -> None:
    leader = electorate.add()
    await led(electorate, eventually)
    await world.delete(API, "leases", NAME)
    await eventually(leader.task.done)
    assert isinstance(leader.task.exception(), LeadLostError)
    assert "deleted" in str(leader.task.exception()), "noticed at the next renewal, not when the time is over"


async def test_work_that_fails_is_told_and_the_lease_handed_over(world: Any, clock: Any) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    lease = Lease(world.kube, namespace=world.namespace, name=NAME, pod="pod", clock=clock)
    with pytest.raises(ZeroDivisionError):
        await lease.run(fail)
    assert (await world.get(API, "leases", NAME))["spec"]["holderIdentity"] == ""


async def test_one_that_waits_leaves_the_lease_alone(
    electorate: Electorate, world: Any, eventually: Eventually
) -> None:
    leader = electorate.add()
    await led(electorate, eventually)
    other = electorate.add()
    await eventually(lambda: other.kube.asked > 3)
    await other.stop()
    assert electorate.leaders() == [leader]
    assert (await electorate.stored())["holderIdentity"] == leader.lease.identity


async def test_one_that_ends_in_the_middle_of_taking_gives_back(
    electorate: Electorate, eventually: Eventually, world: Any
) -> None:
    await world.create("leases", {"apiVersion": API, "kind": "Lease", "metadata": {"name": NAME}, "spec": {}})
    one = electorate.add()
    one.kube.after.clear()
    for _ in range(500):
        if (await electorate.stored()).get("holderIdentity"):
            break
        await asyncio.sleep(0.01)
    one.kube.after.set()
    one.task.cancel()
    await asyncio.wait({one.task})
    assert (await electorate.stored())["holderIdentity"] == ""


async def test_no_work_is_left_behind_by_a_cancellation_while_the_lease_is_lost(
    world: Any, clock: Any, eventually: Eventually
) -> None:
    done, may_end = [], asyncio.Event()

    async def work() -> None:
        done.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            done.append("ended")

    lease = Lease(world.kube, namespace=world.namespace, name=NAME, pod="pod", clock=clock)
    task = asyncio.create_task(lease.run(work))
    await eventually(lambda: done == ["begun"])
    await world.merge(API, "leases", NAME, {"spec": {"holderIdentity": "thief"}})
    await eventually(lambda: not lease.is_held())
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.05)
    assert not task.done(), "the work is still ending"
    may_end.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert done == ["begun", "ended"]


async def test_no_work_is_left_behind_when_cancelled_at_the_moment_of_the_loss(
    world: Any, clock: Any, eventually: Eventually
) -> None:
    done = []

    async def work() -> None:
        done.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            done.append("ended")

    lease = Lease(world.kube, namespace=world.namespace, name=NAME, pod="pod", clock=clock)
    task = asyncio.create_task(lease.run(work))
    await eventually(lambda: done == ["begun"])

    def cancel_and_run_out(_: object) -> float:
        task.cancel()
        return 1e12

    clock.__class__ = type("Ahead", (type(clock),), {"monotonic": cancel_and_run_out})
    await asyncio.wait({task})
    assert task.cancelled()
    assert done == ["begun", "ended"]


@pytest.mark.parametrize("is_lost", [False, True], ids=["told to end", "lost"])
async def test_work_that_doesn_t_end_is_not_waited_for_for_ever_and_nothing_is_handed_over(
    world: Any, fast_clock: Any, eventually: Eventually, is_lost: bool
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await may_end.wait()

    lease = Lease(world.kube, namespace=world.namespace, name=NAME, pod="pod", clock=fast_clock, terms=Terms(grace=4))
    task = asyncio.create_task(lease.run(work))
    await asyncio.wait_for(begun.wait(), 10)
    if is_lost:
        await world.merge(API, "leases", NAME, {"spec": {"holderIdentity": "thief"}})
    else:
        task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.done()
    assert not lease.is_held()
    holder = (await world.get(API, "leases", NAME))["spec"]["holderIdentity"]
    assert holder == ("thief" if is_lost else lease.identity), "whoever comes next waits until it has run out"
    if is_lost:
        with pytest.raises(LeadLostError):
            task.result()
    may_end.set()


async def test_work_that_says_that_it_goes_on_isn_t_followed_by_another_s(world: Any, clock: Any) -> None:
    async def go_on() -> None:
        raise StillWorkingError("a turn goes on")

    lease = Lease(world.kube, namespace=world.namespace, name=NAME, pod="pod", clock=clock)
    with pytest.raises(StillWorkingError):
        await lease.run(go_on)
    assert not lease.is_held()
    assert (await world.get(API, "leases", NAME))["spec"]["holderIdentity"] == lease.identity
