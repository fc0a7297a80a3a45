"""One image's situation: what follows from what was seen, before any rule decides what to do.

Owns the derivation of the build record, the rows of the workloads and the age of staleness; which digest counts is
`validation.py`'s. The rules read it, the status is written from it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from basetracker.api.names import BuildState, GateVerdict, State
from basetracker.api.status import BuildStatus, DownstreamStatus, GateStatus, Status, Validated
from basetracker.api.tracker import Spec
from basetracker.core.builds import followed, is_record_of
from basetracker.core.gating import questions_of
from basetracker.core.observed import ImageSeen, Observed, Problem
from basetracker.core.rollout import Row
from basetracker.core.rows import rows_of
from basetracker.core.running import failing_among
from basetracker.core.validation import (
    ToAsk,
    Validation,
    digests_to_ask,
    is_respecified,
    validated_before,
    validation_of,
)
from basetracker.oci.lineage import Lineage, Verdict
from basetracker.oci.refs import Digest, ImageRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What follows for one image; `base` is None while the base's digest isn't known."""

    seen: ImageSeen
    before: DownstreamStatus | None
    base: ImageRef | None
    build: BuildStatus | None
    candidate: Digest | None
    gates: tuple[GateStatus, ...]
    validated: Validated | None
    fresh: Validated | None
    """What may be delivered: validated for the current base, by every gate that the tracker names."""
    rows: tuple[Row, ...]
    successor: Digest | None = None
    """Another digest that contains the base and may still pass, while the validated one fails a gate by now."""
    successor_gates: tuple[GateStatus, ...] = ()
    """What the gates say of it so far."""
    mending: GateStatus | None = None
    """The gate that a digest which was validated for this base fails by now, where a rebuild on the same base may mend it."""
    failing: tuple[GateStatus, ...] = ()
    """For each digest that runs besides the validated one, the gate that it fails by now."""

    @property
    def latest(self) -> Lineage | Problem | None:
        """The lineage of what the tag points to."""
        return self.seen.lineages.get(self.seen.tag.digest) if self.seen.tag.digest else None

    @property
    def is_fresh(self) -> bool:
        """Whether a digest is validated for the current base."""
        return self.fresh is not None

    @property
    def fails_since(self) -> GateStatus | None:
        """The gate that the validated digest fails by now, although it has passed before."""
        return self.validated.failing if self.validated is not None else None

    @property
    def running_fails(self) -> tuple[GateStatus, ...]:
        """For each digest that fails a gate by now and is the validated one or runs, that gate."""
        return (*((self.fails_since,) if self.fails_since is not None else ()), *self.failing)

    @property
    def replaces(self) -> Digest | None:
        """The digest that is to be built once more on the same base."""
        return self.mending.digest if self.mending is not None else None

    @property
    def needs_build(self) -> bool:
        """Whether nothing is validated for the current base, or what is has to be built once more."""
        return not self.is_fresh or self.mending is not None

    @property
    def build_for_base(self) -> BuildStatus | None:
        """The build record, if it is for the current base."""
        if self.build is None or self.base is None or self.build.base_digest != self.base.digest:
            return None
        return self.build


def situation_of(seen: ImageSeen, observed: Observed, spec: Spec) -> Situation:
    """What follows for `seen`."""
    tracker = observed.tracker
    before = tracker.status.of(seen.spec.name)
    base = spec.base.image.pinned(observed.base.digest) if observed.base.digest else None
    build = _build(seen, before, base, observed, spec)
    found = validation_of(seen, before, base, build, observed, spec)
    is_settled = found.validated is not None and (found.fresh is not None or found.validated.failing is not None)
    settled = found.validated.digest if found.validated is not None and is_settled else None
    failing = failing_among(seen, before, questions_of(spec.asked_gates, seen.spec.image), settled=settled)
    rows = rows_of(seen, before, base, found.fresh, observed, spec, failing={gate.digest for gate in failing})
    return Situation(
        seen=seen,
        before=before,
        base=base,
        build=build,
        candidate=found.candidate,
        gates=found.gates,
        validated=found.validated,
        fresh=found.fresh,
        rows=rows,
        successor=found.successor,
        successor_gates=found.successor_gates,
        mending=_mending(found, before, base, build, rows, seen, observed, spec),
        failing=failing,
    )


def is_failing_anew(before: Status, after: Status) -> bool:
    """Whether it has just been written down that a digest fails a gate in a way that a rebuild mends: the next turn builds."""
    return any(
        gate.mendable and gate not in _noted(before.of(item.name)) for item in after.downstream for gate in _noted(item)
    )


def _noted(item: DownstreamStatus | None) -> tuple[GateStatus, ...]:
    """The failures that the status tells of."""
    if item is None:
        return ()
    failing = (item.validated.failing,) if item.validated is not None and item.validated.failing is not None else ()
    return (*failing, *(gate for gate in item.gates if gate.verdict is GateVerdict.FAIL))


def _mending(
    found: Validation,
    before: DownstreamStatus | None,
    base: ImageRef | None,
    build: BuildStatus | None,
    rows: tuple[Row, ...],
    seen: ImageSeen,
    observed: Observed,
    spec: Spec,
) -> GateStatus | None:
    """The failure that a rebuild on the same base may mend; once for each digest, and not before all else has been tried.

    That it fails is stored before, since a process that dies over the build would forget why it was asked for.
    """
    if not spec.rescan.rebuild or seen.spec.build is None or base is None or base.digest is None:
        return None
    if found.fresh is not None:
        gate = found.fresh.failing
    elif found.candidate is not None and found.candidate in validated_before(observed, seen.spec.name, base.digest):
        gate = next((one for one in found.gates[1:] if one.verdict is GateVerdict.FAIL), None)
    else:
        gate = None
    if gate is None or not gate.mendable or gate not in _noted(before) or found.successor is not None:
        return None
    is_done = is_record_of(build, base.digest, gate.digest) and build.state is BuildState.SUCCEEDED
    is_rolling = any(row.is_rolling for row in rows)  # first it is seen how that ends
    return None if is_done or is_rolling else gate


def asked_about(seen: ImageSeen, observed: Observed, spec: Spec) -> ToAsk:
    """The digests that the gates besides lineage may have to be asked about."""
    before = observed.tracker.status.of(seen.spec.name)
    base = spec.base.image.pinned(observed.base.digest) if observed.base.digest else None
    return digests_to_ask(seen, before, base, _build(seen, before, base, observed, spec), observed, spec)


def is_asked_again(observed: Observed) -> bool:
    """Whether a person asks for a fresh round of attempts, or has changed the spec, since the last turn.

    A resume doesn't count: it may stay unhandled for many turns, and each of them would start a build anew.
    """
    tracker = observed.tracker
    return tracker.requested_at != tracker.status.last_handled.requested_at or is_respecified(tracker)


def _build(
    seen: ImageSeen, before: DownstreamStatus | None, base: ImageRef | None, observed: Observed, spec: Spec
) -> BuildStatus | None:
    record = before.build if before else None
    if record is None or seen.spec.build is None:
        return record
    pinned = (base or spec.base.image).pinned(record.base_digest)
    record = followed(
        record,
        seen=seen.build,
        image=seen.spec.image,
        base=pinned,
        timeout=seen.spec.build.timeout,
        now=observed.now,
    )
    if record.state.is_failure and is_asked_again(observed):
        return None
    if record.state is BuildState.SUCCEEDED and record.digest is None:
        record = _without_output(record, seen, base)
    return record


def _without_output(record: BuildStatus, seen: ImageSeen, base: ImageRef | None) -> BuildStatus:
    """A run that reports no image: the tag's digest counts if it is proven; before the run it wasn't, or none was due."""
    digest = seen.tag.digest
    found = seen.lineages.get(digest) if digest else None
    is_current = base is not None and record.base_digest == base.digest
    if is_current and digest != record.replaces and isinstance(found, Lineage) and found.verdict is Verdict.PROVEN:
        return record.model_copy(update={"digest": digest})
    return record


def stale_since(situation: Situation, state: State, now: datetime) -> datetime | None:
    """Since when what runs lacks the current base; kept until the image is current again."""
    before = situation.before.stale_since if situation.before else None
    if state is State.CURRENT:
        return None
    if before is not None or situation.base is None or situation.is_fresh:
        return before
    return now
