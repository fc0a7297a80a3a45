"""Where the signatures of a digest lie: the referrers API, the referrers tag, and cosign's own tag.

All three are asked, since tools differ in where they put a signature even when a registry has the API. Owns the bounds and what
a signature's manifest looks like. Trusts nothing of what it reads, and what it can't read is no signature. `gate` uses it.

Sources: OCI distribution specification 1.1 (referrers tag schema), cosign's signature specification, Notary Project's storage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from basetracker.adapters.gates.signature.cosign import BUNDLE, SIGNATURE_ANNOTATION, SIMPLE_SIGNING
from basetracker.adapters.gates.signature.documents import ENVELOPE_LIMIT, RefusedError, read_object
from basetracker.adapters.gates.signature.notation import ARTIFACT
from basetracker.errors import BasetrackerError, InvalidError
from basetracker.oci.refs import Digest, Repository
from basetracker.ports import Credential

MOST_SIGNATURES: Final = 50
_PAGES: Final = 4
_EMPTY: Final = "application/vnd.oci.empty.v1+json"
"""What cosign 3 says of a bundle in the index that stands for the referrers API."""
_Document = Mapping[str, Any]


class ReadsArtifacts(Protocol):
    """A registry, as far as signatures need it; `OciRegistry` is one."""

    async def raw_manifest(
        self, repository: Repository, reference: Digest | str, credential: Credential | None
    ) -> bytes | None: ...

    async def raw_blob(
        self, repository: Repository, digest: Digest, credential: Credential | None, *, limit: int
    ) -> bytes | None: ...

    async def referrers(
        self, repository: Repository, digest: Digest, credential: Credential | None, *, pages: int
    ) -> tuple[bytes, ...] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What may be a signature; `value` is what stands beside the content in cosign's old layout."""

    media_type: str
    content: bytes = field(repr=False)
    value: object = None


@dataclass(slots=True, kw_only=True)
class Search:
    """One look for the signatures of `digest`; `problems` and `left_off` tell what was not seen, once it has ended."""

    registry: ReadsArtifacts
    repository: Repository
    digest: Digest
    credential: Credential | None
    problems: list[BasetrackerError] = field(default_factory=list)
    left_off: bool = False
    _seen: set[str] = field(default_factory=set)
    _count: int = 0

    async def of_notation(self) -> AsyncIterator[Candidate]:
        """Envelopes of Notation."""
        async for manifest in self._referring(frozenset({ARTIFACT})):
            if ARTIFACT not in {manifest.get("artifactType"), _config_type(manifest)}:
                continue
            async for candidate in self._layers(manifest, None):
                yield candidate

    async def of_cosign(self) -> AsyncIterator[Candidate]:
        """Bundles of cosign, then what its old layout holds."""
        async for manifest in self._referring(frozenset({BUNDLE, _EMPTY})):
            async for candidate in self._layers(manifest, BUNDLE):
                yield candidate
        old = await self._manifest(f"{self._tag}.sig")
        if old is not None:
            async for candidate in self._layers(old, SIMPLE_SIGNING):
                yield candidate

    @property
    def _tag(self) -> str:
        """The digest as a tag, cut to the length that the specification gives it."""
        algorithm, _, hexadecimal = str(self.digest).partition(":")
        return f"{algorithm}-{hexadecimal[:64]}"

    async def _referring(self, types: frozenset[str]) -> AsyncIterator[_Document]:
        """The manifests that refer to the digest, but for those that are known to be of other types."""
        for place in (self._by_api, self._by_tag):
            for index in await place():
                for digest in _digests(index, types):
                    if str(digest) not in self._seen and self._may_read():
                        self._seen.add(str(digest))
                        manifest = await self._manifest(digest)
                        if manifest is not None:
                            yield manifest

    async def _by_api(self) -> Sequence[_Document]:
        try:
            pages = await self.registry.referrers(self.repository, self.digest, self.credential, pages=_PAGES)
        except BasetrackerError as error:
            self.problems.append(error)
            return ()
        return [found for page in pages or () if (found := self._read(page)) is not None]

    async def _by_tag(self) -> Sequence[_Document]:
        index = await self._manifest(self._tag)
        return () if index is None else (index,)

    async def _manifest(self, reference: Digest | str) -> _Document | None:
        try:
            content = await self.registry.raw_manifest(self.repository, reference, self.credential)
        except BasetrackerError as error:
            self.problems.append(error)
            return None
        return None if content is None else self._read(content)

    def _read(self, content: bytes) -> _Document | None:
        try:
            return read_object(content, "a manifest")
        except RefusedError:
            self.problems.append(
                InvalidError(f"{self.repository} has something that isn't JSON where signatures of an image lie")
            )
            return None

    async def _layers(self, manifest: _Document, kind: str | None) -> AsyncIterator[Candidate]:
        """The contents of a signature's manifest, those of one media type or all."""
        for layer in _entries(manifest, "layers"):
            digest, media_type = _digest(layer), layer.get("mediaType")
            if digest is None or not isinstance(media_type, str) or kind not in {None, media_type}:
                continue
            if not self._may_read():
                return
            self._count += 1
            try:
                content = await self.registry.raw_blob(self.repository, digest, self.credential, limit=ENVELOPE_LIMIT)
            except BasetrackerError as error:
                self.problems.append(error)
                continue
            if content is not None:
                annotations = layer.get("annotations")
                value = annotations.get(SIGNATURE_ANNOTATION) if isinstance(annotations, dict) else None
                yield Candidate(media_type=media_type, content=content, value=value)

    def _may_read(self) -> bool:
        if self._count < MOST_SIGNATURES and len(self._seen) < 2 * MOST_SIGNATURES:
            return True
        self.left_off = True
        return False


def _entries(document: _Document, name: str) -> Iterator[dict[str, Any]]:
    found = document.get(name)
    if isinstance(found, list):
        yield from (one for one in found if isinstance(one, dict))


def _digests(index: _Document, types: frozenset[str]) -> Iterator[Digest]:
    """The entries that may be of these types; an entry need not say what it is."""
    for entry in _entries(index, "manifests"):
        digest, kind = _digest(entry), entry.get("artifactType")
        if digest is not None and (not kind or kind in types):
            yield digest


def _digest(entry: _Document) -> Digest | None:
    try:
        return Digest(str(entry.get("digest")))
    except InvalidError:
        return None


def _config_type(manifest: _Document) -> object:
    config = manifest.get("config")
    return config.get("mediaType") if isinstance(config, dict) else None
