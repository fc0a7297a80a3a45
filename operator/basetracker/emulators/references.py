"""Image references as the emulators read them: host, repository, tag, digest.

Written apart from the product's own parser on purpose, so that one's mistake can't hide in the other.
"""

from __future__ import annotations

from typing import NamedTuple


class Reference(NamedTuple):
    """A full image reference; at least one of `tag` and `digest` is set."""

    host: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def manifest(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"


def parse(text: str) -> Reference:
    """Read `host/repository[:tag][@digest]`; without a host Docker Hub is meant, without a tag `latest`."""
    name, _, digest = text.partition("@")
    head, slash, rest = name.partition("/")
    host = head if slash and ("." in head or ":" in head or head == "localhost") else ""
    path = rest if host else name
    repository, colon, tag = path.rpartition(":")
    if not colon:
        repository, tag = path, "" if digest else "latest"
    if not host:
        host, repository = "docker.io", repository if "/" in repository else f"library/{repository}"
    return Reference(host, repository, tag or None, digest or None)
