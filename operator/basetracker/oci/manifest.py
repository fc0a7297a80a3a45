"""Manifests, indexes and image configurations, read strictly from the bytes that a registry stores.

Sources: OCI image specification 1.1 (index, manifest, config) and Docker's image manifest version 2, schema 2.
Doesn't fetch anything and doesn't trust a digest: whoever fetched the bytes has compared it already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from basetracker.errors import InvalidError
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_TYPES: Final = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
"""What every manifest request accepts: with one of them missing, registries convert and the digest differs."""

BASE_DIGEST: Final = "org.opencontainers.image.base.digest"
BASE_NAME: Final = "org.opencontainers.image.base.name"

PARTS_LIMIT: Final = 200_000
"""How many values a document may have at most. A small document of nothing but brackets takes twenty times its size in
memory, and nearly a second of all threads; a large real one has some thousands of values."""

_TIME = re.compile(
    r"(?P<second>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
    r"(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One step of how an image was made; an empty layer has no diff_id."""

    created: str = ""
    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What an index or a manifest points to; `size` in bytes."""

    digest: Digest
    media_type: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_attestation(self) -> bool:
        """True for the entries that BuildKit adds beside the images; they run nowhere.

        The annotation alone isn't believed: a runtime doesn't look at it and would run an entry that has a platform.
        """
        if self.platform is not None and "unknown" in {self.platform.os, self.platform.architecture}:
            return True
        annotated = self.annotations.get("vnd.docker.reference.type") == "attestation-manifest"
        return annotated and self.platform is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An image index or Docker manifest list."""

    entries: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    @property
    def images(self) -> tuple[Descriptor, ...]:
        """The entries that are images, without attestations and artifacts."""
        return tuple(
            entry
            for entry in self.entries
            if not entry.is_attestation and entry.media_type in {OCI_MANIFEST, DOCKER_MANIFEST}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest of one platform's image."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What an image configuration says that lineage and gates need; `diff_ids` are digests of the uncompressed layers."""

    platform: Platform
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
    labels: Mapping[str, str]
    user: str = ""


def parse_manifest(content: bytes, media_type: str = "") -> Index | Manifest:
    """The index or manifest in `content`.

    `media_type` is what the registry said; the document's own `mediaType` goes before it.

    Raises:
        InvalidError: when it is truncated, of another kind (schema 1, a Helm chart) or lacks what it must have.
    """
    document = _object(content, "the manifest")
    kind = str(document.get("mediaType") or media_type.partition(";")[0].strip())
    if document.get("schemaVersion") == 1:
        raise InvalidError("the manifest is of the old schema 1; build and push the image again with a current builder")
    if "manifests" in document and ("config" in document or "layers" in document):
        raise InvalidError(
            "the manifest is an index and an image at once, which no runtime takes; push the image again"
        )
    if kind in {OCI_INDEX, DOCKER_LIST} or (not kind and "manifests" in document):
        return _index(document)
    if kind in {OCI_MANIFEST, DOCKER_MANIFEST} or (not kind and "config" in document):
        return Manifest(
            config=_descriptor(document.get("config"), "the manifest"),
            layers=tuple(_descriptor(layer, "the manifest") for layer in _list(document, "layers", "the manifest")),
            annotations=_strings(document.get("annotations")),
        )
    raise InvalidError(
        f"the manifest has the media type {kind[:80]!r}, which is not that of an image; name a tag of an image"
    )


def parse_config(content: bytes) -> Config:
    """The image configuration in `content`.

    Raises:
        InvalidError: when it is truncated or isn't a configuration of an image.
    """
    document = _object(content, "the image configuration")
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict):
        raise InvalidError("the image configuration has no rootfs; it is an artifact, not an image")
    where = "the image configuration"
    settings = document.get("config")
    return Config(
        platform=_platform(document),
        diff_ids=tuple(str(_digest(diff_id, where)) for diff_id in _list(rootfs, "diff_ids", where)),
        history=tuple(
            _history(entry) for entry in (_list(document, "history", where) if document.get("history") else ())
        ),
        labels=_strings(settings.get("Labels")) if isinstance(settings, dict) else {},
        user=_user(document),
    )


def _index(document: Mapping[str, Any]) -> Index:
    entries = tuple(_descriptor(entry, "the index") for entry in _list(document, "manifests", "the index"))
    nested = next((entry for entry in entries if entry.media_type in {OCI_INDEX, DOCKER_LIST}), None)
    if nested is not None:
        # A runtime may look into it, so what is in there can't be passed over.
        raise InvalidError(
            f"the index holds another index, {nested.digest.short}; push an index that names the images themselves"
        )
    return Index(entries=entries, annotations=_strings(document.get("annotations")))


def _history(entry: object) -> HistoryEntry:
    if not isinstance(entry, dict):
        raise InvalidError("the image configuration has a history entry that is no object; push the image again")
    return HistoryEntry(
        created=_instant(str(entry.get("created") or "")),
        created_by=str(entry.get("created_by") or ""),
        comment=str(entry.get("comment") or ""),
        empty_layer=bool(entry.get("empty_layer")),
    )


def _user(document: Mapping[str, Any]) -> str:
    """As whom the image runs. Empty, which is root, where the runtime may read another word for it than is read here.

    Runtimes take names of fields in any case, and of two the last; which one that is isn't known any more.
    """
    settings = _only(document, "config")
    user = _only(settings, "User") if isinstance(settings, dict) else None
    return user if isinstance(user, str) else ""


def _only(document: Mapping[str, Any], key: str) -> object:
    """The value of the key; None when there is one that differs from it in case alone."""
    alike = [name for name in document if name.casefold() == key.casefold()]
    return document[key] if alike == [key] else None


def _descriptor(entry: object, where: str) -> Descriptor:
    if not isinstance(entry, dict):
        raise InvalidError(f"{where} has an entry without a digest; push the image again")
    platform = entry.get("platform")
    size = entry.get("size")
    return Descriptor(
        digest=_digest(entry.get("digest"), where),
        media_type=str(entry.get("mediaType") or ""),
        size=size if isinstance(size, int) and size >= 0 else 0,
        platform=_platform(platform) if isinstance(platform, dict) else None,
        annotations=_strings(entry.get("annotations")),
    )


def _instant(text: str) -> str:
    """A time in one spelling: builders that copy a base's history drop trailing zeros and write UTC as `Z`."""
    found = _TIME.fullmatch(text)
    if found is None:
        return text
    try:
        second = datetime.fromisoformat(found["second"] + found["zone"].replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    if second.year == 1:
        return ""  # what Go writes for no time
    fraction = (found["fraction"] or "").rstrip("0")
    return second.replace(tzinfo=None).isoformat() + (f".{fraction}" if fraction else "") + "Z"


def _digest(value: object, where: str) -> Digest:
    try:
        return Digest(str(value))
    except InvalidError as error:
        raise InvalidError(f"{where} has {str(value)[:90]!r} for a digest; push the image again") from error


def _platform(entry: Mapping[str, Any]) -> Platform:
    return Platform(
        os=str(entry.get("os") or ""),
        architecture=str(entry.get("architecture") or ""),
        variant=str(entry.get("variant") or ""),
        os_version=str(entry.get("os.version") or ""),
    )


def _object(content: bytes, what: str) -> dict[str, Any]:
    # A comma or a bracket in a string counts as well, which is far from the limit in what builders write.
    if content.count(b",") + content.count(b"[") + content.count(b"{") > PARTS_LIMIT:
        raise InvalidError(f"{what} has more than {PARTS_LIMIT} values; push the image again with fewer")
    try:
        document = json.loads(content, object_pairs_hook=_each_once)
    except _TwiceError as error:
        raise InvalidError(f"{what} names a field twice, so that each reader reads another; build it again") from error
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{what} is not complete JSON; push the image again") from error
    if not isinstance(document, dict):
        raise InvalidError(f"{what} is not a JSON object; push the image again")
    return document


class _TwiceError(ValueError):
    """An object names a field twice."""


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceError
    return found


def _list(document: Mapping[str, Any], key: str, what: str) -> Sequence[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        raise InvalidError(f"{what} has no list {key!r}; push the image again")
    return value


def _strings(value: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, dict) else {}
