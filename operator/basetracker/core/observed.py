"""What one turn has seen: the whole input of the core, as values.

Owns the types only. `engine/observe` fills them, the rules read them; a part that couldn't be seen is a `Problem`,
never left out and never an exception. Times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from basetracker.api.names import BuildState
from basetracker.api.status import GateStatus
from basetracker.api.tracker import DeployTarget, Downstream, Key, Tracker
from basetracker.oci.lineage import Lineage
from basetracker.oci.refs import Digest, ImageRef


class ProblemKind(StrEnum):
    """What can be done about something that couldn't be seen: the four errors as values."""

    INVALID = "Invalid"
    MISSING = "Missing"
    DENIED = "Denied"
    UNAVAILABLE = "Unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something couldn't be seen; `message` is one sentence without times."""

    kind: ProblemKind
    message: str

    @classmethod
    def missing(cls, message: str) -> Problem:
        """Something that was named and isn't there."""
        return cls(kind=ProblemKind.MISSING, message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSeen:
    """A tag as the registry last answered; `digest` is the last known one, kept while a `problem` lasts."""

    digest: Digest | None = None
    problem: Problem | None = None
    due: datetime
    """When it is to be asked for again."""


@dataclass(frozen=True, slots=True, order=True)
class TaskRef:
    """An ACR Task by the ARM id of its registry (`/subscriptions/…/registries/NAME`) and its name."""

    registry: str
    name: str

    def __str__(self) -> str:
        return f"{self.registry.rpartition('/')[2]}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What is known of a task; `dependencies` are the bases that ACR recorded at its last run."""

    ref: TaskRef
    enabled: bool
    base_trigger: bool
    dependencies: tuple[ImageRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a task as the builder reports it."""

    run_id: str
    state: BuildState
    created: datetime | None = None
    finished: datetime | None = None
    outputs: tuple[ImageRef, ...] = ()
    """Images that it pushed, each with its digest."""
    triggered_by: tuple[ImageRef, ...] = ()
    """Base images, with digests, whose push made ACR start it; empty when something else did."""
    token: str = ""
    """The token given when it was started, where it is echoed."""
    automatic: bool = False
    """Whether one of the task's own triggers started it."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSeen:
    """Everything about an image's build that was worth asking for in this turn."""

    task: TaskRef | None = None
    allowed: bool = False
    facts: TaskFacts | None = None
    run: Run | None = None
    """The run that the build record names."""
    recent: tuple[Run, ...] = ()
    """Its runs since shortly before this base was first seen, newest first; asked for when a build may be due."""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a Pod template; `writer` is the field manager that set its image."""

    name: str
    image: str
    init: bool = False
    index: int = 0
    writer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The mark that a delivery left on a workload for one container."""

    tracker: str
    base: str
    image: str
    previous: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSeen:
    """A workload's own account of its rollout; counts are Pods."""

    generation: int
    observed_generation: int
    desired: int
    updated: int
    total: int
    available: int
    paused: bool = False
    deadline_exceeded: bool = False
    trouble: str = ""
    """What its conditions complain of, in their own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A workload, projected to what delivery needs."""

    namespace: str
    kind: str
    name: str
    uid: str
    resource_version: str
    containers: tuple[Container, ...]
    delivered: Mapping[str, Delivered] = field(default_factory=dict)
    delivered_raw: str | None = None
    """The mark as it stands on the object; None when there is none."""
    has_annotations: bool = True
    has_cause: bool = False
    rollout: RolloutSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSeen:
    """One deploy entry and its workload; None when it doesn't exist."""

    target: DeployTarget
    workload: Workload | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSeen:
    """One downstream image as seen in this turn."""

    spec: Downstream
    tag: TagSeen
    lineages: Mapping[Digest, Lineage | Problem] = field(default_factory=dict)
    """How each digest that matters here (tag, build result, validated, containers) relates to the base."""
    verdicts: Mapping[Digest, tuple[GateStatus, ...]] = field(default_factory=dict)
    """What the gates besides lineage say of each digest that they were asked about."""
    locked: Mapping[Digest, bool | Problem] = field(default_factory=dict)
    """Whether somebody has locked a digest that is to be protected against deletion."""
    gates_due: datetime | None = None
    """When a gate is to be asked again, even though nothing calls."""
    build: BuildSeen = field(default_factory=BuildSeen)
    targets: tuple[TargetSeen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The tracker of the same namespace whose output is this tracker's base."""

    key: Key
    downstream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that a turn has seen of one tracker and its world."""

    now: datetime
    tracker: Tracker
    base: TagSeen
    images: tuple[ImageSeen, ...]
    parent: Parent | None = None
    withheld: GateStatus | None = None
    """The gate that the parent's validated digest fails by now, which is therefore no new base; None when it is the base."""
    circle: tuple[str, ...] = ()
    """The trackers that feed each other in a circle through this one, by name; empty when there is none."""
    siblings: tuple[Tracker, ...] = ()
    """The other trackers of the namespace."""
    run_interval: timedelta = timedelta(seconds=10)
    """How often a live run is looked at."""
