"""How trackers of one namespace relate: who feeds whom, circles, and who may change a container. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from basetracker.api.names import GateVerdict, HistoryEvent
from basetracker.api.status import DownstreamStatus, GateStatus, Status
from basetracker.api.tracker import DeployTarget, Downstream, Tracker
from basetracker.core.observed import Container, Parent, TaskRef, Workload
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest, ImageRef, parse_image


def parent_of(tracker: Tracker, siblings: Iterable[Tracker]) -> Parent | None:
    """The tracker whose output is this one's base; the eldest where several say so."""
    if tracker.spec is None:
        return None
    for other in sorted(siblings, key=_seniority):
        if other.spec is None or other.deleting:
            continue
        for item in other.spec.downstream:
            if item.image == tracker.spec.base.image:
                return Parent(key=other.key, downstream=item.name)
    return None


def inherited_base(
    item: DownstreamStatus | None, stored: Digest | None, unanswered: GateStatus | None = None
) -> tuple[Digest | None, GateStatus | None]:
    """The digest of a parent's image that is a child's base, and the gate that keeps the child from moving to it.

    What the parent has validated may fail a gate by now, or a gate that was edited since hasn't answered yet (`unanswered`). A
    child that has it as its base (`stored`) already stays on it, since going back would mend nothing; another one doesn't come
    to it.
    """
    validated = item.validated if item is not None else None
    if item is None or validated is None:
        return None, None
    failed = (gate for gate in item.gates if gate.verdict is GateVerdict.FAIL and gate.digest == validated.digest)
    failing = validated.failing or next(failed, None) or unanswered
    if failing is None or validated.digest == stored:
        return validated.digest, None
    return None, failing


def was_validated(parent: Status, downstream: str, digest: Digest) -> bool:
    """Whether the status still remembers that this digest of the image was validated."""
    return any(
        (entry.event, entry.downstream, entry.to) == (HistoryEvent.VALIDATED, downstream, str(digest))
        for entry in parent.history
    )


def children_of(tracker: Tracker, siblings: Iterable[Tracker]) -> tuple[Tracker, ...]:
    """The trackers whose base is one of this tracker's outputs."""
    outputs = {item.image for item in tracker.spec.downstream} if tracker.spec else set()
    return tuple(other for other in siblings if other.spec is not None and other.spec.base.image in outputs)


def circle_of(tracker: Tracker, siblings: Sequence[Tracker]) -> tuple[str, ...]:
    """The names along a circle from this tracker back to it, itself first and last; empty when there is none."""
    trail: list[tuple[str, ...]] = [(tracker.key.name,)]
    by_name = {other.key.name: other for other in (*siblings, tracker)}
    visited: set[str] = set()
    while trail:
        path = trail.pop()
        for child in children_of(by_name[path[-1]], by_name.values()):
            if child.key.name == tracker.key.name:
                return (*path, tracker.key.name)
            if child.key.name not in visited:
                visited.add(child.key.name)
                trail.append((*path, child.key.name))
    return ()


def chosen_containers(item: Downstream, target: DeployTarget, workload: Workload) -> tuple[Container, ...]:
    """The containers that a deploy entry means: the named one, else every one that runs the image's repository."""
    if target.container is not None:
        return tuple(one for one in workload.containers if one.name == target.container)
    return tuple(one for one in workload.containers if _runs_repository(one, item.image))


def claimant(
    tracker: Tracker, item: Downstream, container: Container, workload: Workload, siblings: Iterable[Tracker]
) -> str:
    """Who else, with an older right, claims the container: `TRACKER/DOWNSTREAM`; empty when nobody does."""
    for other in sorted((*siblings, tracker), key=_seniority):
        if other.spec is None or other.deleting:
            continue
        for claim in other.spec.downstream:
            if other.key == tracker.key and claim.name == item.name:
                return ""
            if _claims(claim, container, workload):
                return f"{other.key.name}/{claim.name}"
    return ""


def builds_alike(item: Downstream, task: TaskRef, image: ImageRef) -> bool:
    """Whether the image is built by this task, too; ARM's names don't tell upper from lower case."""
    return item.build is not None and item.image == image and item.build.acr_task.name.lower() == task.name.lower()


def _claims(claim: Downstream, container: Container, workload: Workload) -> bool:
    return any(
        target.kind == workload.kind
        and target.name == workload.name
        and any(one.name == container.name for one in chosen_containers(claim, target, workload))
        for target in claim.deploy
    )


def _runs_repository(container: Container, image: ImageRef) -> bool:
    try:
        return parse_image(container.image).repository == image.repository
    except InvalidError:
        return False


def _seniority(tracker: Tracker) -> tuple[object, str]:
    return (tracker.created, tracker.key.name)
