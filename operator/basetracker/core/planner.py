"""The planner: from what was seen to the plan. Rules decide for each image, budgets are laid over their steps. Pure.

`explain` and Plan mode stop here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from basetracker.api.names import Reason, State, WorkloadState
from basetracker.api.tracker import Mode, Spec
from basetracker.core.actions import Action, Deliver, Plan, Step
from basetracker.core.case import Case
from basetracker.core.observed import Observed
from basetracker.core.protection import kept_locked, protections
from basetracker.core.rules import next_step
from basetracker.core.situation import Situation, situation_of
from basetracker.core.unlocking import unlocks

LONG = timedelta(days=1)
"""When to wake where nothing is polled; a changed spec pokes at once anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The plan with what it follows from; the status is written from both."""

    situations: tuple[Situation, ...]
    plan: Plan


def decide(observed: Observed) -> Decision:
    """What to do next for this tracker; a spec that can't be read comes to an empty plan."""
    spec = observed.tracker.spec
    if spec is None:
        return Decision(situations=(), plan=Plan(steps=(), wake_at=observed.now + LONG))
    situations = tuple(situation_of(seen, observed, spec) for seen in observed.images)
    steps = [next_step(Case(situation=item, observed=observed, spec=spec)) for item in situations]
    if spec.rollout.mode is Mode.PLAN:
        steps = [replace(step, actions=()) for step in steps]
    budgeted = tuple(
        replace(step, actions=(*step.actions, *protections(item, observed.tracker.key, spec)))
        for step, item in zip(_within_budget(steps, situations, spec), situations, strict=True)
    )
    wanted = [image for item in situations for image in kept_locked(item, spec)]
    plan = Plan(
        steps=budgeted,
        wake_at=_wake(observed, budgeted, spec),
        unlocks=unlocks(observed.tracker, spec, wanted),
    )
    return Decision(situations=situations, plan=plan)


def _within_budget(steps: list[Step], situations: tuple[Situation, ...], spec: Spec) -> tuple[Step, ...]:
    """The steps with only those deliveries that `maxConcurrent` allows, and none while a rollout is stuck.

    A rollout counts until it ends, also one of an earlier digest; a stuck one holds all but what replaces it.
    """
    rows = [row for item in situations for row in item.rows]
    rolling = {row.place for row in rows if row.is_rolling}
    stuck = [row.status for row in rows if row.status.state is WorkloadState.STUCK and not row.needs_delivery]
    hold = f"validated, but waits until {stuck[0].kind} {stuck[0].name}, which is stuck, is healthy" if stuck else ""
    kept: list[Step] = []
    for step in steps:
        actions: list[Action] = []
        waiting = 0
        for action in step.actions:
            if not isinstance(action, Deliver):
                actions.append(action)
                continue
            place = (action.workload.kind, action.workload.name)
            if not hold and (place in rolling or len(rolling) < spec.rollout.max_concurrent):
                rolling.add(place)
                actions.append(action)
            else:
                waiting += 1
        kept.append(_trimmed(step, tuple(actions), waiting, hold))
    return tuple(kept)


def _trimmed(step: Step, actions: tuple[Action, ...], waiting: int, hold: str) -> Step:
    if waiting and not actions and step.reason is Reason.DELIVERING:
        message = hold or "validated and waits for its turn: rollout.maxConcurrent workloads are rolling out"
        return step.holding(state=State.ROLLING_OUT, reason=Reason.DELIVERY_WAITING, message=message)
    return replace(step, actions=actions)


def _wake(observed: Observed, steps: tuple[Step, ...], spec: Spec) -> datetime:
    if spec.suspend:
        return observed.now + LONG
    dues = [observed.base.due, *(seen.tag.due for seen in observed.images)]
    dues += [seen.gates_due for seen in observed.images if seen.gates_due is not None]
    wakes = [step.wake for step in steps if step.wake is not None]
    return max(min([*dues, *wakes]), observed.now)
