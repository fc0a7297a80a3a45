"""Protection: which digests are locked in their registry against deletion, so that no purge takes what runs. Pure.

A lock is ours only when nobody had locked the digest before, and this is written down before the lock is asked for: whatever
happens in between, we take back what we did and nothing else. Trackers that protect one digest own its lock together;
`unlocking.py` says who of them takes it back.
"""

from __future__ import annotations

from collections.abc import Iterable

from basetracker.api.names import ProtectionState, WorkloadState
from basetracker.api.status import Protected, Status
from basetracker.api.tracker import Key, Mode, Spec
from basetracker.core.actions import Outcome, Protect
from basetracker.core.observed import Problem
from basetracker.core.situation import Situation
from basetracker.core.unlocking import OURS, is_listed_anew, of_repository
from basetracker.oci.refs import Digest, ImageRef

KEPT = 20
"""How many digests of one image are protected at most; more are never in use at once."""


def digests_to_look_at(situation: Situation, spec: Spec) -> tuple[Digest, ...]:
    """The digests of which it has to be known whether somebody has locked them already."""
    known = {entry.digest for entry in _before(situation) if entry.state is not ProtectionState.UNREAD}
    return tuple(image.digest for image in wanted_images(situation, spec) if image.digest and image.digest not in known)


def foreign_locks(situation: Situation, spec: Spec) -> tuple[Digest, ...]:
    """The digests that somebody else has locked, which is worth another look now and then: the lock may be gone."""
    foreign = {entry.digest for entry in _before(situation) if entry.state is ProtectionState.FOREIGN}
    return tuple(image.digest for image in wanted_images(situation, spec) if image.digest in foreign)


def wanted_images(situation: Situation, spec: Spec) -> tuple[ImageRef, ...]:
    """What is to be kept locked now, by digest; nothing by a tracker that only looks."""
    if spec.suspend or spec.rollout.mode is not Mode.APPLY:
        return ()
    return tuple(situation.seen.spec.image.pinned(digest) for digest in sorted(_wanted(situation, spec)))


def kept_locked(situation: Situation, spec: Spec) -> tuple[ImageRef, ...]:
    """What no lock that is on its way to be taken back is taken from: what is wanted, and whatever runs.

    An image that the spec names anew has nothing validated yet while its gates are asked, and runs all the same.
    """
    runs = {row.status.digest for row in situation.rows if row.status.digest is not None} if spec.protect else set()
    return (*wanted_images(situation, spec), *(situation.seen.spec.image.pinned(digest) for digest in sorted(runs)))


def protections(situation: Situation, tracker: Key, spec: Spec) -> tuple[Protect, ...]:
    """What to lock and what to unlock now: of what the stored status says is ours."""
    if spec.suspend or spec.rollout.mode is Mode.PLAN:
        return ()
    wanted = _wanted(situation, spec)
    found: list[Protect] = []
    for entry in _before(situation):
        locks = entry.digest in wanted
        if entry.state in ({ProtectionState.REQUESTED} if locks else OURS):
            image = situation.seen.spec.image.pinned(entry.digest)
            name = situation.seen.spec.name
            found.append(Protect(tracker=tracker, downstream=name, image=image, locks=locks))
    return tuple(found)


def protected_after(situation: Situation, outcomes: Iterable[Outcome], spec: Spec) -> tuple[Protected, ...]:
    """The digests that are protected, or are about to be, after this turn."""
    wanted = _wanted(situation, spec)
    done = {item.action.image.digest: item for item in outcomes if isinstance(item.action, Protect)}
    kept: list[Protected] = []
    for entry in _before(situation):
        outcome = done.get(entry.digest)
        if outcome is None or outcome.temporary:
            is_over = entry.state not in OURS and entry.digest not in wanted and not spec.suspend
            kept += [] if is_over else [_looked_at(entry, situation)]
        elif outcome.error:
            kept.append(entry.model_copy(update={"message": outcome.error}))
        elif entry.digest in wanted:
            kept.append(entry.model_copy(update={"state": ProtectionState.LOCKED, "message": ""}))
    known = {entry.digest for entry in kept}
    new = [_entry(digest, found, situation) for digest, found in situation.seen.locked.items() if digest not in known]
    return tuple([*kept, *new][:KEPT])


def is_half_done(before: Status, after: Status) -> bool:
    """Whether a digest has just been written down to be locked or unlocked, which the next turn does."""
    return is_listed_anew(before, after) or any(
        entry.state is ProtectionState.REQUESTED
        and (row is None or (entry.repository, entry.digest) not in _requested(row.protected))
        for item in after.downstream
        for row in (before.of(item.name),)
        for entry in item.protected
    )


def _requested(entries: Iterable[Protected]) -> set[tuple[str, Digest]]:
    return {(one.repository, one.digest) for one in entries if one.state is ProtectionState.REQUESTED}


def _looked_at(entry: Protected, situation: Situation) -> Protected:
    """The entry after another look at a lock that isn't ours; what can't be seen just now leaves it as it was."""
    found = situation.seen.locked.get(entry.digest)
    if found is None or entry.state in OURS:
        return entry
    if isinstance(found, Problem) and entry.state is ProtectionState.FOREIGN:
        return entry
    return _entry(entry.digest, found, situation)


def _entry(digest: Digest, found: bool | Problem, situation: Situation) -> Protected:
    """What is written down of a digest that is to be protected."""
    repository = str(situation.seen.spec.image.repository)
    if isinstance(found, Problem):
        state, message = ProtectionState.UNREAD, found.message
    else:
        state, message = ProtectionState.FOREIGN if found else ProtectionState.REQUESTED, ""
    return Protected(repository=repository, digest=digest, state=state, message=message)


def _wanted(situation: Situation, spec: Spec) -> frozenset[Digest]:
    """What is validated, and what was and still runs: a Pod may run the digest before until its rollout has ended."""
    if not spec.protect:
        return frozenset()
    running: set[Digest | None] = set()
    for row in situation.rows:
        running.add(row.status.digest)
        if row.status.state is not WorkloadState.HEALTHY:
            running.add(row.status.previous_digest)
    kept = {entry.digest for entry in _before(situation)} & running
    validated = {situation.validated.digest} if situation.validated is not None else set()
    return frozenset(validated | kept)


def _before(situation: Situation) -> tuple[Protected, ...]:
    """What is stored of this image, as far as it is of the repository that the spec names now."""
    repository = situation.seen.spec.image.repository
    entries = situation.before.protected if situation.before is not None else ()
    return tuple(
        entry.model_copy(update={"repository": str(repository)})
        for entry in entries
        if of_repository(entry, repository)
    )
