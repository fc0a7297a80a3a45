"""Conditions as kstatus reads them: from the steps of a tracker's images. Pure; messages hold no times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from basetracker.api.names import ConditionType, Reason, State
from basetracker.api.status import Condition, GateStatus, Summary
from basetracker.api.tracker import Mode, Tracker
from basetracker.core.actions import Step
from basetracker.core.observed import ImageSeen

_IN_ORDER = {State.CURRENT, State.SUSPENDED}


def summary_of(steps: Sequence[Step]) -> Summary:
    """The tracker in a line."""
    current = sum(step.state is State.CURRENT for step in steps)
    state = min((step.state for step in steps), key=lambda item: item.urgency, default=State.BLOCKED)
    return Summary(current=current, total=len(steps), text=f"{current}/{len(steps)}", state=state)


def conditions_of(
    tracker: Tracker,
    seen: Sequence[ImageSeen],
    steps: Sequence[Step],
    failing: Mapping[str, Sequence[GateStatus]],
    now: datetime,
) -> tuple[Condition, ...]:
    """Ready always; Reconciling and Stalled while they hold; a task's own trigger where it is switched on.

    `failing` is, by the name of the image, the gate that each digest fails by now which is the validated one or runs.
    """
    found = [_ready(tracker, seen, steps)]
    is_plan = tracker.spec is not None and tracker.spec.rollout.mode is Mode.PLAN
    if tracker.spec is None:
        found.append((ConditionType.STALLED, "True", "InvalidSpec", tracker.problem))
    elif is_plan:
        pass  # it only looks and reports, so nothing is under way and nothing waits for a person
    elif any(step.state.needs_person for step in steps):
        found.append((ConditionType.STALLED, "True", *_told(seen, steps, _stalled)))
    elif any(step.state not in _IN_ORDER for step in steps):
        found.append((ConditionType.RECONCILING, "True", *_told(seen, steps, _moving)))
    if failing:
        told = "; ".join(
            f"{name}: {gate.digest.short if gate.digest is not None else 'it'} fails gate {gate.name}: {gate.message}"
            for name, gates in failing.items()
            for gate in gates
        )
        found.append((ConditionType.RUNNING_FAILS, "True", str(Reason.GATE_FAILED), told))
    message = _triggers(tracker, seen)
    if message:
        found.append((ConditionType.TRIGGER_ENABLED, "True", "BaseImageTriggerEnabled", message))
    return tuple(_kept(tracker, kind, status, reason, message, now) for kind, status, reason, message in found)


def _triggers(tracker: Tracker, seen: Sequence[ImageSeen]) -> str:
    """What is said of tasks whose own trigger is on; what was said before, while a task can't be read or isn't asked."""
    facts = [item.build.facts for item in seen if item.spec.build is not None]
    before = next((item for item in tracker.status.conditions if item.type is ConditionType.TRIGGER_ENABLED), None)
    if before is not None and None in facts:
        return before.message
    triggered = sorted({str(one.ref) for one in facts if one is not None and one.base_trigger})
    if not triggered:
        return ""
    return (
        f"ACR's own base image trigger is on for {', '.join(triggered)}: each base push starts a run of its own there; "
        "switch it off with az acr task update --base-image-trigger-enabled false"
    )


def _ready(tracker: Tracker, seen: Sequence[ImageSeen], steps: Sequence[Step]) -> tuple[ConditionType, str, str, str]:
    if tracker.spec is None:
        return ConditionType.READY, "False", "InvalidSpec", tracker.problem
    urgent = [step for step in steps if step.state not in _IN_ORDER]
    if not urgent:
        return ConditionType.READY, "True", *_settled(steps)
    if tracker.spec.rollout.mode is Mode.PLAN:
        return ConditionType.READY, "True", "Planned", _told(seen, steps, _any)[1]
    unsure = all(step.state is State.UNKNOWN for step in urgent)
    return ConditionType.READY, "Unknown" if unsure else "False", *_told(seen, steps, _any)


def _settled(steps: Sequence[Step]) -> tuple[str, str]:
    if any(step.state is State.SUSPENDED for step in steps):
        return "Suspended", "suspended"
    what = "the image is" if len(steps) == 1 else f"all {len(steps)} images are"
    return "Current", f"{what} current"


def _told(seen: Sequence[ImageSeen], steps: Sequence[Step], chosen: frozenset[State]) -> tuple[str, str]:
    """The reason and message of the most urgent step among the chosen states."""
    pairs = [pair for pair in zip(seen, steps, strict=True) if pair[1].state in chosen]
    item, step = min(pairs, key=lambda pair: pair[1].state.urgency)
    more = f" (and {len(pairs) - 1} more)" if len(pairs) > 1 else ""
    return str(step.reason), f"{item.spec.name}: {step.message}{more}"


_any = frozenset(State) - _IN_ORDER
_stalled = frozenset(state for state in State if state.needs_person)
_moving = _any - _stalled


def _kept(tracker: Tracker, kind: ConditionType, status: str, reason: str, message: str, now: datetime) -> Condition:
    """The condition with the time of its last change of status."""
    before = next((item for item in tracker.status.conditions if item.type is kind), None)
    since = before.last_transition_time if before is not None and before.status == status else now
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[:32768],
        observed_generation=tracker.generation,
        last_transition_time=since,
    )
