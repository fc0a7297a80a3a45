"""One turn: see, plan, act, write down. The only path by which anything happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

from basetracker.api.names import API_VERSION, KIND, HistoryEvent
from basetracker.api.status import HistoryEntry, Status
from basetracker.api.tracker import Key, Tracker
from basetracker.core.actions import Outcome, Protect, StartBuild
from basetracker.core.history import ON_WORKLOAD, WARNINGS, sentence, workload_name
from basetracker.core.observed import Observed
from basetracker.core.planner import Decision, decide
from basetracker.core.protection import is_half_done
from basetracker.core.relations import children_of
from basetracker.core.situation import is_failing_anew
from basetracker.core.status import failing_gates, fold, with_intents
from basetracker.engine.act import Actor, NotLeadingError
from basetracker.engine.observe import observe
from basetracker.engine.starts import Starter
from basetracker.engine.world import World
from basetracker.errors import ConflictError, MissingError
from basetracker.ports import ObjectRef
from basetracker.telemetry import LOGGER

SOON = timedelta(seconds=1)
RETRY = timedelta(seconds=30)


class Reconciler:
    """Takes turns; `poke` gives another tracker one, when what it follows has changed."""

    def __init__(self, world: World, poke: Callable[[Key], None]) -> None:
        self._world = world
        self._poke = poke
        self._actor = Actor(world)
        self._starter = Starter(world)

    async def turn(self, key: Key) -> datetime | None:
        """Bring one tracker a step further; the answer is when to look again, None when it is gone."""
        with self._world.metrics.turn_seconds.time():
            try:
                wake = await self._turn(key)
            except NotLeadingError:
                LOGGER.warning("turn of %s ended: another replica leads", key)
                return None
        self._world.metrics.turns.labels(outcome="Done").inc()
        return wake

    async def _turn(self, key: Key) -> datetime | None:
        world = self._world
        tracker = world.trackers.get(key)
        if tracker is None or tracker.deleting:
            self._world.metrics.trackers.forget(key.namespace, key.name)
            return None
        observed = await observe(world, tracker)
        decision = decide(observed)
        starts = [action for action in decision.plan.actions if isinstance(action, StartBuild)]
        try:
            tracker, started = await self._starter.start(tracker, starts, partial(self._intend, observed, decision))
        except ConflictError:
            return world.clock.now() + SOON
        except MissingError:
            return None
        outcomes = (*started, *await self._actor.act(decision.plan.actions))
        folded = fold(observed, decision, outcomes)
        if folded.status.document() != tracker.status.document() and await self._write(tracker, folded.status):
            await self._tell(tracker, decision, folded.happened)
            self._poke_children(observed.tracker, folded.status)
        self._measure(tracker, folded.status, decision)
        before = observed.tracker.status
        if is_half_done(before, folded.status) or is_failing_anew(before, folded.status):
            return world.clock.now() + SOON
        return min(decision.plan.wake_at, self._retry(outcomes) or decision.plan.wake_at)

    async def _intend(self, observed: Observed, decision: Decision, starts: Sequence[StartBuild]) -> Tracker:
        """Store what is about to be started, guarded: if the tracker has moved, nothing is started."""
        status = with_intents(observed, decision, starts)
        written = await self._world.trackers.write_status(observed.tracker, status, guarded=True)
        self._world.metrics.status_writes.labels(kind="Intent").inc()
        return written

    async def _write(self, tracker: Tracker, status: Status) -> bool:
        """Store the status; False when there is nothing left to store it in."""
        if not self._world.lead.is_held():
            raise NotLeadingError
        try:
            await self._world.trackers.write_status(tracker, status, guarded=False)
        except (ConflictError, MissingError):
            LOGGER.info("%s is another object by now; its status isn't written", tracker.key)
            return False
        self._world.metrics.status_writes.labels(kind="Status").inc()
        return True

    async def _tell(self, tracker: Tracker, decision: Decision, happened: Iterable[HistoryEntry]) -> None:
        about = ObjectRef(
            api_version=API_VERSION,
            kind=KIND,
            namespace=tracker.key.namespace,
            name=tracker.key.name,
            uid=tracker.uid,
        )
        workloads = {
            row.workload.name: row.workload for item in decision.situations for row in item.rows if row.workload
        }
        for entry in happened:
            self._world.metrics.events.labels(reason=str(entry.event)).inc()
            await self._tell_one(about, entry)
            workload = workloads.get(workload_name(entry)) if entry.event in ON_WORKLOAD else None
            if workload is not None and entry.event is not HistoryEvent.OVERRIDDEN:
                on = ObjectRef(
                    api_version="apps/v1",
                    kind=workload.kind,
                    namespace=workload.namespace,
                    name=workload.name,
                    uid=workload.uid,
                )
                await self._tell_one(on, entry)

    async def _tell_one(self, about: ObjectRef, entry: HistoryEntry) -> None:
        if not self._world.lead.is_held():
            raise NotLeadingError
        text = sentence(entry)
        LOGGER.info("%s %s/%s: %s", entry.event, about.namespace, about.name, text)
        await self._world.events.tell(
            about, reason=str(entry.event), message=text[:1000], warning=entry.event in WARNINGS
        )

    def _poke_children(self, tracker: Tracker, after: Status) -> None:
        """A child follows the validated digest, and nothing else tells it that there is a new one."""
        changed = any(
            item.validated is not None
            and ((old := tracker.status.of(item.name)) is None or old.validated != item.validated)
            for item in after.downstream
        )
        if changed:
            for child in children_of(tracker, self._world.trackers.in_namespace(tracker.key.namespace)):
                self._poke(child.key)

    def _retry(self, outcomes: Iterable[Outcome]) -> datetime | None:
        """When to look again after an effect that didn't come about, or may not have."""
        waits = [
            SOON if item.temporary else RETRY
            for item in outcomes
            if item.error and not isinstance(item.action, Protect)  # a lock can wait for the next look
        ]
        return self._world.clock.now() + min(waits) if waits else None

    def _measure(self, tracker: Tracker, status: Status, decision: Decision) -> None:
        images = {
            item.name: (str(item.state), item.stale_since.timestamp() if item.stale_since else None)
            for item in status.downstream
        }
        failing = {name: gates[0].name for name, gates in failing_gates(decision).items()}
        self._world.metrics.trackers.show(tracker.key.namespace, tracker.key.name, images, failing)
