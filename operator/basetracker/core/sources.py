"""Sources of lineage: which bases came before, who claims what, and which digests are worth reading. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from basetracker.api.names import HistoryEvent
from basetracker.api.status import DownstreamStatus, Status
from basetracker.api.tracker import Downstream
from basetracker.core.builds import output_digest
from basetracker.core.observed import BuildSeen, Run, TargetSeen
from basetracker.core.relations import chosen_containers
from basetracker.core.rollout import image_of
from basetracker.oci.lineage import Claim, ClaimSource
from basetracker.oci.refs import Digest, ImageRef


def earlier_bases(status: Status, current: Digest) -> tuple[Digest, ...]:
    """The digests that the base's tag pointed to before, as far as the status remembers, newest first."""
    found: list[Digest] = [status.base.digest] if status.base is not None else []
    for entry in status.history:
        if entry.event is HistoryEvent.BASE_MOVED:
            found += [Digest(entry.to), Digest(entry.from_)]
    for item in status.downstream:
        if item.validated is not None:
            found.append(item.validated.base_digest)
        if item.build is not None:
            found.append(item.build.base_digest)
    return tuple(dict.fromkeys(digest for digest in found if digest != current))


def claims_about(
    digest: Digest,
    item: Downstream,
    before: DownstreamStatus | None,
    build: BuildSeen,
    tag: Digest | None,
    base: ImageRef,
) -> tuple[Claim, ...]:
    """Who claims on which base this digest was built, besides its own annotations."""
    claims: list[Claim] = []
    record = before.build if before else None
    passes_base = item.build is not None and item.build.acr_task.base_argument is not None
    made = record.digest if record is not None else None
    if made is None and build.run is not None:
        made = output_digest(build.run, item.image)  # it has just ended: the record doesn't tell yet
    if record is not None and made == digest and passes_base and not record.adopted:
        claims.append(Claim(source=ClaimSource.BUILD, base=record.base_digest))
    if build.facts is not None and digest == tag:
        claims += [
            Claim(source=ClaimSource.ACR, base=ref.digest)
            for ref in build.facts.dependencies
            if ref.repository == base.repository and ref.digest is not None
        ]
    return tuple(claims)


def running_beside(
    digest: Digest, item: Downstream, before: DownstreamStatus | None, targets: Iterable[TargetSeen]
) -> tuple[Digest, ...]:
    """What the chosen containers run instead of this digest; where all run it, what they ran before it.

    Where nothing is known from before and somebody else put it there, it is the digest itself: that is what runs.
    """
    found: set[Digest] = set()
    is_theirs = False
    for seen in targets:
        if seen.workload is None:
            continue
        for container in chosen_containers(item, seen.target, seen.workload):
            image = image_of(container)
            if image is None or image.digest is None:
                continue
            found.add(image.digest)
            mark = seen.workload.delivered.get(container.name)
            is_theirs |= image.digest == digest and (mark is None or mark.image != container.image)
    found -= {digest}
    if not found and before is not None:
        rows = [row for row in before.workloads if row.digest == digest]
        found = {row.previous_digest for row in rows if row.previous_digest is not None} - {digest}
    return tuple(sorted(found or ({digest} if is_theirs else ())))


def running_digests(item: Downstream, targets: Iterable[TargetSeen]) -> tuple[Digest, ...]:
    """What the chosen containers run of this image's repository, each digest once."""
    found: set[Digest] = set()
    for seen in targets:
        if seen.workload is None:
            continue
        images = [image_of(one) for one in chosen_containers(item, seen.target, seen.workload)]
        found |= {
            image.digest
            for image in images
            if image is not None and image.repository == item.image.repository and image.digest is not None
        }
    return tuple(sorted(found))


def digests_of_interest(
    item: Downstream,
    before: DownstreamStatus | None,
    tag: Digest | None,
    run: Run | None,
    targets: Iterable[TargetSeen],
    remembered: Digest | None,
) -> tuple[Digest, ...]:
    """The digests of this image whose lineage the rules may ask for."""
    found: list[Digest | None] = [tag, remembered]
    if before is not None:
        found.append(before.validated.digest if before.validated else None)
        found.append(before.build.digest if before.build else None)
    if run is not None:
        found.append(output_digest(run, item.image))
    found += running_digests(item, targets)
    return tuple(dict.fromkeys(digest for digest in found if digest is not None))
