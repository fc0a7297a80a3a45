"""Acting: the plan's actions as effects, each only while we lead, one's failure never stopping another.

The order that keeps the promises: the intent is stored before any run is asked for; under the task's lock the tag and the
task's runs are looked at once more; a run that exists is adopted, and only then is one started.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from weakref import WeakValueDictionary

from basetracker.api.tracker import Tracker
from basetracker.core.actions import Action, CancelRun, Deliver, Outcome, StartBuild
from basetracker.core.builds import BUSY_WAIT, REFUSED_WAIT, existing_run, live_run
from basetracker.engine.observe import AT_ONCE, look
from basetracker.engine.world import World
from basetracker.errors import BasetrackerError, ConflictError, DeniedError, UnavailableError, UnknownOutcomeError
from basetracker.ports import BuildRequest
from basetracker.telemetry import LOGGER

LOOK_BACK = timedelta(days=30)
"""How far back the task's runs are searched for one that makes another needless: as long as ACR keeps them."""


class NotLeadingError(Exception):
    """Another replica leads by now: this turn ends without another effect."""


class Actor:
    """Carries out plans; knows which tasks are being started, so that two trackers never start one at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def act(self, tracker: Tracker, actions: Iterable[Action]) -> tuple[Outcome, ...]:
        """The outcome of each action, in their order.

        Raises:
            NotLeadingError: as soon as an effect is due that we may not have any more.
        """
        grouped: dict[type[Action], list[Action]] = defaultdict(list)
        for action in actions:
            grouped[type(action)].append(action)
        ended = [await self._cancel(action) for action in grouped[CancelRun] if isinstance(action, CancelRun)]
        starts = [action for action in grouped[StartBuild] if isinstance(action, StartBuild)]
        started = await self._start_all(tracker, starts)
        delivered = [await self._deliver(action) for action in grouped[Deliver] if isinstance(action, Deliver)]
        return (*ended, *started, *delivered)

    async def _start_all(self, tracker: Tracker, starts: Iterable[StartBuild]) -> list[Outcome]:
        """All at once; none goes on behind the turn's back when another one ends it."""
        found = await asyncio.gather(*(self._start(tracker, action) for action in starts), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return [one for one in found if isinstance(one, Outcome)]

    def _must_lead(self) -> None:
        if not self._world.lead.is_held():
            raise NotLeadingError

    async def _cancel(self, action: CancelRun) -> Outcome:
        self._must_lead()
        try:
            await self._world.builder.cancel(action.task, action.run_id)
        except BasetrackerError as error:
            return Outcome(action=action, error=str(error), temporary=True)
        return Outcome(action=action)

    async def _start(self, tracker: Tracker, action: StartBuild) -> Outcome:
        # ARM's names don't tell upper from lower case, and two trackers may spell one task differently.
        lock = self._locks.setdefault(f"{action.task.registry}/{action.task.name}".lower(), asyncio.Lock())
        async with lock:
            outcome = await self._start_alone(tracker, action)
        kind = (
            "Adopted"
            if outcome.adopted
            else "Started"
            if outcome.run
            else "Unknown"
            if outcome.unknown
            else "NotStarted"
        )
        self._world.metrics.builds.labels(outcome=kind).inc()
        LOGGER.info("%s %s %s", kind, action.key, outcome.run.run_id if outcome.run else outcome.error)
        return outcome

    async def _start_alone(self, tracker: Tracker, action: StartBuild) -> Outcome:
        world = self._world
        try:
            needless = await self._needless(tracker, action)
        except BasetrackerError as error:
            return _outcome_of(action, error)
        if needless is not None:
            return needless
        self._must_lead()
        request = BuildRequest(task=action.task, key=action.key, arguments=action.arguments, values=action.values)
        try:
            return Outcome(action=action, run=await world.builder.start(request))
        except BasetrackerError as error:
            return _outcome_of(action, error)

    async def _needless(self, tracker: Tracker, action: StartBuild) -> Outcome | None:
        """Why no run is started after all: the tag has moved since it was looked at, or a run is there."""
        world = self._world
        item = (
            next(item for item in tracker.spec.downstream if item.name == action.downstream) if tracker.spec else None
        )
        if item is not None and action.tag is not None:
            seen = await look(world, tracker, item.image, item.pull_secret_ref, AT_ONCE)
            if seen.problem is not None:
                # A run that has just pushed the image would go unseen.
                return Outcome(
                    action=action, wait=BUSY_WAIT, error=f"the tag can't be looked at: {seen.problem.message}"
                )
            if seen.digest is not None and seen.digest != action.tag:
                return Outcome(action=action, temporary=True, error="the tag has just moved and is judged first")
        runs = await world.builder.recent(action.task, world.clock.now() - LOOK_BACK)
        run = existing_run(runs, task=action.task, image=action.image, base=action.base, attempt=action.attempt)
        if run is not None:
            return Outcome(action=action, run=run, adopted=True)
        other = live_run(runs)
        if other is not None:
            return Outcome(action=action, temporary=True, error=f"run {other.run_id} of the task has just been started")
        return None

    async def _deliver(self, action: Deliver) -> Outcome:
        self._must_lead()
        try:
            workload = await self._world.workloads.deliver(action)
        except BasetrackerError as error:
            outcome = _outcome_of(action, error)
        else:
            outcome = Outcome(action=action, workload=workload)
        self._world.metrics.deliveries.labels(outcome="Failed" if outcome.error else "Delivered").inc()
        LOGGER.info("%s %s", "Failed" if outcome.error else "Delivered", f"{action.key} {outcome.error}".strip())
        return outcome


def _outcome_of(action: Action, error: BasetrackerError) -> Outcome:
    wait: timedelta | None = None
    if isinstance(error, DeniedError):
        wait = REFUSED_WAIT
    elif isinstance(error, UnavailableError):
        wait = timedelta(seconds=error.retry_after) if error.retry_after is not None else BUSY_WAIT
    return Outcome(
        action=action,
        error=str(error),
        unknown=isinstance(error, UnknownOutcomeError),
        temporary=isinstance(error, ConflictError),
        wait=wait,
        denied=isinstance(error, DeniedError),
    )
