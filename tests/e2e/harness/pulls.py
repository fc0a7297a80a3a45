"""Where the emulated nodes find their images.

Owns the way from an image reference to a digest: which registry is asked, and how. Knows nothing of Pods. A
registry that nobody has named has no images.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

Resolve = Callable[[str], Awaitable[str | None]]

MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user of a registry."""

    user: str
    password: str


class ImageSources:
    """Registries by host; `resolve` is what a kubelet asks."""

    def __init__(self) -> None:
        self._sources: dict[str, Resolve] = {}

    def add(self, host: str, resolve: Resolve) -> None:
        """Images of `host` are resolved so from now on; `resolve` runs in the kubelet's thread and loop."""
        self._sources[host] = resolve

    async def resolve(self, image: str) -> str | None:
        """The digest that a node would pull; None when there is no such image."""
        source = self._sources.get(image.partition("/")[0])
        return await source(image) if source else None


class RegistrySource:
    """Asks one registry over HTTPS, with basic authentication when it has credentials."""

    def __init__(self, tls: ssl.SSLContext, credentials: Credentials | None = None) -> None:
        self._tls = tls
        self._headers = {"Accept": MANIFESTS}
        if credentials:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(credentials.user, credentials.password)

    async def resolve(self, image: str) -> str | None:
        """The digest of the manifest; None for 404 and for 401, which a node can't pull either.

        Raises:
            aiohttp.ClientError: the registry gave no answer, or another error.
        """
        host, _, path = image.partition("/")
        name, _, digest = path.partition("@")
        repository, _, tag = name.partition(":")
        url = f"https://{host}/v2/{repository}/manifests/{digest or tag or 'latest'}"
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.head(url, ssl=self._tls) as answer,
        ):
            if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED}:
                return None
            answer.raise_for_status()
            return answer.headers["Docker-Content-Digest"]
