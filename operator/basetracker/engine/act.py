"""Acting: the plan's actions as effects, each only while we lead, one's failure never stopping another.

Starting runs has an order of its own, which `starts` keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from weakref import WeakValueDictionary

from basetracker.core.actions import Action, CancelRun, Deliver, Outcome, Protect
from basetracker.core.builds import BUSY_WAIT, REFUSED_WAIT
from basetracker.core.unlocking import Standing, standing
from basetracker.engine.world import World
from basetracker.errors import BasetrackerError, ConflictError, DeniedError, UnavailableError, UnknownOutcomeError
from basetracker.oci.refs import ImageRef
from basetracker.telemetry import LOGGER


class NotLeadingError(Exception):
    """Another replica leads by now: this turn ends without another effect."""


class Actor:
    """Carries out what a plan has besides starting runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._locking: WeakValueDictionary[ImageRef, asyncio.Lock] = WeakValueDictionary()

    async def act(self, actions: Iterable[Action]) -> tuple[Outcome, ...]:
        """The outcome of each run that is ended, then of each delivery, then of each lock.

        Raises:
            NotLeadingError: as soon as an effect is due that we may not have any more.
        """
        known = tuple(actions)
        ended = [await self._cancel(action) for action in known if isinstance(action, CancelRun)]
        delivered = [await self._deliver(action) for action in known if isinstance(action, Deliver)]
        locked = [await self._protect(action) for action in known if isinstance(action, Protect)]
        return (*ended, *delivered, *locked)

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

    async def _protect(self, action: Protect) -> Outcome:
        """Lock or unlock; who wants a lock and who takes one back wait for each other."""
        async with self._locking.setdefault(replace(action.image, tag=None), asyncio.Lock()):
            return await self._protect_now(action)

    async def _protect_now(self, action: Protect) -> Outcome:
        self._must_lead()
        locks = self._world.locks
        if not action.locks:
            trackers = self._world.trackers.everywhere()
            found = standing(trackers, action.tracker, action.downstream, action.image)
            if found is not Standing.LAST:
                return Outcome(action=action, temporary=found is Standing.WAITS)
        try:
            await (locks.lock(action.image) if action.locks else locks.unlock(action.image))
        except BasetrackerError as error:
            LOGGER.info("Failed %s: %s", action.key, error)
            return Outcome(action=action, error=str(error))
        LOGGER.info("Done %s", action.key)
        return Outcome(action=action)

    async def _deliver(self, action: Deliver) -> Outcome:
        self._must_lead()
        try:
            workload = await self._world.workloads.deliver(action)
        except BasetrackerError as error:
            outcome = outcome_of(action, error)
        else:
            outcome = Outcome(action=action, workload=workload)
        self._world.metrics.deliveries.labels(outcome="Failed" if outcome.error else "Delivered").inc()
        LOGGER.info("%s %s", "Failed" if outcome.error else "Delivered", f"{action.key} {outcome.error}".strip())
        return outcome


def outcome_of(action: Action, error: BasetrackerError) -> Outcome:
    """What an action that failed so has come to."""
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
