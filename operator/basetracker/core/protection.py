"""Protection: which digests are locked in their registry against deletion, so that no purge takes what runs. Pure.

A lock is ours only when nobody had locked the digest before, and this is written down before the lock is asked for: whatever
happens in between, we take back what we did and nothing else. Trackers that protect one digest own its lock together.
"""

from __future__ import annotations

from collections.abc import Iterable

from basetracker.api.names import ProtectionState, WorkloadState
from basetracker.api.status import Protected, Status
from basetracker.api.tracker import Key, Mode, Spec, Tracker
from basetracker.core.actions import Outcome, Protect
from basetracker.core.observed import Problem
from basetracker.core.situation import Situation
from basetracker.oci.refs import Digest, ImageRef

_OURS = frozenset({ProtectionState.REQUESTED, ProtectionState.LOCKED})
KEPT = 20
"""How many digests of one image are protected at most; more are never in use at once."""


def digests_to_look_at(situation: Situation, spec: Spec) -> tuple[Digest, ...]:
    """The digests of which it has to be known whether somebody has locked them already."""
    if not _acts(spec):
        return ()
    known = {entry.digest for entry in _before(situation) if entry.state is not ProtectionState.UNREAD}
    return tuple(digest for digest in sorted(_wanted(situation, spec)) if digest not in known)


def is_protected_elsewhere(trackers: Iterable[Tracker], key: Key, downstream: str, image: ImageRef) -> bool:
    """Whether we have locked this digest of this repository for another image or tracker as well, or are about to."""
    return any(
        entry.digest == image.digest and entry.state in _OURS
        for tracker in trackers
        if tracker.spec is not None
        for item in tracker.spec.downstream
        if item.image.repository == image.repository and (tracker.key, item.name) != (key, downstream)
        if (row := tracker.status.of(item.name)) is not None
        for entry in row.protected
    )


def protections(situation: Situation, tracker: Key, spec: Spec) -> tuple[Protect, ...]:
    """What to lock and what to unlock now: of what the stored status says is ours."""
    if spec.suspend or spec.rollout.mode is Mode.PLAN:
        return ()
    wanted = _wanted(situation, spec)
    found: list[Protect] = []
    for entry in _before(situation):
        locks = entry.digest in wanted
        if entry.state in ({ProtectionState.REQUESTED} if locks else _OURS):
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
        if outcome is None:
            is_over = entry.state not in _OURS and (entry.digest not in wanted or entry.digest in situation.seen.locked)
            kept += [] if is_over and not spec.suspend else [entry]
        elif outcome.error:
            kept.append(entry.model_copy(update={"message": outcome.error}))
        elif entry.digest in wanted:
            kept.append(entry.model_copy(update={"state": ProtectionState.LOCKED, "message": ""}))
    known = {entry.digest for entry in kept}
    new = [_entry(digest, found) for digest, found in situation.seen.locked.items() if digest not in known]
    return tuple([*kept, *new][:KEPT])


def is_half_done(before: Status, after: Status) -> bool:
    """Whether a digest has just been written down to be locked, which the next turn does."""
    return any(
        entry.state is ProtectionState.REQUESTED
        for item in after.downstream
        for entry in item.protected
        if (row := before.of(item.name)) is None or entry.digest not in {one.digest for one in row.protected}
    )


def _entry(digest: Digest, found: bool | Problem) -> Protected:
    """What is written down of a digest that is to be protected."""
    if isinstance(found, Problem):
        return Protected(digest=digest, state=ProtectionState.UNREAD, message=found.message)
    return Protected(digest=digest, state=ProtectionState.FOREIGN if found else ProtectionState.REQUESTED)


def _acts(spec: Spec) -> bool:
    return spec.protect and not spec.suspend and spec.rollout.mode is Mode.APPLY


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
    return situation.before.protected if situation.before is not None else ()
