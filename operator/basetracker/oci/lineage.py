"""Lineage: does an image contain a base, and how is that known?

The answer is a verdict with the evidence, never a bare boolean. Layers are compared by diff_id, the digest of the
uncompressed layer, so a layer that was compressed again is still the same. The history is compared too, since a base
whose metadata alone changed has the same layers. Pure; the images were fetched by whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from basetracker.oci.manifest import BASE_DIGEST, BASE_NAME, HistoryEntry
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest


class Verdict(StrEnum):
    """How an image relates to a base, from worst to best."""

    REFUTED = "Refuted"
    UNKNOWN = "Unknown"
    CLAIMED = "Claimed"
    PROVEN = "Proven"

    @property
    def rank(self) -> int:
        return list(Verdict).index(self)


class ClaimSource(StrEnum):
    """Who says on which base an image was built, when its layers can't tell."""

    ANNOTATION = "its annotation"
    ACR = "ACR's recorded dependency"
    BUILD = "our own build record"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformImage:
    """One platform's image: what lineage compares."""

    digest: Digest
    platform: Platform
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    """Bytes of its layers as they are stored."""
    user: str = ""
    """As whom its program runs unless told otherwise, as the configuration has it; root when empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image by its digest, which is that of the index where there is one, with every platform in it."""

    digest: Digest
    platforms: tuple[PlatformImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Somebody's word that the image was built on the base with this digest."""

    source: ClaimSource
    base: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found for one platform; `message` is one sentence that names the layer where there is one."""

    platform: Platform
    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The verdict about one image and one base: that of the worst platform, with the evidence for each."""

    image: Digest
    base: Digest
    verdict: Verdict
    evidence: tuple[Evidence, ...]

    @property
    def message(self) -> str:
        """The worst platform's finding in one sentence."""
        worst = min(self.evidence, key=lambda item: item.verdict.rank, default=None)
        return worst.message if worst is not None else "the image has no platform that could be compared"


def judge(image: Image, base: Image, *, earlier: Iterable[Image] = (), claims: Sequence[Claim] = ()) -> Lineage:
    """How `image` relates to `base`.

    `earlier` are the bases that the same tag pointed to before, as far as they are known: an image that contains a
    longer one of them contains that one, and not the current base whose layers it begins with.
    """
    others = tuple(earlier)
    evidence = tuple(_with_claims(_compare(one, base, others), one, base, claims) for one in image.platforms)
    verdict = min((item.verdict for item in evidence), key=lambda item: item.rank, default=Verdict.UNKNOWN)
    return Lineage(image=image.digest, base=base.digest, verdict=verdict, evidence=evidence)


def contains_layers(image: PlatformImage, base: PlatformImage) -> bool:
    """Whether the base's layers are the image's first layers."""
    return bool(base.diff_ids) and image.diff_ids[: len(base.diff_ids)] == base.diff_ids


def contains_history(image: PlatformImage, base: PlatformImage) -> bool:
    """Whether the base's history is the beginning of the image's; true where one of them has none."""
    if not image.history or not base.history:
        return True
    return image.history[: len(base.history)] == base.history


def _compare(one: PlatformImage, base: Image, earlier: Sequence[Image]) -> Evidence:
    def found(verdict: Verdict, message: str) -> Evidence:
        return Evidence(platform=one.platform, verdict=verdict, message=message)

    target = _for_platform(base, one.platform)
    if target is None:
        offered = ", ".join(sorted(str(item.platform) for item in base.platforms)) or "none"
        return found(Verdict.REFUTED, f"the base has no image for {one.platform}; it is there for {offered}")
    if one.digest == target.digest:
        return found(Verdict.REFUTED, "the image is the base itself, nothing was built on it")
    if not target.diff_ids:
        return found(Verdict.UNKNOWN, f"the base has no layers for {one.platform}, so nothing can be compared")
    former = _earlier_contained(one, target, earlier)
    if not contains_layers(one, target):
        return _differing(one, target, base, former)
    if not contains_history(one, target):
        where = _first_difference(one.history, target.history) + 1
        if former is not None:
            return found(
                Verdict.REFUTED,
                f"history step {where} shows that it is built on the earlier base {former.short}",
            )
        return found(
            Verdict.UNKNOWN,
            f"the layers for {one.platform} begin with the base's, but history step {where} differs: "
            "built on other metadata, or its builder rewrites history",
        )
    if former is not None:
        return found(
            Verdict.REFUTED,
            f"it is built on the earlier base {former.short}, which begins with the same layers",
        )
    twin = _twin(one, target, earlier)
    if twin is not None:
        return found(
            Verdict.UNKNOWN,
            f"the layers for {one.platform} begin with the base's, but the earlier base {twin.short} has the same ones, "
            "and without history in the image the two can't be told apart",
        )
    count = len(target.diff_ids)
    layers = "first layer" if count == 1 else f"first {count} layers"
    return found(Verdict.PROVEN, f"its {layers} for {one.platform} {'is' if count == 1 else 'are'} the base's")


def _differing(one: PlatformImage, target: PlatformImage, base: Image, former: Digest | None) -> Evidence:
    where = _first_difference(one.diff_ids, target.diff_ids)
    has = Digest(one.diff_ids[where]).short if where < len(one.diff_ids) else "nothing"
    wants = Digest(target.diff_ids[where]).short
    position = f"layer {where + 1} of {len(target.diff_ids)} for {one.platform}"
    text = f"{position} is {has} where base {base.digest.short} has {wants}"
    if former is not None:
        return Evidence(
            platform=one.platform,
            verdict=Verdict.REFUTED,
            message=f"{text}: it is built on the earlier base {former.short}",
        )
    if where > 0:
        return Evidence(platform=one.platform, verdict=Verdict.REFUTED, message=text)
    return Evidence(
        platform=one.platform,
        verdict=Verdict.UNKNOWN,
        message=f"{text}: built on something else, or its layers are squashed",
    )


def _earlier_contained(one: PlatformImage, target: PlatformImage, earlier: Sequence[Image]) -> Digest | None:
    """The earlier base that the image contains and that the current base can't be taken for."""
    for other in earlier:
        former = _for_platform(other, one.platform)
        if former is None or not contains_layers(one, former) or not contains_history(one, former):
            continue
        current_fits = contains_layers(one, target) and contains_history(one, target)
        if not current_fits or _is_longer(former, target, by_history=bool(one.history)):
            return other.digest
    return None


def _is_same(former: PlatformImage, target: PlatformImage) -> bool:
    """Two digests of an index may hold the very same image for a platform."""
    return former.digest == target.digest or (former.diff_ids, former.history) == (
        target.diff_ids,
        target.history,
    )


def _twin(one: PlatformImage, target: PlatformImage, earlier: Sequence[Image]) -> Digest | None:
    """The earlier base that differs from the current one in metadata only, when the image has no history to tell."""
    if one.history:
        return None
    for other in earlier:
        former = _for_platform(other, one.platform)
        if former is not None and former.diff_ids == target.diff_ids and not _is_same(former, target):
            return other.digest
    return None


def _is_longer(former: PlatformImage, target: PlatformImage, *, by_history: bool) -> bool:
    if len(former.diff_ids) != len(target.diff_ids):
        return len(former.diff_ids) > len(target.diff_ids)
    return by_history and len(former.history) > len(target.history)


def _for_platform(image: Image, platform: Platform) -> PlatformImage | None:
    """The image that a build for this platform takes from an index; the first of several that are as near."""
    distances = ((platform.distance(one.platform), one) for one in image.platforms)
    usable = [(distance, one) for distance, one in distances if distance is not None]
    return min(usable, key=lambda item: item[0])[1] if usable else None


def _first_difference(left: Sequence[object], right: Sequence[object]) -> int:
    """The index of the first item in which the two differ; the shorter's length when it is the other's beginning."""
    return next(
        (i for i, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]),
        min(len(left), len(right)),
    )


def _with_claims(found: Evidence, one: PlatformImage, base: Image, claims: Sequence[Claim]) -> Evidence:
    """Claims decide only where the layers leave it open; they never outweigh what the layers show."""
    if found.verdict is not Verdict.UNKNOWN:
        return found
    target = _for_platform(base, one.platform)
    accepted = {base.digest, *(item.digest for item in base.platforms if item is target)}
    said = one.annotations.get(BASE_DIGEST, "")
    if said in {str(digest) for digest in accepted}:
        return _claimed(found, ClaimSource.ANNOTATION)
    for claim in claims:
        if claim.base in accepted:
            return _claimed(found, claim.source)
    if said:
        # Quoted: it is another's text, and goes into a status.
        name = one.annotations.get(BASE_NAME, "a base")[:120]
        message = f"{found.message}; its annotation names {name!r} at {said[:19]!r} as its base"
        return Evidence(platform=found.platform, verdict=Verdict.UNKNOWN, message=message)
    return found


def _claimed(found: Evidence, source: ClaimSource) -> Evidence:
    return Evidence(
        platform=found.platform,
        verdict=Verdict.CLAIMED,
        message=f"{source.value} names this base, but the layers don't prove it: {found.message}",
    )
