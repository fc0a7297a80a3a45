"""Gates besides lineage: what their answers about a digest come to, and what evidence counts for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from basetracker.api.gates import Gate, GateKind, NamedGate, asked_gates
from basetracker.api.names import BuildState, ConditionType, GateVerdict, HistoryEvent, Reason, State
from basetracker.api.status import GateStatus, Validated
from basetracker.core.actions import Deliver
from basetracker.core.gating import question_of
from basetracker.core.planner import Decision, decide
from basetracker.core.rescan import slot_of
from basetracker.core.situation import asked_about
from basetracker.core.status import Folded, fold
from basetracker.core.validation import ToAsk
from basetracker.oci.lineage import Verdict
from basetracker.oci.refs import Digest

from .builders import B1, B2, IMAGE, MINUTE, NEW, NOW, OLD, OTHER, Scene, record, row, validated, workload

SIGNED: dict[str, Any] = {
    "signature": {"cosign": {"publicKey": {"configMapRef": {"name": "keys", "key": "cosign.pub"}}}}
}
DEFENDED: dict[str, Any] = {"defender": {"severity": ["CRITICAL"]}}
BOTH = (DEFENDED, SIGNED)
PASS, FAIL, PENDING = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.PENDING
PROVEN = {OLD: Verdict.REFUTED, NEW: Verdict.PROVEN, OTHER: Verdict.PROVEN}


def question(name: str, gate: dict[str, Any]) -> str:
    return question_of(NamedGate(name=name, gate=Gate.model_validate(gate)), IMAGE)


QUESTIONS = {"signature": question("signature", SIGNED), "defender": question("defender", DEFENDED)}


def said(
    verdict: GateVerdict,
    *,
    name: str = "signature",
    digest: Digest = NEW,
    reason: str = "Because",
    asked: str = "",
) -> GateStatus:
    return GateStatus(
        name=name,
        verdict=verdict,
        reason=reason,
        message="so it is",
        digest=digest,
        since=NOW,
        question=asked or QUESTIONS[name],
    )


def evidence(digest: Digest = NEW, base: Digest = B2, *gates: GateStatus) -> Validated:
    return validated(digest, base).model_copy(update={"gates": gates or (said(PASS, digest=digest),)})


def scene(**fields: Any) -> Scene:
    """An image whose tag contains the base, which nobody has validated yet."""
    return Scene(**{"tag": NEW, "verdicts": PROVEN, "gates": (SIGNED,), **fields})


def decided(one: Scene) -> Decision:
    return decide(one.observed())


def folded(one: Scene) -> Folded:
    observed = one.observed()
    return fold(observed, decide(observed), ())


def is_delivered(decision: Decision) -> bool:
    return any(isinstance(action, Deliver) for action in decision.plan.actions)


@pytest.mark.parametrize(
    ("answers", "state", "reason", "words"),
    [
        ((), State.VALIDATING, Reason.GATE_PENDING, "waits for gate signature: it has not been asked"),
        ((said(PENDING),), State.VALIDATING, Reason.GATE_PENDING, "contains the base and waits for gate signature"),
        ((said(PENDING, reason="Denied"),), State.BLOCKED, Reason.GATE_UNUSABLE, "gate signature can't answer"),
        ((said(PENDING, reason="Missing"),), State.BLOCKED, Reason.GATE_UNUSABLE, "so it is"),
        ((said(PENDING, reason="Invalid"),), State.BLOCKED, Reason.GATE_UNUSABLE, "asked again by itself"),
        ((said(PENDING, reason="Unavailable"),), State.VALIDATING, Reason.GATE_PENDING, "so it is"),
        ((said(FAIL),), State.BLOCKED, Reason.GATE_FAILED, "fails gate signature: so it is; it is not delivered"),
        ((said(PASS, digest=OTHER),), State.VALIDATING, Reason.GATE_PENDING, "has not been asked"),
        ((said(PASS, name="defender"),), State.VALIDATING, Reason.GATE_PENDING, "has not been asked"),
    ],
)
def test_nothing_but_a_pass_of_every_gate_validates(
    answers: tuple[GateStatus, ...], state: State, reason: Reason, words: str
) -> None:
    decision = decided(scene(answers={NEW: answers}))
    (step,) = decision.plan.steps
    assert (step.state, step.reason) == (state, reason), step.message
    assert words in step.message
    assert step.actions == (), "neither delivered nor built again"
    assert decision.situations[0].validated is None


def test_a_pass_of_every_gate_validates_and_is_kept_as_evidence() -> None:
    decision = decided(scene(answers={NEW: (said(PASS),)}))
    assert is_delivered(decision)
    assert decision.situations[0].validated == Validated(digest=NEW, base_digest=B2, at=NOW, gates=(said(PASS),))


def test_one_gate_of_two_isn_t_enough() -> None:
    one = scene(gates=BOTH, answers={NEW: (said(PASS), said(PENDING, name="defender"))})
    (step,) = decided(one).plan.steps
    assert step.reason is Reason.GATE_PENDING
    assert "gate defender" in step.message


def test_a_result_that_fails_a_gate_is_rejected_and_not_built_again() -> None:
    one = scene(tag=OLD, record=record(BuildState.SUCCEEDED, digest=NEW), answers={NEW: (said(FAIL),)})
    after = folded(one)
    assert after.status.downstream[0].reason is Reason.GATE_FAILED
    assert [entry.event for entry in after.happened] == [HistoryEvent.REJECTED]
    assert after.happened[0].to == str(NEW)


@pytest.mark.parametrize(
    "failing", [None, said(FAIL, digest=OLD)], ids=["nothing validated", "what runs fails as well"]
)
def test_each_digest_that_fails_is_told_of_once(failing: GateStatus | None) -> None:
    kept = evidence(OLD, B1).model_copy(update={"failing": failing}) if failing is not None else None
    answers = {NEW: (said(FAIL),), OTHER: (said(FAIL, digest=OTHER),)}
    one = scene(tag=NEW, answers=answers, validated=kept)
    first = folded(one).status
    for tag, told in ((NEW, []), (OTHER, [str(OTHER)])):
        observed = replace(one, tag=tag).observed(first)
        after = fold(observed, decide(observed), ())
        assert after.status.downstream[0].reason is first.downstream[0].reason is Reason.GATE_FAILED
        rejected = [entry.to for entry in after.happened if entry.event is HistoryEvent.REJECTED]
        assert rejected == told


def test_what_lacks_the_base_isn_t_asked_about() -> None:
    one = scene(tag=OLD, record=record(BuildState.SUCCEEDED, digest=OLD))
    seen = one.observed().images[0]
    assert one.tracker.spec is not None
    assert asked_about(seen, one.observed(), one.tracker.spec) == ToAsk()
    (step,) = decided(one).plan.steps
    assert step.reason is Reason.LINEAGE_NOT_PROVEN
    gates = folded(one).status.downstream[0].gates
    assert [(gate.name, gate.verdict) for gate in gates] == [("lineage", FAIL), ("signature", PENDING)]


def test_the_next_digest_counts_when_the_first_one_fails() -> None:
    one = scene(tag=OTHER, record=record(BuildState.SUCCEEDED, digest=NEW))
    seen = one.observed().images[0]
    assert one.tracker.spec is not None
    assert asked_about(seen, one.observed(), one.tracker.spec) == ToAsk(candidates=(NEW, OTHER))
    failed = replace(one, answers={NEW: (said(FAIL),), OTHER: (said(PENDING, digest=OTHER),)})
    assert decided(failed).plan.steps[0].reason is Reason.GATE_PENDING
    assert decided(failed).situations[0].candidate == OTHER
    passed = replace(one, answers={NEW: (said(FAIL),), OTHER: (said(PASS, digest=OTHER),)})
    found = decided(passed).situations[0].validated
    assert found is not None
    assert found.digest == OTHER


class TestEvidence:
    def test_it_holds_without_asking(self) -> None:
        one = scene(validated=evidence())
        assert is_delivered(decided(one))
        assert decided(one).situations[0].validated == evidence()

    @pytest.mark.parametrize(
        "kept",
        [
            validated(),
            evidence(NEW, B2, said(PASS, digest=OTHER)),
            evidence(NEW, B2, said(PASS, name="defender")),
            evidence(NEW, B2, said(PENDING)),
            evidence(NEW, B2, said(PASS, asked="when the key was another one")),
        ],
        ids=["none", "of another digest", "of another gate", "not a pass", "of another question"],
    )
    def test_without_it_nothing_is_delivered_before_the_gates_have_answered(self, kept: Validated) -> None:
        decision = decided(scene(validated=kept))
        (step,) = decision.plan.steps
        assert (step.state, step.reason) == (State.VALIDATING, Reason.GATE_PENDING)
        assert step.actions == ()
        after = decision.situations[0].validated
        assert after is not None, "what was validated before the gate came is kept: a child's base is this digest"
        assert after.digest == NEW

    def test_when_the_gates_have_answered_it_is_the_evidence_and_the_validation_stays_as_old_as_it_was(self) -> None:
        one = scene(validated=validated(), answers={NEW: (said(PASS),)})
        assert is_delivered(decided(one))
        assert decided(one).situations[0].validated == evidence()

    def test_a_spec_that_asks_the_same_asks_nobody_again(self) -> None:
        one = scene(validated=evidence(), generation=2)
        assert is_delivered(decided(one))

    def test_no_turn_that_can_t_look_makes_old_evidence_new(self) -> None:
        """The spec was changed while the base couldn't be read; the next turn is the first that could deliver."""
        old = evidence(NEW, B2, said(PASS, asked="when the key was another one"))
        blind = scene(validated=old, base=None, generation=2)
        stored = fold(observed := blind.observed(), decide(observed), ()).status
        assert stored.observed_generation == 2
        seeing = replace(blind, base=B2).observed(stored)
        assert not is_delivered(decide(seeing))

    def test_a_gate_that_is_dropped_needs_no_evidence(self) -> None:
        kept = evidence(NEW, B2, said(PASS), said(PASS, name="defender"))
        assert is_delivered(decided(scene(validated=kept)))

    def test_it_is_about_the_digest_whatever_the_base_and_lineage_is_judged_anew(self) -> None:
        found = decided(scene(validated=evidence(NEW, B1))).situations[0].validated
        assert found is not None
        assert (found.base_digest, found.at) == (B2, NOW)
        stale = scene(validated=evidence(OLD, B1), tag=OLD)
        assert decided(stale).plan.steps[0].reason is Reason.BUILD_REQUESTED


class TestWhatFailsByNow:
    def running(self, **fields: Any) -> Scene:
        usual: dict[str, Any] = {
            "validated": evidence(),
            "workloads": (workload(NEW),),
            "rows": (row(NEW),),
            "answers": {NEW: (said(FAIL),)},
        }
        return scene(**{**usual, **fields})

    def test_it_stays_where_it_runs_and_is_told(self) -> None:
        after = folded(self.running())
        (item,) = after.status.downstream
        assert item.state is State.CURRENT
        assert item.validated == evidence().model_copy(update={"failing": said(FAIL)})
        told = {one.type: one for one in after.status.conditions}
        assert told[ConditionType.READY].status == "True"
        assert told[ConditionType.RUNNING_FAILS].message == f"checkout: {NEW.short} fails gate signature: so it is"
        assert [entry.event for entry in after.happened] == [HistoryEvent.FAILS_SINCE]
        assert NEW.short in after.happened[0].reason

    @pytest.mark.parametrize("answers", [{NEW: (said(FAIL),)}, {NEW: (said(PENDING),)}, {}])
    def test_it_is_told_once_and_until_the_gate_says_otherwise(
        self, answers: dict[Digest, tuple[GateStatus, ...]]
    ) -> None:
        one = self.running()
        observed = replace(one, answers=answers).observed(folded(one).status)
        again = fold(observed, decide(observed), ())
        assert again.happened == ()
        assert again.status.conditions == observed.tracker.status.conditions

    def test_it_is_told_too_while_the_base_has_moved_on(self) -> None:
        one = self.running(validated=evidence(NEW, B1), verdicts={NEW: Verdict.REFUTED})
        assert asked_about(one.observed().images[0], one.observed(), one.tracker.spec) == ToAsk(validated=NEW)  # type: ignore[arg-type]  # there is a spec
        after = folded(one).status
        assert ConditionType.RUNNING_FAILS in {condition.type for condition in after.conditions}
        assert after.downstream[0].reason is Reason.BUILD_REQUESTED

    def test_it_goes_nowhere_else(self) -> None:
        one = replace(self.running(), workloads=(workload(OLD),), rows=())
        (step,) = decided(one).plan.steps
        assert (step.state, step.reason, step.actions) == (State.BLOCKED, Reason.GATE_FAILED, ())
        assert "fails gate signature by now" in step.message

    def test_it_ends_with_a_pass(self) -> None:
        one = self.running()
        observed = replace(one, answers={NEW: (said(PASS),)}).observed(folded(one).status)
        after = fold(observed, decide(observed), ())
        assert ConditionType.RUNNING_FAILS not in {condition.type for condition in after.status.conditions}
        assert after.status.downstream[0].validated == evidence()

    def test_another_digest_that_passes_takes_its_place_where_we_delivered_it(self) -> None:
        ours = workload(NEW, delivered=NEW)
        one = self.running(tag=OTHER, workloads=(ours,))
        one = replace(one, answers={NEW: (said(FAIL),), OTHER: (said(PASS, digest=OTHER),)})
        decision = decided(one)
        found = decision.situations[0].validated
        assert found is not None
        assert found.digest == OTHER
        assert is_delivered(decision)

    def test_one_that_fails_as_well_doesn_t(self) -> None:
        one = self.running(tag=OTHER)
        one = replace(one, answers={NEW: (said(FAIL),), OTHER: (said(FAIL, digest=OTHER),)})
        found = decided(one).situations[0].validated
        assert found is not None
        assert found.digest == NEW


def test_the_cheapest_gate_is_asked_first_and_equals_as_listed() -> None:
    one = scene(gates=(DEFENDED, SIGNED, {"defender": {"severity": ["LOW"]}}))
    assert one.tracker.spec is not None
    named = asked_gates(one.tracker.spec.gates)
    assert [gate.name for gate in named] == ["signature", "defender", "defender-2"]
    assert named[2].gate.defender is not None
    assert [severity.value for severity in named[2].gate.defender.severity] == ["LOW"]
    assert next(iter(GateKind)) is GateKind.LINEAGE


class TestSlots:
    def test_a_time_lies_in_its_slot(self) -> None:
        for hours in range(100):
            now = NOW + timedelta(hours=hours)
            slot = slot_of("shop/python/checkout", timedelta(hours=24), now)
            assert slot.begin <= now < slot.end
            assert slot.end - slot.begin == timedelta(hours=24)

    def test_it_begins_and_ends_on_whole_seconds_as_the_clock_tells_them(self) -> None:
        for number in range(50):
            slot = slot_of(str(number), timedelta(hours=24, milliseconds=500), NOW)
            assert (slot.begin.microsecond, slot.end.microsecond) == (0, 0)

    def test_images_are_spread_over_the_interval(self) -> None:
        ends = [slot_of(f"shop/python/{number}", timedelta(hours=24), NOW).end for number in range(200)]
        quarters = {int((end - NOW) / timedelta(hours=6)) for end in ends}
        assert quarters == {0, 1, 2, 3}
        assert len(set(ends)) > 190

    def test_it_is_the_same_for_every_process(self) -> None:
        first, later = (slot_of("a", timedelta(hours=24), time) for time in (NOW, NOW + MINUTE))
        assert first == later or first.end == later.begin
