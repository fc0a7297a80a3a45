"""The status: folded from what was seen, what was decided and what came of it. Pure.

Nothing changes in it while nothing changes in the world, so that comparing it with the stored one says whether to write.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from basetracker.api.names import BuildState, GateVerdict, Reason, State, WorkloadState
from basetracker.api.status import (
    HISTORY_LIMIT,
    BaseStatus,
    BuildStatus,
    DownstreamStatus,
    GateStatus,
    HistoryEntry,
    LastHandled,
    Latest,
    Status,
    WorkloadStatus,
)
from basetracker.core.actions import Deliver, Outcome, Protect, StartBuild, Step
from basetracker.core.builds import failed, progress, record_of, refused, request_of, setback
from basetracker.core.conditions import conditions_of, summary_of
from basetracker.core.history import entries_between
from basetracker.core.observed import Observed
from basetracker.core.planner import Decision
from basetracker.core.protection import protected_after
from basetracker.core.rollout import Row, image_of
from basetracker.core.situation import Situation, stale_since
from basetracker.core.unlocking import unlocking_after
from basetracker.core.validation import is_respecified
from basetracker.oci.lineage import Lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """The new status and what has happened since the stored one, oldest first."""

    status: Status
    happened: tuple[HistoryEntry, ...]


def fold(observed: Observed, decision: Decision, outcomes: tuple[Outcome, ...]) -> Folded:
    """The status after this turn."""
    tracker = observed.tracker
    before = tracker.status
    told = [
        _after(step, situation, [item for item in outcomes if item.action in step.actions], observed)
        for step, situation in zip(decision.plan.steps, decision.situations, strict=True)
    ]
    steps = [step for step, _ in told]
    downstream = tuple(item for _, item in told) if tracker.spec is not None else before.downstream
    after = Status(
        observed_generation=tracker.generation,
        conditions=conditions_of(tracker, observed.images, steps, failing_gates(decision), observed.now),
        base=_base(observed),
        summary=summary_of(steps),
        downstream=downstream,
        unlocking=unlocking_after(
            tracker, [item for item in outcomes if item.action in decision.plan.unlocks], downstream
        ),
        history=before.history,
        last_handled=_handled(observed, decision, outcomes),
    )
    happened = entries_between(before, after, outcomes, observed.now)
    history = (*reversed(happened), *before.history)[:HISTORY_LIMIT]
    return Folded(status=after.model_copy(update={"history": history}), happened=happened)


def failing_gates(decision: Decision) -> dict[str, tuple[GateStatus, ...]]:
    """By the name of the image, the gate that each digest fails by now which is the validated one or runs."""
    return {item.seen.spec.name: gates for item in decision.situations if (gates := _with_rebuild_told(item))}


def _with_rebuild_told(situation: Situation) -> tuple[GateStatus, ...]:
    """What runs and fails by now; with the word that a rebuild, where there was one, has not helped."""
    gate, build = situation.fails_since, situation.build
    if gate is None or build is None or build.state is not BuildState.SUCCEEDED or situation.successor is not None:
        return situation.running_fails
    if build.replaces is None or build.replaces != gate.digest:
        return situation.running_fails
    made = build.digest.short if build.digest is not None else "no image"
    said = next(
        (one for one in situation.gates if one.verdict is GateVerdict.FAIL and one.digest == build.digest), None
    )
    why = f": gate {said.name}: {said.message}" if said is not None else ""
    message = (
        f"{gate.message}; run {build.run_id} built it once more and made {made}, which doesn't take its place{why}"
    )
    return (gate.model_copy(update={"message": message}), *situation.failing)


def with_intents(observed: Observed, decision: Decision, actions: Iterable[StartBuild]) -> Status:
    """The stored status with the intent to start these builds, to be written before any of the calls.

    Nothing else of it changes: what this turn has seen is told when it ends, or by the next one if it doesn't.
    """
    rows = {item.name: item for item in observed.tracker.status.downstream}
    for step, situation in zip(decision.plan.steps, decision.situations, strict=True):
        rows.setdefault(situation.seen.spec.name, _after(step, situation, [], observed)[1])
    intents = {
        action.downstream: request_of(action, base, BuildState.REQUESTED, observed.now)
        for action in actions
        if (base := action.base.digest) is not None
    }
    for name, intent in intents.items():
        rows[name] = rows[name].model_copy(update={"build": intent})
    return observed.tracker.status.model_copy(update={"downstream": tuple(rows.values())})


def _base(observed: Observed) -> BaseStatus | None:
    digest = observed.base.digest
    before = observed.tracker.status.base
    if digest is None:
        # Without a look, and under another spec, it may be the digest of another base image.
        return None if observed.tracker.spec is not None and is_respecified(observed.tracker) else before
    since = before.since if before is not None and before.digest == digest else observed.now
    return BaseStatus(digest=digest, short_digest=digest.short, since=since)


def _after(
    step: Step, situation: Situation, outcomes: list[Outcome], observed: Observed
) -> tuple[Step, DownstreamStatus]:
    build = situation.build
    spec = observed.tracker.spec
    rows = [(row, row.status) for row in situation.rows]
    for outcome in outcomes:
        match outcome.action:
            case StartBuild():
                build = _build_after(build, outcome.action, outcome, observed)
            case Deliver():
                rows = [(row, _row_after(row, status, outcome, observed)) for row, status in rows]
        if not isinstance(outcome.action, Protect):  # a lock that fails holds nothing; the status says so
            step = _step_after(step, build, outcome)
    latest = situation.seen.tag.digest
    found = situation.latest
    before = situation.before
    return step, DownstreamStatus(
        name=situation.seen.spec.name,
        state=step.state,
        reason=step.reason,
        message=step.message,
        lineage=found.verdict if isinstance(found, Lineage) else (before.lineage if before else None),
        stale_since=stale_since(situation, step.state, observed.now),
        latest=Latest(digest=latest) if latest is not None else (before.latest if before else None),
        validated=situation.validated,
        build=build,
        gates=situation.gates,
        workloads=tuple(status for _, status in rows),
        failing=situation.failing,
        rejected=before.rejected if before else (),
        protected=protected_after(situation, outcomes, spec) if spec is not None else (),
    )


def _build_after(
    build: BuildStatus | None, action: StartBuild, outcome: Outcome, observed: Observed
) -> BuildStatus | None:
    base = action.base.digest
    if base is None or outcome.temporary:
        return build
    asked = request_of(action, base, BuildState.UNKNOWN, observed.now)
    if outcome.run is not None:
        return record_of(outcome.run, asked, adopted=outcome.adopted)
    if outcome.unknown:
        return asked.model_copy(update={"message": outcome.error})
    if outcome.wait is not None:
        return refused(build, asked, outcome.error, observed.now, outcome.wait)
    return failed(asked, outcome.error, BuildState.FAILED, observed.now)


def _row_after(row: Row, status: WorkloadStatus, outcome: Outcome, observed: Observed) -> WorkloadStatus:
    action = outcome.action
    if not isinstance(action, Deliver) or outcome.workload is None:
        return status
    is_place = (action.workload.kind, action.workload.name) == row.place
    if not is_place or status.container not in {change.container for change in action.containers}:
        return status
    image = image_of(row.container) if row.container is not None else None
    return status.model_copy(
        update={
            "digest": action.digest,
            "previous_digest": image.digest if image is not None else None,
            "state": WorkloadState.PROGRESSING,
            "since": observed.now,
        }
    )


def _step_after(step: Step, record: BuildStatus | None, outcome: Outcome) -> Step:
    """The step's words after an action: an error is told where it happened."""
    if isinstance(outcome.action, Deliver):
        name = f"{outcome.action.workload.kind} {outcome.action.workload.name}"
        if outcome.workload is not None:
            if step.reason is not Reason.DELIVERING:
                return step
            return replace(step, reason=Reason.ROLLOUT_PROGRESSING, message=f"{name} is rolling out")
        if outcome.temporary or outcome.unknown or (outcome.wait is not None and not outcome.denied):
            return replace(step, message=f"{name}: {outcome.error}; it is looked at again")
        reason = Reason.ACCESS_DENIED if outcome.denied else Reason.DELIVERY_REFUSED
        return replace(step, state=State.BLOCKED, reason=reason, message=f"{name}: {outcome.error}; it is tried again")
    if isinstance(outcome.action, StartBuild):
        return _build_step_after(step, record, outcome)
    return step if not outcome.error else replace(step, message=f"{step.message}; {outcome.error}")


def _build_step_after(step: Step, record: BuildStatus | None, outcome: Outcome) -> Step:
    """In the words that the rules will have for it in the next turn, so that it has nothing to write."""
    if outcome.temporary or record is None:
        message = f"no run was started: {outcome.error}"
        return replace(step, state=State.STALE, reason=Reason.BASE_MOVED, message=message)
    if record.state.is_live:
        reason, message = progress(record)
        return replace(step, reason=reason, message=f"{step.message.rpartition('; ')[0]}; {message}")
    if outcome.denied:
        return replace(step, state=State.BLOCKED, reason=Reason.ACCESS_DENIED, message=setback(record))
    return replace(step, state=State.STALE, reason=Reason.RETRY_WAITING, message=setback(record))


def _handled(observed: Observed, decision: Decision, outcomes: tuple[Outcome, ...]) -> LastHandled:
    """A resume is handled once nothing that it frees still waits for its turn."""
    before = observed.tracker.status.last_handled
    done = {
        (item.action.workload.kind, item.action.workload.name, change.container)
        for item in outcomes
        if isinstance(item.action, Deliver) and item.workload is not None
        for change in item.action.containers
    }
    waiting = any(
        item.fails_since is None and row.needs_delivery and (*row.place, row.status.container) not in done
        for item in decision.situations
        for row in item.rows
    )
    held = waiting and observed.tracker.resume != before.resume
    return LastHandled(
        requested_at=observed.tracker.requested_at, resume=before.resume if held else observed.tracker.resume
    )
