"""Validation: which digest counts for the current base, and what the gates say of it. Pure.

Owns the order in which digests are considered, and how the answers of gates that have to be asked are laid beside that of
lineage. Evidence is bound to a digest: what was said of another one counts for nothing. Used by `situation.py`; the engine
asks `digests_to_ask` what to ask the gates about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from basetracker.api.names import BuildState, HistoryEvent
from basetracker.api.status import BuildStatus, DownstreamStatus, GateStatus, Validated
from basetracker.api.tracker import Spec, Tracker
from basetracker.core.gating import LINEAGE, fails, is_down, lineage_gate, not_asked, passes
from basetracker.core.observed import ImageSeen, Observed
from basetracker.oci.refs import Digest, ImageRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The digest that the gates were asked about, their answers, and what is validated after them.

    `fresh` is what may be delivered: validated for the current base, by every gate that the tracker names.
    """

    candidate: Digest | None
    gates: tuple[GateStatus, ...]
    validated: Validated | None
    fresh: Validated | None = None


def is_respecified(tracker: Tracker) -> bool:
    """Whether the status was written for another spec."""
    return tracker.generation != tracker.status.observed_generation


def validation_of(
    seen: ImageSeen,
    before: DownstreamStatus | None,
    base: ImageRef | None,
    build: BuildStatus | None,
    observed: Observed,
    spec: Spec,
) -> Validation:
    """What is validated for `base`; one that was, for this base and by all of these gates, stays so."""
    kept = before.validated if before else None
    if base is None or base.digest is None:
        return Validation(candidate=None, gates=before.gates if before else (), validated=kept)
    fresh = kept if kept is not None and kept.base_digest == base.digest else None
    others = _others(seen, build, base.digest, observed)
    choices = list(dict.fromkeys([fresh.digest, *others] if fresh is not None else others))
    answers = {digest: _answers(seen, before, digest, base.digest, observed, spec) for digest in choices}
    for digest, gates in answers.items():
        validated = _validated(digest, gates, fresh, base.digest, observed, spec)
        if validated is not None:
            return Validation(candidate=digest, gates=gates, validated=validated, fresh=validated)
    if fresh is not None and passes(answers[fresh.digest][:1]):
        # It still contains the base, and not all of the gates have been asked about it: they are, and it is kept without
        # its evidence, so that it isn't delivered before.
        kept = fresh.model_copy(update={"gates": ()})
        return Validation(candidate=fresh.digest, gates=answers[fresh.digest], validated=kept)
    if others:
        contains = (digest for digest in others if passes(answers[digest][:1]) and not fails(answers[digest]))
        candidate = next(contains, others[0])
        return Validation(candidate=candidate, gates=answers[candidate], validated=kept if fresh is None else None)
    if fresh is not None:
        return Validation(candidate=None, gates=(), validated=None)
    return Validation(candidate=None, gates=before.gates if before else (), validated=kept)


def digests_to_ask(
    seen: ImageSeen,
    before: DownstreamStatus | None,
    base: ImageRef | None,
    build: BuildStatus | None,
    observed: Observed,
    spec: Spec,
) -> tuple[Digest, ...]:
    """The digests that the gates besides lineage may have to be asked about, best first; all contain the base."""
    if base is None or base.digest is None or not spec.asked_gates:
        return ()
    kept = before.validated if before else None
    fresh = [kept.digest] if kept is not None and kept.base_digest == base.digest else []
    choices = dict.fromkeys([*fresh, *_others(seen, build, base.digest, observed)])
    return tuple(
        digest for digest in choices if passes((_lineage_answer(seen, before, digest, base.digest, observed, spec),))
    )


def holds(kept: Validated | None, digest: Digest, base: Digest | None, tracker: Tracker, spec: Spec) -> bool:
    """Whether the digest has passed, for this base, every gate that the tracker names: the evidence says so."""
    if kept is None or kept.digest != digest or kept.base_digest != base or is_respecified(tracker):
        return False
    passed = {gate.name for gate in kept.gates if gate.digest == digest and passes((gate,))}
    return passed >= {gate.name for gate in spec.asked_gates}


def known_answers(before: DownstreamStatus | None, digest: Digest) -> dict[str, GateStatus]:
    """What gates that were asked have said of the digest, by their names: the latest, else the evidence."""
    if before is None:
        return {}
    evidence = before.validated.gates if before.validated is not None else ()
    return {gate.name: gate for gate in (*evidence, *before.gates) if gate.digest == digest}


def remembered_digest(observed: Observed, downstream: str, base: Digest) -> Digest | None:
    """What was validated for this base before the base moved away from it and back."""
    for entry in observed.tracker.status.history:
        if entry.event is HistoryEvent.VALIDATED and entry.downstream == downstream and entry.reason == str(base):
            return Digest(entry.to)
    return None


def _validated(
    digest: Digest,
    gates: Sequence[GateStatus],
    fresh: Validated | None,
    base: Digest,
    observed: Observed,
    spec: Spec,
) -> Validated | None:
    """The record of the digest's validation; None when it isn't validated."""
    lineage, *asked = gates
    if not passes((lineage,)):
        return None
    stays = fresh if fresh is not None and fresh.digest == digest else None
    if stays is not None and holds(stays, digest, base, observed.tracker, spec):
        return stays
    if not passes(tuple(gates)):
        return None
    if stays is not None:
        return stays.model_copy(update={"gates": tuple(asked)})
    return Validated(digest=digest, base_digest=base, at=observed.now, gates=tuple(asked))


def _others(seen: ImageSeen, build: BuildStatus | None, base: Digest, observed: Observed) -> list[Digest]:
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


def _answers(
    seen: ImageSeen, before: DownstreamStatus | None, digest: Digest, base: Digest, observed: Observed, spec: Spec
) -> tuple[GateStatus, ...]:
    """The answer of every gate about the digest, lineage's first."""
    lineage = _lineage_answer(seen, before, digest, base, observed, spec)
    if not spec.asked_gates:
        return (lineage,)
    found = {gate.name: gate for gate in seen.verdicts.get(digest, ()) if gate.digest == digest}
    if not found and not is_respecified(observed.tracker):
        found = known_answers(before, digest)
    why = "lineage comes first" if not passes((lineage,)) else "it has not been asked yet"
    asked = (found.get(gate.name) or not_asked(gate.name, digest, why) for gate in spec.asked_gates)
    return (lineage, *asked)


def _lineage_answer(
    seen: ImageSeen, before: DownstreamStatus | None, digest: Digest, base: Digest, observed: Observed, spec: Spec
) -> GateStatus:
    """Lineage's answer about the digest; what passed before stays passed while the registry can't be asked."""
    found = seen.lineages.get(digest)
    kept = before.validated if before else None
    is_kept = kept is not None and kept.digest == digest and kept.base_digest == base
    # With another spec it may be another image of the same name: its digest has to be seen there first.
    unreadable = found is None or (is_down(found) and not is_respecified(observed.tracker))
    if before is not None and is_kept and unreadable:
        stored = next((gate for gate in before.gates if gate.name == LINEAGE), None)
        if stored is not None and passes((stored,)):
            return stored
    return lineage_gate(found, spec.accept)
