"""ACR Tasks as ARM speaks it: tasks, runs, task runs.

Owns the endpoints and their errors. Everything that happens, happens in `service.py`; every caller has been
admitted by `arm.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from basetracker.emulators.arm import Call, Endpoint, ResourceManager, arm_error
from basetracker.emulators.tasks.definition import Task
from basetracker.emulators.tasks.filters import parse_filter
from basetracker.emulators.tasks.logs import Logs
from basetracker.emulators.tasks.run import Run
from basetracker.emulators.tasks.service import Tasks, newest_first

Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class TaskRun:
    """A `taskRuns` resource: a run that is made once a `forceUpdateTag`."""

    name: str
    run: Run
    request: Json
    tag: str | None

    def resource(self) -> Json:
        """As ARM shows it."""
        ended = {"Succeeded": "Succeeded", "Canceled": "Canceled"}.get(self.run.status, "Failed")
        properties: Json = {
            "provisioningState": "Creating" if self.run.live else ended,
            "runRequest": self.request,
            "runResult": self.run.resource(),
            "forceUpdateTag": self.tag,
        }
        kind = "Microsoft.ContainerRegistry/registries/taskRuns"
        resource_id = f"{self.run.task.registry.id}/taskRuns/{self.name}"
        return {"type": kind, "id": resource_id, "name": self.name, "properties": properties}


class TasksApi:
    """The operations on tasks and runs."""

    def __init__(self, tasks: Tasks, logs: Logs, manager: ResourceManager) -> None:
        self._tasks = tasks
        self._logs = logs
        self._manager = manager
        self._task_runs: dict[tuple[str, str], TaskRun] = {}
        manager.serve(self._endpoints())

    def _endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "scheduleRun", "scheduleRun/action", self._schedule),
            Endpoint("GET", "tasks", "tasks/read", self._list_tasks),
            Endpoint("GET", "tasks/{task}", "tasks/read", self._get_task),
            Endpoint("PATCH", "tasks/{task}", "tasks/write", self._patch_task),
            Endpoint("POST", "tasks/{task}/listDetails", "tasks/listDetails/action", self._get_task),
            Endpoint("GET", "runs", "runs/read", self._list_runs),
            Endpoint("GET", "runs/{run}", "runs/read", self._get_run),
            Endpoint("PATCH", "runs/{run}", "runs/write", self._patch_run),
            Endpoint("POST", "runs/{run}/cancel", "runs/cancel/action", self._cancel),
            Endpoint("POST", "runs/{run}/listLogSasUrl", "runs/listLogSasUrl/action", self._log_link),
            Endpoint("PUT", "taskRuns/{taskrun}", "taskruns/write", self._put_task_run),
            Endpoint("GET", "taskRuns/{taskrun}", "taskruns/read", self._get_task_run),
            Endpoint("DELETE", "taskRuns/{taskrun}", "taskruns/delete", self._delete_task_run),
        ]

    async def _schedule(self, call: Call) -> web.Response:
        run = await self._start(call, await call.body())
        return web.json_response(run.answer())

    async def _start(self, call: Call, request: Mapping[str, Any]) -> Run:
        if self._tasks.paused:
            message = "ACR Tasks requests for the registry and its subscription are not permitted."
            raise arm_error(400, "TasksOperationsNotAllowed", message)
        if request.get("type") != "TaskRunRequest":
            message = f"A run request of type '{request.get('type')}' is not supported here."
            raise arm_error(400, "InvalidRequest", message)
        task_id = str(request.get("taskId", ""))
        task = self._tasks.find(task_id)
        if task is None or task.registry is not call.registry:
            raise _missing("tasks", task_id.rpartition("/")[2], call)
        if not task.enabled:
            raise arm_error(400, "BadRequest", f"The task '{task.name}' is disabled.")
        run = self._tasks.schedule(task, request)
        return run

    async def _list_tasks(self, call: Call) -> web.Response:
        return self._manager.page([one.resource() for one in self._tasks.of(call.registry)], call.request)

    async def _get_task(self, call: Call) -> web.Response:
        return web.json_response(self._task(call).resource())

    async def _patch_task(self, call: Call) -> web.Response:
        task = self._task(call)
        task.patch((await call.body()).get("properties", {}))
        return web.json_response(task.resource())

    async def _list_runs(self, call: Call) -> web.Response:
        query = call.request.query
        try:
            passes = parse_filter(query.get("$filter", ""))
            top = int(query.get("$top", 0))
        except ValueError as error:
            raise arm_error(400, "InvalidFilter", str(error)) from None
        runs = (run for run in self._tasks.runs if run.task.registry is call.registry)
        found = [run.resource() for run in newest_first(runs) if passes(run)]
        return self._manager.page(found[:top] if top else found, call.request)

    async def _get_run(self, call: Call) -> web.Response:
        return web.json_response(self._run(call).resource())

    async def _patch_run(self, call: Call) -> web.Response:
        run = self._run(call)
        run.is_archived = bool((await call.body()).get("isArchiveEnabled", run.is_archived))
        return web.json_response(run.resource())

    async def _cancel(self, call: Call) -> web.Response:
        self._tasks.cancel(self._run(call))
        return web.Response()

    async def _log_link(self, call: Call) -> web.Response:
        return web.json_response({"logLink": self._logs.link(self._run(call)), "logArtifactLink": None})

    async def _put_task_run(self, call: Call) -> web.Response:
        body = await call.body()
        properties = body.get("properties", {})
        key = (call.registry.id, call.names["taskrun"].lower())
        known, tag = self._task_runs.get(key), properties.get("forceUpdateTag")
        if known is not None and known.tag == tag:
            return web.json_response(known.resource())
        request = properties.get("runRequest", {})
        run = await self._start(call, request)
        made = TaskRun(name=call.names["taskrun"], run=run, request=request, tag=tag)
        self._task_runs[key] = made
        return web.json_response(made.resource(), status=200 if known else 201)

    async def _get_task_run(self, call: Call) -> web.Response:
        known = self._task_runs.get((call.registry.id, call.names["taskrun"].lower()))
        if known is None:
            raise _missing("taskRuns", call.names["taskrun"], call)
        return web.json_response(known.resource())

    async def _delete_task_run(self, call: Call) -> web.Response:
        gone = self._task_runs.pop((call.registry.id, call.names["taskrun"].lower()), None)
        return web.Response(status=200 if gone else 204)

    def _task(self, call: Call) -> Task:
        task = self._tasks.find(f"{call.registry.id}/tasks/{call.names['task']}")
        if task is None:
            raise _missing("tasks", call.names["task"], call)
        return task

    def _run(self, call: Call) -> Run:
        run = self._tasks.find_run(call.registry, call.names["run"])
        if run is None:
            raise _missing("runs", call.names["run"], call)
        return run


def _missing(kind: str, name: str, call: Call) -> Exception:
    group = call.registry.id.split("/")[4]
    message = (
        f"The Resource 'Microsoft.ContainerRegistry/registries/{call.registry.name}/{kind}/{name}' under "
        f"resource group '{group}' was not found."
    )
    return arm_error(404, "ResourceNotFound", message)
