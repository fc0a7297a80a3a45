"""ACR Tasks as a service: which tasks and runs exist, and how runs move on as time passes.

Owns scheduling, the state machine Queued → Started → Running → terminal, cancelling, and the base-image
trigger. Knows no HTTP: `arm.py` speaks for it. Time is the injected clock's; `advance` brings all up to now.
"""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.acr.storage import Pushed
from basetracker.emulators.tasks.builder import Builder, BuildFailedError
from basetracker.emulators.tasks.definition import Task
from basetracker.emulators.tasks.run import Run
from basetracker.emulators.timeline import Clock, arm_time

KEPT_RUNS = 2_000


class Tasks:
    """All tasks and runs of the emulated Azure."""

    def __init__(
        self,
        builder: Builder,
        clock: Clock,
        *,
        queue_seconds: float,
        start_seconds: float,
        run_seconds: float,
    ) -> None:
        """A run spends these seconds in Queued, Started and Running."""
        self.builder = builder
        self.queue_seconds = queue_seconds
        self.start_seconds = start_seconds
        self.run_seconds = run_seconds
        self.echoes_token = True
        """Whether a run shows the `updateTriggerToken` it was scheduled with."""
        self.paused = False
        """Whether the subscription may not run tasks (free credit)."""
        self.runs: deque[Run] = deque(maxlen=KEPT_RUNS)
        """Oldest first."""
        self._live: list[Run] = []
        self._tasks: dict[str, Task] = {}
        self._clock = clock
        self._numbers = itertools.count(1)
        self._triggered: list[tuple[datetime, Task, Pushed]] = []
        self._advancing = False

    def add(self, name: str, registry: AzureRegistry, *, image: str, base: str, **settings: Any) -> Task:
        """Create a task; `settings` are those of `Task`."""
        task = Task(name=name, registry=registry, image=image, base=base, created=self._clock(), **settings)
        self._tasks[task.id.lower()] = task
        return task

    def find(self, task_id: str) -> Task | None:
        """The task with this ARM id, in any case."""
        return self._tasks.get(task_id.lower())

    def of(self, registry: AzureRegistry) -> list[Task]:
        """The tasks of a registry, by name."""
        return sorted((one for one in self._tasks.values() if one.registry is registry), key=lambda t: t.name)

    def find_run(self, registry: AzureRegistry, run_id: str) -> Run | None:
        """A run by its id."""
        wanted = run_id.lower()
        return next((one for one in self.runs if one.id == wanted and one.task.registry is registry), None)

    def runs_of(self, task: Task) -> list[Run]:
        """The runs of a task, oldest first."""
        return [run for run in self.runs if run.task is task]

    def schedule(self, task: Task, request: Mapping[str, Any]) -> Run:
        """Start a run of the task as a person or a program does."""
        run = self._queue(task, "QuickRun", request)
        if self.echoes_token:
            run.update_trigger_token = run.override.get("updateTriggerToken")
        run.is_archived = bool(request.get("isArchiveEnabled"))
        return run

    def cancel(self, run: Run) -> None:
        """Stop a run; one that has ended stays as it is."""
        if run.live:
            self._end(run, self._clock(), "Canceled")

    def on_push(self, pushed: Pushed) -> None:
        """Start what ACR's base-image trigger starts for this push; nothing when the digest is the same."""
        if pushed.previous == pushed.digest:
            return
        for task in self._tasks.values():
            if task.tracks(pushed.host, pushed.repository, pushed.tag):
                due = self._clock() + timedelta(seconds=task.trigger_delay)
                self._triggered += [(due, task, pushed)] * task.trigger_runs

    async def advance(self) -> None:
        """Let everything happen that is due by now."""
        if self._advancing:  # a build of ours is asking a registry of ours
            return
        self._advancing = True
        try:
            moved = True
            while moved:
                self._fire_triggers()
                moved = False
                for run in list(self._live):
                    moved |= await self._move(run)
                self._live = [run for run in self._live if run.live]
        finally:
            self._advancing = False

    def _queue(self, task: Task, kind: str, request: Mapping[str, Any]) -> Run:
        now = self._clock()
        run = Run(
            id=f"cf{next(self._numbers)}",
            task=task,
            kind=kind,
            request=request,
            created=now,
            updated=now,
            due=now + timedelta(seconds=_first(task.behaviour.queue_seconds, self.queue_seconds)),
        )
        self.runs.append(run)
        self._live.append(run)
        return run

    def _fire_triggers(self) -> None:
        now = self._clock()
        due = [one for one in self._triggered if one[0] <= now]
        self._triggered = [one for one in self._triggered if one[0] > now]
        for moment, task, pushed in due:
            run = self._queue(task, "AutoRun", {})
            run.image_update_trigger = {
                "id": str(uuid.uuid4()),
                "timestamp": arm_time(moment),
                "images": [
                    {
                        "registry": pushed.host,
                        "repository": pushed.repository,
                        "tag": pushed.tag,
                        "digest": pushed.digest,
                    }
                ],
            }

    async def _move(self, run: Run) -> bool:
        """Take the run one state further if that is due."""
        if not run.live or run.task.behaviour.stuck == run.status or self._clock() < run.due:
            return False
        moment = run.updated = run.due
        match run.status:
            case "Queued":
                run.status, run.started = "Started", moment
                run.write(moment, f"Downloading source code... run ID: {run.id}")
                run.due = moment + timedelta(seconds=self.start_seconds)
            case "Started":
                run.status = "Running"
                run.write(moment, f"Setting up Docker configuration, logging in to {run.task.registry.host}")
                run.due = moment + timedelta(seconds=self._run_seconds(run.task))
            case _:
                await self._finish(run, moment)
        return True

    def _run_seconds(self, task: Task) -> float:
        return min(_first(task.behaviour.run_seconds, self.run_seconds), task.timeout)

    async def _finish(self, run: Run, moment: datetime) -> None:
        task, behaviour = run.task, run.task.behaviour
        if _first(behaviour.run_seconds, self.run_seconds) > task.timeout:
            run.error = "The run timed out."
            self._end(run, moment, "Timeout")
        elif behaviour.fail is not None or task.runs_ended < behaviour.fail_first:
            run.error = behaviour.fail or "failed during run, err: exit status 1"
            self._end(run, moment, "Failed")
        elif behaviour.outcome != "Succeeded":
            self._end(run, moment, behaviour.outcome)
        else:
            await self._build(run, moment)

    async def _build(self, run: Run, moment: datetime) -> None:
        try:
            await self.builder.build(run, moment)
        except BuildFailedError as failure:
            run.error = str(failure)
            self._end(run, moment, "Failed")
        except Exception as failure:  # a registry outside may fail in any way; the run fails with it
            run.error = f"failed during run, err: {failure}"
            self._end(run, moment, "Failed")
        else:
            if run.live:  # it may have been cancelled meanwhile
                self._end(run, moment, "Succeeded")

    def _end(self, run: Run, moment: datetime, status: str) -> None:
        run.status, run.finished, run.updated = status, moment, moment
        run.task.runs_ended += 1
        seconds = (moment - run.created).total_seconds()
        if run.error:
            run.write(moment, run.error)
        run.write(moment, f"Run ID: {run.id} {_verb(status)} after {seconds:.0f}s")


def newest_first(runs: Iterator[Run] | deque[Run]) -> list[Run]:
    """As ARM lists them."""
    return sorted(runs, key=lambda run: (run.created, int(run.id.removeprefix("cf"))), reverse=True)


def _first(chosen: float | None, default: float) -> float:
    return default if chosen is None else chosen


def _verb(status: str) -> str:
    return {"Succeeded": "was successful", "Canceled": "was canceled"}.get(status, "failed")
