"""The rules: for one image, the first that answers decides. Their order is the specification.

A rule is `(Case) -> Step | None`. It reads, it never waits. Budgets are laid over the steps by the planner; they turn a
step into a waiting one, so that every image always has a reason.
"""

from __future__ import annotations

from typing import Final, assert_never

from basetracker.api.names import GateVerdict, Reason, State
from basetracker.api.status import BuildStatus
from basetracker.api.tracker import Mode
from basetracker.core.actions import CancelRun, StartBuild, Step
from basetracker.core.builds import MAX_ATTEMPTS, existing_run, is_overdue, is_record_of, live_run, progress, setback
from basetracker.core.case import Case, Rule
from basetracker.core.deliveries import delivery_step
from basetracker.core.gate_rules import (
    fails_since,
    gate_fails,
    gate_pends,
    gate_unusable,
    result_rejected,
    result_unread,
    result_without_output,
    successor_pends,
)
from basetracker.core.observed import Problem, ProblemKind, TagSeen


def suspended(case: Case) -> Step | None:
    if not case.spec.suspend:
        return None
    message = "suspended: nothing is polled, built or delivered; set spec.suspend to false to go on"
    return Step(state=State.SUSPENDED, reason=Reason.SUSPENDED, message=message)


def in_circle(case: Case) -> Step | None:
    if not case.observed.circle:
        return None
    way = " feeds ".join(case.observed.circle)
    message = f"trackers feed each other in a circle: {way}; change the base of one of them"
    return Step(state=State.BLOCKED, reason=Reason.CIRCLE, message=message)


def parent_unready(case: Case) -> Step | None:
    parent = case.observed.parent
    if parent is None or case.situation.base is not None:
        return None
    if case.observed.withheld is not None:
        return parent_fails(case)
    message = (
        f"the base is built by tracker {parent.key.name} as {parent.downstream}, which has validated no digest yet"
    )
    return Step(state=State.UNKNOWN, reason=Reason.PARENT_NOT_VALIDATED, message=message)


def parent_fails(case: Case) -> Step | None:
    """A base that fails its gate by now is nothing to move to; what is built on the one before goes on."""
    parent, gate = case.observed.parent, case.observed.withheld
    if parent is None or gate is None or gate.digest is None:
        return None
    if gate.verdict is not GateVerdict.FAIL:
        message = (
            f"{gate.digest.short}, which tracker {parent.key.name} has validated as {parent.downstream}, waits for gate "
            f"{gate.name} there, which is asked otherwise by now: {gate.message}; before it passes it doesn't become the base"
        )
        return Step(state=State.VALIDATING, reason=Reason.GATE_PENDING, message=message)
    message = (
        f"{gate.digest.short}, which tracker {parent.key.name} has validated as {parent.downstream}, fails gate {gate.name} by "
        f"now: {gate.message}; it doesn't become the base. This goes on when the parent validates a digest that passes"
    )
    return Step(state=State.BLOCKED, reason=Reason.PARENT_FAILS, message=message)


def base_unseen(case: Case) -> Step | None:
    return _unseen(case.observed.base, f"base {case.spec.base.image}", Reason.BASE_NOT_FOUND, Reason.BASE_UNKNOWN)


def tag_unseen(case: Case) -> Step | None:
    tag = case.situation.seen.tag
    return _unseen(tag, f"image {case.situation.seen.spec.image}", Reason.IMAGE_NOT_FOUND, Reason.REGISTRY_UNAVAILABLE)


def build_overdue(case: Case) -> Step | None:
    record, build = case.situation.build, case.situation.seen.spec.build
    if (
        record is None
        or build is None
        or not record.state.is_live
        or not is_overdue(record, build.timeout, case.observed.now)
    ):
        return None
    task = case.situation.seen.build.task
    if record.run_id is None or task is None:
        return None
    action = CancelRun(downstream=case.situation.seen.spec.name, task=task, run_id=record.run_id)
    return Step(
        state=State.BUILDING,
        reason=Reason.BUILD_CANCELING,
        message=f"run {record.run_id} takes longer than build.timeout and is being ended",
        actions=(action,),
        wake=case.observed.now + case.observed.run_interval,
    )


def build_live(case: Case) -> Step | None:
    record = case.situation.build
    if record is None or not record.state.is_live:
        return None
    problem = case.situation.seen.build.problem
    reason, message = progress(record)
    if problem is not None:
        message = f"{message}; {problem.message}"
    if case.situation.build_for_base is not None and case.situation.needs_build:
        message = f"{_why_stale(case)}; {message}"
    return Step(
        state=State.BUILDING, reason=reason, message=message, wake=case.observed.now + case.observed.run_interval
    )


def lineage_unread(case: Case) -> Step | None:
    """Not knowing what the tag holds is no reason to build."""
    found = case.situation.latest
    if not case.situation.needs_build or not isinstance(found, Problem):
        return None
    if found.kind is ProblemKind.UNAVAILABLE:
        wake = case.observed.now + case.observed.run_interval * 3
        return Step(state=State.UNKNOWN, reason=Reason.REGISTRY_UNAVAILABLE, message=found.message, wake=wake)
    reason = {
        ProblemKind.DENIED: Reason.ACCESS_DENIED,
        ProblemKind.MISSING: Reason.IMAGE_NOT_FOUND,
        ProblemKind.INVALID: Reason.INVALID_IMAGE,
    }[found.kind]
    return Step(state=State.BLOCKED, reason=reason, message=found.message)


def nothing_builds(case: Case) -> Step | None:
    if not case.situation.needs_build or case.situation.seen.spec.build is not None:
        return None
    message = f"{_why_stale(case)}; no build is declared, so it waits for whoever builds it"
    return Step(state=State.STALE, reason=Reason.NO_BUILD, message=message)


def attempts_used_up(case: Case) -> Step | None:
    record = _failed_record(case)
    if record is None or record.attempt < MAX_ATTEMPTS:
        return None
    message = (
        f"the build failed {record.attempt} times for base {record.base_digest.short}, last: {record.message}; it is tried "
        "again when the base or the spec changes or the annotation basetracker.dev/requested-at gets a new value"
    )
    return Step(state=State.FAILED, reason=Reason.BUILD_FAILED, message=message)


def attempt_waits(case: Case) -> Step | None:
    record = _failed_record(case)
    if record is None or record.next_attempt_at is None or record.next_attempt_at <= case.observed.now:
        return None
    before = case.situation.before
    was_denied = before is not None and before.reason is Reason.ACCESS_DENIED and record.run_id is None
    return Step(
        state=State.BLOCKED if was_denied else State.STALE,
        reason=Reason.ACCESS_DENIED if was_denied else Reason.RETRY_WAITING,
        message=setback(record),
        wake=record.next_attempt_at,
    )


def task_unusable(case: Case) -> Step | None:
    if not case.situation.needs_build:
        return None
    seen = case.situation.seen.build
    build = case.situation.seen.spec.build
    if seen.problem is not None:
        return _builder_problem(case, seen.problem)
    if seen.task is not None and not seen.allowed:
        message = (
            f"trackers of namespace {case.observed.tracker.key.namespace} may not start task {seen.task}; "
            "name it in the operator's allow-list of tasks"
        )
        return Step(state=State.BLOCKED, reason=Reason.TASK_NOT_ALLOWED, message=message)
    if seen.facts is None:
        name = build.acr_task.name if build else ""
        message = f"there is no task {name} in the registry; create it or mend spec.downstream.build.acrTask.name"
        return Step(state=State.BLOCKED, reason=Reason.TASK_NOT_FOUND, message=message)
    if not seen.facts.enabled:
        message = f"task {seen.facts.ref} is disabled; enable it with az acr task update --status Enabled"
        return Step(state=State.BLOCKED, reason=Reason.TASK_DISABLED, message=message)
    return None


def foreign_run(case: Case) -> Step | None:
    """A live run of the same task may bring the base, and two at once would race for the tag."""
    if not case.situation.needs_build:
        return None
    seen = case.situation.seen.build
    action = _start_action(case)
    if action is None or existing_run(seen.recent, action):
        return None
    run = live_run(seen.recent)
    if run is None:
        return None
    message = f"{_why_stale(case)}; run {run.run_id} of the task, started by somebody else, goes first"
    wake = case.observed.now + case.observed.run_interval * 3
    return Step(state=State.STALE, reason=Reason.FOREIGN_RUN, message=message, wake=wake)


def build_due(case: Case) -> Step | None:
    action = _start_action(case) if case.situation.needs_build else None
    if action is None:
        return None
    why = _why_stale(case)
    if case.spec.rollout.mode is Mode.PLAN:
        message = f"{why}; task {action.task} would be started (mode Plan)"
        return Step(state=State.STALE, reason=Reason.PLANNED, message=message)
    return Step(
        state=State.BUILDING,
        reason=Reason.BUILD_REQUESTED,
        message=f"{why}; task {action.task} is being started, attempt {action.attempt} of {MAX_ATTEMPTS}",
        actions=(action,),
        wake=case.observed.now + case.observed.run_interval,
    )


def deliveries(case: Case) -> Step | None:
    if not case.situation.is_fresh:
        return None
    return delivery_step(case.situation, case.observed, case.spec)


def current(case: Case) -> Step | None:
    validated, tag = case.situation.validated, case.situation.seen.tag.digest
    if validated is None or not case.situation.is_fresh:
        return None
    message = f"contains base {validated.base_digest.short}"
    if tag is not None and tag != validated.digest:
        message += (
            f"; the tag points to {tag.short}, which is not delivered since {validated.digest.short} is validated for "
            "this base"
        )
    return Step(state=State.CURRENT, reason=Reason.CURRENT, message=message)


RULES: Final[tuple[Rule, ...]] = (
    suspended,  # a person said: hands off
    in_circle,  # nothing that feeds itself is ever built
    parent_unready,  # a chain starts at its root
    build_overdue,  # a run that takes too long is ended, whatever else is the matter
    build_live,  # while a run goes on there is nothing else to do for its image
    base_unseen,  # without a base digest there is nothing to compare with
    tag_unseen,  # without the tag's digest there is nothing to compare
    result_without_output,  # a run that made nothing is not repeated
    result_unread,  # a verdict that isn't there yet is waited for
    result_rejected,  # a result that fails its gates is never delivered, and not built again
    gate_fails,  # what contains the base and fails another gate is never delivered, and not built again
    gate_unusable,  # a gate that a person has to mend first
    gate_pends,  # a gate that has no answer yet is waited for
    lineage_unread,  # not knowing is no reason to build
    nothing_builds,  # stale, and nobody here may build it
    attempts_used_up,  # enough is enough
    attempt_waits,  # growing waits between attempts
    task_unusable,  # the task is missing, disabled, out of reach or not allowed
    foreign_run,  # somebody else's run of this task goes first
    build_due,  # stale, or to be built once more: build
    successor_pends,  # what may take the place of an image that fails by now is judged
    fails_since,  # validated, but it fails a gate by now: it goes no further
    deliveries,  # validated for this base: bring it to the workloads
    parent_fails,  # all is done for the base that is, and the next one is no good
    current,  # nothing to do
)


def needs_builder(case: Case) -> bool:
    """Whether the step depends on the task and its recent runs: no rule answers before the one that asks for them."""
    before = RULES[: RULES.index(task_unusable)]
    return case.situation.needs_build and all(rule(case) is None for rule in before)


def next_step(case: Case) -> Step:
    """The first rule's answer; the last ones answer for all fresh and all stale images."""
    return next(step for rule in RULES if (step := rule(case)) is not None)


def _unseen(tag: TagSeen, subject: str, missing: Reason, unavailable: Reason) -> Step | None:
    """The step for a tag that can't be read; an outage doesn't count while the last digest is known."""
    if tag.problem is None:
        if tag.digest is not None:
            return None
        return Step(state=State.UNKNOWN, reason=unavailable, message=f"{subject} has not been read yet")
    message = f"{subject}: {tag.problem.message}"
    kind = tag.problem.kind
    match kind:
        case ProblemKind.UNAVAILABLE:
            if tag.digest is not None:
                return None
            return Step(state=State.UNKNOWN, reason=Reason.REGISTRY_UNAVAILABLE, message=message)
        case ProblemKind.MISSING:
            return Step(state=State.BLOCKED, reason=missing, message=message)
        case ProblemKind.DENIED:
            return Step(state=State.BLOCKED, reason=Reason.ACCESS_DENIED, message=message)
        case ProblemKind.INVALID:
            return Step(state=State.BLOCKED, reason=Reason.INVALID_IMAGE, message=message)
        case _:
            assert_never(kind)


def _builder_problem(case: Case, problem: Problem) -> Step:
    wake = case.observed.now + case.observed.run_interval * 6
    if problem.kind is ProblemKind.UNAVAILABLE:
        message = f"{_why_stale(case)}, but the builder can't be asked: {problem.message}"
        return Step(state=State.STALE, reason=Reason.BASE_MOVED, message=message, wake=wake)
    reason = {
        ProblemKind.DENIED: Reason.ACCESS_DENIED,
        ProblemKind.MISSING: Reason.TASK_NOT_FOUND,
        ProblemKind.INVALID: Reason.INVALID_SPEC,
    }[problem.kind]
    return Step(state=State.BLOCKED, reason=reason, message=problem.message)


def _failed_record(case: Case) -> BuildStatus | None:
    record = _record(case) if case.situation.needs_build else None
    return record if record is not None and record.state.is_failure else None


def _record(case: Case) -> BuildStatus | None:
    """The record of the build that is needed."""
    situation = case.situation
    base = situation.base.digest if situation.base is not None else None
    return situation.build if is_record_of(situation.build, base, situation.replaces) else None


def _start_action(case: Case) -> StartBuild | None:
    situation = case.situation
    build, task = situation.seen.spec.build, situation.seen.build.task
    if build is None or task is None or situation.base is None:
        return None
    record = _record(case)
    arguments = [(item.name, item.value) for item in build.acr_task.arguments]
    if build.acr_task.base_argument:
        arguments.append((build.acr_task.base_argument, str(situation.base)))
    return StartBuild(
        downstream=situation.seen.spec.name,
        task=task,
        image=situation.seen.spec.image,
        base=situation.base,
        tag=situation.seen.tag.digest,
        attempt=record.attempt + 1 if record is not None else 1,
        by_tag=case.observed.parent is None,
        replaces=situation.replaces,
        arguments=tuple(arguments),
        values=tuple((item.name, item.value) for item in build.acr_task.values),
    )


def _why_stale(case: Case) -> str:
    gate = case.situation.mending
    if gate is not None and gate.digest is not None:
        return f"{gate.digest.short} fails gate {gate.name} by now: {gate.message}"
    found = case.situation.latest
    base = case.situation.base
    short = base.digest.short if base is not None and base.digest else "?"
    if found is None or isinstance(found, Problem):
        return f"it isn't known to contain base {short}"
    return f"it doesn't contain base {short}: {found.message}"
