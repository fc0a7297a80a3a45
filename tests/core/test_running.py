"""What runs besides the validated digest: its gates are asked as well, and what fails one makes way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from basetracker.api.names import ConditionType, GateVerdict, HistoryEvent, Reason, State
from basetracker.api.status import GateStatus, Status, WorkloadStatus
from basetracker.api.tracker import Tracker
from basetracker.core.observed import Workload
from basetracker.core.planner import decide
from basetracker.core.rescan import slot_of
from basetracker.core.running import LONGEST_MESSAGE, MOST_AT_ONCE, asked_now, running_beside
from basetracker.core.situation import asked_about
from basetracker.core.status import Folded, fold
from basetracker.core.validation import ToAsk
from basetracker.oci.lineage import Verdict
from basetracker.oci.refs import Digest

from .builders import B1, B2, NEW, NOW, OLD, OTHER, Scene, row, workload
from .test_gates import DEFENDED, decided, evidence, folded, is_delivered, said, scene

PASS, FAIL, PENDING = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.PENDING


def team_runs(verdict: GateVerdict | None = None, **fields: Any) -> Scene:
    """NEW is validated; the workload runs OTHER, which contains the base and was put there by its team."""
    answers = {OTHER: (said(verdict, digest=OTHER),)} if verdict is not None else {}
    usual: dict[str, Any] = {"validated": evidence(), "workloads": (workload(OTHER),), "answers": answers}
    return scene(**{**usual, **fields})


def asked(one: Scene) -> ToAsk:
    tracker: Tracker = one.tracker
    assert tracker.spec is not None
    return asked_about(one.observed().images[0], one.observed(), tracker.spec)


def again(one: Scene, status: Status) -> Folded:
    observed = one.observed(status)
    return fold(observed, decide(observed), ())


def test_what_runs_is_asked_about() -> None:
    assert asked(team_runs()) == ToAsk(validated=NEW, candidates=(NEW,), running=(OTHER,))
    assert asked(team_runs(workloads=(workload(NEW),))).running == ()


def test_what_lacks_the_base_isn_t_asked_about_since_it_is_to_be_replaced() -> None:
    assert asked(team_runs(verdicts={NEW: Verdict.PROVEN, OTHER: Verdict.REFUTED})).running == ()


def test_what_runs_is_asked_about_also_when_the_tag_points_to_it() -> None:
    assert asked(team_runs(tag=OTHER)) == ToAsk(validated=NEW, candidates=(NEW, OTHER), running=(OTHER,))


def test_of_many_that_run_others_are_asked_about_between_each_two_rescans() -> None:
    digests = tuple(sorted(Digest.of(str(number).encode()) for number in range(20)))
    interval = timedelta(hours=24)
    slots = [slot_of("shop/python/checkout", interval, NOW + number * interval) for number in range(5)]
    rounds = [asked_now(digests, slot) for slot in slots]
    assert {len(one) for one in rounds} == {MOST_AT_ONCE}
    assert set().union(*rounds) == set(digests)
    assert asked_now(digests[:MOST_AT_ONCE], slots[0]) == digests[:MOST_AT_ONCE]


@pytest.mark.parametrize("verdict", [PASS, PENDING, None])
def test_while_nothing_objects_it_stays(verdict: GateVerdict | None) -> None:
    after = folded(team_runs(verdict))
    (item,) = after.status.downstream
    assert (item.state, item.failing) == (State.CURRENT, ())
    assert ConditionType.RUNNING_FAILS not in {one.type for one in after.status.conditions}


def test_what_fails_is_told_of_and_left_alone_where_we_have_never_delivered() -> None:
    one = team_runs(FAIL)
    assert not is_delivered(decided(one)), "it may be newer than what is validated"
    after = folded(one)
    (item,) = after.status.downstream
    assert (item.state, item.reason) == (State.BLOCKED, Reason.GATE_FAILED)
    assert "until the annotation basetracker.dev/resume" in item.message
    assert item.failing == (said(FAIL, digest=OTHER),)
    told = {condition.type: condition.message for condition in after.status.conditions}
    assert told[ConditionType.RUNNING_FAILS] == f"checkout: {OTHER.short} fails gate signature: so it is"
    (entry,) = [entry for entry in after.happened if entry.event is HistoryEvent.FAILS_SINCE]
    assert entry.to == str(OTHER)
    assert is_delivered(decided(replace(one, resume="now")))


def test_what_fails_makes_way_for_a_newer_digest_than_the_one_that_it_replaced() -> None:
    assert is_delivered(decided(team_runs(FAIL, workloads=(workload(OTHER, delivered=OLD),))))


def test_who_put_it_there_after_our_delivery_is_asked_first() -> None:
    one = team_runs(FAIL, rows=(row(NEW),), workloads=(workload(OTHER, delivered=NEW, writer="kubectl"),))
    after = folded(one)
    (item,) = after.status.downstream
    assert (item.state, item.reason) == (State.BLOCKED, Reason.OVERRIDDEN)
    assert not is_delivered(decided(one))
    assert ConditionType.RUNNING_FAILS in {condition.type for condition in after.status.conditions}


@pytest.mark.parametrize("answer", [said(FAIL, digest=OTHER), said(PENDING, digest=OTHER), None])
def test_it_is_told_once_and_until_the_gate_says_otherwise(answer: GateStatus | None) -> None:
    one = team_runs(FAIL)
    later = replace(one, answers={OTHER: (answer,)} if answer is not None else {})
    second = again(later, folded(one).status)
    assert second.happened == ()
    assert second.status.downstream[0].failing == (said(FAIL, digest=OTHER),)
    passed = again(replace(one, answers={OTHER: (said(PASS, digest=OTHER),)}), second.status)
    assert passed.status.downstream[0].failing == ()


@pytest.mark.parametrize("gates", [(DEFENDED,), ()])
def test_a_gate_that_isn_t_asked_any_more_counts_for_nothing(gates: tuple[dict[str, Any], ...]) -> None:
    one = team_runs(FAIL)
    after = again(replace(one, gates=gates, answers={}), folded(one).status)
    assert after.status.downstream[0].failing == ()


def test_what_was_validated_and_fails_is_told_of_until_it_is_replaced_everywhere() -> None:
    kept = evidence(OLD, B1).model_copy(update={"failing": said(FAIL, digest=OLD)})
    one = scene(validated=kept, workloads=(workload(OLD),), rows=(row(OLD),), answers={NEW: (said(PASS),)})
    after = folded(one)
    (item,) = after.status.downstream
    assert item.validated is not None
    assert item.validated.digest == NEW
    assert item.failing == (said(FAIL, digest=OLD),)
    assert HistoryEvent.FAILS_SINCE not in {entry.event for entry in after.happened}, "that was told before"
    assert ConditionType.RUNNING_FAILS in {condition.type for condition in after.status.conditions}
    done = again(replace(one, workloads=(workload(NEW),), answers={}), after.status)
    assert done.status.downstream[0].failing == ()
    assert ConditionType.RUNNING_FAILS not in {condition.type for condition in done.status.conditions}


def test_nothing_validated_leaves_it_where_it_is() -> None:
    one = team_runs(FAIL, validated=None, answers={OTHER: (said(FAIL, digest=OTHER),), NEW: (said(FAIL),)})
    assert not is_delivered(decided(one))
    (item,) = folded(one).status.downstream
    assert item.reason is Reason.GATE_FAILED
    assert item.failing == (said(FAIL, digest=OTHER),)


@pytest.mark.parametrize(
    ("workloads", "rows", "expected"),
    [
        ((workload(OTHER),), (), (OTHER,)),
        ((workload(NEW),), (), (NEW,)),
        ((workload(NEW, delivered=NEW),), (), ()),
        ((workload(NEW, delivered=NEW),), (row(NEW, previous_digest=OLD),), (OLD,)),
        ((workload(NEW, delivered=OTHER),), (), (NEW,)),
        ((workload(NEW, delivered=OTHER),), (row(NEW, previous_digest=OLD),), (NEW,)),
        ((workload(NEW), workload(OTHER, name="second")), (), (OTHER,)),
        ((workload(),), (), ()),
        ((), (), ()),
    ],
    ids=[
        "another",
        "itself",
        "ours",
        "ours, after another",
        "undone by hand",
        "theirs over ours",
        "both",
        "a bare tag",
        "nothing",
    ],
)
def test_what_a_digest_is_compared_with(
    workloads: tuple[Workload, ...], rows: tuple[WorkloadStatus, ...], expected: tuple[Digest, ...]
) -> None:
    one = scene(workloads=workloads, rows=rows, deploy=[each.name for each in workloads])
    (seen,) = one.observed().images
    assert running_beside(NEW, seen.spec, one.status.of("checkout"), seen.targets) == expected


def test_what_fails_by_now_is_no_excuse_for_its_successor() -> None:
    ours = (workload(NEW, delivered=NEW),)
    one = scene(workloads=ours, rows=(row(NEW, previous_digest=OLD),))
    (seen,) = one.observed().images
    before = one.status.of("checkout")
    assert running_beside(OTHER, seen.spec, before, seen.targets) == (NEW,)
    assert running_beside(OTHER, seen.spec, before, seen.targets, without=(NEW,)) == (OLD,)
    assert running_beside(OTHER, seen.spec, None, seen.targets, without=(NEW,)) == ()


def test_a_gate_that_is_edited_while_it_fails_goes_on_telling() -> None:
    kept = evidence(NEW, B2, said(PASS, asked="before it was edited"))
    one = scene(validated=kept, workloads=(workload(NEW, delivered=NEW),), answers={NEW: (said(FAIL),)})
    after = folded(one)
    assert after.status.downstream[0].failing == (said(FAIL),)
    assert ConditionType.RUNNING_FAILS in {condition.type for condition in after.status.conditions}


def test_what_is_told_to_fail_is_asked_about_also_when_the_base_has_moved_on() -> None:
    stored = folded(team_runs(FAIL)).status
    moved = team_runs(verdicts={NEW: Verdict.PROVEN, OTHER: Verdict.REFUTED}).observed(stored)
    assert moved.tracker.spec is not None
    assert asked_about(moved.images[0], moved, moved.tracker.spec).running == (OTHER,)


def test_our_own_delivery_whose_record_was_lost_is_no_override() -> None:
    """It went to OTHER for another base, nobody wrote that down, and NEW is the validated one again."""
    own = workload(OTHER, delivered=OTHER, writer="basetracker")
    one = scene(
        validated=evidence(), rows=(row(NEW),), workloads=(own,), verdicts={NEW: Verdict.PROVEN, OTHER: Verdict.REFUTED}
    )
    assert is_delivered(decided(one))
    theirs = replace(one, workloads=(workload(OTHER, delivered=OTHER, writer="kubectl-rollout"),))
    assert decided(theirs).plan.steps[0].reason is Reason.OVERRIDDEN


def test_what_a_webhook_made_of_our_request_is_an_override() -> None:
    """It is written in our name, but it isn't what the mark says that we delivered."""
    one = scene(validated=evidence(), rows=(row(NEW),), workloads=(workload(delivered=NEW, writer="basetracker"),))
    (step,) = decided(one).plan.steps
    assert (step.reason, step.actions) == (Reason.OVERRIDDEN, ())


def test_a_long_message_about_what_runs_is_cut_and_stays_as_it_is() -> None:
    wordy = said(FAIL, digest=OTHER).model_copy(update={"message": "x" * 900})
    one = team_runs(answers={OTHER: (wordy,)})
    first = folded(one).status
    (kept,) = first.downstream[0].failing
    assert len(kept.message) == LONGEST_MESSAGE
    assert again(one, first).happened == ()
    assert again(replace(one, answers={}), first).status.downstream[0].failing == (kept,)
