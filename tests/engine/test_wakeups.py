"""The keyed queue: one turn of a key at a time, none lost, growing waits after failures."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from basetracker.engine.wakeups import Wakeups
from basetracker.telemetry import Metrics

from ..core.stories.world import World
from .ports_in_memory import VirtualClock, quiet

Turn = Callable[[str], Awaitable[datetime | None]]


class Turns:
    """Turns that wait until they are let go, and how many ran at once."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.taken: list[tuple[float, str]] = []
        self.active: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.most_of_all = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.wake_after: float | None = None
        self.fails = 0

    async def __call__(self, key: str) -> datetime | None:
        self.taken.append((self.clock.monotonic(), key))
        self.active[key] += 1
        self.most[key] = max(self.most[key], self.active[key])
        self.most_of_all = max(self.most_of_all, self.active.total())
        try:
            await self.gate.wait()
            if self.fails > 0:
                self.fails -= 1
                raise RuntimeError("no luck")
        finally:
            self.active[key] -= 1
        return None if self.wake_after is None else self.clock.now() + timedelta(seconds=self.wake_after)

    def count(self, key: str) -> int:
        return sum(one == key for _, one in self.taken)


class Bench:
    def __init__(self, workers: int) -> None:
        self.clock = VirtualClock(World())
        self.turns = Turns(self.clock)
        self.metrics = Metrics()
        self.queue: Wakeups[str] = Wakeups(self.turns, self.clock, self.metrics, workers=workers, rng=random.Random(1))


@asynccontextmanager
async def bench(workers: int = 3) -> AsyncIterator[Bench]:
    found = Bench(workers)
    task = asyncio.create_task(found.queue.run())
    await quiet()
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_poke_is_a_turn() -> None:
    async with bench() as one:
        one.queue.poke("a")
        await quiet()
        assert one.turns.count("a") == 1
        assert one.queue.is_idle


async def test_pokes_of_a_waiting_key_are_one_turn() -> None:
    async with bench(workers=1) as one:
        one.turns.gate.clear()
        one.queue.poke("busy")
        await quiet()
        for _ in range(5):
            one.queue.poke("a")
        assert not one.queue.is_idle
        one.turns.gate.set()
        await quiet()
        assert one.turns.count("a") == 1


async def test_a_key_never_has_two_turns_at_once_and_a_poke_during_one_is_another() -> None:
    async with bench() as one:
        one.turns.gate.clear()
        one.queue.poke("a")
        await quiet()
        for _ in range(5):
            one.queue.poke("a")
        await quiet()
        assert one.turns.count("a") == 1
        one.turns.gate.set()
        await quiet()
        assert one.turns.count("a") == 2
        assert one.turns.most["a"] == 1


async def test_no_more_turns_at_once_than_workers() -> None:
    async with bench(workers=3) as one:
        one.turns.gate.clear()
        for key in "abcdefgh":
            one.queue.poke(key)
        await quiet()
        assert len(one.turns.taken) == 3
        one.turns.gate.set()
        await quiet()
        assert (len(one.turns.taken), one.turns.most_of_all) == (8, 3)


async def test_a_turn_says_when_the_next_is() -> None:
    async with bench() as one:
        one.turns.wake_after = 60
        one.queue.poke("a")
        await one.clock.advance(59)
        assert one.turns.count("a") == 1
        await one.clock.advance(122)
        assert [when for when, _ in one.turns.taken] == [0, 60, 120, 180]


async def test_a_poke_takes_the_place_of_the_next_turn() -> None:
    async with bench() as one:
        one.turns.wake_after = 60
        one.queue.poke("a")
        await one.clock.advance(30)
        one.queue.poke("a")
        await one.clock.advance(100)
        assert [when for when, _ in one.turns.taken] == [0, 30, 90]


async def test_the_earlier_time_counts() -> None:
    async with bench() as one:
        one.queue.poke_after("a", 50)
        one.queue.poke_after("a", 10)
        one.queue.poke_after("a", 90)
        one.queue.poke_after("b", 20)
        await one.clock.advance(200)
        assert one.turns.taken == [(10, "a"), (20, "b")]


async def test_a_waiting_key_needs_no_time() -> None:
    async with bench(workers=1) as one:
        one.turns.gate.clear()
        one.queue.poke("busy")
        await quiet()
        one.queue.poke("a")
        one.queue.poke_after("a", 10)
        one.turns.gate.set()
        await one.clock.advance(60)
        assert one.turns.count("a") == 1


async def test_failures_wait_longer_each_time_and_a_success_ends_that() -> None:
    async with bench() as one:
        one.turns.fails = 12
        one.queue.poke("a")
        await one.clock.advance(3000)
        times = [when for when, _ in one.turns.taken]
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert len(waits) == 12
        for number, wait in enumerate(waits):
            usual = min(2.0**number, 300)
            assert 0.8 * usual <= wait <= 1.2 * usual
        one.turns.fails = 1
        one.queue.poke("a")
        await one.clock.advance(1.3)
        assert one.turns.count("a") == 15


async def test_one_keys_trouble_isnt_anothers() -> None:
    async with bench(workers=1) as one:
        one.turns.fails = 1
        one.queue.poke("a")
        one.queue.poke("b")
        await quiet()
        assert [key for _, key in one.turns.taken] == ["a", "b"]


async def test_a_forgotten_key_has_no_more_turns() -> None:
    async with bench() as one:
        one.turns.wake_after = 60
        one.queue.poke("a")
        await quiet()
        one.queue.forget("a")
        await one.clock.advance(300)
        assert one.turns.count("a") == 1


async def test_forgotten_during_its_turn_means_no_turn_after_it() -> None:
    async with bench() as one:
        one.turns.gate.clear()
        one.queue.poke("a")
        await quiet()
        one.queue.poke("a")
        one.queue.forget("a")
        one.turns.gate.set()
        await quiet()
        assert one.turns.count("a") == 1


@pytest.mark.parametrize("keys", [1000])
async def test_many_keys_all_have_their_turns(keys: int) -> None:
    async with bench(workers=8) as one:
        one.turns.wake_after = 300
        for number in range(keys):
            one.queue.poke_after(f"k{number}", number % 60)
        await one.clock.advance(359)
        counts = Counter(key for _, key in one.turns.taken)
        assert len(counts) == keys
        assert set(counts.values()) <= {1, 2}
        assert set(one.turns.most.values()) == {1}
