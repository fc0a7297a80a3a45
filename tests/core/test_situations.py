"""What follows for one image: what counts as stale, which runs count, what is delivered."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from basetracker.api.names import BuildState, Reason, State, WorkloadState
from basetracker.api.tracker import Key
from basetracker.core.actions import Deliver, StartBuild, Step
from basetracker.core.builds import SETTLE, run_token
from basetracker.core.observed import Container, Parent
from basetracker.core.planner import decide
from basetracker.oci.lineage import Verdict

from .builders import (
    B1,
    B2,
    BASE,
    IMAGE,
    MINUTE,
    NEW,
    NOW,
    OLD,
    OTHER,
    Scene,
    down,
    image_spec,
    output,
    record,
    row,
    run,
    tracker,
    validated,
    workload,
)

FRESH: dict[str, Any] = {"tag": NEW, "validated": validated()}


def step_of(scene: Scene) -> Step:
    return decide(scene.observed()).plan.steps[0]


class TestWhatIsStale:
    def test_the_first_look_judges_by_layers(self) -> None:
        assert step_of(Scene(known_base=None)).reason is Reason.BUILD_REQUESTED
        current = Scene(known_base=None, tag=NEW, workloads=(workload(NEW),))
        assert step_of(current).state is State.CURRENT

    def test_a_claim_counts_only_where_it_is_accepted(self) -> None:
        claimed = {OLD: Verdict.CLAIMED}
        assert step_of(Scene(verdicts=claimed)).reason is Reason.BUILD_REQUESTED
        accepted = Scene(verdicts=claimed, accept="Claimed", workloads=(workload(OLD),))
        assert step_of(accepted).state is State.CURRENT

    def test_an_outage_takes_nothing_back(self) -> None:
        scene = Scene(
            **FRESH, verdicts={NEW: down()}, tag_problem=down(), base_problem=down(), workloads=(workload(NEW),)
        )
        assert step_of(scene).state is State.CURRENT

    def test_an_outage_passes_nothing_under_another_spec(self) -> None:
        """It may be another image by now; the digest has to be seen there."""
        scene = Scene(**FRESH, verdicts={NEW: down()}, generation=2)
        step = step_of(scene)
        assert (step.reason, step.actions) == (Reason.REGISTRY_UNAVAILABLE, ())

    def test_a_digest_validated_for_the_earlier_base_is_stale(self) -> None:
        assert step_of(Scene(validated=validated(OLD, B1))).reason is Reason.BUILD_REQUESTED


class TestRuns:
    def test_our_own_run_isnt_foreign(self) -> None:
        started = step_of(Scene()).actions[0]
        assert isinstance(started, StartBuild)
        ours = run(BuildState.RUNNING, token=run_token(started.key))
        assert step_of(Scene(recent=(ours,))).actions == (started,)

    def test_a_run_that_acr_started_for_this_base_isnt_foreign(self) -> None:
        theirs = run(BuildState.RUNNING, automatic=True, triggered_by=(BASE.pinned(B2),))
        assert len(step_of(Scene(recent=(theirs,))).actions) == 1
        for_another = run(BuildState.RUNNING, automatic=True, triggered_by=(BASE.pinned(B1),))
        assert step_of(Scene(recent=(for_another,))).reason is Reason.FOREIGN_RUN

    def test_in_a_chain_a_run_that_acr_started_is_foreign(self) -> None:
        """It builds on what the parent's tag points to; as ours it would be the last word on another digest."""
        parent = Parent(key=Key(namespace="shop", name="parent"), downstream="base")
        theirs = run(BuildState.RUNNING, automatic=True, triggered_by=(BASE.pinned(B2),))
        assert step_of(Scene(parent=parent, recent=(theirs,))).reason is Reason.FOREIGN_RUN
        ended = replace(theirs, state=BuildState.SUCCEEDED)
        (action,) = step_of(Scene(parent=parent, recent=(ended,))).actions
        assert isinstance(action, StartBuild)

    def test_the_result_is_what_the_run_reports(self) -> None:
        scene = Scene(
            tag=OTHER,
            record=record(BuildState.RUNNING),
            run=run(BuildState.SUCCEEDED, outputs=output(NEW)),
            verdicts={NEW: Verdict.PROVEN, OTHER: Verdict.PROVEN},
        )
        (delivery,) = step_of(scene).actions
        assert isinstance(delivery, Deliver)
        assert delivery.digest == NEW

    def test_a_run_without_output_is_covered_by_a_proven_tag_alone(self) -> None:
        ran = run(BuildState.SUCCEEDED)
        proven = Scene(tag=NEW, record=record(BuildState.RUNNING), run=ran)
        assert step_of(proven).reason is Reason.DELIVERING
        for accept in ("Proven", "Claimed"):
            scene = Scene(
                tag=NEW, record=record(BuildState.RUNNING), run=ran, verdicts={NEW: Verdict.CLAIMED}, accept=accept
            )
            assert step_of(scene).reason is Reason.NO_OUTPUT

    def test_a_run_without_output_isnt_judged_in_an_outage(self) -> None:
        scene = Scene(tag=NEW, record=record(BuildState.RUNNING), run=run(BuildState.SUCCEEDED), verdicts={NEW: down()})
        assert step_of(scene).reason is Reason.REGISTRY_UNAVAILABLE

    def test_while_a_run_goes_on_the_tag_says_nothing(self) -> None:
        scene = Scene(tag=NEW, record=record(BuildState.RUNNING), run=run(BuildState.RUNNING))
        assert step_of(scene).reason is Reason.BUILD_RUNNING

    def test_a_request_that_started_nothing_counts_after_a_while(self) -> None:
        asked = record(BuildState.UNKNOWN, run_id=None, requested_at=NOW - SETTLE - timedelta(seconds=1))
        assert step_of(Scene(record=asked)).reason is Reason.RETRY_WAITING
        assert step_of(Scene(record=asked, builder_problem=down())).reason is Reason.BUILD_UNKNOWN

    @pytest.mark.parametrize("freed", [{"requested_at": "1"}, {"generation": 2}])
    def test_a_person_or_another_spec_gives_a_fresh_round(self, freed: dict[str, Any]) -> None:
        used_up = record(BuildState.FAILED, attempt=5)
        (start,) = step_of(Scene(record=used_up, **freed)).actions
        assert isinstance(start, StartBuild)
        assert start.attempt == 1

    def test_a_resume_starts_no_build(self) -> None:
        used_up = record(BuildState.FAILED, attempt=5)
        assert step_of(Scene(record=used_up, resume="1")).reason is Reason.BUILD_FAILED

    def test_another_base_gives_a_fresh_round(self) -> None:
        (start,) = step_of(Scene(record=record(BuildState.FAILED, attempt=5, base_digest=B1))).actions
        assert isinstance(start, StartBuild)
        assert start.attempt == 1

    def test_the_wait_over_the_next_attempt_comes(self) -> None:
        (start,) = step_of(Scene(record=record(BuildState.FAILED, attempt=2, next_attempt_at=NOW))).actions
        assert isinstance(start, StartBuild)
        assert start.attempt == 3
        assert start.arguments == (("BASE_IMAGE", f"contoso.azurecr.io/base/python:3.12@{B2}"),)

    def test_an_overdue_run_nobody_knows_the_task_of_is_only_followed(self) -> None:
        overdue = record(BuildState.RUNNING, requested_at=NOW - 61 * MINUTE)
        assert step_of(Scene(record=overdue, task=None, builder_problem=down())).reason is Reason.BUILD_RUNNING


class TestDeliveries:
    def test_the_patch_names_tag_and_digest_and_both_containers(self) -> None:
        text = str(IMAGE)
        both = workload(
            containers=(
                Container(name="app", image=text),
                Container(name="migrate", image=text, init=True),
                Container(name="proxy", image="envoy:1"),
            )
        )
        (delivery,) = step_of(Scene(**FRESH, workloads=(both,))).actions
        assert isinstance(delivery, Deliver)
        assert [(one.container, one.init, one.new) for one in delivery.containers] == [
            ("app", False, f"{IMAGE}@{NEW}"),
            ("migrate", True, f"{IMAGE}@{NEW}"),
        ]
        assert (
            delivery.cause
            == f"basetracker python: {IMAGE}@{NEW.short} on contoso.azurecr.io/base/python:3.12@{B2.short}"
        )

    def test_a_workload_without_a_delivery_says_so_in_the_mode_plan(self) -> None:
        scene = Scene(**FRESH, mode="Plan", deploy=("web", "gone"), workloads=(workload(OLD, name="web"), None))
        step = step_of(scene)
        assert (step.state, step.reason) == (State.STALE, Reason.PLANNED)

    def test_a_row_keeps_what_it_was_while_the_cluster_is_down(self) -> None:
        kept = row(OLD, WorkloadState.PROGRESSING)
        decision = decide(Scene(**FRESH, workloads=(down(),), rows=(kept,)).observed())
        (found,) = decision.situations[0].rows
        assert (found.status, found.is_rolling) == (kept, True)

    def test_several_of_one_kind_are_counted(self) -> None:
        scene = Scene(**FRESH, deploy=("a", "b"), workloads=(None, None))
        assert step_of(scene).message.endswith("(and 1 more)")


def test_another_trackers_claims_on_other_workloads_dont_matter() -> None:
    elder = tracker("elder", created=NOW - timedelta(days=9), downstream=[image_spec(deploy=("billing",))])
    assert step_of(Scene(**FRESH, siblings=(elder,))).reason is Reason.DELIVERING


def test_a_younger_trackers_claim_holds_nothing() -> None:
    assert step_of(Scene(**FRESH, siblings=(tracker("younger", created=NOW),))).reason is Reason.DELIVERING
