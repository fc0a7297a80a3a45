"""One run of a task: its state, its times, its log, and how ARM shows it.

Owns the states and the wire shape. Knows neither when it moves on (`service.py`) nor how it builds
(`builder.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from basetracker.emulators.tasks.definition import Task
from basetracker.emulators.timeline import arm_time

TERMINAL = frozenset({"Succeeded", "Failed", "Canceled", "Error", "Timeout"})
Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Run:
    """A run; `due` is when it leaves its present state."""

    id: str
    task: Task
    kind: str
    request: Mapping[str, Any]
    created: datetime
    updated: datetime
    due: datetime
    status: str = "Queued"
    started: datetime | None = None
    finished: datetime | None = None
    error: str | None = None
    outputs: list[Json] = field(default_factory=list)
    update_trigger_token: str | None = None
    image_update_trigger: Json | None = None
    is_archived: bool = False
    log: list[str] = field(default_factory=list)

    @property
    def resource_id(self) -> str:
        """Its ARM id."""
        return f"{self.task.registry.id}/runs/{self.id}"

    @property
    def live(self) -> bool:
        """Not yet in a terminal state."""
        return self.status not in TERMINAL

    @property
    def shown_status(self) -> str:
        """What ARM says of it."""
        return self.task.behaviour.shown or self.status

    @property
    def override(self) -> Mapping[str, Any]:
        """The step properties this run was started with."""
        found: Mapping[str, Any] = self.request.get("overrideTaskStepProperties") or {}
        return found

    def argument(self, name: str | None) -> str | None:
        """The build argument this run was given by that name; names compare as docker does, exactly."""
        given = self.override.get("arguments") or []
        return next((str(one["value"]) for one in given if one["name"] == name), None)

    def write(self, moment: datetime, text: str) -> None:
        """Add a line to the log."""
        self.log.append(f"{moment:%Y/%m/%d %H:%M:%S} {text}")

    def answer(self) -> Json:
        """What scheduling answers: less than a look at the run shows later."""
        return self._resource(
            {
                "runId": self.id,
                "status": self.shown_status,
                "lastUpdatedTime": arm_time(self.updated),
                "provisioningState": "Succeeded",
                "isArchiveEnabled": self.is_archived,
            }
        )

    def resource(self) -> Json:
        """As ARM shows it."""
        system, architecture = self.task.platforms[0].split("/")[:2]
        shown: Json = self.answer()["properties"] | {
            "runType": self.kind,
            "task": self.task.name,
            "createTime": arm_time(self.created),
            "platform": {"os": system, "architecture": architecture},
            "agentConfiguration": {"cpu": 2},
        }
        optional = {
            "startTime": arm_time(self.started) if self.started else None,
            "finishTime": arm_time(self.finished) if self.finished else None,
            "runErrorMessage": self.error,
            "outputImages": self.outputs or None,
            "updateTriggerToken": self.update_trigger_token,
            "imageUpdateTrigger": self.image_update_trigger,
        }
        return self._resource(shown | {name: value for name, value in optional.items() if value is not None})

    def _resource(self, properties: Json) -> Json:
        return {
            "type": "Microsoft.ContainerRegistry/registries/runs",
            "properties": properties,
            "id": self.resource_id,
            "name": self.id,
            "systemData": {
                "lastModifiedByType": "Application",
                "lastModifiedAt": arm_time(self.updated),
            },
        }
