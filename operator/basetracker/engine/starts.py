"""Starting runs: each build once over the whole operator, however many trackers, replicas and deaths there are.

The order that keeps the promise: under the task's lock the tag and the task's runs are looked at once more; a run that exists
is adopted; then the intent is stored, guarded, and only then is a run asked for. The list of runs may lag behind, so it
is not believed alone: what the trackers' records say, and what this process has started a moment ago, counts as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from weakref import WeakValueDictionary

from basetracker.api.names import BuildState
from basetracker.api.status import BuildStatus
from basetracker.api.tracker import Tracker
from basetracker.core.actions import Outcome, StartBuild
from basetracker.core.builds import BUSY_WAIT, SETTLE, existing_run, is_record_of, live_run
from basetracker.core.relations import builds_alike
from basetracker.engine.act import NotLeadingError, outcome_of
from basetracker.engine.observe import AT_ONCE, look
from basetracker.engine.world import World
from basetracker.errors import BasetrackerError
from basetracker.ports import BuildRequest
from basetracker.telemetry import LOGGER

LOOK_BACK = timedelta(days=30)
"""How far back the task's runs are searched for one that makes another needless: as long as ACR keeps them."""

Intend = Callable[[Sequence[StartBuild]], Awaitable[Tracker]]
"""Stores the intent to start these; the answer is the tracker as stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What this process asked for: `run_id` is None when the answer was lost, `until` is when the list of runs is believed."""

    run_id: str | None
    until: float
    who: str


class Starter:
    """Starts runs; knows which tasks are being started, so that two trackers never start one at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._begun: dict[tuple[object, ...], _Begun] = {}

    async def start(
        self, tracker: Tracker, actions: Sequence[StartBuild], intend: Intend
    ) -> tuple[Tracker, tuple[Outcome, ...]]:
        """The tracker as it is stored after the intents, and the outcome of each action.

        Raises:
            NotLeadingError: an effect is due that we may not have any more.
            BasetrackerError: as `intend`; nothing was started then.
        """
        async with AsyncExitStack() as stack:
            # ARM's names don't tell upper from lower case, and two trackers may spell one task differently.
            for name in sorted({f"{action.task.registry}/{action.task.name}".lower() for action in actions}):
                await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
            outcomes = await asyncio.gather(*(self._needless(tracker, action) for action in actions))
            due = list(_first_of_each_task(actions, outcomes))
            if due:
                self._must_lead()
                tracker = await intend(due)
            started = await asyncio.gather(*(self._started(tracker, action) for action in due), return_exceptions=True)
        for one in started:
            if isinstance(one, BaseException):
                raise one
        done = {one.action: one for one in (*outcomes, *started) if isinstance(one, Outcome)}
        told = tuple(done.get(action) or _second(action) for action in actions)
        for outcome in told:
            self._tell(outcome)
        return tracker, told

    def _must_lead(self) -> None:
        if not self._world.lead.is_held():
            raise NotLeadingError

    async def _started(self, tracker: Tracker, action: StartBuild) -> Outcome:
        self._must_lead()
        request = BuildRequest(task=action.task, key=action.key, arguments=action.arguments, values=action.values)
        try:
            outcome = Outcome(action=action, run=await self._world.builder.start(request))
        except BasetrackerError as error:
            outcome = outcome_of(action, error)
        if outcome.run is not None or outcome.unknown:
            until = self._world.clock.monotonic() + SETTLE.total_seconds()
            run_id = outcome.run.run_id if outcome.run is not None else None
            self._begun[_name(action)] = _Begun(run_id=run_id, until=until, who=f"{tracker.key}/{action.downstream}")
        return outcome

    async def _needless(self, tracker: Tracker, action: StartBuild) -> Outcome | None:
        """Why no run is started after all; None when one is."""
        try:
            return await self._moved(tracker, action) or await self._existing(tracker, action)
        except BasetrackerError as error:
            return outcome_of(action, error)

    async def _moved(self, tracker: Tracker, action: StartBuild) -> Outcome | None:
        """Whether the tag has moved since it was looked at."""
        items = tracker.spec.downstream if tracker.spec is not None else ()
        item = next((item for item in items if item.name == action.downstream), None)
        if item is None or action.tag is None:
            return None
        seen = await look(self._world, tracker, item.image, item.pull_secret_ref, AT_ONCE)
        if seen.problem is not None:
            # A run that has just pushed the image would go unseen.
            return Outcome(action=action, wait=BUSY_WAIT, error=f"the tag can't be looked at: {seen.problem.message}")
        if seen.digest is not None and seen.digest != action.tag:
            return Outcome(action=action, temporary=True, error="the tag has just moved and is judged first")
        return None

    async def _existing(self, tracker: Tracker, action: StartBuild) -> Outcome | None:
        """A run that makes another one needless, or has to end before."""
        builder = self._world.builder
        runs = await builder.recent(action.task, self._world.clock.now() - LOOK_BACK)
        run = existing_run(runs, action)
        if run is not None:
            return Outcome(action=action, run=run, adopted=True)
        for run_id, who in self._told_elsewhere(tracker, action):
            if run_id is None:
                error = f"{who} has asked for this very run, and it is looked for among the task's runs"
                return Outcome(action=action, wait=self._world.run_interval, error=error)
            run = await builder.run(action.task, run_id)
            if run is not None and not run.state.is_failure:
                return Outcome(action=action, run=run, adopted=True)
        other = live_run(runs)
        if other is not None:
            return Outcome(action=action, temporary=True, error=f"run {other.run_id} of the task has just been started")
        return None

    def _told_elsewhere(self, tracker: Tracker, action: StartBuild) -> Iterator[tuple[str | None, str]]:
        """The runs for this very build that this process has just asked for, or that any other record tells of."""
        now = self._world.clock.monotonic()
        self._begun = {name: one for name, one in self._begun.items() if one.until > now}
        if (mine := self._begun.get(_name(action))) is not None:
            yield mine.run_id, mine.who
        for other in self._world.trackers.everywhere():
            for item in other.spec.downstream if other.spec is not None else ():
                record = other.status.of(item.name)
                build = record.build if record is not None else None
                if build is None or (other.key, item.name) == (tracker.key, action.downstream):
                    continue
                is_same = is_record_of(build, action.base.digest, action.replaces)
                is_same = is_same and builds_alike(item, action.task, action.image)
                if is_same and (build.state is BuildState.SUCCEEDED or self._may_come(build)):
                    yield build.run_id, f"{other.key}/{item.name}"

    def _may_come(self, build: BuildStatus) -> bool:
        """Whether the record tells of a run that goes on, or of one that may still appear among the task's runs.

        Its tracker needn't follow it: while that is suspended a request without a run stays as it is.
        """
        if build.run_id is not None or not build.state.is_live:
            return build.state.is_live
        return build.requested_at is not None and self._world.clock.now() - build.requested_at <= SETTLE

    def _tell(self, outcome: Outcome) -> None:
        kind = "Unknown" if outcome.unknown else "NotStarted"
        if outcome.run is not None:
            kind = "Adopted" if outcome.adopted else "Started"
        self._world.metrics.builds.labels(outcome=kind).inc()
        LOGGER.info("%s %s %s", kind, outcome.action.key, outcome.run.run_id if outcome.run else outcome.error)


def _name(action: StartBuild) -> tuple[object, ...]:
    """The build, whatever attempt it is."""
    task = (action.task.registry.lower(), action.task.name.lower())
    return (*task, action.image, action.base.digest, action.replaces)


def _first_of_each_task(actions: Iterable[StartBuild], outcomes: Iterable[Outcome | None]) -> Iterator[StartBuild]:
    """Those to be started, one of each task: two runs of one task at once would race for what it pushes."""
    seen = set()
    for action, outcome in zip(actions, outcomes, strict=True):
        if outcome is None and action.task not in seen:
            seen.add(action.task)
            yield action


def _second(action: StartBuild) -> Outcome:
    return Outcome(action=action, temporary=True, error="a run of the task has just been started")
