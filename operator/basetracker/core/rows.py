"""Rows: what each deploy entry of an image comes to, container by container. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from basetracker.api.names import FIELD_MANAGER, Reason, State, WorkloadState
from basetracker.api.status import DownstreamStatus, Validated, WorkloadStatus
from basetracker.api.tracker import DeployTarget, Spec
from basetracker.core.gating import is_accepted
from basetracker.core.observed import Container, ImageSeen, Observed, Problem, ProblemKind, TargetSeen, Workload
from basetracker.core.relations import chosen_containers, claimant
from basetracker.core.rollout import (
    Row,
    image_of,
    is_complete,
    is_delivered,
    previous_digest,
    rollout_state,
    tag_difference,
    was_delivered,
)
from basetracker.oci.refs import Digest, ImageRef


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What every row of an image is judged by; `validated` is the digest for the current base, if there is one."""

    seen: ImageSeen
    before: DownstreamStatus | None
    validated: Validated | None
    observed: Observed
    spec: Spec
    failing: Collection[Digest | None] = ()
    """The digests that fail a gate by now."""

    def row_before(self, workload: Workload, container: Container) -> WorkloadStatus | None:
        rows = self.before.workloads if self.before else ()
        key = (workload.kind, workload.name, container.name)
        found = next((row for row in rows if (row.kind, row.name, row.container) == key), None)
        return found if found is not None and found.uid in {"", workload.uid} else None


def rows_of(
    seen: ImageSeen,
    before: DownstreamStatus | None,
    base: ImageRef | None,
    validated: Validated | None,
    observed: Observed,
    spec: Spec,
    *,
    failing: Collection[Digest | None] = (),
) -> tuple[Row, ...]:
    """A row for each container that the image is delivered to, or for each deploy entry that names none."""
    scene = _Scene(
        seen=seen,
        before=before,
        validated=validated if base is not None else None,
        observed=observed,
        spec=spec,
        failing=failing,
    )
    rows: dict[tuple[str, str, str], Row] = {}
    for target in seen.targets:
        for row in _target_rows(scene, target):
            rows.setdefault((row.status.kind, row.status.name, row.status.container), row)
    return tuple(rows.values())


def _target_rows(scene: _Scene, seen: TargetSeen) -> tuple[Row, ...]:
    target, workload = seen.target, seen.workload
    if seen.problem is not None:
        return _problem_rows(scene, seen, seen.problem)
    if workload is None:
        message = f"there is no {target.kind} {target.name} in this namespace; create it or mend spec.downstream.deploy"
        return (_absent(target, Reason.WORKLOAD_NOT_FOUND, message),)
    chosen = chosen_containers(scene.seen.spec, target, workload)
    if not chosen:
        has = ", ".join(one.name for one in workload.containers) or "none"
        wanted = (
            f"container {target.container}" if target.container else f"container of {scene.seen.spec.image.repository}"
        )
        message = f"{target.kind} {target.name} has no {wanted}; it has {has}"
        return (_absent(target, Reason.CONTAINER_NOT_FOUND, message),)
    return tuple(_container_row(scene, workload, one) for one in chosen)


def _container_row(scene: _Scene, workload: Workload, container: Container) -> Row:
    """What one container needs: the first finding wins."""
    place = f"{workload.kind} {workload.name}"
    owner = claimant(scene.observed.tracker, scene.seen.spec, container, workload, scene.observed.siblings)
    if owner:
        message = f"container {container.name} of {place} is claimed by {owner} already; leave it to one of them"
        return _held(scene, workload, container, Reason.CONTAINER_CLAIMED, message)
    difference = tag_difference(container, scene.seen.spec.image)
    if difference:
        message = f"{place}: {difference}; set the image to the tracker's tag, or track that tag"
        return _held(scene, workload, container, Reason.TAG_DIFFERS, message)
    image = image_of(container)
    runs = image.digest if image else None
    if scene.validated is None:
        return _settled(scene, workload, container, runs)
    if runs == scene.validated.digest:
        return _rolling(scene, workload, container, scene.validated.digest)
    is_enough = runs is not None and is_accepted(scene.seen.lineages.get(runs), scene.spec.accept)
    # Where more than lineage is asked, what contains the base isn't enough: our own delivery makes way for the validated one,
    # and so does whatever fails a gate.
    ours = is_delivered(workload, container, scene.observed.tracker.key.name)
    makes_way = (scene.spec.asked_gates and ours) or runs in scene.failing
    if is_enough and not makes_way:
        return _settled(scene, workload, container, runs)
    before = scene.row_before(workload, container)
    # What we wrote last is no override: a status that was lost after it still tells of the delivery before. The mark has to say
    # so as well, since what an admission webhook makes of our request is written in our name.
    is_last_ours = ours and container.writer == FIELD_MANAGER
    is_overridden = was_delivered(workload, container, before, scene.validated) and not is_last_ours
    resuming = scene.observed.tracker.resume != scene.observed.tracker.status.last_handled.resume
    if is_overridden and not resuming:
        writer = container.writer or "somebody"
        has = f"the digest {runs.short}" if runs else "no digest"
        message = (
            f"{writer} changed container {container.name} of {place} to {has} after {scene.validated.digest.short} was "
            "delivered; it is left alone until a newer validated digest, or the annotation basetracker.dev/resume"
        )
        return _held(scene, workload, container, Reason.OVERRIDDEN, message)
    if is_enough and runs is not None and container.name not in workload.delivered and not resuming:
        message = (
            f"{place} runs {runs.short}, which {container.writer or 'somebody'} put there and which fails a gate; it may be newer "
            f"than the validated {scene.validated.digest.short}, so it is left alone until the annotation "
            "basetracker.dev/resume or an image that passes"
        )
        return _held(scene, workload, container, Reason.GATE_FAILED, message)
    return _needing(scene, workload, container, runs)


def _needing(scene: _Scene, workload: Workload, container: Container, runs: Digest | None) -> Row:
    return replace(
        _settled(scene, workload, container, runs),
        state=State.ROLLING_OUT,
        reason=Reason.DELIVERING,
        message=f"{workload.kind} {workload.name} gets the validated digest",
        needs_delivery=True,
    )


def _rolling(scene: _Scene, workload: Workload, container: Container, digest: Digest) -> Row:
    before = scene.row_before(workload, container)
    deadline = scene.spec.rollout.progress_deadline
    state, since = rollout_state(workload, before, digest, deadline, scene.observed.now)
    place = f"{workload.kind} {workload.name}"
    trouble = f": {workload.rollout.trouble}" if workload.rollout.trouble else ""
    wake = None
    match state:
        case WorkloadState.HEALTHY:
            outcome = (State.CURRENT, Reason.CURRENT, f"{place} runs the validated digest")
        case WorkloadState.PROGRESSING:
            wake = since + deadline
            paused = " (the Deployment is paused; resume it)" if workload.rollout.paused else ""
            outcome = (State.ROLLING_OUT, Reason.ROLLOUT_PROGRESSING, f"{place} is rolling out{paused}")
        case WorkloadState.STUCK:
            message = f"{place} didn't become healthy in time{trouble}; nothing more is delivered until it is"
            outcome = (State.BLOCKED, Reason.ROLLOUT_STUCK, message)
        case _:
            assert_never(state)
    return Row(
        status=_status(scene, workload, container, digest, state, since),
        state=outcome[0],
        reason=outcome[1],
        message=outcome[2],
        workload=workload,
        container=container,
        is_rolling=state is WorkloadState.PROGRESSING,
        wake=wake,
    )


def _settled(scene: _Scene, workload: Workload, container: Container, runs: Digest | None) -> Row:
    """A container that needs nothing now: it runs something current, or there is nothing to deliver yet.

    What we delivered before is still followed, since its rollout counts; anybody else's is theirs to follow.
    """
    before = scene.row_before(workload, container)
    is_ours = runs is not None and is_delivered(workload, container, scene.observed.tracker.key.name)
    if runs is not None and is_ours:
        deadline = scene.spec.rollout.progress_deadline
        state, since = rollout_state(workload, before, runs, deadline, scene.observed.now)
    else:
        same = before if before is not None and before.digest == runs else None
        was_healthy = same is not None and same.state is WorkloadState.HEALTHY
        state = WorkloadState.HEALTHY if was_healthy or is_complete(workload) else WorkloadState.PROGRESSING
        since = same.since if same and same.since and same.state is state else scene.observed.now
    says = (
        "gets nothing before a digest is validated"
        if scene.validated is None
        else "runs a digest that contains the base"
    )
    return Row(
        status=_status(scene, workload, container, runs, state, since),
        state=State.CURRENT,
        reason=Reason.CURRENT,
        message=f"{workload.kind} {workload.name} {says}",
        workload=workload,
        container=container,
        is_rolling=is_ours and state is WorkloadState.PROGRESSING,
    )


def _status(
    scene: _Scene,
    workload: Workload,
    container: Container,
    digest: Digest | None,
    state: WorkloadState,
    since: datetime,
) -> WorkloadStatus:
    return WorkloadStatus(
        kind=workload.kind,
        name=workload.name,
        uid=workload.uid,
        container=container.name,
        digest=digest,
        previous_digest=previous_digest(workload, container, scene.row_before(workload, container)),
        state=state,
        since=since,
    )


def _held(scene: _Scene, workload: Workload, container: Container, reason: Reason, message: str) -> Row:
    image = image_of(container)
    row = _settled(scene, workload, container, image.digest if image else None)
    before = scene.row_before(workload, container)
    status = row.status
    if reason is Reason.OVERRIDDEN and scene.validated is not None:
        # The record of what was delivered is what tells an override from a container never delivered to. How far that
        # delivery came stays with it: one that was stuck isn't tried elsewhere because somebody undid it here.
        kept = before if before is not None and before.digest == scene.validated.digest else status
        status = status.model_copy(update={"digest": scene.validated.digest, "state": kept.state, "since": kept.since})
    return Row(
        status=status,
        state=State.BLOCKED,
        reason=reason,
        message=message,
        workload=workload,
        container=container,
    )


def _absent(target: DeployTarget, reason: Reason, message: str) -> Row:
    return Row(
        status=WorkloadStatus(
            kind=target.kind, name=target.name, container=target.container or "", state=WorkloadState.NOT_FOUND
        ),
        state=State.BLOCKED,
        reason=reason,
        message=message,
    )


def _problem_rows(scene: _Scene, seen: TargetSeen, problem: Problem) -> tuple[Row, ...]:
    """A workload that can't be read keeps its rows as they were."""
    heals = problem.kind is ProblemKind.UNAVAILABLE
    stored = scene.before.workloads if scene.before else ()
    target = seen.target
    kept = [
        row
        for row in stored
        if (row.kind, row.name) == (target.kind, target.name) and target.container in {None, row.container}
    ]
    unread = WorkloadStatus(
        kind=target.kind, name=target.name, container=target.container or "", state=WorkloadState.PROGRESSING
    )
    return tuple(
        Row(
            status=status,
            state=State.UNKNOWN if heals else State.BLOCKED,
            reason=Reason.CLUSTER_UNAVAILABLE if heals else Reason.ACCESS_DENIED,
            message=problem.message,
            is_rolling=status.digest is not None and status.state is WorkloadState.PROGRESSING,
            wake=scene.observed.now + scene.observed.run_interval * 3,
        )
        for status in kept or [unread]
    )
