"""Running: which digests of an image run, what each is compared with, and which of them fail a gate. Pure.

Owns what is known of digests that run besides the validated one, whoever put them there. Used by `sources`, `situation` and the
engine's asking.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from basetracker.api.names import GateVerdict
from basetracker.api.status import DownstreamStatus, GateStatus
from basetracker.api.tracker import Downstream
from basetracker.core.observed import Container, ImageSeen, TargetSeen, Workload
from basetracker.core.relations import chosen_containers
from basetracker.core.rescan import Slot
from basetracker.core.rollout import image_of
from basetracker.oci.refs import Digest

LONGEST_MESSAGE: Final = 256
MOST_AT_ONCE: Final = 8
"""How many digests that run besides the validated one are asked about between two rescans, and told of."""


def running_digests(item: Downstream, targets: Iterable[TargetSeen]) -> tuple[Digest, ...]:
    """What the chosen containers run of this image's repository, each digest once."""
    return tuple(sorted({digest for digest, _, _ in _running(item, targets)}))


def running_beside(
    digest: Digest,
    item: Downstream,
    before: DownstreamStatus | None,
    targets: Iterable[TargetSeen],
    *,
    without: Collection[Digest] = (),
) -> tuple[Digest, ...]:
    """What a digest is compared with: what the chosen containers run instead of it; where all run it, what they ran before.

    Where somebody else put it there and nothing else runs, it is the digest itself, which is what runs. What runs `without`
    counting, since it fails by now, is no excuse for another one: what ran before it counts instead.
    """
    found: set[Digest] = set()
    is_theirs = False
    for one, workload, container in _running(item, targets):
        found.add(one)
        is_theirs |= one == digest and not _is_marked(workload, container)
    left_out = {digest, *without}
    rows = before.workloads if before is not None else ()
    earlier = {row.previous_digest for row in rows if row.digest in left_out and row.previous_digest is not None}
    if found - left_out:
        return tuple(sorted(found - left_out))
    if is_theirs:
        return (digest,)
    return tuple(sorted(earlier - left_out))


def asked_now(running: tuple[Digest, ...], slot: Slot) -> tuple[Digest, ...]:
    """Which of the digests that run are asked about until the next rescan: others in each, where there are many."""
    if len(running) <= MOST_AT_ONCE:
        return running
    number = int(slot.begin.timestamp() // (slot.end - slot.begin).total_seconds())
    first = number * MOST_AT_ONCE % len(running)
    return (*running[first:], *running[:first])[:MOST_AT_ONCE]


def failing_among(
    seen: ImageSeen,
    before: DownstreamStatus | None,
    questions: Mapping[str, str],
    *,
    settled: Digest | None,
) -> tuple[GateStatus, ...]:
    """For each digest that runs, the gate that it fails; kept until the gate says otherwise.

    `settled` is the validated digest where its own record says how it stands.
    """
    stored = {gate.digest: gate for gate in before.failing} if before is not None else {}
    if before is not None and before.validated is not None and before.validated.failing is not None:
        stored[before.validated.digest] = before.validated.failing
    found = []
    for digest in running_digests(seen.spec, seen.targets):
        if digest == settled:
            continue
        said = {gate.name: gate for gate in seen.verdicts.get(digest, ()) if gate.digest == digest}
        gate = next((one for one in said.values() if one.verdict is GateVerdict.FAIL), None)
        known = stored.get(digest)
        if gate is None and known is not None and known.question == questions.get(known.name):
            latest = said.get(known.name)
            gate = known if latest is None or latest.verdict is GateVerdict.PENDING else None
        found += [_short(gate)] if gate is not None else []
    return tuple(found[:MOST_AT_ONCE])


def _short(gate: GateStatus) -> GateStatus:
    """The answer with as much of its message as fits where many stand beside each other."""
    text = gate.message
    short = text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"
    return gate if short == text else gate.model_copy(update={"message": short})


def _running(item: Downstream, targets: Iterable[TargetSeen]) -> Iterable[tuple[Digest, Workload, Container]]:
    for seen in targets:
        if seen.workload is None:
            continue
        for container in chosen_containers(item, seen.target, seen.workload):
            image = image_of(container)
            if image is not None and image.digest is not None and image.repository == item.image.repository:
                yield image.digest, seen.workload, container


def _is_marked(workload: Workload, container: Container) -> bool:
    """Whether the mark on the workload says that we put there what runs."""
    mark = workload.delivered.get(container.name)
    return mark is not None and mark.image == container.image
