"""From a registry's bytes to an image that lineage can compare.

Owns which documents make up an image and that each matches the digest it was asked by. Knows no HTTP: `read_image`
is given how to fetch. Used by `oci`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, TypeVar

from basetracker.errors import InvalidError
from basetracker.oci.lineage import Image, PlatformImage
from basetracker.oci.manifest import BASE_DIGEST, BASE_NAME, Descriptor, Index, Manifest, parse_config, parse_manifest
from basetracker.oci.refs import Digest, Repository

MANIFEST_LIMIT: Final = 4 * 1024 * 1024
CONFIG_LIMIT: Final = 8 * 1024 * 1024
"""Bytes."""
_PLATFORM_LIMIT: Final = 64
_AT_ONCE: Final = 4
"""How many platforms of one image are read at once, so that large ones don't take up the memory together."""
_LARGE: Final = 64 * 1024
"""Bytes from which a document is read beside the event loop, which it would hold up by more than a few milliseconds."""
_T = TypeVar("_T")

FetchManifest = Callable[[Digest], Awaitable[tuple[bytes, str] | None]]
"""Answers a manifest's bytes and media type; None when there is no such manifest."""
FetchConfig = Callable[[Digest], Awaitable[bytes | None]]


class ImageReader:
    """Reads one image of one repository."""

    def __init__(self, repository: Repository, manifest: FetchManifest, config: FetchConfig) -> None:
        self._repository = repository
        self._manifest = manifest
        self._config = config
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def read(self, digest: Digest) -> Image | None:
        """The image with every platform; None when the repository has no such manifest.

        Raises:
            InvalidError: it is no image, too large, incomplete, or doesn't match a digest.
        """
        found = await self._parsed(digest)
        if found is None:
            return None
        if isinstance(found, Manifest):
            return Image(digest=digest, platforms=(await self._platform(digest, found, None, {}),))
        entries = found.images
        if not entries:
            raise InvalidError(f"{self._repository} at {digest.short} is an index without any image in it")
        if len(entries) > _PLATFORM_LIMIT:
            raise InvalidError(f"{self._repository} at {digest.short} has more than {_PLATFORM_LIMIT} platforms")
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._entry(entry, found)) for entry in entries]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return Image(digest=digest, platforms=tuple(task.result() for task in tasks))

    async def _entry(self, entry: Descriptor, index: Index) -> PlatformImage:
        async with self._turns:
            found = await self._parsed(entry.digest)
            if found is None:
                raise self._incomplete(entry.digest)
            if isinstance(found, Index):
                raise InvalidError(f"{self._repository} has an index in an index, which nothing can run")
            return await self._platform(entry.digest, found, entry, index.annotations)

    async def _platform(
        self, digest: Digest, manifest: Manifest, entry: Descriptor | None, outer: Mapping[str, str]
    ) -> PlatformImage:
        if manifest.config.size > CONFIG_LIMIT:
            raise InvalidError(
                f"{self._repository} at {digest.short} has a configuration of more than {CONFIG_LIMIT >> 20} MiB"
            )
        content = await self._config(manifest.config.digest)
        if content is None:
            raise self._incomplete(manifest.config.digest)
        config = await self._read(manifest.config.digest, content, parse_config)
        if len(config.diff_ids) != len(manifest.layers):
            # The container runtime refuses it as well; its diff_ids would prove nothing about its layers.
            raise InvalidError(
                f"{self._repository} at {digest.short} has {len(manifest.layers)} layers, "
                f"but its configuration names {len(config.diff_ids)}; build and push it again"
            )
        said = {**config.labels, **outer, **manifest.annotations}
        known = entry is not None and entry.platform is not None and entry.platform.is_known
        return PlatformImage(
            digest=digest,
            platform=entry.platform if known and entry is not None and entry.platform is not None else config.platform,
            diff_ids=config.diff_ids,
            history=config.history,
            annotations={name: said[name] for name in (BASE_DIGEST, BASE_NAME) if name in said},
            size=sum(layer.size for layer in manifest.layers),
            user=config.user,
        )

    async def _parsed(self, digest: Digest) -> Index | Manifest | None:
        found = await self._manifest(digest)
        if found is None:
            return None
        content, media_type = found
        return await self._read(digest, content, partial(parse_manifest, media_type=media_type))

    async def _read(self, digest: Digest, content: bytes, parse: Callable[[bytes], _T]) -> _T:
        """What the content says, which has to match the digest."""

        def read() -> _T:
            self._match(digest, content)
            return parse(content)

        return read() if len(content) < _LARGE else await asyncio.to_thread(read)

    def _match(self, digest: Digest, content: bytes) -> None:
        if not digest.matches(content):
            raise InvalidError(
                f"{self._repository} gives something else than {digest.short} when asked for it by its digest; "
                "the registry or a proxy before it changes or cuts content"
            )

    def _incomplete(self, digest: Digest) -> InvalidError:
        return InvalidError(f"{self._repository} has no {digest.short}, which is a part of the image; push it again")
