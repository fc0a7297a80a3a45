"""Sources of lineage: which bases came before, who claims what, and which digests are worth reading. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from basetracker.api.names import HistoryEvent
from basetracker.api.status import DownstreamStatus, Status
from basetracker.api.tracker import Downstream
from basetracker.core.builds import output_digest
from basetracker.core.observed import BuildSeen, Run, TargetSeen
from basetracker.core.running import running_digests
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
