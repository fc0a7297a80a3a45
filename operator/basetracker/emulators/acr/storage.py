"""What a registry keeps: repositories, tags, manifests with their exact bytes, blobs, attributes, times.

Owns the rules of content (a manifest's parts must be there, locked things don't change). Knows no HTTP and
no caller's rights. Used by every emulated registry; whoever wants to know of a moved tag listens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from basetracker.emulators.images import INDEXES, Image, Index, digest_of, load
from basetracker.emulators.timeline import Clock


class LockedError(Exception):
    """The tag or manifest is locked against this change."""


class MissingPartError(Exception):
    """A manifest refers to a blob or manifest that was never pushed; the argument is its digest."""


@dataclass(slots=True)
class Attributes:
    """What may be changed about a tag or manifest, in ACR's words."""

    values: dict[str, Any] = field(
        default_factory=lambda: dict.fromkeys(("deleteEnabled", "writeEnabled", "readEnabled", "listEnabled"), True)
    )

    @property
    def writable(self) -> bool:
        """May be overwritten."""
        return bool(self.values["writeEnabled"])

    @property
    def deletable(self) -> bool:
        """May be deleted; a write lock protects from that too."""
        return bool(self.values["deleteEnabled"] and self.values["writeEnabled"])


@dataclass(slots=True, kw_only=True)
class Manifest:
    """A stored manifest."""

    digest: str
    media_type: str
    body: bytes = field(repr=False)
    created: datetime
    updated: datetime
    attributes: Attributes = field(default_factory=Attributes)

    @property
    def document(self) -> dict[str, Any]:
        """The manifest, parsed."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def subject(self) -> str | None:
        """The digest of the manifest this one is about (signatures, reports)."""
        subject = self.document.get("subject")
        return str(subject["digest"]) if subject else None

    @property
    def artifact_type(self) -> str | None:
        """`artifactType`, or the config's type where there is none."""
        document = self.document
        kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
        return str(kind) if kind else None


@dataclass(slots=True, kw_only=True)
class Tag:
    """A stored tag."""

    name: str
    digest: str
    created: datetime
    updated: datetime
    attributes: Attributes = field(default_factory=Attributes)


@dataclass(slots=True)
class Repository:
    """One repository."""

    name: str
    tags: dict[str, Tag] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)

    def find(self, reference: str) -> Manifest | None:
        """The manifest of a tag or digest."""
        if ":" in reference:
            return self.manifests.get(reference)
        tag = self.tags.get(reference)
        return self.manifests.get(tag.digest) if tag else None

    def tags_of(self, digest: str) -> list[str]:
        """The tags that point to a digest, sorted."""
        return sorted(tag.name for tag in self.tags.values() if tag.digest == digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A tag (None: pushed by digest) now points to a digest; `previous` is what it pointed to before."""

    host: str
    repository: str
    tag: str | None
    digest: str
    previous: str | None
    media_type: str
    size: int


class Storage:
    """The content of one registry."""

    def __init__(self, host: str, clock: Clock) -> None:
        self.host = host
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.listeners: list[Callable[[Pushed], None]] = []
        self.quarantine = False
        """Whether pushed manifests stay hidden until their `quarantineState` is `Passed`."""
        self._clock = clock

    def find(self, repository: str, reference: str) -> Manifest | None:
        """The manifest of a tag or digest in a repository."""
        found = self.repositories.get(repository)
        return found.find(reference) if found else None

    def put_blob(self, data: bytes) -> str:
        """Keep a blob; answers its digest."""
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def put_manifest(self, repository: str, reference: str, body: bytes, media_type: str) -> Manifest:
        """Keep a manifest and point the tag to it (`reference` may be its digest: then no tag moves).

        Raises:
            LockedError: the tag is locked.
            MissingPartError: a part of it isn't here.
        """
        home = self.repositories.get(repository) or Repository(repository)
        for part in _parts(body, media_type):
            if part not in self.blobs and part not in home.manifests:
                raise MissingPartError(part)
        tag = None if ":" in reference else home.tags.get(reference)
        if tag is not None and not tag.attributes.writable:
            raise LockedError(reference)
        self.repositories[repository] = home
        now, digest = self._clock(), digest_of(body)
        manifest = home.manifests.get(digest)
        if manifest is None:
            manifest = Manifest(digest=digest, media_type=media_type, body=body, created=now, updated=now)
            home.manifests[digest] = manifest
            if self.quarantine:
                manifest.attributes.values["quarantineState"] = "Quarantined"
        previous = tag.digest if tag else None
        if ":" not in reference:
            self._point(home, reference, digest, now)
        self._tell(repository, None if ":" in reference else reference, manifest, previous)
        return manifest

    def push(self, repository: str, tag: str | None, image: Image | Index) -> str:
        """Keep a whole image or index and point the tag to it; answers its digest. Raises LockedError."""
        for child in image.children if isinstance(image, Index) else ():
            self.push(repository, None, child)
        if isinstance(image, Image):
            self.blobs.update(image.blobs)
        self.put_manifest(repository, tag or image.digest, image.manifest, image.media_type)
        return image.digest

    def pull(self, repository: str, reference: str) -> Image | Index | None:
        """The whole image behind a tag or digest; None when there is none."""
        manifest = self.find(repository, reference)
        if manifest is None:
            return None
        home = self.repositories[repository]
        return load(
            manifest.body,
            manifest.media_type,
            lambda digest: home.manifests[digest].body if digest in home.manifests else self.blobs[digest],
        )

    def delete_tag(self, repository: str, name: str) -> bool:
        """Remove a tag, not what it points to; False when there is none. Raises LockedError."""
        home = self.repositories.get(repository)
        tag = home.tags.get(name) if home else None
        if home is None or tag is None:
            return False
        if not tag.attributes.deletable:
            raise LockedError(name)
        del home.tags[name]
        return True

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Remove a manifest and its tags; False when there is none. Raises LockedError."""
        home = self.repositories.get(repository)
        manifest = home.manifests.get(digest) if home else None
        if home is None or manifest is None:
            return False
        tags = [home.tags[name] for name in home.tags_of(digest)]
        if not manifest.attributes.deletable or not all(tag.attributes.deletable for tag in tags):
            raise LockedError(digest)
        for tag in tags:
            del home.tags[tag.name]
        del home.manifests[digest]
        return True

    def referrers(self, repository: str, digest: str) -> Iterator[Manifest]:
        """The manifests whose subject is this digest."""
        home = self.repositories.get(repository)
        for manifest in home.manifests.values() if home else ():
            if manifest.subject == digest:
                yield manifest

    def hidden(self, manifest: Manifest) -> bool:
        """Whether quarantine keeps it from pullers."""
        state = manifest.attributes.values.get("quarantineState")
        return self.quarantine and state is not None and state != "Passed"

    def _point(self, home: Repository, name: str, digest: str, now: datetime) -> None:
        tag = home.tags.get(name)
        if tag is None:
            home.tags[name] = Tag(name=name, digest=digest, created=now, updated=now)
        else:
            tag.digest, tag.updated = digest, now

    def _tell(self, repository: str, tag: str | None, manifest: Manifest, previous: str | None) -> None:
        pushed = Pushed(
            host=self.host,
            repository=repository,
            tag=tag,
            digest=manifest.digest,
            previous=previous,
            media_type=manifest.media_type,
            size=len(manifest.body),
        )
        for listener in self.listeners:
            listener(pushed)


def _parts(body: bytes, media_type: str) -> Iterator[str]:
    document = json.loads(body)
    if media_type in INDEXES:
        yield from (str(one["digest"]) for one in document.get("manifests", []))
        return
    for one in [document.get("config"), *document.get("layers", [])]:
        if one:
            yield str(one["digest"])
