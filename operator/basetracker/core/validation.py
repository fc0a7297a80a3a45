"""Validation: which digest counts for the current base, and what the gates say of it. Pure.

Owns the order in which digests are considered, and how the answers of gates that have to be asked are laid beside that of
lineage. Evidence is bound to a digest and to the question: what was said of another digest, or when another thing was asked,
counts for nothing. Used by `situation.py`; the engine
asks `digests_to_ask` what to ask the gates about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from basetracker.api.names import BuildState, GateVerdict, HistoryEvent
from basetracker.api.status import BuildStatus, DownstreamStatus, GateStatus, Validated
from basetracker.api.tracker import Spec, Tracker
from basetracker.core.builds import is_record_of
from basetracker.core.gating import (
    LINEAGE,
    fails,
    is_accepted,
    is_down,
    lineage_gate,
    not_asked,
    passes,
    questions_of,
    waits_for_person,
)
from basetracker.core.observed import ImageSeen, Observed
from basetracker.core.running import running_digests
from basetracker.oci.refs import Digest, ImageRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The digest that the gates were asked about, their answers, and what is validated after them.

    `fresh` is what may be delivered: validated for the current base, by every gate that the tracker names. While it fails a gate
    by now, `successor` is another digest that contains the base and may still pass, or isn't known not to, with what the gates
    say of it so far.
    """

    candidate: Digest | None
    gates: tuple[GateStatus, ...]
    validated: Validated | None
    fresh: Validated | None = None
    successor: Digest | None = None
    successor_gates: tuple[GateStatus, ...] = ()


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
    """What is validated for `base`; one that was, for this base and by all of these gates, stays so.

    When it fails a gate by now, another digest that passes all of them takes its place.
    """
    questions = questions_of(spec.asked_gates, seen.spec.image)
    kept = _judged_again(before.validated if before else None, seen, questions)
    told = before.gates if before else ()
    if base is None or base.digest is None:
        return Validation(candidate=None, gates=told, validated=kept)
    fresh = kept if kept is not None and kept.base_digest == base.digest else None
    others = _others(seen, build, base.digest, observed)
    choices = list(dict.fromkeys([fresh.digest, *others] if fresh is not None else others))
    answers = {digest: _answers(seen, before, digest, base.digest, observed, spec) for digest in choices}
    contains = [digest for digest, gates in answers.items() if passes(gates[:1])]
    held = fresh if fresh is not None and fresh.digest in contains and holds(fresh, questions) else None
    if held is not None and held.failing is None:
        return Validation(candidate=held.digest, gates=answers[held.digest], validated=held, fresh=held)
    for digest in contains:
        if passes(answers[digest]) and (held is None or digest != held.digest):
            validated = _validated(digest, answers[digest], kept, base.digest, observed)
            return Validation(candidate=digest, gates=answers[digest], validated=validated, fresh=validated)
    if held is not None:
        return _held(held, build, choices, answers)
    lost = fresh is not None and fresh.digest not in contains
    hopeful = [digest for digest in contains if not fails(answers[digest])]
    candidate = next(iter([*hopeful, *contains, *others]), None)
    gates = answers[candidate] if candidate is not None else () if lost else told
    return Validation(candidate=candidate, gates=gates, validated=None if lost else kept)


def _held(
    held: Validated,
    build: BuildStatus | None,
    choices: Sequence[Digest],
    answers: Mapping[Digest, tuple[GateStatus, ...]],
) -> Validation:
    """While what is validated fails by now and nothing else passes; what was built to replace it is shown when it fails, too."""
    hopeful = [one for one in choices if one != held.digest and not fails(answers[one])]
    successor = next(iter(sorted(hopeful, key=lambda one: any(map(waits_for_person, answers[one])))), None)
    made = build.digest if is_record_of(build, held.base_digest, held.digest) else None
    shown = made if made is not None and made in answers and fails(answers[made]) else held.digest
    return Validation(
        candidate=shown,
        gates=answers[shown],
        validated=held,
        fresh=held,
        successor=successor,
        successor_gates=answers[successor] if successor is not None else (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToAsk:
    """What the gates besides lineage may have to be asked about.

    `validated` is asked about again, whatever its base; `candidates` contain the current base, best first; `running` is what
    runs besides the validated one and contains the current base, or is told to fail.
    """

    validated: Digest | None = None
    candidates: tuple[Digest, ...] = ()
    running: tuple[Digest, ...] = ()


def digests_to_ask(
    seen: ImageSeen,
    before: DownstreamStatus | None,
    base: ImageRef | None,
    build: BuildStatus | None,
    observed: Observed,
    spec: Spec,
) -> ToAsk:
    """The digests that the gates besides lineage may have to be asked about."""
    if base is None or base.digest is None or not spec.asked_gates:
        return ToAsk()
    kept = before.validated if before else None
    fresh = [kept.digest] if kept is not None and kept.base_digest == base.digest else []
    choices = dict.fromkeys([*fresh, *_others(seen, build, base.digest, observed)])
    candidates = tuple(
        digest for digest in choices if passes((_lineage_answer(seen, before, digest, base.digest, observed, spec),))
    )
    validated = kept.digest if kept is not None else None
    told = {gate.digest for gate in before.failing} if before is not None else set()
    running = [
        digest
        for digest in running_digests(seen.spec, seen.targets)
        if digest != validated and (digest in told or is_accepted(seen.lineages.get(digest), spec.accept))
    ]
    return ToAsk(validated=validated, candidates=candidates, running=tuple(running))


def holds(kept: Validated, questions: Mapping[str, str]) -> bool:
    """Whether the digest has passed every gate that the tracker names, asked just as it is asked now."""
    passed = {(gate.name, gate.question) for gate in kept.gates if gate.digest == kept.digest and passes((gate,))}
    return passed >= set(questions.items())


def unanswered_gate(item: DownstreamStatus, questions: Mapping[str, str]) -> GateStatus | None:
    """A gate that the validated digest hasn't passed as it is asked now, with what it says so far."""
    kept = item.validated
    if kept is None or holds(kept, questions):
        return None
    passed = {(gate.name, gate.question) for gate in kept.gates if gate.digest == kept.digest and passes((gate,))}
    name = next(name for name, question in questions.items() if (name, question) not in passed)
    said = known_answers(item, kept.digest, questions).get(name)
    return said or not_asked(name, kept.digest, "it is asked anew")


def known_answers(
    before: DownstreamStatus | None, digest: Digest, questions: Mapping[str, str]
) -> dict[str, GateStatus]:
    """What the gates have said of the digest when they were asked just this, by their names; the latest counts."""
    if before is None:
        return {}
    kept = before.validated
    evidence = (*kept.gates, *((kept.failing,) if kept.failing is not None else ())) if kept is not None else ()
    return {
        gate.name: gate
        for gate in (*evidence, *before.failing, *before.gates)
        if gate.digest == digest and gate.question == questions.get(gate.name)
    }


def remembered_digest(observed: Observed, downstream: str, base: Digest) -> Digest | None:
    """What was validated for this base before the base moved away from it and back."""
    for entry in observed.tracker.status.history:
        if entry.event is HistoryEvent.VALIDATED and entry.downstream == downstream and entry.reason == str(base):
            return Digest(entry.to)
    return None


def validated_before(observed: Observed, downstream: str, base: Digest) -> frozenset[Digest]:
    """What was validated for this base, by the gates of that time, as far as the status remembers."""
    row = observed.tracker.status.of(downstream)
    kept = row.validated if row is not None else None
    found = {remembered_digest(observed, downstream, base)}
    found |= {kept.digest} if kept is not None and kept.base_digest == base else set()
    return frozenset(digest for digest in found if digest is not None)


def _judged_again(kept: Validated | None, seen: ImageSeen, questions: Mapping[str, str]) -> Validated | None:
    """The record of what is validated, with the gate that it has passed and fails by now."""
    if kept is None:
        return None
    passed = {gate.name for gate in kept.gates if gate.question == questions.get(gate.name)}
    said = {gate.name: gate for gate in seen.verdicts.get(kept.digest, ()) if gate.name in passed}
    failing = next((gate for gate in said.values() if gate.verdict is GateVerdict.FAIL), None)
    if failing is None and kept.failing is not None and kept.failing.name in passed:
        latest = said.get(kept.failing.name)
        failing = kept.failing if latest is None or latest.verdict is GateVerdict.PENDING else None
    return kept if failing == kept.failing else kept.model_copy(update={"failing": failing})


def _validated(
    digest: Digest, gates: Sequence[GateStatus], kept: Validated | None, base: Digest, observed: Observed
) -> Validated:
    """The record of a digest that has passed all gates; when it was validated for this base already that stays as it was."""
    if kept is not None and (kept.digest, kept.base_digest) == (digest, base):
        return kept.model_copy(update={"gates": tuple(gates[1:]), "failing": None})
    return Validated(digest=digest, base_digest=base, at=observed.now, gates=tuple(gates[1:]))


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
    questions = questions_of(spec.asked_gates, seen.spec.image)
    found = {gate.name: gate for gate in seen.verdicts.get(digest, ()) if gate.digest == digest}
    found = found or known_answers(before, digest, questions)
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
