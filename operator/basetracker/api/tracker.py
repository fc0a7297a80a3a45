"""BaseImageTracker as types: what a user declares.

The CRD in `crds/` is the public text; a test compares it with this file field by field. What a schema or CEL refuses at
`kubectl apply` is refused here too, in the same words, since an object may have been stored before a rule was.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from basetracker.api.document import Document
from basetracker.api.duration import parse_duration
from basetracker.api.fields import (
    BuildArgument,
    ContainerName,
    DownstreamName,
    FollowedImage,
    Interval,
    ProgressDeadline,
    RegistryId,
    RescanInterval,
    SecretName,
    TaskName,
    TaskValue,
    Timeout,
    Value,
    WorkloadName,
    is_object_name,
)
from basetracker.api.gates import (
    NO_MENDER,
    ONE_LINEAGE,
    Accept,
    Gate,
    GateKind,
    LineageGate,
    NamedGate,
    asked_gates,
    lineage_of,
)
from basetracker.api.names import API_VERSION, KIND, REQUESTED_AT, RESUME
from basetracker.api.status import Status


def _some(words: str) -> BeforeValidator:
    """A validator: the list isn't empty."""

    def valid(value: object) -> object:
        if isinstance(value, list | tuple) and not value:
            raise ValueError(words)
        return value

    return BeforeValidator(valid)


def _unique(field: str, words: str) -> AfterValidator:
    """A validator: no two entries have one `field`."""

    def valid(entries: tuple[Any, ...]) -> tuple[Any, ...]:
        if len({getattr(entry, field) for entry in entries}) != len(entries):
            raise ValueError(words)
        return entries

    return AfterValidator(valid)


def _lineage_first(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    if any(gate.kind is GateKind.LINEAGE for gate in gates[1:]):
        raise ValueError(ONE_LINEAGE)
    return gates


class SecretRef(Document):
    """A Secret in the tracker's namespace."""

    name: SecretName


class Base(Document):
    """The tag that is followed."""

    image: FollowedImage
    interval: Interval = parse_duration("5m")
    pull_secret_ref: SecretRef | None = None


class Argument(Document):
    """A build argument."""

    name: BuildArgument
    value: Value


class StepValue(Document):
    """A value of a multi-step task."""

    name: TaskValue
    value: Value


class AcrTask(Document):
    """A task that exists in the image's registry, or in the one whose ARM id is given."""

    name: TaskName
    registry: RegistryId | None = None
    base_argument: BuildArgument | None = None
    arguments: Annotated[
        tuple[Argument, ...],
        Field(max_length=32),
        _unique("name", "a build argument is given twice; keep one entry for each name"),
    ] = ()
    values: Annotated[
        tuple[StepValue, ...],
        Field(max_length=32),
        _unique("name", "a task value is given twice; keep one entry for each name"),
    ] = ()

    @field_validator("arguments")
    @classmethod
    def _leaves_the_base_to_us(cls, arguments: tuple[Argument, ...], info: ValidationInfo) -> tuple[Argument, ...]:
        if info.data.get("base_argument") in {item.name for item in arguments}:
            raise ValueError(
                "baseArgument is also listed in arguments; the operator sets it itself, so take it out of arguments"
            )
        return arguments


class Build(Document):
    """How the image is built anew; `timeout` covers queueing and running together."""

    acr_task: AcrTask
    timeout: Timeout = parse_duration("1h")


class DeployTarget(Document):
    """A workload of the tracker's namespace; without `container` every container of that repository."""

    kind: Literal["Deployment"]
    name: WorkloadName
    container: ContainerName | None = None

    @property
    def place(self) -> tuple[str, str, str]:
        return (self.kind, self.name, self.container or "")


class Downstream(Document):
    """An image that is built on the base, and where its validated digest goes."""

    name: DownstreamName
    image: FollowedImage
    pull_secret_ref: SecretRef | None = None
    build: Build | None = None
    deploy: Annotated[
        tuple[DeployTarget, ...],
        Field(max_length=25),
        _unique("place", "one workload is listed twice; keep one entry for each workload and container"),
    ] = ()


class Mode(StrEnum):
    """Whether effects happen."""

    APPLY = "Apply"
    PLAN = "Plan"


class Rollout(Document):
    """How validated digests reach workloads."""

    mode: Mode = Mode.APPLY
    max_concurrent: Annotated[StrictInt, Field(ge=1, le=1000)] = 1
    progress_deadline: ProgressDeadline = parse_duration("10m")


class Rescan(Document):
    """When the gates are asked again about what runs."""

    interval: RescanInterval = parse_duration("24h")
    rebuild: StrictBool = False


class Spec(Document):
    """What a user declares."""

    base: Base
    downstream: Annotated[
        tuple[Downstream, ...],
        Field(max_length=100),
        _unique("name", "two downstream images have one name; give each a name of its own"),
        _unique("image", "two downstream entries name one image; put all its workloads under one entry"),
        _some("name at least one image that is built on the base"),
    ]
    gates: Annotated[
        tuple[Gate, ...],
        Field(max_length=16),
        _some(
            "no gate at all would deliver what nobody has looked at; leave gates out for the default, or list lineage"
        ),
        AfterValidator(_lineage_first),
    ] = (Gate(lineage=LineageGate()),)
    rollout: Rollout = Rollout()
    rescan: Rescan = Rescan()
    protect: StrictBool = False
    suspend: StrictBool = False

    @field_validator("rescan")
    @classmethod
    def _something_tells_what_mends(cls, rescan: Rescan, info: ValidationInfo) -> Rescan:
        gates = info.data.get("gates")
        if rescan.rebuild and gates is not None and not any(gate.kind.weighs_base for gate in gates):
            raise ValueError(NO_MENDER)
        return rescan

    @property
    def accept(self) -> Accept:
        return lineage_of(self.gates).accept

    @property
    def asked_gates(self) -> tuple[NamedGate, ...]:
        """The gates besides lineage, in the order in which they are asked."""
        return asked_gates(self.gates)

    @field_validator("downstream")
    @classmethod
    def _not_its_own_base(cls, downstream: tuple[Downstream, ...], info: ValidationInfo) -> tuple[Downstream, ...]:
        base = info.data.get("base")
        if base is not None and base.image in {item.image for item in downstream}:
            raise ValueError("a downstream image is its own base; a tracker's output can't be its input")
        return downstream


class Key(Document):
    """Which tracker: namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def __hash__(self) -> int:
        return hash((self.namespace, self.name))


class Tracker(Document):
    """One tracker as it is stored; `problem` says what is wrong with a spec that can't be read."""

    key: Key
    uid: str
    generation: int
    resource_version: str
    created: datetime
    deleting: bool = False
    spec: Spec | None
    problem: str = ""
    status: Status
    requested_at: str = ""
    resume: str = ""


def parse_tracker(body: Mapping[str, Any]) -> Tracker:
    """The tracker in a stored object; an unreadable spec becomes its `problem`, an unreadable status an empty one."""
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    spec, problem = _spec(body.get("spec"))
    return Tracker(
        key=Key(namespace=metadata["namespace"], name=metadata["name"]),
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        resource_version=metadata.get("resourceVersion", ""),
        created=datetime.fromisoformat(metadata.get("creationTimestamp") or "1970-01-01T00:00:00Z"),
        deleting="deletionTimestamp" in metadata,
        spec=spec,
        problem=problem,
        status=Status.read(body.get("status")),
        requested_at=str(annotations.get(REQUESTED_AT, "")),
        resume=str(annotations.get(RESUME, "")),
    )


def _spec(document: object) -> tuple[Spec | None, str]:
    try:
        return Spec.model_validate(document), ""
    except ValidationError as error:
        return None, "; ".join(describe(error))


_WORDS: Final = {
    "extra_forbidden": "unknown field; the server would drop it",
    "missing": "it has to be given",
    "model_type": "it has to be an object with fields of its own",
    "tuple_type": "it has to be a list",
    "string_type": "it has to be a string; put it in quotes",
    "bool_type": "it is true or false, without quotes",
    "int_type": "it has to be a whole number, without quotes",
    "enum": "it has to be {expected}",
    "literal_error": "it has to be {expected}",
    "too_short": "too few entries; it takes {min_length} at least",
    "too_long": "too many entries; it takes {max_length} at most",
    "greater_than_equal": "it is at least {ge}",
    "less_than_equal": "it is at most {le}",
}
"""Our words where pydantic's are those of a programmer; filled in from what pydantic knows of the rule."""


def describe(error: ValidationError, root: str = "spec") -> list[str]:
    """One line for each thing that is wrong: where, and what."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        where = root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"])
        words = _WORDS.get(item["type"], "").format_map(item.get("ctx", {}))
        lines.append(f"{where}: {words or item['msg'].removeprefix('Value error, ')}")
    return lines


def problems(document: Mapping[str, Any]) -> list[str]:
    """What is wrong with a tracker file's object, unknown fields included; empty when it is right."""
    if document.get("kind") != KIND:
        return [f"kind: {document.get('kind')!r} is not {KIND}"]
    found = _envelope_problems(document)
    try:
        # By the public names alone: the types' own spelling of a field is an unknown field to the server.
        Spec.model_validate(document.get("spec"), extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        found += describe(error)
    return found


def _envelope_problems(document: Mapping[str, Any]) -> list[str]:
    """What is wrong around the spec."""
    found = []
    if document.get("apiVersion") != API_VERSION:
        found.append(f"apiVersion: {document.get('apiVersion')!r} is not {API_VERSION}")
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not is_object_name(name):
        found.append(f"metadata.name: {name!r} is not a name; it is lower case letters, digits, '-' and '.'")
    known = {"apiVersion", "kind", "metadata", "spec", "status"}
    return found + [f"{key}: {_WORDS['extra_forbidden']}" for key in document if key not in known]
