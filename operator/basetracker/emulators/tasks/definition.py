"""What an ACR task is, and how it behaves when it runs.

Owns a task's definition as a person would write its Dockerfile and settings, its switchable behaviour, and
how ARM shows and patches it. Knows no runs. Made by the demo and the tests through `service.Tasks.add`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.images import Step
from basetracker.emulators.references import parse
from basetracker.emulators.samples import application
from basetracker.emulators.timeline import arm_time

TRIGGER_NAME = "defaultBaseimageTriggerName"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How runs of a task go; the default builds, pushes and succeeds.

    `fail` is the message of a run that fails; `fail_first` lets only so many first runs of the task fail.
    `base` is built on whatever was asked for. `push=False` succeeds and pushes nothing; `hide_output` pushes
    and doesn't tell. `tag` is pushed in place of the task's own. `squash` leaves one layer. `stuck` never
    leaves that state. `outcome` ends a run in another terminal state; `shown` is the status ARM shows
    whatever the true one is. Seconds override the service's.
    """

    fail: str | None = None
    fail_first: int = 0
    outcome: Literal["Succeeded", "Failed", "Canceled", "Error", "Timeout"] = "Succeeded"
    base: str | None = None
    push: bool = True
    hide_output: bool = False
    tag: str | None = None
    squash: bool = False
    stuck: Literal["Queued", "Running"] | None = None
    shown: str | None = None
    queue_seconds: float | None = None
    run_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """The base that the last run found, as ACR records it."""

    registry: str
    repository: str
    tag: str | None
    digest: str

    def resource(self) -> Json:
        """As ARM shows it."""
        shown = {"type": "RunTime", "registry": self.registry, "repository": self.repository}
        return shown | ({"tag": self.tag} if self.tag else {}) | {"digest": self.digest}


@dataclass(slots=True, kw_only=True)
class Task:
    """A task of a registry.

    `image` is `repository:tag` as pushed; `unique_tag` one more tag, with `{{.Run.ID}}`. `base` is the full
    reference after `FROM`, or the default of the build argument `base_argument`. `steps` are the other lines
    of the Dockerfile. `annotates_base` sets the OCI base annotations. With several `platforms` it pushes an
    index.
    """

    name: str
    registry: AzureRegistry
    image: str
    base: str
    created: datetime
    unique_tag: str | None = None
    base_argument: str | None = "BASE_IMAGE"
    platforms: Sequence[str] = ("linux/amd64",)
    kind: Literal["Docker", "EncodedTask"] = "Docker"
    enabled: bool = True
    timeout: float = 3600.0
    steps: Sequence[Step] | None = None
    annotates_base: bool = False
    behaviour: Behaviour = field(default_factory=Behaviour)
    trigger: bool = False
    """Whether a push to the recorded base tag starts an AutoRun."""
    trigger_delay: float = 0.0
    trigger_runs: int = 1
    """How many AutoRuns one push starts; 2 is a known misbehaviour."""
    dependency: Dependency | None = None
    runs_ended: int = 0
    patched: Json = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its ARM id."""
        return f"{self.registry.id}/tasks/{self.name}"

    @property
    def dockerfile(self) -> Sequence[Step]:
        """The lines after `FROM`."""
        return self.steps if self.steps is not None else application(self.image.partition(":")[0])

    def tracks(self, host: str, repository: str, tag: str | None) -> bool:
        """Whether a push there is one that ACR's base-image trigger answers."""
        known = self.dependency
        if not (self.enabled and self.trigger and known and tag):
            return False
        return (known.registry, known.repository, known.tag) == (host, repository, tag)

    def resource(self) -> Json:
        """As ARM shows it."""
        system, architecture = self.platforms[0].split("/")[:2]
        trigger = {
            "baseImageTriggerType": "Runtime",
            "updateTriggerPayloadType": "Default",
            "status": "Enabled" if self.trigger else "Disabled",
            "name": TRIGGER_NAME,
        }
        properties: Json = {
            "provisioningState": "Succeeded",
            "creationDate": arm_time(self.created),
            "platform": {"os": system, "architecture": architecture},
            "agentConfiguration": {"cpu": 2},
            "step": self._step(),
            "isSystemTask": False,
        }
        merged = merge(properties, self.patched)
        merged["status"] = "Enabled" if self.enabled else "Disabled"
        merged["timeout"] = int(self.timeout)
        merged["trigger"] = merge(merged.get("trigger", {}), {"baseImageTrigger": trigger})
        return {
            "type": "Microsoft.ContainerRegistry/registries/tasks",
            "id": self.id,
            "name": self.name,
            "location": self.registry.location,
            "tags": {},
            "properties": merged,
        }

    def patch(self, properties: Mapping[str, Any]) -> None:
        """Merge what a PATCH carries."""
        self.patched = merge(self.patched, properties)
        if "status" in properties:
            self.enabled = properties["status"] == "Enabled"
        if "timeout" in properties:
            self.timeout = float(properties["timeout"])
        base_image = properties.get("trigger", {}).get("baseImageTrigger") or {}
        if "status" in base_image:
            self.trigger = base_image["status"] == "Enabled"

    def _step(self) -> Json:
        names = [self.image] + ([f"{self.image.partition(':')[0]}:{self.unique_tag}"] if self.unique_tag else [])
        arguments = [{"name": self.base_argument, "value": self.base, "isSecret": False}] if self.base_argument else []
        step: Json = {"type": self.kind, "contextPath": f"https://github.com/contoso/{self.name}.git#main"}
        step["baseImageDependencies"] = [self.dependency.resource()] if self.dependency else []
        if self.kind == "Docker":
            return step | {
                "imageNames": names,
                "isPushEnabled": True,
                "noCache": False,
                "dockerFilePath": "Dockerfile",
                "arguments": arguments,
            }
        lines = "".join(f" -t {self.registry.host}/{name}" for name in names)
        content = f"version: v1.1.0\nsteps:\n  - build:{lines} -f Dockerfile .\n  - push: {names}\n"
        return step | {"encodedTaskContent": base64.b64encode(content.encode()).decode(), "values": []}


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    """`new` laid over `old`, object by object; neither is changed."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        merged[name] = merge(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged


def dependency(reference: str, digest: str) -> Dependency:
    """What ACR records for a base that was named so; one pinned by digest alone has no tag."""
    named = parse(reference)
    tag = None if named.digest else named.tag
    return Dependency(registry=named.host, repository=named.repository, tag=tag, digest=digest)
