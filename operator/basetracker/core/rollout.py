"""Rollouts: what each chosen container of a workload needs, and how far its rollout is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from basetracker.api.names import Reason, State, WorkloadState
from basetracker.api.status import Validated, WorkloadStatus
from basetracker.core.observed import Container, Workload
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest, ImageRef, parse_image

RolloutState = Literal[WorkloadState.HEALTHY, WorkloadState.PROGRESSING, WorkloadState.STUCK]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One container that is delivered to: where it stands and what it waits for."""

    status: WorkloadStatus
    state: State
    reason: Reason
    message: str
    workload: Workload | None = None
    container: Container | None = None
    needs_delivery: bool = False
    is_rolling: bool = False
    """Whether a rollout goes on there, even if another digest comes next."""
    wake: datetime | None = None

    @property
    def place(self) -> tuple[str, str]:
        return (self.status.kind, self.status.name)


def is_complete(workload: Workload) -> bool:
    """Whether every Pod is of the current template and available."""
    seen = workload.rollout
    if seen.observed_generation < seen.generation:
        return False
    return seen.updated >= seen.desired and seen.total <= seen.updated and seen.available >= seen.desired


def is_delivered(workload: Workload, container: Container, tracker: str) -> bool:
    """Whether what the container runs was put there by this tracker."""
    mark = workload.delivered.get(container.name)
    return mark is not None and mark.tracker == tracker and mark.image == container.image


def rollout_state(
    workload: Workload, before: WorkloadStatus | None, digest: Digest, deadline: timedelta, now: datetime
) -> tuple[RolloutState, datetime]:
    """How far the rollout of `digest` is, and since when; once healthy it stays so while the image stays."""
    is_same = before is not None and before.digest == digest
    since = before.since if is_same and before and before.since else now
    if is_same and before and before.state is WorkloadState.HEALTHY:
        return WorkloadState.HEALTHY, since
    if is_complete(workload):
        return WorkloadState.HEALTHY, now
    observed = workload.rollout.observed_generation >= workload.rollout.generation
    if now - since >= deadline or (observed and workload.rollout.deadline_exceeded):
        return WorkloadState.STUCK, since
    return WorkloadState.PROGRESSING, since


def image_of(container: Container) -> ImageRef | None:
    """The container's image; None when its text is no reference."""
    try:
        return parse_image(container.image)
    except InvalidError:
        return None


def tag_difference(container: Container, image: ImageRef) -> str:
    """How the container's image differs from the tag that is tracked; empty when only the digest may."""
    runs = image_of(container)
    if runs is None:
        return f"container {container.name} has {container.image[:120]!r}, which is not an image reference"
    if runs.repository != image.repository:
        return f"container {container.name} runs {runs.repository}, not {image.repository}"
    tag = runs.tag if runs.tag is not None or runs.digest is not None else "latest"
    if tag is not None and tag != image.tag:
        return f"container {container.name} runs the tag {tag}, not {image.tag}"
    return ""


def was_delivered(
    workload: Workload, container: Container, before: WorkloadStatus | None, validated: Validated
) -> bool:
    """Whether the container has had the validated digest, by the mark on it or by our own record.

    An undone rollout brings back the mark of the delivery before as well, so the mark alone doesn't tell.
    """
    if before is not None and before.digest == validated.digest:
        return True
    mark = workload.delivered.get(container.name)
    if mark is None:
        return False
    try:
        return parse_image(mark.image).digest == validated.digest
    except InvalidError:
        return False


def previous_digest(workload: Workload, container: Container, before: WorkloadStatus | None) -> Digest | None:
    """What the container ran before the last delivery."""
    mark = workload.delivered.get(container.name)
    if mark is None:
        return before.previous_digest if before else None
    try:
        return parse_image(mark.previous).digest
    except InvalidError:
        return None
