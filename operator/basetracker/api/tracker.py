"""BaseImageTracker as types: what a user declares.

The CRD in `crds/` is the public text; a test compares it with this file field by field. What a schema or CEL refuses at
`kubectl apply` is refused here too, in the same words, since an object may have been stored before a rule was.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from basetracker.api.duration import format_duration, parse_duration
from basetracker.api.names import KIND, REQUESTED_AT, RESUME
from basetracker.api.status import Status
from basetracker.errors import InvalidError
from basetracker.oci.refs import ImageRef, parse_image


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("a duration is a string like 5m")
    return parse_duration(value)


def _image(value: object) -> ImageRef:
    if isinstance(value, ImageRef):
        return value
    try:
        return parse_image(str(value))
    except InvalidError as error:
        raise ValueError(str(error)) from error


def _followed(image: ImageRef) -> ImageRef:
    if image.digest is not None:
        raise ValueError("an image pinned by digest never moves; name the tag to follow, without @sha256:…")
    if image.tag is None:
        raise ValueError("the image has no tag; name the tag to follow, like contoso.azurecr.io/base/python:3.12")
    return image


Duration = Annotated[timedelta, BeforeValidator(_duration), PlainSerializer(format_duration)]
FollowedImage = Annotated[
    ImageRef, BeforeValidator(_image), AfterValidator(_followed), PlainSerializer(str, return_type=str)
]


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        arbitrary_types_allowed=True,
    )


class SecretRef(_Model):
    """A Secret in the tracker's namespace."""

    name: str


class Base(_Model):
    """The tag that is followed."""

    image: FollowedImage
    interval: Annotated[Duration, Field(ge=timedelta(seconds=10))] = timedelta(minutes=5)
    pull_secret_ref: SecretRef | None = None


class NameValue(_Model):
    """A build argument, or a value of a multi-step task."""

    name: str
    value: str


class AcrTask(_Model):
    """A task that exists in the image's registry, or in the one whose ARM id is given."""

    name: str
    registry: str | None = None
    base_argument: str | None = None
    arguments: tuple[NameValue, ...] = ()
    values: tuple[NameValue, ...] = ()


class Build(_Model):
    """How the image is built anew; `timeout` covers queueing and running together."""

    acr_task: AcrTask
    timeout: Duration = timedelta(hours=1)


class DeployTarget(_Model):
    """A workload of the tracker's namespace; without `container` every container of that repository."""

    kind: Literal["Deployment"] = "Deployment"
    name: str
    container: str | None = None


class Downstream(_Model):
    """An image that is built on the base, and where its validated digest goes."""

    name: str
    image: FollowedImage
    pull_secret_ref: SecretRef | None = None
    build: Build | None = None
    deploy: tuple[DeployTarget, ...] = ()


class Accept(StrEnum):
    """The weakest lineage that counts as current."""

    PROVEN = "Proven"
    CLAIMED = "Claimed"


class LineageGate(_Model):
    """The gate that is always there and always first."""

    accept: Accept = Accept.PROVEN


class Gate(_Model):
    """One gate; exactly one kind."""

    lineage: LineageGate


class Mode(StrEnum):
    """Whether effects happen."""

    APPLY = "Apply"
    PLAN = "Plan"


class Rollout(_Model):
    """How validated digests reach workloads."""

    mode: Mode = Mode.APPLY
    max_concurrent: Annotated[int, Field(ge=1, le=1000)] = 1
    progress_deadline: Annotated[Duration, Field(ge=timedelta(seconds=10))] = timedelta(minutes=10)


class Spec(_Model):
    """What a user declares."""

    base: Base
    downstream: Annotated[tuple[Downstream, ...], Field(min_length=1, max_length=100)]
    gates: Annotated[tuple[Gate, ...], Field(min_length=1, max_length=1)] = (Gate(lineage=LineageGate()),)
    rollout: Rollout = Rollout()
    suspend: bool = False

    @property
    def accept(self) -> Accept:
        return self.gates[0].lineage.accept

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [item.name for item in self.downstream]
        if len(set(names)) != len(names):
            raise ValueError("two downstream images have one name; give each a name of its own")
        images = [item.image for item in self.downstream]
        if len(set(images)) != len(images):
            raise ValueError("two downstream entries name one image; put all its workloads under one entry")
        if self.base.image in images:
            raise ValueError("a downstream image is its own base; a tracker's output can't be its input")
        return self


class Key(_Model):
    """Which tracker: namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def __hash__(self) -> int:
        return hash((self.namespace, self.name))


class Tracker(_Model):
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


def describe(error: ValidationError, root: str = "spec") -> list[str]:
    """One line for each thing that is wrong: where, and what."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        where = root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"])
        lines.append(f"{where}: {item['msg'].removeprefix('Value error, ')}")
    return lines


def problems(document: Mapping[str, Any]) -> list[str]:
    """What is wrong with a tracker file's object, unknown fields included; empty when it is right."""
    if document.get("kind") != KIND:
        return [f"kind: {document.get('kind')!r} is not {KIND}"]
    try:
        Spec.model_validate(document.get("spec"), extra="forbid")
    except ValidationError as error:
        return describe(error)
    return []
