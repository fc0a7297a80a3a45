"""A tracker's status as types: what is read back.

An output, rebuilt from the world each turn. Only what the world can't tell is read back from it: intents and attempts,
first-seen times, validated and previous digests, history, and the requests that were acted on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
)

from basetracker.api.document import Document
from basetracker.api.names import (
    BuildState,
    ConditionType,
    GateVerdict,
    HistoryEvent,
    ProtectionState,
    Reason,
    State,
    WorkloadState,
)
from basetracker.errors import InvalidError
from basetracker.oci.lineage import Verdict
from basetracker.oci.refs import Digest

HISTORY_LIMIT = 20


def format_time(time: datetime) -> str:
    """`time` as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
    # Not strftime: it writes a year before 1000 without its zeros, which nobody reads.
    return time.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _whole_seconds(time: datetime) -> datetime:
    """`time` as it will be read back, so that what was computed and what was stored compare as equal."""
    try:
        return time.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        raise ValueError("the time is outside of the calendar") from error


def _digest(value: object) -> Digest:
    if isinstance(value, Digest):
        return value
    try:
        return Digest(str(value))
    except InvalidError as error:
        raise ValueError(str(error)) from error


Time = Annotated[AwareDatetime, AfterValidator(_whole_seconds), PlainSerializer(format_time, return_type=str)]
StoredDigest = Annotated[Digest, BeforeValidator(_digest), PlainSerializer(str, return_type=str)]


class Condition(Document):
    """A condition as kstatus and `kubectl wait` read it."""

    type: ConditionType
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition_time: Time


class BaseStatus(Document):
    """The base as it was last seen; `since` is when this digest was first seen."""

    digest: StoredDigest
    short_digest: str
    since: Time


class Summary(Document):
    """The tracker in a line: `text` is `2/3`, `state` that of the image which needs most attention."""

    current: int
    total: int
    text: str
    state: State


class Latest(Document):
    """What a tag points to."""

    digest: StoredDigest


class GateStatus(Document):
    """What a gate said about a digest.

    Of a gate that has to be asked, `digest` is what it was asked about, `since` when that began, and `question` a hash of the
    image and of the gate's fields: an answer counts for no other question. `mendable` is whether a rebuild on the same base
    may turn a failure into a pass, where that was asked.
    """

    name: str
    verdict: GateVerdict
    reason: str
    message: str = ""
    digest: StoredDigest | None = None
    since: Time | None = None
    question: str = ""
    mendable: bool | None = None


class Validated(Document):
    """The digest that passed every gate, and the base that it was validated for.

    `gates` is the evidence: what the gates besides lineage said when it was validated. `failing` is the one of them that
    says otherwise by now.
    """

    digest: StoredDigest
    base_digest: StoredDigest
    at: Time
    gates: tuple[GateStatus, ...] = ()
    failing: GateStatus | None = None


class BuildStatus(Document):
    """The build for one base: written as an intent before the call, then followed.

    `replaces` is the validated digest that fails a gate by now and is rebuilt on the same base; absent where the base moved.
    """

    run_id: Annotated[str | None, Field(alias="runID")] = None
    state: BuildState
    base_digest: StoredDigest
    replaces: StoredDigest | None = None
    attempt: int
    requested_at: Time | None = None
    finished_at: Time | None = None
    next_attempt_at: Time | None = None
    adopted: bool = False
    digest: StoredDigest | None = None
    message: str = ""


class WorkloadStatus(Document):
    """One container that is delivered to; `since` is when its state began.

    `uid` is the workload's: one that was deleted and created anew has had nothing delivered to it.
    """

    kind: str
    name: str
    uid: str = ""
    container: str
    digest: StoredDigest | None = None
    previous_digest: StoredDigest | None = None
    state: WorkloadState
    since: Time | None = None


class Rejected(Document):
    """A digest that is never delivered again."""

    digest: StoredDigest
    reason: str
    at: Time


class Protected(Document):
    """A digest that is kept from being deleted; `message` is why that couldn't be done yet.

    `repository` is where it is locked: the image of the spec may become another one.
    """

    repository: str = ""
    digest: StoredDigest
    state: ProtectionState
    message: str = ""


class Unlocking(Document):
    """A lock of ours on a digest of an image that the spec names no more; `message` is why it couldn't be taken back yet."""

    repository: str
    digest: StoredDigest
    message: str = ""


class DownstreamStatus(Document):
    """One downstream image.

    `failing` is, for each digest that runs besides the validated one, the gate that it fails by now.
    """

    name: str
    state: State
    reason: Reason
    message: str
    lineage: Verdict | None = None
    stale_since: Time | None = None
    latest: Latest | None = None
    validated: Validated | None = None
    build: BuildStatus | None = None
    gates: tuple[GateStatus, ...] = ()
    workloads: tuple[WorkloadStatus, ...] = ()
    failing: tuple[GateStatus, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    protected: tuple[Protected, ...] = ()


class HistoryEntry(Document):
    """One thing that has happened."""

    at: Time
    downstream: str = ""
    event: HistoryEvent
    from_: Annotated[str, Field(alias="from")] = ""
    to: str = ""
    reason: str = ""


class LastHandled(Document):
    """The annotation values that were acted on; each acts once."""

    requested_at: str = ""
    resume: str = ""


class Status(Document):
    """The whole status."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    base: BaseStatus | None = None
    summary: Summary | None = None
    downstream: tuple[DownstreamStatus, ...] = ()
    unlocking: tuple[Unlocking, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    last_handled: LastHandled = LastHandled()

    @classmethod
    def read(cls, document: object) -> Self:
        """The status in a stored object; an empty one when it can't be read, which means that all is validated again."""
        try:
            return cls.model_validate(document or {})
        except ValidationError:
            return cls()

    def of(self, name: str) -> DownstreamStatus | None:
        """The entry of the downstream image with this name."""
        return next((item for item in self.downstream if item.name == name), None)

    def document(self) -> dict[str, Any]:
        """The status as it is stored: without what is absent or empty, but where a field has to be given."""
        return {key: value for key, value in _kept(self, self.model_dump(mode="json", by_alias=True)).items() if value}


def _kept(model: BaseModel, dumped: dict[str, Any]) -> dict[str, Any]:
    """`dumped`, which is `model` written out, without optional fields that are empty; numbers and booleans stay."""
    kept = {}
    for name, field in type(model).model_fields.items():
        key = field.serialization_alias or name
        value = _kept_value(getattr(model, name), dumped[key])
        if field.is_required() or value not in (None, "", [], {}):
            kept[key] = value
    return kept


def _kept_value(value: object, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        return _kept(value, dumped)
    if isinstance(value, tuple):
        return [_kept_value(item, written) for item, written in zip(value, dumped, strict=True)]
    return dumped
