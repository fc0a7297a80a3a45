"""ACR Tasks, as the `Builder` port.

Owns starting runs (each once: one that may have been started is told as such), looking at runs, tasks and logs.
Decides nothing about builds. Made by the wiring.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final

from basetracker.adapters.builders.arm import PROVIDER, Arm, describe
from basetracker.adapters.builders.arm_ids import RegistryId, task_name
from basetracker.adapters.builders.logs import RunLog
from basetracker.adapters.builders.registries import Registries
from basetracker.adapters.builders.runs import facts_of, run_of
from basetracker.adapters.fence import May, always, only_while
from basetracker.api.tracker import AcrTask
from basetracker.core.builds import run_token
from basetracker.core.observed import Run, TaskFacts, TaskRef
from basetracker.errors import BasetrackerError, InvalidError, MissingError, UnknownOutcomeError
from basetracker.oci.refs import ImageRef
from basetracker.ports import BuildRequest, Clock

_RECENT_LIMIT: Final = 100
"""The most runs that are looked at; they come newest first."""
_FACTS_KEPT: Final = 5_000


class AcrTasks:
    """Starts and watches runs of tasks that exist; it makes and changes none."""

    def __init__(self, arm: Arm, clock: Clock, *, subscriptions: Sequence[str] = (), may: May = always) -> None:
        """Registries are looked for in `subscriptions` (ids); in all that the identity can see when none are given.

        Runs are started and ended only while `may`.
        """
        self._arm = arm
        self._may = may
        self._clock = clock
        self._registries = Registries(arm, clock, subscriptions)
        self._facts: OrderedDict[TaskRef, tuple[TaskFacts | None, float]] = OrderedDict()

    async def resolve(self, task: AcrTask, image: ImageRef) -> TaskRef:
        """See `ports.Builder`."""
        name = task_name(task.name)
        if task.registry is None:
            return TaskRef(str(await self._registries.find(image.host)), name)
        registry = RegistryId.parse(task.registry)
        await self._registries.expect(registry, image.host)
        return TaskRef(str(registry), name)

    async def facts(self, task: TaskRef, *, max_age: float = 0) -> TaskFacts | None:
        """See `ports.Builder`."""
        kept = self._facts.get(task)
        now = self._clock.monotonic()
        if kept is not None and now - kept[1] < max_age:
            return kept[0]
        facts = await self._read_facts(task)
        self._facts[task] = (facts, now)
        self._facts.move_to_end(task)
        if len(self._facts) > _FACTS_KEPT:
            self._facts.popitem(last=False)
        return facts

    async def start(self, request: BuildRequest) -> Run:
        """See `ports.Builder`."""
        registry, name = _parts(request.task)
        client = self._arm.tasks(registry.subscription)
        from azure.core.exceptions import HttpResponseError

        action, what = f"{PROVIDER}/scheduleRun/action", describe(registry, f"task {name}")
        try:
            with only_while(self._may):
                return run_of(await client.registries.schedule_run(registry.group, registry.name, _body(request)))
        except HttpResponseError as error:
            if _is_refusal(error.status_code):
                raise self._arm.meaning(error, action, what) from error
            raise _unknown(what) from error
        except InvalidError as error:  # it has an answer, and it tells no run
            raise _unknown(what) from error
        except BasetrackerError:  # of the identity or the transport, before anything was sent: no token, or a pause
            raise
        except Exception as error:  # whatever it was, the request may have arrived
            raise _unknown(what) from error

    async def run(self, task: TaskRef, run_id: str) -> Run | None:
        """See `ports.Builder`."""
        registry, _ = _parts(task)
        try:
            with self._arm.told(f"{PROVIDER}/runs/read", describe(registry, f"run {run_id}")):
                client = self._arm.tasks(registry.subscription)
                return run_of(await client.runs.get(registry.group, registry.name, run_id))
        except MissingError:
            return None

    async def recent(self, task: TaskRef, since: datetime) -> Sequence[Run]:
        """See `ports.Builder`; of more than a hundred runs since then only the newest hundred."""
        registry, name = _parts(task)
        found: list[Run] = []
        seen = 0
        with self._arm.told(f"{PROVIDER}/runs/read", describe(registry, f"runs of task {name}")):
            listed = self._arm.tasks(registry.subscription).runs.list(
                registry.group, registry.name, filter=f"TaskName eq '{name}'", top=_RECENT_LIMIT
            )
            async for one in listed:
                run = run_of(one)
                seen += 1
                if run.created is None or run.created >= since:
                    found.append(run)
                if seen >= _RECENT_LIMIT:
                    break
        return sorted(found, key=lambda run: run.created or since, reverse=True)

    async def cancel(self, task: TaskRef, run_id: str) -> None:
        """See `ports.Builder`."""
        registry, _ = _parts(task)
        try:
            told = self._arm.told(f"{PROVIDER}/runs/cancel/action", describe(registry, f"run {run_id}"))
            with told, only_while(self._may):
                await self._arm.tasks(registry.subscription).runs.cancel(registry.group, registry.name, run_id)
        except InvalidError:
            run = await self.run(task, run_id)
            if run is None or run.state.is_live:
                raise

    async def log(self, task: TaskRef, run_id: str, *, follow: bool = False) -> AsyncIterator[bytes]:
        """See `ports.Builder`."""
        registry, _ = _parts(task)
        what = describe(registry, f"log of run {run_id}")

        async def link() -> str:
            with self._arm.told(f"{PROVIDER}/runs/listLogSasUrl/action", what):
                client = self._arm.tasks(registry.subscription)
                answer = await client.runs.get_log_sas_url(registry.group, registry.name, run_id)
                return str(answer.log_link or "")

        async def ended() -> bool:
            run = await self.run(task, run_id)
            return run is None or not run.state.is_live

        log = RunLog(self._arm.http, self._clock, link=link, ended=ended)
        async for piece in log.follow() if follow else log.read():
            yield piece

    async def close(self) -> None:
        """Close the clients."""
        await self._arm.close()

    async def _read_facts(self, task: TaskRef) -> TaskFacts | None:
        registry, name = _parts(task)
        try:
            with self._arm.told(f"{PROVIDER}/tasks/read", describe(registry, f"task {name}")):
                client = self._arm.tasks(registry.subscription)
                return facts_of(task, await client.tasks.get(registry.group, registry.name, name))
        except MissingError:
            return None


def _parts(task: TaskRef) -> tuple[RegistryId, str]:
    return RegistryId.parse(task.registry), task_name(task.name)


def _body(request: BuildRequest) -> dict[str, Any]:
    """The TaskRunRequest; what it doesn't override stays as the task has it."""

    def pairs(items: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        return [{"name": name, "value": value, "isSecret": False} for name, value in items]

    override: dict[str, Any] = {"updateTriggerToken": run_token(request.key)}
    if request.arguments:
        override["arguments"] = pairs(request.arguments)
    if request.values:
        override["values"] = pairs(request.values)
    return {
        "type": "TaskRunRequest",
        "taskId": f"{request.task.registry}/tasks/{request.task.name}",
        "isArchiveEnabled": False,
        "overrideTaskStepProperties": override,
    }


def _is_refusal(status: int | None) -> bool:
    """Whether the answer says for certain that nothing was started; a time-out (408) doesn't."""
    return status is not None and 400 <= status < 500 and status != 408


def _unknown(what: str) -> UnknownOutcomeError:
    return UnknownOutcomeError(
        f"a run of {what} was asked for and the answer was lost; its runs tell whether it exists"
    )
