"""References and digests: the strict vocabulary that every other floor uses instead of bare strings.

Owns parsing and printing of `host/repository:tag@digest` as the OCI distribution specification 1.1 and Docker's
reference grammar define it. Doesn't know how an image is fetched. Used everywhere.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from basetracker.errors import InvalidError

DOCKER_HUB: Final = "docker.io"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_TAG_WORDS: Final = "a tag is up to 128 letters, digits, '_', '.' and '-', and does not begin with '.' or '-'"
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_BARE_ID = re.compile(r"[0-9a-f]{64}")
"""Docker takes it for an image's id, so it names no repository."""
_LONGEST: Final = 500
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?P<address>[0-9a-fA-F:]+)\])(?::(?P<port>[0-9]{{1,5}}))?")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A content digest, e.g. `sha256:<64 hex>`; never anything else."""

    value: str

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.value):
            raise InvalidError(f"{self.value[:90]!r} is not a digest; write it as sha256:<64 hexadecimal digits>")

    def __str__(self) -> str:
        return self.value

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, for people."""
        return self.value.partition(":")[2][:12]

    @property
    def algorithm(self) -> str:
        return self.value.partition(":")[0]

    def matches(self, content: bytes) -> bool:
        """Whether `content` hashes to this digest."""
        return hashlib.new(self.algorithm, content).hexdigest() == self.value.partition(":")[2]

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The sha256 digest of `content`."""
        return cls("sha256:" + hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository on a registry host, e.g. `contoso.azurecr.io` / `shop/checkout`."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    def at(self, digest: Digest) -> ImageRef:
        """The reference of one digest in this repository."""
        return ImageRef(repository=self, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ImageRef:
    """An image reference: repository with a tag, a digest, or both."""

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        text = str(self.repository)
        if self.tag is not None:
            text += f":{self.tag}"
        if self.digest is not None:
            text += f"@{self.digest}"
        return text

    @property
    def host(self) -> str:
        return self.repository.host

    def pinned(self, digest: Digest) -> ImageRef:
        """This reference with `digest`, keeping the tag: the form that is delivered."""
        return ImageRef(repository=self.repository, tag=self.tag, digest=digest)

    @property
    def tagged(self) -> ImageRef:
        """This reference without its digest."""
        return ImageRef(repository=self.repository, tag=self.tag)

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest when there is one, else the tag, else `latest`."""
        return str(self.digest) if self.digest is not None else (self.tag or "latest")


def parse_image(text: str) -> ImageRef:
    """The reference that `text` writes; Docker's short forms are expanded (`a:1` is `docker.io/library/a:1`).

    Raises:
        InvalidError: naming the part that is wrong and what it should look like.
    """
    if not text or text != text.strip() or len(text) > _LONGEST or _BARE_ID.fullmatch(text):
        raise InvalidError(f"{text[:60]!r} is not an image reference; write it as host/repository:tag")
    rest, at, digest_text = text.partition("@")
    digest = Digest(digest_text) if at else None
    head, slash, tail = rest.rpartition("/")
    name, colon, tag = tail.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidError(f"{text!r} has the tag {tag!r}; {_TAG_WORDS}")
    host, path = _split_host(f"{head}{slash}{name}")
    found = _HOST.fullmatch(host)
    if not found or not _is_address(found["address"]):
        raise InvalidError(
            f"{text!r} names the registry {host!r}, which is not a host name; "
            "write it like contoso.azurecr.io or localhost:5000, without https://"
        )
    if found["port"] and not 1 <= int(found["port"]) <= 65535:
        raise InvalidError(f"{text!r} names the port {found['port']}; a port is a number from 1 to 65535")
    if not all(_COMPONENT.fullmatch(part) for part in path.split("/")):
        raise InvalidError(
            f"{text!r} names the repository {path!r}; it is lower case letters and digits in parts set apart by '/'"
        )
    return ImageRef(repository=_canonical(host, path), tag=tag if colon else None, digest=digest)


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return DOCKER_HUB, name


def _canonical(host: str, path: str) -> Repository:
    """The repository by its usual name; `host` is known to be ASCII, so lower case changes no other letter."""
    host = host.lower()
    if host in {"index.docker.io", "registry-1.docker.io"}:
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return Repository(host, path)


def _is_address(text: str | None) -> bool:
    """Whether what stands between brackets, if anything does, is an IPv6 address."""
    try:
        return text is None or IPv6Address(text).version == 6
    except ValueError:
        return False
