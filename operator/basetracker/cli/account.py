"""The account that `explain` gives, as a document: what was seen, what is decided, why, and what would happen next.

Owns the form of `explain --output json`, whose keys are always there. Decides nothing: all of it is the core's answer.
What couldn't be read from here isn't taken for the operator's own trouble: then the stored status speaks, and is named
as the source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, assert_never

from basetracker.api.duration import format_duration
from basetracker.api.names import Reason, State
from basetracker.api.status import DownstreamStatus, Protected, Status, Unlocking, format_time
from basetracker.api.tracker import Mode, Spec
from basetracker.cli.looking import for_a_person
from basetracker.core.actions import Action, CancelRun, Deliver, Protect, StartBuild, Step
from basetracker.core.builds import existing_run
from basetracker.core.observed import ImageSeen, Observed, Problem, ProblemKind
from basetracker.core.planner import Decision, decide
from basetracker.core.relations import children_of
from basetracker.core.rollout import Row, image_of
from basetracker.core.situation import Situation
from basetracker.core.sources import earlier_bases
from basetracker.core.status import fold
from basetracker.oci.lineage import Lineage, Verdict
from basetracker.oci.refs import Digest

Json = dict[str, Any]
IN_ORDER = {str(State.CURRENT), str(State.SUSPENDED)}
_HERE = {ProblemKind.DENIED, ProblemKind.UNAVAILABLE}
"""What may be so for whoever looks from here, and not for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What was seen and what it comes to; `intended` is the decision with mode Apply."""

    observed: Observed
    decision: Decision
    intended: Decision
    notes: tuple[str, ...]


def view_of(observed: Observed, notes: Iterable[str]) -> View:
    """The decisions about what was seen."""
    decision = decide(observed)
    spec = observed.tracker.spec
    intended = decision
    if spec is not None and spec.rollout.mode is Mode.PLAN:
        applied = spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"mode": Mode.APPLY})})
        tracker = observed.tracker.model_copy(update={"spec": applied})
        intended = decide(replace(observed, tracker=tracker))
    return View(observed=observed, decision=decision, intended=intended, notes=tuple(notes))


def account(view: View) -> Json:
    """The whole account."""
    observed, tracker = view.observed, view.observed.tracker
    folded = fold(observed, view.decision, ()).status
    images = [
        _image(view, folded, *parts)
        for parts in zip(view.decision.situations, view.decision.plan.steps, view.intended.plan.steps, strict=True)
    ]
    return {
        "tracker": {
            "namespace": tracker.key.namespace,
            "name": tracker.key.name,
            "generation": tracker.generation,
            "observedGeneration": tracker.status.observed_generation,
            "mode": str(tracker.spec.rollout.mode) if tracker.spec else None,
            "suspended": tracker.spec.suspend if tracker.spec else None,
            "accept": str(tracker.spec.accept) if tracker.spec else None,
            "problem": tracker.problem or None,
        },
        "seenAt": format_time(observed.now),
        "summary": _summary(images),
        "base": _base(observed, tracker.spec) if tracker.spec else None,
        "chain": _chain(observed),
        "images": images,
        "locks": _locks(tracker.status),
        "conditions": [
            {"type": str(one.type), "status": one.status, "reason": one.reason, "message": one.message}
            for one in folded.conditions
        ],
        "nextLook": _next_look(view),
        "notes": [*view.notes, *_status_notes(observed)],
    }


def _locks(status: Status) -> list[Json]:
    """Locks against deletion as the status has them: for whom, and how far; without an image those being taken back."""
    found: list[tuple[str | None, str, Protected | Unlocking]] = [
        (row.name, str(one.state), one) for row in status.downstream for one in row.protected
    ]
    found += [(None, "Unlocking", one) for one in status.unlocking]
    return [
        {"for": name, "state": state, "repository": one.repository, "digest": str(one.digest), "message": one.message}
        for name, state, one in found
    ]


def _summary(images: list[Json]) -> Json:
    states = [State(item["state"]) for item in images]
    worst = min(states, key=lambda state: state.urgency, default=State.BLOCKED)
    current = states.count(State.CURRENT)
    return {"current": current, "total": len(states), "text": f"{current}/{len(states)}", "state": str(worst)}


def _base(observed: Observed, spec: Spec) -> Json:
    digest, problem = observed.base.digest, observed.base.problem
    if observed.parent is not None:
        source = "parent"
    else:
        source = "status" if problem is not None or spec.suspend or observed.circle else "registry"
    stored = observed.tracker.status.base
    since = stored.since if stored is not None and stored.digest == digest else None
    before = earlier_bases(observed.tracker.status, digest) if digest is not None else ()
    return {
        "image": str(spec.base.image),
        "digest": _text(digest),
        "shortDigest": digest.short if digest is not None else None,
        "since": format_time(since) if since is not None else None,
        "source": source if digest is not None else None,
        "problem": _problem(problem),
        "interval": format_duration(spec.base.interval),
        "earlier": [str(one) for one in before],
    }


def _chain(observed: Observed) -> Json:
    parent = observed.parent
    return {
        "parent": {"name": parent.key.name, "downstream": parent.downstream} if parent is not None else None,
        "children": sorted(child.key.name for child in children_of(observed.tracker, observed.siblings)),
        "circle": list(observed.circle),
    }


def _image(view: View, folded: Status, situation: Situation, step: Step, intended: Step) -> Json:
    seen, observed = situation.seen, view.observed
    row = folded.of(seen.spec.name)
    found = _told(step.state, step.reason, for_a_person(step.message))
    before = situation.before
    stored = _told(before.state, before.reason, before.message) if before is not None else None
    unread = _unread(observed, seen)
    source = "status" if unread and stored is not None else "seen"
    return {
        "name": seen.spec.name,
        "image": str(seen.spec.image),
        **(stored if source == "status" and stored is not None else found),
        "source": source,
        "seen": found,
        "stored": stored,
        "unread": unread,
        **_record(row, before),
        "tag": {"digest": _text(seen.tag.digest), "problem": _problem(seen.tag.problem)},
        "lineages": _lineages(situation),
        "task": _task(seen),
        "workloads": [_workload(row, seen) for row in situation.rows],
        "next": [_action(action, seen) for action in intended.actions],
    }


def _told(state: object, reason: object, message: str) -> Json:
    return {"state": str(state), "reason": str(reason), "message": message}


def _record(row: DownstreamStatus | None, before: DownstreamStatus | None) -> Json:
    """What the status would hold besides state and workloads; without the times that only writing it would set."""
    whole = row.model_dump(mode="json", by_alias=True) if row is not None else {}
    names = ("lineage", "staleSince", "validated", "build", "gates", "failing", "rejected")
    found = {key: whole.get(key) for key in names}
    if before is None or before.stale_since is None:
        found["staleSince"] = None
    if found["validated"] and (before is None or row is None or before.validated != row.validated):
        found["validated"]["at"] = None
    return found


def _unread(observed: Observed, seen: ImageSeen) -> list[str]:
    """What couldn't be read from here and that the image's state rests on."""
    found = [observed.base.problem, seen.tag.problem, *(item.problem for item in seen.targets)]
    found += [item for item in seen.lineages.values() if isinstance(item, Problem)]
    problems = [item for item in found if item is not None and item.kind in _HERE]
    builder = seen.build.problem
    if builder is not None and builder.kind is not ProblemKind.INVALID:
        problems.append(builder)  # which registries and tasks exist depends on who looks
    return list(dict.fromkeys(for_a_person(item.message) for item in problems))


def _lineages(situation: Situation) -> list[Json]:
    """Each digest that matters, what it is here, and how it relates to the base, by platform."""
    names: dict[Digest, list[str]] = {}
    seen, record, validated = situation.seen, situation.build, situation.validated
    roles = [
        (seen.tag.digest, "tag"),
        (record.digest if record else None, "build result"),
        (validated.digest if validated else None, "validated"),
    ]
    for row in situation.rows:
        image = image_of(row.container) if row.container is not None else None
        roles.append((image.digest if image else None, f"{row.status.kind} {row.status.name}/{row.status.container}"))
    for digest, role in roles:
        if digest is not None:
            names.setdefault(digest, []).append(role)
    return [_lineage(digest, roles, seen.lineages.get(digest)) for digest, roles in names.items()]


def _lineage(digest: Digest, roles: list[str], found: Lineage | Problem | None) -> Json:
    evidence = found.evidence if isinstance(found, Lineage) else ()
    return {
        "digest": str(digest),
        "is": roles,
        "verdict": str(found.verdict) if isinstance(found, Lineage) else None,
        "message": found.message if isinstance(found, Lineage) else None,
        "problem": _problem(found) if isinstance(found, Problem) else None,
        "evidence": [
            {"platform": str(one.platform), "verdict": str(one.verdict), "message": one.message} for one in evidence
        ],
    }


def _task(seen: ImageSeen) -> Json | None:
    build = seen.spec.build
    if build is None:
        return None
    facts, run = seen.build.facts, seen.build.run
    return {
        "name": str(seen.build.task) if seen.build.task is not None else build.acr_task.name,
        "registry": seen.build.task.registry if seen.build.task is not None else build.acr_task.registry,
        "read": facts is not None,
        "enabled": facts.enabled if facts is not None else None,
        "baseTrigger": facts.base_trigger if facts is not None else None,
        "run": {"runID": run.run_id, "state": str(run.state), "message": run.message} if run is not None else None,
        "problem": _problem(seen.build.problem),
    }


def _workload(row: Row, seen: ImageSeen) -> Json:
    container = row.container
    image = image_of(container) if container is not None else None
    digest = image.digest if image is not None else None
    found = seen.lineages.get(digest) if digest is not None else None
    verdict = str(found.verdict) if isinstance(found, Lineage) else None
    message = row.message
    if row.reason is Reason.CURRENT and container is not None and verdict != Verdict.PROVEN:
        # Nothing is to be delivered, which says nothing yet about what runs.
        runs = f"runs a digest whose lineage is {verdict or 'not known'}" if digest is not None else "runs a bare tag"
        message = f"{row.status.kind} {row.status.name} {runs}"
    return {
        "kind": row.status.kind,
        "name": row.status.name,
        "container": row.status.container or None,
        "image": container.image if container is not None else None,
        "writer": container.writer or None if container is not None else None,
        "digest": _text(digest),
        "lineage": verdict,
        "deliveredDigest": _text(row.status.digest),
        "previousDigest": _text(row.status.previous_digest),
        "state": str(row.status.state),
        "needsDelivery": row.needs_delivery,
        "reason": str(row.reason),
        "message": message,
    }


def _action(action: Action, seen: ImageSeen) -> Json:
    match action:
        case StartBuild():
            run = existing_run(seen.build.recent, action)
            return {
                "action": "StartBuild",
                "key": action.key,
                "task": str(action.task),
                "registry": action.task.registry,
                "image": str(action.image),
                "base": str(action.base),
                "digest": _text(action.base.digest),
                "replaces": _text(action.replaces),
                "attempt": action.attempt,
                "arguments": [{"name": name, "value": value} for name, value in action.arguments],
                "values": [{"name": name, "value": value} for name, value in action.values],
                "adopts": run.run_id if run is not None else None,
            }
        case CancelRun():
            return {"action": "CancelRun", "key": action.key, "task": str(action.task), "runID": action.run_id}
        case Protect():
            kind = "Protect" if action.locks else "Unprotect"
            return {"action": kind, "key": action.key, "image": str(action.image)}
        case Deliver():
            return {
                "action": "Deliver",
                "key": action.key,
                "kind": action.workload.kind,
                "name": action.workload.name,
                "digest": str(action.digest),
                "containers": [
                    {"container": one.container, "init": one.init, "old": one.old, "new": one.new}
                    for one in action.containers
                ],
                "cause": action.cause,
            }
        case _:
            assert_never(action)


def _next_look(view: View) -> Json:
    """When the operator looks again at the latest, and for what."""
    observed, spec = view.observed, view.observed.tracker.spec
    if spec is None:
        return {"at": None, "message": "when the spec is changed"}
    if spec.suspend:
        return {"at": None, "message": "when spec.suspend is set to false"}
    if observed.circle:
        return {"at": None, "message": "when the base of one of the trackers in the circle is changed"}
    waking = [step for step in view.decision.plan.steps if step.wake is not None]
    first = min(waking, key=lambda step: step.wake or observed.now, default=None)
    if first is not None and first.wake is not None and first.wake <= view.decision.plan.wake_at:
        message = f"then what it waits for ({first.reason}) is looked at; changes in the cluster are seen at once"
    else:
        message = f"the tags are asked for every {format_duration(spec.base.interval)}; changes in the cluster are seen at once"
    return {"at": format_time(view.decision.plan.wake_at), "message": message}


def _status_notes(observed: Observed) -> list[str]:
    tracker = observed.tracker
    if not tracker.status.observed_generation:
        return ["there is no status yet: the operator hasn't looked at this tracker, or doesn't run"]
    if tracker.status.observed_generation != tracker.generation:
        return [
            f"the status is of generation {tracker.status.observed_generation}, the spec of {tracker.generation}: the "
            "operator hasn't looked since the spec was changed"
        ]
    return []


def _problem(problem: Problem | None) -> Json | None:
    return {"kind": str(problem.kind), "message": for_a_person(problem.message)} if problem is not None else None


def _text(value: Digest | None) -> str | None:
    return str(value) if value is not None else None
