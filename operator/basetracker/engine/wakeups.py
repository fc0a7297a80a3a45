"""Wake-ups: a keyed queue with a fixed number of workers, as controller-runtime has.

A key is never worked on twice at once; a poke during its turn means one more turn after it. A turn says when to wake again;
one that fails is tried again after a growing wait. Knows nothing of trackers.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import Generic, TypeVar

from basetracker.errors import BasetrackerError
from basetracker.ports import Clock
from basetracker.telemetry import LOGGER, Metrics

K = TypeVar("K", bound=Hashable)
FIRST_WAIT = 1.0
LONGEST_WAIT = 300.0


class Wakeups(Generic[K]):
    """Turns for keys: at once when poked, else at the time the last turn asked for."""

    def __init__(
        self,
        turn: Callable[[K], Awaitable[datetime | None]],
        clock: Clock,
        metrics: Metrics,
        *,
        workers: int = 32,
        rng: random.Random | None = None,
    ) -> None:
        self._turn = turn
        self._clock = clock
        self._metrics = metrics
        self._workers = workers
        self._rng = rng or random.Random()  # noqa: S311  spreads retries, protects nothing
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._queued: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def poke(self, key: K) -> None:
        """Give the key a turn as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)
        self._metrics.queue.set(self._ready.qsize())

    def poke_after(self, key: K, seconds: float) -> None:
        """Give the key a turn in `seconds` unless it gets one before."""
        if key in self._queued:
            return
        when = self._clock.monotonic() + max(seconds, 0.0)
        if key in self._due and self._due[key] <= when:
            return
        self._due[key] = when
        heapq.heappush(self._heap, (when, next(self._order), key))
        self._changed.set()

    def forget(self, key: K) -> None:
        """No more turns for a key that is gone."""
        self._due.pop(key, None)
        self._again.discard(key)
        self._failures.pop(key, None)

    @property
    def is_idle(self) -> bool:
        """Whether no key is being worked on or waits for a worker."""
        return not self._queued and not self._active

    async def run(self) -> None:
        """Work until cancelled; a worker that dies takes all with it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_alarm())
            for _ in range(self._workers):
                group.create_task(self._run_worker())

    async def _run_alarm(self) -> None:
        while True:
            self._changed.clear()
            now = self._clock.monotonic()
            while self._heap and (self._heap[0][0] <= now or self._due.get(self._heap[0][2]) != self._heap[0][0]):
                when, _, key = heapq.heappop(self._heap)
                if self._due.get(key) == when:
                    self.poke(key)
            wait = self._heap[0][0] - now if self._heap else None
            await self._pause(wait)

    async def _pause(self, seconds: float | None) -> None:
        """Wait for the next time that is due, or for an earlier one to be named."""
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self._changed.wait())]
        if seconds is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _run_worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._active.add(key)
            try:
                await self._take(key)
            finally:
                self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.poke(key)

    async def _take(self, key: K) -> None:
        try:
            wake = await self._turn(key)
        except Exception as error:  # the loop outlives any one key's trouble
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            wait = min(FIRST_WAIT * 2 ** min(failures - 1, 12), LONGEST_WAIT) * self._rng.uniform(0.8, 1.2)
            # Trouble of the world is told in its own words; anything else is a mistake of ours and shows where.
            cause = None if isinstance(error, BasetrackerError) else error
            level = logging.WARNING if cause is None else logging.ERROR
            LOGGER.log(level, "turn of %s failed, next in %.0f s: %s", key, wait, error, exc_info=cause)
            self._metrics.turns.labels(outcome="Failed").inc()
            self.poke_after(key, wait)
            return
        self._failures.pop(key, None)
        if wake is not None:
            self.poke_after(key, (wake - self._clock.now()).total_seconds())
