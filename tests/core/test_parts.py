"""The small functions: builds, sources of lineage, rollouts, gates and what is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from basetracker.api.gates import Accept
from basetracker.api.names import BuildState, GateVerdict, HistoryEvent, Reason, State, WorkloadState
from basetracker.api.status import BaseStatus, BuildStatus, DownstreamStatus, HistoryEntry, Status, Validated
from basetracker.core.actions import StartBuild, build_key
from basetracker.core.builds import (
    LONGEST_WAIT,
    MAX_ATTEMPTS,
    existing_run,
    followed,
    output_digest,
    own_run,
    progress,
    run_token,
    wait_after,
)
from basetracker.core.case import Case
from basetracker.core.gating import lineage_gate, passes, pends
from basetracker.core.history import sentence, workload_name
from basetracker.core.observed import BuildSeen, Delivered, TargetSeen
from basetracker.core.planner import decide
from basetracker.core.rollout import is_complete, previous_digest, was_delivered
from basetracker.core.rules import RULES
from basetracker.core.situation import situation_of
from basetracker.core.sources import claims_about, digests_of_interest, earlier_bases
from basetracker.core.validation import remembered_digest
from basetracker.oci.lineage import Claim, ClaimSource, Verdict
from basetracker.oci.refs import parse_image

from .builders import (
    B1,
    B2,
    BASE,
    FACTS,
    IMAGE,
    MINUTE,
    NEW,
    NOW,
    OLD,
    OTHER,
    TASK,
    Scene,
    denied,
    digest,
    down,
    image_spec,
    lineage,
    output,
    record,
    row,
    run,
    tracker,
    validated,
    workload,
)
from .test_properties import scenes

PINNED = BASE.pinned(B2)
KEY = build_key(TASK, IMAGE, B2, 1)
ACTION = StartBuild(
    downstream="checkout", task=TASK, image=IMAGE, base=PINNED, tag=OLD, attempt=2, arguments=(), values=()
)


@settings(max_examples=40, deadline=None)
@given(scenes())
def test_each_rule_answers_or_is_silent_wherever_it_stands(scene: Scene) -> None:
    observed = scene.observed()
    spec = observed.tracker.spec
    assert spec is not None
    situation = situation_of(observed.images[0], observed, spec)
    case = Case(situation=situation, observed=observed, spec=spec)
    for rule in RULES:
        step = rule(case)
        assert step is None or isinstance(step.state, State)


def test_each_reason_for_silence_of_the_last_rules() -> None:
    """A stale image is no matter of the rules for fresh ones, and the other way round."""
    for scene, silent in (
        (Scene(task=None), {"deliveries", "current", "build_due"}),
        (Scene(build=False), {"build_due"}),
    ):
        observed = scene.observed()
        spec = observed.tracker.spec
        assert spec is not None
        case = Case(situation=situation_of(observed.images[0], observed, spec), observed=observed, spec=spec)
        assert {rule.__name__ for rule in RULES if rule(case) is None} >= silent


class TestBuilds:
    def test_waits_grow_to_half_an_hour(self) -> None:
        waits = [wait_after(number) for number in range(1, 8)]
        assert waits == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 16 * MINUTE, LONGEST_WAIT, LONGEST_WAIT]

    def test_the_last_attempt_has_no_next(self) -> None:
        live = record(BuildState.RUNNING, attempt=MAX_ATTEMPTS)
        seen = BuildSeen(task=TASK, run=run(BuildState.FAILED))
        assert self.follow(live, seen).next_attempt_at is None

    def follow(self, one: BuildStatus, seen: BuildSeen, now: datetime = NOW) -> BuildStatus:
        return followed(one, seen=seen, image=IMAGE, base=PINNED, timeout=timedelta(hours=1), now=now)

    def test_a_run_that_is_gone_has_failed(self) -> None:
        live = record(BuildState.RUNNING)
        assert self.follow(live, BuildSeen(task=TASK)).state is BuildState.FAILED
        assert self.follow(live, BuildSeen(task=TASK, problem=down())) == live
        assert self.follow(live, BuildSeen()) == live

    @pytest.mark.parametrize(
        ("state", "minutes", "message", "found"),
        [
            (BuildState.FAILED, 1, "exit code 7", (BuildState.FAILED, "exit code 7")),
            (BuildState.FAILED, 1, "", (BuildState.FAILED, "run cf1 ended as Failed")),
            (BuildState.CANCELED, 1, "", (BuildState.CANCELED, "run cf1 ended as Canceled")),
            (BuildState.CANCELED, 61, "", (BuildState.TIMED_OUT, "run cf1 was ended because it took too long")),
            (BuildState.TIMED_OUT, 1, "", (BuildState.TIMED_OUT, "run cf1 ended as TimedOut")),
        ],
    )
    def test_how_a_run_ended(self, state: BuildState, minutes: int, message: str, found: tuple[object, str]) -> None:
        live = record(BuildState.RUNNING, requested_at=NOW - minutes * MINUTE)
        ended = self.follow(live, BuildSeen(task=TASK, run=run(state, message=message, finished=NOW)))
        assert (ended.state, ended.message) == found

    def test_our_own_run_is_known_by_its_token(self) -> None:
        asked = record(BuildState.UNKNOWN, run_id=None)
        ours = run(BuildState.RUNNING, "cf7", token=run_token(KEY))
        seen = BuildSeen(task=TASK, recent=(run(BuildState.RUNNING, "cf8", token="another"), ours))
        assert own_run(asked, seen, IMAGE, PINNED) == ours
        assert own_run(asked, BuildSeen(), IMAGE, PINNED) is None
        assert self.follow(asked, seen).run_id == "cf7"

    def test_where_tokens_arent_echoed_the_first_since_the_request_is_ours(self) -> None:
        asked = record(BuildState.UNKNOWN, run_id=None)
        late, first = run(BuildState.RUNNING, "cf9"), run(BuildState.RUNNING, "cf8")
        others = run(BuildState.RUNNING, "cf6", automatic=True), run(BuildState.RUNNING, "cf5", token="another")
        before = run(BuildState.RUNNING, "cf4", created=NOW - 9 * MINUTE)
        seen = BuildSeen(task=TASK, recent=(late, first, *others, before))
        assert own_run(asked, seen, IMAGE, PINNED) == first
        assert own_run(asked, replace(seen, recent=(*others, before)), IMAGE, PINNED) is None
        timeless = asked.model_copy(update={"requested_at": None})
        assert own_run(timeless, seen, IMAGE, PINNED) is None

    def test_which_run_makes_another_needless(self) -> None:
        def needless(*runs: Any, by_tag: bool = True) -> object:
            return existing_run(runs, replace(ACTION, by_tag=by_tag))

        ours = run(BuildState.SUCCEEDED, token=run_token(KEY))
        assert needless(ours) == ours
        assert needless(replace(ours, state=BuildState.FAILED)) is None
        theirs = run(BuildState.RUNNING, triggered_by=(PINNED,))
        assert needless(theirs) == theirs
        assert needless(replace(theirs, state=BuildState.SUCCEEDED)) is None
        assert needless(replace(theirs, triggered_by=(BASE.pinned(B1),))) is None
        assert needless(theirs, by_tag=False) is None, "it builds on what the tag points to"
        assert needless(theirs, ours, by_tag=False) == ours

    def test_the_key_is_one_however_the_task_is_spelled(self) -> None:
        shouted = replace(TASK, registry=TASK.registry.upper(), name=TASK.name.upper())
        assert build_key(shouted, IMAGE, B2, 1) == KEY

    def test_which_digest_a_run_has_made(self) -> None:
        other_tag = parse_image("contoso.azurecr.io/shop/checkout:build-7")
        stranger = parse_image("contoso.azurecr.io/shop/other:main").pinned(OTHER)
        ran = run(BuildState.SUCCEEDED, outputs=(*output(OLD, other_tag), *output(NEW), stranger))
        assert output_digest(ran, IMAGE) == NEW
        assert output_digest(replace(ran, outputs=(*output(OLD, other_tag), stranger)), IMAGE) == OLD
        assert output_digest(replace(ran, outputs=(*output(OLD, other_tag), *output(NEW, other_tag))), IMAGE) is None
        assert output_digest(replace(ran, outputs=(IMAGE,)), IMAGE) is None

    def test_a_known_run_in_an_unknown_state_is_named(self) -> None:
        assert "how run cf1" in progress(record(BuildState.UNKNOWN))[1]


class TestSources:
    def test_bases_that_came_before(self) -> None:
        moved = HistoryEntry(at=NOW, event=HistoryEvent.BASE_MOVED, from_=str(digest("0")), to=str(B1))
        other = HistoryEntry(at=NOW, event=HistoryEvent.HEALTHY, to="nothing")
        item = DownstreamStatus(
            name="checkout",
            state=State.CURRENT,
            reason=Reason.CURRENT,
            message="",
            validated=validated(OLD, digest("v")),
            build=record(BuildState.SUCCEEDED, base_digest=digest("b")),
        )
        empty = item.model_copy(update={"validated": None, "build": None})
        base = BaseStatus(digest=B2, short_digest=B2.short, since=NOW)
        status = Status(base=base, history=(other, moved), downstream=(empty, item))
        assert earlier_bases(status, B2) == (B1, digest("0"), digest("v"), digest("b"))
        assert earlier_bases(Status(), B2) == ()

    def test_claims(self) -> None:
        spec = tracker().spec
        assert spec is not None
        item, facts = spec.downstream[0], replace(FACTS, dependencies=(PINNED, IMAGE.pinned(B1), BASE))
        acr = Claim(source=ClaimSource.ACR, base=B2)
        ours = Claim(source=ClaimSource.BUILD, base=B2)

        def claims(one: Any, build: BuildStatus | None, seen: BuildSeen, spec: Any = item) -> tuple[Claim, ...]:
            kept = DownstreamStatus(name="checkout", state=State.STALE, reason=Reason.NO_BUILD, message="", build=build)
            return claims_about(one, spec, kept, seen, NEW, BASE)

        made = record(BuildState.SUCCEEDED, digest=NEW)
        assert claims(NEW, made, BuildSeen(facts=facts)) == (ours, acr)
        assert claims(NEW, made.model_copy(update={"adopted": True}), BuildSeen()) == ()
        assert claims(OLD, made, BuildSeen(facts=facts)) == ()
        blind = tracker(downstream=[{**image_spec(), "build": {"acrTask": {"name": "build-checkout"}}}]).spec
        assert blind is not None
        assert claims(NEW, made, BuildSeen(), blind.downstream[0]) == ()
        assert claims_about(NEW, item, None, BuildSeen(), NEW, BASE) == ()

    def test_digests_worth_reading(self) -> None:
        spec = tracker().spec
        assert spec is not None
        item = spec.downstream[0]
        target = item.deploy[0]
        kept = DownstreamStatus(
            name="checkout",
            state=State.STALE,
            reason=Reason.NO_BUILD,
            message="",
            validated=validated(digest("v")),
            build=record(BuildState.SUCCEEDED, digest=digest("b")),
        )
        ran = run(BuildState.SUCCEEDED, outputs=output(digest("r")))
        seen = (TargetSeen(target=target, workload=workload(OTHER)), TargetSeen(target=target))
        found = digests_of_interest(item, kept, NEW, ran, seen, OLD)
        assert found == (NEW, OLD, digest("v"), digest("b"), digest("r"), OTHER)
        assert digests_of_interest(item, None, None, None, (), None) == ()

    def test_what_was_validated_for_a_base_is_remembered(self) -> None:
        entry = HistoryEntry(at=NOW, downstream="checkout", event=HistoryEvent.VALIDATED, to=str(OLD), reason=str(B1))
        observed = Scene(history=(entry,)).observed()
        assert remembered_digest(observed, "checkout", B1) == OLD
        assert remembered_digest(observed, "checkout", B2) is None
        assert remembered_digest(observed, "other", B1) is None

    def test_a_task_without_base_argument_is_given_none(self) -> None:
        scene = Scene()
        (action,) = _actions(scene)
        assert dict(action.arguments) == {"BASE_IMAGE": str(PINNED)}
        spec = scene.observed().images[0].spec
        assert spec.build is not None
        plain = spec.build.acr_task.model_copy(update={"base_argument": None})
        observed = scene.observed()
        changed = spec.model_copy(update={"build": spec.build.model_copy(update={"acr_task": plain})})
        seen = replace(observed, images=(replace(observed.images[0], spec=changed),))
        (bare,) = decide(seen).plan.actions
        assert bare.arguments == ()  # type: ignore[union-attr]  # it is a StartBuild


def _actions(scene: Scene) -> Any:
    return decide(scene.observed()).plan.actions


class TestRollouts:
    @pytest.mark.parametrize(
        ("counts", "complete"),
        [
            ({}, True),
            ({"generation": 2}, False),
            ({"updated": 1}, False),
            ({"total": 3}, False),
            ({"available": 1}, False),
            ({"desired": 0, "updated": 0, "total": 0, "available": 0}, True),
        ],
        ids=str,
    )
    def test_complete(self, counts: dict[str, Any], complete: bool) -> None:
        base = workload(NEW)
        assert is_complete(replace(base, rollout=replace(base.rollout, **counts))) is complete

    def test_marks_that_name_no_image_tell_nothing(self) -> None:
        odd = replace(
            workload(OLD), delivered={"app": Delivered(tracker="python", base=str(B2), image="NO", previous="NO")}
        )
        app = odd.containers[0]
        assert not was_delivered(odd, app, None, validated())
        assert previous_digest(odd, app, row(OLD)) is None
        assert was_delivered(odd, app, row(NEW), validated())
        assert previous_digest(workload(OLD), app, row(OLD, previous_digest=OTHER)) == OTHER
        assert previous_digest(workload(OLD), app, None) is None


class TestGates:
    def test_no_answer_is_no_pass(self) -> None:
        assert not passes(())
        unread = lineage_gate(None, Accept.PROVEN)
        assert (unread.verdict, passes((unread,)), pends((unread,))) == (GateVerdict.PENDING, False, True)

    @pytest.mark.parametrize(
        ("verdict", "accept", "passed"),
        [
            (Verdict.PROVEN, Accept.PROVEN, True),
            (Verdict.CLAIMED, Accept.PROVEN, False),
            (Verdict.CLAIMED, Accept.CLAIMED, True),
            (Verdict.UNKNOWN, Accept.CLAIMED, False),
            (Verdict.REFUTED, Accept.CLAIMED, False),
        ],
    )
    def test_what_is_accepted(self, verdict: Verdict, accept: Accept, passed: bool) -> None:
        assert passes((lineage_gate(lineage(NEW, verdict), accept),)) is passed

    def test_a_problem_passes_nothing(self) -> None:
        assert lineage_gate(down(), Accept.CLAIMED).verdict is GateVerdict.PENDING
        assert lineage_gate(denied(), Accept.CLAIMED).verdict is GateVerdict.FAIL


RUNS = {HistoryEvent.BUILD_STARTED: ("", "cf1"), HistoryEvent.BUILD_ADOPTED: ("", "cf1")}
FROM_RUN = {HistoryEvent.BUILD_SUCCEEDED: ("cf1", str(NEW))}
PLAIN = {
    HistoryEvent.BUILD_FAILED,
    HistoryEvent.REJECTED,
    HistoryEvent.FAILS_SINCE,
    HistoryEvent.STUCK,
    HistoryEvent.OVERRIDDEN,
}


@pytest.mark.parametrize("event", HistoryEvent)
def test_every_event_is_a_sentence_with_its_digests(event: HistoryEvent) -> None:
    old, new = {**RUNS, **FROM_RUN}.get(event, (str(OLD), str(NEW)))
    reason = str(B2) if event is HistoryEvent.VALIDATED else "Deployment checkout/app"
    entry = HistoryEntry(at=NOW, downstream="checkout", event=event, from_=old, to=new, reason=reason)
    text = sentence(entry)
    assert (NEW.short in text) is (event not in PLAIN and event not in RUNS)
    assert ("cf1" in text) is (event in RUNS or event in FROM_RUN)
    assert "sha256" not in text
    assert text.startswith("checkout: ") is (event is not HistoryEvent.BASE_MOVED)


def test_the_workload_of_an_event() -> None:
    entry = HistoryEntry(at=NOW, event=HistoryEvent.HEALTHY, reason="Deployment web/app is healthy")
    assert workload_name(entry) == "web"
    assert workload_name(entry.model_copy(update={"reason": "odd"})) == ""


def test_a_row_that_has_moved_is_followed_anew() -> None:
    """Healthy with another digest says nothing of this one."""
    kept = Validated(digest=NEW, base_digest=B2, at=NOW)
    scene = Scene(tag=NEW, validated=kept, workloads=(workload(NEW, complete=False),), rows=(row(OLD),))
    assert decide(scene.observed()).situations[0].rows[0].status.state is WorkloadState.PROGRESSING
