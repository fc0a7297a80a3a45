"""Taking locks back: only what is ours, only by the last one that has it, and nothing forgotten on the way. Pure.

A lock of ours stands in the status of each image that wanted it. When the spec doesn't name the image any more, it moves to a
list of its own in the very write that drops the image, is taken back from there in a later turn, and stays until that is done.
Which digests are worth a lock is `protection.py`'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import Final

from basetracker.api.names import ProtectionState
from basetracker.api.status import DownstreamStatus, Protected, Status, Unlocking
from basetracker.api.tracker import Key, Mode, Spec, Tracker
from basetracker.core.actions import Outcome, Protect
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest, ImageRef, Repository, parse_image

OURS: Final = frozenset({ProtectionState.REQUESTED, ProtectionState.LOCKED})
LONGEST_MESSAGE: Final = 256
MOST: Final = 500
"""How many locks one tracker can have to take back; the status is no larger than the API server stores."""

_Holder = tuple[str, str, str]
"""Namespace and name of the tracker, and the image's name; none for a lock that is on the list."""


class Standing(Enum):
    """What somebody who doesn't want a lock any more has to do about it."""

    LAST = auto()
    """Nobody else has it: take it back."""
    HANDED_OVER = auto()
    """Another one has it and looks after it: forget it."""
    WAITS = auto()
    """Another one has it, and may hand it over just now: keep it until the other one has let go."""


def is_ours(trackers: Iterable[Tracker], image: ImageRef) -> bool:
    """Whether the status of any tracker says that the lock on this digest is ours, or about to be."""
    return next(_holders(trackers, image), None) is not None


def standing(trackers: Iterable[Tracker], tracker: Key, downstream: str, image: ImageRef) -> Standing:
    """What to do about a lock that this image of this tracker has no more use for.

    Two that let go at once must not leave it to each other, so it is only ever handed over in one direction.
    """
    me = (tracker.namespace, tracker.name, downstream)
    others = [one for one in _holders(trackers, image) if one != me]
    if any(one > me for one in others):
        return Standing.HANDED_OVER
    return Standing.WAITS if others else Standing.LAST


def unlocks(tracker: Tracker, spec: Spec, wanted: Iterable[ImageRef]) -> tuple[Protect, ...]:
    """What to unlock of what is on the list, but for what an image of the spec wants to keep."""
    if spec.suspend or spec.rollout.mode is Mode.PLAN:
        return ()
    kept = {ImageRef(repository=image.repository, digest=image.digest) for image in wanted}
    return tuple(
        Protect(tracker=tracker.key, downstream="", image=image, locks=False)
        for image, _ in _listed(tracker)
        if image not in kept
    )


def unlocking_after(
    tracker: Tracker, outcomes: Iterable[Outcome], after: Iterable[DownstreamStatus]
) -> tuple[Unlocking, ...]:
    """The list after this turn, in which what the spec has ceased to name comes onto it; `after` are the images then."""
    if tracker.spec is None:
        return tracker.status.unlocking
    done = {item.action.image: item for item in outcomes if isinstance(item.action, Protect)}
    held = {(entry.repository, entry.digest) for row in after for entry in row.protected if entry.state in OURS}
    kept: dict[tuple[str, Digest], Unlocking] = {}
    for image, one in _listed(tracker):
        outcome = done.get(image)
        if outcome is None or outcome.temporary:
            kept[one.repository, one.digest] = one
        elif outcome.error:
            told = one.model_copy(update={"message": outcome.error[:LONGEST_MESSAGE]})
            kept[one.repository, one.digest] = told
    for one in _left_behind(tracker, tracker.spec):
        kept.setdefault((one.repository, one.digest), one)
    return tuple(one for place, one in kept.items() if place not in held)[:MOST]


def is_listed_anew(before: Status, after: Status) -> bool:
    """Whether something has just come onto the list, which the next turn unlocks."""
    known = {(one.repository, one.digest) for one in before.unlocking}
    return any((one.repository, one.digest) not in known for one in after.unlocking)


def of_repository(entry: Protected, repository: Repository) -> bool:
    """Whether the entry is about a digest of this repository; one that names none is about its image's."""
    return entry.repository in {"", str(repository)}


def _listed(tracker: Tracker) -> Iterator[tuple[ImageRef, Unlocking]]:
    """What is on the list."""
    for one in tracker.status.unlocking:
        try:
            yield parse_image(f"{one.repository}@{one.digest}"), one
        except InvalidError:
            continue  # nothing of ours wrote that


def _left_behind(tracker: Tracker, spec: Spec) -> Iterator[Unlocking]:
    """Locks of ours that stand in the status of an image which the spec doesn't name, or names in another repository."""
    images = {item.name: item.image.repository for item in spec.downstream}
    for row in tracker.status.downstream:
        current = images.get(row.name)
        for entry in row.protected:
            is_left = current is None or not of_repository(entry, current)
            if entry.state in OURS and entry.repository and is_left:
                message = entry.message[:LONGEST_MESSAGE]
                yield Unlocking(repository=entry.repository, digest=entry.digest, message=message)


def _holders(trackers: Iterable[Tracker], image: ImageRef) -> Iterator[_Holder]:
    """Who has the lock on this digest, by what is stored."""
    repository, digest = str(image.repository), image.digest
    for tracker in trackers:
        if tracker.deleting:
            continue
        place = (tracker.key.namespace, tracker.key.name)
        for row in tracker.status.downstream:
            if any((one.repository, one.digest) == (repository, digest) and one.state in OURS for one in row.protected):
                yield (*place, row.name)
        if any((one.repository, one.digest) == (repository, digest) for one in tracker.status.unlocking):
            yield (*place, "")
