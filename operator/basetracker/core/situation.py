"""One image's situation: what follows from what was seen, before any rule decides what to do.

Owns the derivation of the build record, the candidate and its gates, the validated digest, the rows of the workloads
and the age of staleness. The rules read it, the status is written from it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from basetracker.api.names import BuildState, HistoryEvent, State
from basetracker.api.status import BuildStatus, DownstreamStatus, GateStatus, Validated
from basetracker.api.tracker import Spec, Tracker
from basetracker.core.builds import followed
from basetracker.core.gating import is_down, lineage_gate, passes
from basetracker.core.observed import ImageSeen, Observed, Problem
from basetracker.core.rollout import Row
from basetracker.core.rows import rows_of
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
    rows: tuple[Row, ...]

    @property
    def latest(self) -> Lineage | Problem | None:
        """The lineage of what the tag points to."""
        return self.seen.lineages.get(self.seen.tag.digest) if self.seen.tag.digest else None

    @property
    def is_fresh(self) -> bool:
        """Whether a digest is validated for the current base."""
        return self.base is not None and self.validated is not None and self.validated.base_digest == self.base.digest

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
    candidate, gates, validated = _validation(seen, before, base, build, observed, spec)
    fresh = validated if base is not None and validated and validated.base_digest == base.digest else None
    return Situation(
        seen=seen,
        before=before,
        base=base,
        build=build,
        candidate=candidate,
        gates=gates,
        validated=validated,
        rows=rows_of(seen, before, base, fresh, observed, spec),
    )


def is_asked_again(observed: Observed) -> bool:
    """Whether a person asks for a fresh round of attempts, or has changed the spec, since the last turn.

    A resume doesn't count: it may stay unhandled for many turns, and each of them would start a build anew.
    """
    tracker = observed.tracker
    return tracker.requested_at != tracker.status.last_handled.requested_at or is_respecified(tracker)


def is_respecified(tracker: Tracker) -> bool:
    """Whether the status was written for another spec."""
    return tracker.generation != tracker.status.observed_generation


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
    if is_current and isinstance(found, Lineage) and found.verdict is Verdict.PROVEN:
        return record.model_copy(update={"digest": digest})
    return record


def _validation(
    seen: ImageSeen,
    before: DownstreamStatus | None,
    base: ImageRef | None,
    build: BuildStatus | None,
    observed: Observed,
    spec: Spec,
) -> tuple[Digest | None, tuple[GateStatus, ...], Validated | None]:
    """The digest that the gates were asked about, their answers, and what is validated after them."""
    kept = before.validated if before else None
    if base is None or base.digest is None:
        return None, before.gates if before else (), kept
    fresh = kept if kept is not None and kept.base_digest == base.digest else None
    others = _choices(seen, build, base.digest, observed)
    choices = list(dict.fromkeys([fresh.digest, *others] if fresh is not None else others))
    answers = {digest: _answers(seen, before, digest, base.digest, observed, spec) for digest in choices}
    for digest, gates in answers.items():
        if passes(gates):
            if fresh is not None and fresh.digest == digest:
                return digest, gates, fresh
            return digest, gates, Validated(digest=digest, base_digest=base.digest, at=observed.now)
    if others:
        return others[0], answers[others[0]], kept if fresh is None else None
    if fresh is not None:
        return None, (), None
    return None, before.gates if before else (), kept


def _choices(seen: ImageSeen, build: BuildStatus | None, base: Digest, observed: Observed) -> list[Digest]:
    """The digests that could be validated for this base besides the one that is, best first."""
    choices: list[Digest] = []
    if build is not None and build.base_digest == base and build.digest is not None:
        choices.append(build.digest)
    remembered = remembered_digest(observed, seen.spec.name, base)
    if remembered is not None:
        choices.append(remembered)
    if seen.tag.digest is not None and not _is_tag_open(build, base):
        choices.append(seen.tag.digest)
    return choices


def _is_tag_open(build: BuildStatus | None, base: Digest) -> bool:
    """Whether what the tag points to says nothing: a run goes on, or one for this base has made nothing."""
    if build is None:
        return False
    is_empty = build.state is BuildState.SUCCEEDED and build.base_digest == base and build.digest is None
    return build.state.is_live or is_empty


def remembered_digest(observed: Observed, downstream: str, base: Digest) -> Digest | None:
    """What was validated for this base before the base moved away from it and back."""
    for entry in observed.tracker.status.history:
        if entry.event is HistoryEvent.VALIDATED and entry.downstream == downstream and entry.reason == str(base):
            return Digest(entry.to)
    return None


def _answers(
    seen: ImageSeen, before: DownstreamStatus | None, digest: Digest, base: Digest, observed: Observed, spec: Spec
) -> tuple[GateStatus, ...]:
    """The gates' answers about the digest; what passed before stays passed while the registry can't be asked."""
    found = seen.lineages.get(digest)
    kept = before.validated if before else None
    is_kept = kept is not None and kept.digest == digest and kept.base_digest == base
    # With another spec it may be another image of the same name: its digest has to be seen there first.
    unreadable = found is None or (is_down(found) and not is_respecified(observed.tracker))
    if before is not None and is_kept and unreadable and passes(before.gates):
        return before.gates
    return (lineage_gate(found, spec.accept),)


def stale_since(situation: Situation, state: State, now: datetime) -> datetime | None:
    """Since when what runs lacks the current base; kept until the image is current again."""
    before = situation.before.stale_since if situation.before else None
    if state is State.CURRENT:
        return None
    if before is not None or situation.base is None or situation.is_fresh:
        return before
    return now
