"""Small images for the tests of lineage, drawn by the names of their layers: `one("debian", "python")`.

Owns how a name becomes a diff_id, a history step and a digest. Equal drawings have equal digests. Knows nothing of
registries; whole images with bytes come from the emulators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from basetracker.oci.lineage import Image, PlatformImage
from basetracker.oci.manifest import HistoryEntry
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64", "v8")


def diff_id(name: str) -> str:
    """The diff_id of the layer of this name."""
    return str(Digest.of(name.encode()))


def step(name: str, *, empty: bool = False) -> HistoryEntry:
    """The history of the layer of this name, or of a setting when it leaves no layer."""
    return HistoryEntry(created="2026-01-15T00:00:00Z", created_by=name, empty_layer=empty)


def one(
    *layers: str,
    platform: Platform = AMD64,
    history: Sequence[HistoryEntry] | None = None,
    annotations: Mapping[str, str] | None = None,
    built: str = "",
) -> PlatformImage:
    """One platform's image of these layers; the history is theirs unless another one is given.

    `built` stands for what the layers don't show, such as how they are compressed: it changes the digest alone.
    """
    steps = tuple(step(name) for name in layers) if history is None else tuple(history)
    said = dict(annotations or {})
    drawn = repr((layers, str(platform), platform.os_version, steps, sorted(said.items()), built))
    return PlatformImage(
        digest=Digest.of(drawn.encode()),
        platform=platform,
        diff_ids=tuple(diff_id(name) for name in layers),
        history=steps,
        annotations=said,
    )


def single(picture: PlatformImage) -> Image:
    """An image without an index: its digest is that of the one manifest."""
    return Image(digest=picture.digest, platforms=(picture,))


def multi(*pictures: PlatformImage) -> Image:
    """An index of these."""
    digest = Digest.of("".join(str(picture.digest) for picture in pictures).encode())
    return Image(digest=digest, platforms=pictures)


def drawn(*layers: str, history: Sequence[HistoryEntry] | None = None, built: str = "") -> Image:
    """An image without an index for the usual platform."""
    return single(one(*layers, history=history, built=built))
