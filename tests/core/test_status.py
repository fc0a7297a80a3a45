"""The status after effects: intents, what came of each action, conditions, and requests that act once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from basetracker.api.names import BuildState, ConditionType, HistoryEvent, Reason, State, WorkloadState
from basetracker.api.status import HISTORY_LIMIT, DownstreamStatus, HistoryEntry, Status
from basetracker.core.actions import Action, CancelRun, Deliver, Outcome, StartBuild
from basetracker.core.observed import Observed
from basetracker.core.planner import LONG, decide
from basetracker.core.status import Folded, fold, with_intents

from .builders import B1, B2, FACTS, MINUTE, NEW, NOW, OLD, Scene, record, row, run, validated, workload

FRESH: dict[str, Any] = {"tag": NEW, "validated": validated()}


def after(scene: Scene, **outcome: Any) -> tuple[Folded, DownstreamStatus]:
    """The status when the plan's only action had this outcome."""
    observed = scene.observed()
    decision = decide(observed)
    (action,) = decision.plan.actions
    folded = fold(observed, decision, (Outcome(action=action, **outcome),))
    return folded, folded.status.downstream[0]


class TestBuilds:
    def test_the_intent_stands_before_the_call_and_nothing_else_changes(self) -> None:
        observed = Scene(known_base=B1).observed()
        decision = decide(observed)
        (start,) = [one for one in decision.plan.actions if isinstance(one, StartBuild)]
        status = with_intents(observed, decision, [start])
        build = status.downstream[0].build
        assert build is not None
        assert (build.state, build.run_id, build.base_digest, build.attempt) == (BuildState.REQUESTED, None, B2, 1)
        assert status.base == observed.tracker.status.base
        assert status.last_handled == observed.tracker.status.last_handled

    def test_a_new_tracker_gets_its_row_with_the_intent(self) -> None:
        observed = Scene(known_base=None).observed()
        decision = decide(observed)
        starts = [one for one in decision.plan.actions if isinstance(one, StartBuild)]
        assert with_intents(observed, decision, starts).downstream[0].build is not None

    def test_started(self) -> None:
        folded, item = after(Scene(), run=run(BuildState.QUEUED))
        assert item.build is not None
        assert (item.build.run_id, item.reason) == ("cf1", Reason.BUILD_QUEUED)
        assert [one.event for one in folded.happened] == [HistoryEvent.BUILD_STARTED]

    def test_adopted_after_it_has_ended_is_judged_by_the_next_turn(self) -> None:
        folded, item = after(Scene(), run=run(BuildState.SUCCEEDED), adopted=True)
        assert item.build is not None
        assert (item.build.state, item.build.adopted, item.reason) == (BuildState.RUNNING, True, Reason.BUILD_RUNNING)
        assert [one.event for one in folded.happened] == [HistoryEvent.BUILD_ADOPTED]

    def test_unknown(self) -> None:
        _, item = after(Scene(), error="the connection broke", unknown=True)
        assert item.build is not None
        assert (item.build.state, item.reason) == (BuildState.UNKNOWN, Reason.BUILD_UNKNOWN)
        assert item.message.endswith("looked up: the connection broke")

    def test_moved_under_it(self) -> None:
        earlier = record(BuildState.FAILED, attempt=2, next_attempt_at=NOW)
        _, item = after(Scene(record=earlier), error="the tag has moved", temporary=True)
        assert (item.build, item.state, item.reason) == (earlier, State.STALE, Reason.BASE_MOVED)

    @pytest.mark.parametrize(("denied", "state"), [(True, State.BLOCKED), (False, State.STALE)])
    def test_refused_counts_no_attempt(self, denied: bool, state: State) -> None:
        earlier = record(BuildState.FAILED, attempt=2, next_attempt_at=NOW)
        _, item = after(Scene(record=earlier), error="not now", wait=10 * MINUTE, denied=denied)
        assert item.build is not None
        assert (item.build.attempt, item.build.next_attempt_at, item.state) == (2, NOW + 10 * MINUTE, state)

    def test_invalid_counts_an_attempt(self) -> None:
        _, item = after(Scene(), error="the task has no step")
        assert item.build is not None
        assert (item.build.attempt, item.build.state) == (1, BuildState.FAILED)
        assert item.build.next_attempt_at == NOW + MINUTE

    def test_a_cancellation_that_failed_is_told(self) -> None:
        overdue = record(BuildState.RUNNING, requested_at=NOW - 61 * MINUTE)
        scene = Scene(record=overdue, run=run(BuildState.RUNNING))
        assert after(scene, error="ARM does not answer", temporary=True)[1].message.endswith("; ARM does not answer")
        assert after(scene)[1].reason is Reason.BUILD_CANCELING


class TestDeliveries:
    def test_delivered(self) -> None:
        folded, item = after(Scene(**FRESH), workload=workload(NEW, complete=False))
        (one,) = item.workloads
        assert (one.digest, one.previous_digest, one.state) == (NEW, OLD, WorkloadState.PROGRESSING)
        assert one.since == NOW
        assert item.reason is Reason.ROLLOUT_PROGRESSING
        assert [entry.event for entry in folded.happened] == [HistoryEvent.DELIVERED]

    def test_only_what_was_delivered_begins_to_roll(self) -> None:
        scene = Scene(**FRESH, deploy=("a", "b"), workloads=(workload(OLD, name="a"), workload(OLD, name="b")))
        _, item = after(scene, workload=workload(NEW, name="a", complete=False))
        assert [one.digest for one in item.workloads] == [NEW, OLD]

    def test_a_worse_reason_stays(self) -> None:
        scene = Scene(**FRESH, deploy=("a", "gone"), workloads=(workload(OLD, name="a"), None))
        _, item = after(scene, workload=workload(NEW, name="a", complete=False))
        assert item.reason is Reason.WORKLOAD_NOT_FOUND

    @pytest.mark.parametrize(
        ("outcome", "state", "reason"),
        [
            ({"temporary": True}, State.ROLLING_OUT, Reason.DELIVERING),
            ({"unknown": True}, State.ROLLING_OUT, Reason.DELIVERING),
            ({"wait": MINUTE}, State.ROLLING_OUT, Reason.DELIVERING),
            ({"wait": MINUTE, "denied": True}, State.BLOCKED, Reason.ACCESS_DENIED),
            ({}, State.BLOCKED, Reason.DELIVERY_REFUSED),
        ],
        ids=str,
    )
    def test_not_delivered(self, outcome: dict[str, Any], state: State, reason: Reason) -> None:
        _, item = after(Scene(**FRESH), error="admission says no", **outcome)
        assert (item.state, item.reason) == (state, reason)
        assert item.message.startswith("Deployment checkout: admission says no; it is ")

    def test_a_resume_stays_until_what_it_frees_is_delivered(self) -> None:
        scene = Scene(**FRESH, workloads=(workload(OLD, delivered=NEW),), resume="1")
        assert after(scene, workload=workload(NEW))[0].status.last_handled.resume == "1"
        assert after(scene, error="no")[0].status.last_handled.resume == ""
        held = replace(
            scene,
            deploy=("web", "worker"),
            workloads=(workload(OLD, name="web", delivered=NEW), workload(NEW, name="worker", complete=False)),
        )
        observed = held.observed()
        assert fold(observed, decide(observed), ()).status.last_handled.resume == ""

    def test_a_request_is_handled_once(self) -> None:
        observed = Scene(**FRESH, requested_at="1").observed()
        assert fold(observed, decide(observed), ()).status.last_handled.requested_at == "1"


class TestTheWholeStatus:
    def folded(self, scene: Scene, *outcomes: Outcome) -> Status:
        observed = scene.observed()
        return fold(observed, decide(observed), outcomes).status

    def test_a_spec_that_cant_be_read(self) -> None:
        scene = Scene(**FRESH)
        seen = scene.observed()
        broken = seen.tracker.model_copy(update={"spec": None, "problem": "spec.base: Field required"})
        observed = Observed(now=NOW, tracker=broken, base=replace(seen.base, digest=None), images=())
        decision = decide(observed)
        assert decision.plan.wake_at == NOW + LONG
        status = fold(observed, decision, ()).status
        assert [(item.type, item.status, item.reason) for item in status.conditions] == [
            (ConditionType.READY, "False", "InvalidSpec"),
            (ConditionType.STALLED, "True", "InvalidSpec"),
        ]
        assert status.downstream == seen.tracker.status.downstream
        assert status.base == seen.tracker.status.base

    def test_the_time_of_a_condition_is_that_of_its_last_change(self) -> None:
        first = self.folded(Scene(**FRESH, workloads=(workload(NEW),)))
        scene = Scene(**FRESH, workloads=(workload(NEW),), now=NOW + MINUTE)
        observed = scene.observed(first)
        assert fold(observed, decide(observed), ()).status.conditions == first.conditions
        stale = Scene(now=NOW + MINUTE).observed(first)
        assert fold(stale, decide(stale), ()).status.conditions[0].last_transition_time == NOW + MINUTE

    def test_the_base_keeps_its_time_and_tells_when_it_moves(self) -> None:
        kept = self.folded(Scene())
        assert kept.base is not None
        assert kept.base.since == NOW - MINUTE
        observed = Scene(known_base=B1).observed()
        folded = fold(observed, decide(observed), ())
        assert folded.status.base is not None
        assert (folded.status.base.digest, folded.status.base.since) == (B2, NOW)
        moved = folded.happened[0]
        assert (moved.event, moved.from_, moved.to) == (HistoryEvent.BASE_MOVED, str(B1), str(B2))

    def test_another_spec_keeps_no_digest_that_wasnt_looked_at(self) -> None:
        assert self.folded(Scene(base=None)).base is not None
        assert self.folded(Scene(base=None, generation=2)).base is None

    def test_the_history_is_bounded_and_newest_first(self) -> None:
        old = tuple(
            HistoryEntry(at=NOW - number * MINUTE, event=HistoryEvent.HEALTHY, downstream="checkout")
            for number in range(HISTORY_LIMIT)
        )
        history = self.folded(Scene(known_base=B1, history=old)).history
        assert len(history) == HISTORY_LIMIT
        assert history[0].event is HistoryEvent.BASE_MOVED

    def test_a_task_with_a_trigger_is_pointed_out_until_it_is_seen_without(self) -> None:
        triggered = replace(FACTS, base_trigger=True)
        first = self.folded(Scene(facts=triggered))
        told = next(item for item in first.conditions if item.type is ConditionType.TRIGGER_ENABLED)
        assert "contoso/build-checkout" in told.message
        for facts, count in ((triggered, 1), (None, 1), (FACTS, 0)):
            observed = Scene(facts=facts).observed(first)
            found = fold(observed, decide(observed), ()).status.conditions
            assert sum(item.type is ConditionType.TRIGGER_ENABLED for item in found) == count

    def test_an_action_has_a_key_that_names_it(self) -> None:
        overdue = record(BuildState.RUNNING, requested_at=NOW - timedelta(hours=2))
        scenes = (Scene(), Scene(**FRESH), Scene(record=overdue, run=run(BuildState.RUNNING)))
        actions: list[Action] = [decide(scene.observed()).plan.actions[0] for scene in scenes]
        assert [type(action) for action in actions] == [StartBuild, Deliver, CancelRun]
        keys = [action.key for action in actions]
        assert keys[0].startswith("build:/subscriptions/s/")
        assert keys[0].endswith(f"shop/checkout:main@{B2}#1")
        assert keys[1:] == [f"deliver:Deployment/checkout/app@{NEW}", "cancel:contoso/build-checkout/cf1"]


def test_rows_of_a_status_without_since_begin_now() -> None:
    scene = Scene(
        **FRESH, workloads=(workload(NEW, complete=False),), rows=(row(NEW, WorkloadState.PROGRESSING, since=None),)
    )
    assert decide(scene.observed()).situations[0].rows[0].status.since == NOW
