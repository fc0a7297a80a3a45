"""What holds in every world: properties over drawn scenes."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from basetracker.api.names import BuildState, ConditionType, GateVerdict, State, WorkloadState
from basetracker.api.status import Status, Validated
from basetracker.core.actions import Deliver, StartBuild
from basetracker.core.gating import is_accepted
from basetracker.core.observed import Observed, Parent
from basetracker.core.planner import Decision, decide
from basetracker.core.status import fold
from basetracker.oci.lineage import Verdict

from .builders import (
    B1,
    B2,
    BASE,
    FACTS,
    MINUTE,
    NEW,
    NOW,
    OLD,
    OTHER,
    TASK,
    Scene,
    denied,
    down,
    image_spec,
    invalid,
    missing,
    output,
    record,
    row,
    run,
    tracker,
    validated,
    workload,
)

TRIED = settings(max_examples=60, deadline=None)
NAMES = ("a", "b", "c", "d")
ELDER = tracker("elder", created=NOW - 9000 * MINUTE, downstream=[image_spec(deploy=NAMES)])
DIGESTS = st.sampled_from([OLD, NEW, OTHER])
PROBLEMS = st.sampled_from([down(), denied(), missing(), invalid()])
MAYBE_PROBLEM = st.one_of(st.none(), st.none(), st.none(), PROBLEMS)
TIME = re.compile(r"\d{1,2}:\d\d|\d{4}-\d\d-\d\d|\b\d+(\.\d+)? ?(s|m|h|seconds?|minutes?|hours?)\b")


@st.composite
def runs(draw: st.DrawFn, run_id: str) -> Any:
    outputs = draw(st.sampled_from([(), output(NEW), output(OTHER)]))
    triggered = draw(st.sampled_from([(), (BASE.pinned(B2),), (BASE.pinned(B1),)]))
    state = draw(st.sampled_from(list(BuildState)))
    return run(state, run_id, outputs=outputs, triggered_by=triggered)


@st.composite
def records(draw: st.DrawFn) -> Any:
    state = draw(st.sampled_from(list(BuildState)))
    return record(
        state,
        base_digest=draw(st.sampled_from([B1, B2])),
        attempt=draw(st.integers(0, 5)),
        run_id=draw(st.sampled_from([None, "cf1"])),
        requested_at=NOW - draw(st.sampled_from([1, 3, 61])) * MINUTE,
        next_attempt_at=draw(st.sampled_from([None, NOW - MINUTE, NOW + MINUTE])),
        digest=draw(st.sampled_from([None, NEW, OTHER])) if state is BuildState.SUCCEEDED else None,
        adopted=draw(st.booleans()),
    )


@st.composite
def workloads(draw: st.DrawFn, name: str) -> Any:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.none(), PROBLEMS))
    image = draw(st.one_of(DIGESTS, st.none(), st.just("nginx:1"), st.just("not an image")))
    delivered = draw(st.one_of(st.none(), DIGESTS))
    return workload(
        image,
        name=name,
        delivered=delivered,
        tracker=draw(st.sampled_from(["python", "elder"])),
        complete=draw(st.booleans()),
        deadline_exceeded=draw(st.booleans()),
    )


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    deploy = NAMES[: draw(st.integers(0, 4))]
    rows = tuple(
        row(draw(st.one_of(st.none(), DIGESTS)), draw(st.sampled_from(list(WorkloadState))), name=name)
        for name in deploy
        if draw(st.booleans())
    )
    verdict = st.one_of(st.sampled_from(list(Verdict)), PROBLEMS)
    kept = draw(st.one_of(st.none(), st.builds(validated, DIGESTS, st.sampled_from([B1, B2]))))
    return Scene(
        base=draw(st.sampled_from([B2, B2, B2, None])),
        base_problem=draw(MAYBE_PROBLEM),
        tag=draw(st.one_of(DIGESTS, DIGESTS, st.none())),
        tag_problem=draw(MAYBE_PROBLEM),
        verdicts={one: draw(verdict) for one in (OLD, NEW, OTHER)},
        task=draw(st.sampled_from([TASK, TASK, None])),
        allowed=draw(st.booleans()),
        facts=draw(st.sampled_from([FACTS, FACTS, None])),
        run=draw(st.one_of(st.none(), runs("cf1"))),
        recent=tuple(draw(runs(name)) for name in ("cf3", "cf2")[: draw(st.integers(0, 2))]),
        builder_problem=draw(MAYBE_PROBLEM),
        record=draw(st.one_of(st.none(), records())),
        validated=kept,
        gate=draw(st.sampled_from([GateVerdict.PASS, GateVerdict.PASS, GateVerdict.FAIL])),
        workloads=tuple(draw(workloads(name)) for name in deploy),
        deploy=deploy,
        rows=rows,
        known_base=draw(st.sampled_from([B1, B2, None])),
        stale_since=draw(st.sampled_from([None, NOW - MINUTE])),
        build=draw(st.booleans()),
        mode=draw(st.sampled_from(["Apply", "Apply", "Plan"])),
        max_concurrent=draw(st.integers(1, 3)),
        accept=draw(st.sampled_from(["Proven", "Claimed"])),
        suspend=draw(st.integers(0, 9)) == 0,
        generation=draw(st.sampled_from([1, 1, 2])),
        requested_at=draw(st.sampled_from(["", "", "1"])),
        resume=draw(st.sampled_from(["", "", "1"])),
        circle=draw(st.sampled_from([(), (), (), ("a", "b", "a")])),
        parent=draw(st.sampled_from([None, None, Parent(key=tracker("os").key, downstream="python")])),
        siblings=draw(st.sampled_from([(), (ELDER,)])),
    )


def both(scene: Scene) -> tuple[Observed, Decision]:
    observed = scene.observed()
    return observed, decide(observed)


@TRIED
@given(scenes())
def test_every_image_has_a_step_with_a_sentence(scene: Scene) -> None:
    _, decision = both(scene)
    assert [len(step.message) > 0 for step in decision.plan.steps] == [True]
    assert decision.plan.wake_at >= scene.now


@TRIED
@given(scenes())
def test_hands_off_where_a_person_said_so(scene: Scene) -> None:
    _, decision = both(scene)
    assume(scene.suspend or scene.mode == "Plan" or scene.circle)
    assert decision.plan.actions == ()


@TRIED
@given(scenes())
def test_only_an_accepted_digest_for_this_base_is_delivered(scene: Scene) -> None:
    observed, decision = both(scene)
    situation = decision.situations[0]
    for action in decision.plan.actions:
        if not isinstance(action, Deliver):
            continue
        kept = situation.validated
        assert kept is not None
        assert (action.digest, kept.base_digest) == (kept.digest, observed.base.digest)
        found = situation.seen.lineages[action.digest]
        spec = observed.tracker.spec
        assert spec is not None
        stands = scene.validated == kept and scene.gate is GateVerdict.PASS and found == down()
        assert stands or is_accepted(found, spec.accept)
        assert all(one.new.endswith(f"@{kept.digest}") and one.old != one.new for one in action.containers)


@TRIED
@given(scenes())
def test_no_build_while_one_is_live_or_has_succeeded_for_this_base(scene: Scene) -> None:
    _, decision = both(scene)
    for action in decision.plan.actions:
        if not isinstance(action, StartBuild):
            continue
        left = decision.situations[0].build
        assert left is None or not left.state.is_live
        assert left is None or left.base_digest != scene.base or left.state.is_failure
        assert 1 <= action.attempt <= 5
        assert scene.allowed
        assert scene.builder_problem is None


@TRIED
@given(scenes())
def test_the_budget_holds(scene: Scene) -> None:
    _, decision = both(scene)
    rows = [one for item in decision.situations for one in item.rows]
    rolling = {one.place for one in rows if one.is_rolling}
    given_now = {
        (action.workload.kind, action.workload.name) for action in decision.plan.actions if isinstance(action, Deliver)
    }
    assert len(rolling | given_now) <= max(scene.max_concurrent, len(rolling))
    held = [one for one in rows if one.status.state is WorkloadState.STUCK and not one.needs_delivery]
    assert not held or not given_now


@TRIED
@given(scenes())
def test_deliveries_go_to_containers_that_are_ours_to_change(scene: Scene) -> None:
    _, decision = both(scene)
    for action in decision.plan.actions:
        if isinstance(action, Deliver):
            mark = action.workload.delivered.get("app")
            assert scene.siblings == ()
            assert scene.resume or mark is None or not mark.image.endswith(str(action.digest))


def stored(observed: Observed, decision: Decision) -> Status:
    """The status after a turn whose effects haven't happened, as it comes back from the cluster."""
    return Status.read(fold(observed, decision, ()).status.document())


@settings(max_examples=100, deadline=None)
@given(scenes())
def test_a_second_turn_over_the_same_world_changes_nothing(scene: Scene) -> None:
    first = stored(*both(scene))
    observed = scene.observed(first)
    assert fold(observed, decide(observed), ()).status.document() == first.document()


@TRIED
@given(scenes())
def test_conditions_are_those_of_the_contract(scene: Scene) -> None:
    observed, decision = both(scene)
    status = fold(observed, decision, ()).status
    found = {item.type: item for item in status.conditions}
    states = {step.state for step in decision.plan.steps}
    ready = found[ConditionType.READY].status
    others = set(found) - {ConditionType.READY, ConditionType.TRIGGER_ENABLED}
    if scene.mode == "Plan" or states <= {State.CURRENT, State.SUSPENDED}:
        assert (ready, others) == ("True", set())
    elif states & {State.BLOCKED, State.FAILED, State.ROLLED_BACK}:
        assert (ready, others) == ("False", {ConditionType.STALLED})
    elif states - {State.UNKNOWN, State.CURRENT, State.SUSPENDED}:
        assert (ready, others) == ("False", {ConditionType.RECONCILING})
    else:
        assert (ready, others) == ("Unknown", {ConditionType.RECONCILING})
    for item in status.conditions:
        assert not TIME.search(item.message), item.message


@TRIED
@given(scenes())
def test_stale_since_is_kept_until_current(scene: Scene) -> None:
    observed, decision = both(scene)
    item = fold(observed, decision, ()).status.downstream[0]
    if item.state is State.CURRENT:
        assert item.stale_since is None
    elif scene.known_base is not None and scene.stale_since is not None:
        assert item.stale_since == scene.stale_since
    if item.state in {State.BUILDING, State.STALE, State.FAILED} and scene.base and not decision.situations[0].is_fresh:
        assert item.stale_since is not None


@TRIED
@given(scenes())
def test_nothing_is_validated_by_a_lost_status_alone(scene: Scene) -> None:
    """Without a status only what the layers show now counts."""
    scene.known_base = None
    observed, decision = both(scene)
    kept: Validated | None = decision.situations[0].validated
    spec = observed.tracker.spec
    assert spec is not None
    if kept is not None:
        assert is_accepted(decision.situations[0].seen.lineages[kept.digest], spec.accept)
