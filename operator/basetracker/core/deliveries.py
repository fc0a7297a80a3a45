"""Deliveries: one image's rows become a step, with an action for each workload that needs the digest. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from basetracker.api.names import Reason, State
from basetracker.api.status import Validated
from basetracker.api.tracker import Mode, Spec
from basetracker.core.actions import Deliver, Step
from basetracker.core.observed import Container, Observed, Workload
from basetracker.core.rewrite import change_cause, container_change, delivered_mark
from basetracker.core.rollout import Row
from basetracker.core.situation import Situation
from basetracker.oci.refs import ImageRef


def delivery_step(situation: Situation, observed: Observed, spec: Spec) -> Step | None:
    """The most urgent row's state, with every delivery that is due; None when no row needs anything."""
    urgent = [row for row in situation.rows if row.state is not State.CURRENT]
    if not urgent or situation.validated is None or situation.base is None:
        return None
    worst = min(urgent, key=lambda row: row.state.urgency)
    actions = tuple(_deliveries(situation, observed, situation.validated, situation.base))
    wakes = [row.wake for row in urgent if row.wake is not None]
    step = Step(
        state=worst.state,
        reason=worst.reason,
        message=_message(urgent, worst),
        actions=actions,
        wake=min(wakes, default=None),
    )
    if spec.rollout.mode is Mode.PLAN:
        names = ", ".join(f"{action.workload.kind} {action.workload.name}" for action in actions)
        planned = f"{names} would get {situation.validated.digest.short} (mode Plan)" if names else step.message
        state = State.STALE if names else step.state
        return step.holding(state=state, reason=Reason.PLANNED if names else step.reason, message=planned)
    return step


def _message(urgent: list[Row], worst: Row) -> str:
    same = [row for row in urgent if row.reason is worst.reason]
    return worst.message if len(same) == 1 else f"{worst.message} (and {len(same) - 1} more)"


def _deliveries(situation: Situation, observed: Observed, validated: Validated, base: ImageRef) -> Iterable[Deliver]:
    grouped: dict[tuple[str, str], tuple[Workload, list[Container]]] = {}
    for row in situation.rows:
        if row.needs_delivery and row.workload is not None and row.container is not None:
            grouped.setdefault(row.place, (row.workload, []))[1].append(row.container)
    for workload, containers in grouped.values():
        yield _deliver(situation, observed, workload, containers, validated, base)


def _deliver(
    situation: Situation,
    observed: Observed,
    workload: Workload,
    containers: list[Container],
    validated: Validated,
    base: ImageRef,
) -> Deliver:
    image = situation.seen.spec.image
    changes = tuple(container_change(one, image, validated.digest) for one in containers)
    name = observed.tracker.key.name
    return Deliver(
        downstream=situation.seen.spec.name,
        workload=workload,
        digest=validated.digest,
        containers=changes,
        delivered=delivered_mark(workload.delivered, changes, tracker=name, base=validated.base_digest),
        cause=change_cause(name, image, validated.digest, base),
    )
