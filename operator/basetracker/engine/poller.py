"""The poller: image → last look, result, waiters. One look-up per due image and credential, however many ask.

Owns when a tag is asked for again: the caller's interval with jitter, or a growing wait while the registry doesn't answer.
Nothing here decides what a digest means. Used by `engine/observe`; rate limits per registry are the adapter's.
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from basetracker.core.observed import Problem, ProblemKind, TagSeen
from basetracker.engine.problems import problem_of
from basetracker.errors import BasetrackerError, UnavailableError
from basetracker.oci.refs import Digest, ImageRef
from basetracker.ports import Clock, Credential, Registry
from basetracker.telemetry import Metrics

JITTER = 0.1
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=5)
KEPT = 20_000
"""How many images are remembered; the ones not asked for longest go first."""

_Target = tuple[ImageRef, Credential | None]


@dataclass(slots=True, kw_only=True)
class _Look:
    """The last look at one image; `factor` spreads the next one."""

    at: datetime
    digest: Digest | None
    problem: Problem | None
    failures: int
    factor: float
    retry_after: timedelta | None = None

    def due(self, interval: timedelta) -> datetime:
        """When to look again: a whole second, as the clock tells them; before a fraction is over nothing would be due."""
        return self.at + timedelta(seconds=math.ceil(self._wait(interval).total_seconds()))

    def _wait(self, interval: timedelta) -> timedelta:
        if self.problem is not None and self.problem.kind is ProblemKind.UNAVAILABLE:
            wait = min(FIRST_WAIT * int(2 ** min(self.failures - 1, 10)), LONGEST_WAIT, max(interval, FIRST_WAIT))
            return max(wait * self.factor, self.retry_after or timedelta())
        return interval * self.factor


class Poller:
    """Looks at tags, each once however many trackers wait for it."""

    def __init__(self, registry: Registry, clock: Clock, metrics: Metrics, *, rng: random.Random | None = None) -> None:
        self._registry = registry
        self._clock = clock
        self._metrics = metrics
        self._rng = rng or random.Random()  # noqa: S311  spreads requests, protects nothing
        self._looks: dict[_Target, _Look] = {}
        self._running: dict[_Target, asyncio.Task[_Look]] = {}

    async def look(self, image: ImageRef, credential: Credential | None, interval: timedelta) -> TagSeen:
        """What the tag points to, asked for unless it was within `interval`; with an interval of 0 always."""
        target = (image, credential)
        last = self._looks.get(target)
        if last is None or self._is_due(last, interval):
            last = await self._shared(target)
        return TagSeen(digest=last.digest, problem=last.problem, due=last.due(interval))

    def looked_at(self, image: ImageRef, credential: Credential | None) -> datetime | None:
        """When the registry last answered about this image."""
        last = self._looks.get((image, credential))
        return last.at if last is not None and last.problem is None else None

    async def close(self) -> None:
        """Give up the looks that are under way; whoever waits for one is cancelled."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_due(self, last: _Look, interval: timedelta) -> bool:
        now = self._clock.now()
        if last.retry_after is not None and now < last.at + last.retry_after:
            return False
        return not interval or now >= last.due(interval)

    async def _shared(self, target: _Target) -> _Look:
        """Join the look that is under way, or start one; a waiter that goes away doesn't end it."""
        task = self._running.get(target)
        if task is None:
            task = asyncio.create_task(self._ask(target))
            self._running[target] = task
            task.add_done_callback(lambda done: self._land(target, done))
        return await asyncio.shield(task)

    def _land(self, target: _Target, task: asyncio.Task[_Look]) -> None:
        self._running.pop(target, None)
        if not task.cancelled():
            task.exception()  # seen, even when everybody who waited has gone away

    async def _ask(self, target: _Target) -> _Look:
        image, credential = target
        before = self._looks.pop(target, None)
        digest = before.digest if before else None
        problem: Problem | None = None
        retry_after: timedelta | None = None
        try:
            found = await self._registry.digest(image, credential)
            if found is None:
                problem = Problem(kind=ProblemKind.MISSING, message=f"{image.host} has no such tag")
            else:
                digest = found
        except BasetrackerError as error:
            problem = problem_of(error)
            if isinstance(error, UnavailableError) and error.retry_after is not None:
                retry_after = timedelta(seconds=error.retry_after)
        look = _Look(
            at=self._clock.now(),
            digest=digest,
            problem=problem,
            failures=(before.failures if before else 0) + 1 if problem is not None else 0,
            factor=1 + self._rng.uniform(-JITTER, JITTER),
            retry_after=retry_after,
        )
        self._metrics.looks.labels(outcome=str(problem.kind) if problem else "Answered").inc()
        self._looks[target] = look
        while len(self._looks) > KEPT:
            del self._looks[next(iter(self._looks))]
        return look
