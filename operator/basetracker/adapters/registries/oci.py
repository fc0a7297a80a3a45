"""Any OCI registry, as the `Registry` port: what a tag points to, and what an image is made of.

Owns the requests of the OCI distribution specification 1.1 that reading needs, redirects, and the cache of images,
which never change. How a host is told who asks is `auth`'s and `acr`'s matter. Made by the wiring.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from yarl import URL

from basetracker.adapters.flights import Flights
from basetracker.adapters.http import TOKEN_LIMIT, Answer, Http, host_of
from basetracker.adapters.registries.acr import AcrAuthentication, Identity
from basetracker.adapters.registries.auth import Authentication, ChallengeAuthentication
from basetracker.adapters.registries.content import CONFIG_LIMIT, MANIFEST_LIMIT, ImageReader
from basetracker.adapters.registries.tokens import holder
from basetracker.errors import DeniedError, InvalidError
from basetracker.oci.lineage import Image, PlatformImage
from basetracker.oci.manifest import MANIFEST_TYPES, OCI_INDEX
from basetracker.oci.refs import DOCKER_HUB, Digest, ImageRef, Repository
from basetracker.ports import Clock, Credential

_HUB_ENDPOINT: Final = "registry-1.docker.io"
_ACCEPT: Final = {"Accept": ", ".join(MANIFEST_TYPES)}
_INDEX: Final = {"Accept": OCI_INDEX}
_NEXT: Final = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LONGEST_CHAIN: Final = 5
_FIRST_MISS: Final = 5.0
_LONGEST_MISS: Final = 6 * 3600.0
"""Seconds for which a digest that isn't there is believed to be missing; each further miss doubles them. What was just
pushed may need a moment to be everywhere; what was purged stays away."""
_SHARE: Final = 32 * 1024
"""Characters of what a platform's image says that take one place in the cache; nearly all say less."""
_Key = tuple[Repository, Digest, str]


class OciRegistry:
    """Reads from every registry; one for the whole process, since it holds tokens and images."""

    def __init__(
        self,
        http: Http,
        clock: Clock,
        *,
        identity: Identity | None = None,
        azure_hosts: Iterable[str] = (),
        cache_size: int = 2_000,
    ) -> None:
        """`identity` reads from Azure registries; without it they are read as anybody may.

        `azure_hosts` are further hosts of Azure registries (a suffix when it begins with a dot). `cache_size` is in
        images of one platform; one that says unusually much counts for several.
        """
        self._http = http
        self._clock = clock
        self._acr = AcrAuthentication(http, clock, identity, azure_hosts)
        self._others = ChallengeAuthentication(http, clock)
        self._cache_size = cache_size
        self._cached = 0
        self._images: OrderedDict[Digest, Image] = OrderedDict()
        self._missing: OrderedDict[_Key, tuple[float, float]] = OrderedDict()
        """Until when, and for how long, a digest is believed to be missing."""
        self._flights: Flights[Image | None] = Flights()

    async def digest(self, image: ImageRef, credential: Credential | None) -> Digest | None:
        """See `ports.Registry`."""
        repository, reference = image.repository, image.tag or image.target
        answer = await self._manifest("HEAD", repository, reference, credential)
        if answer is None:
            return None
        told = _told(answer)
        if told is not None:
            return told
        answer = await self._manifest("GET", repository, reference, credential)
        if answer is None:
            return None
        return _hashed(answer, repository)

    async def image(self, image: ImageRef, credential: Credential | None) -> Image | None:
        """See `ports.Registry`."""
        digest = image.digest
        if digest is None:
            raise InvalidError(f"{image} names no digest, so what it contains can change")
        known = self._images.get(digest)
        if known is not None:
            self._images.move_to_end(digest)
            return known
        key = (image.repository, digest, holder(credential))
        until, _ = self._missing.get(key, (0.0, 0.0))
        if self._clock.monotonic() < until:
            return None
        return await self._flights.join(key, lambda: self._looked_for(key, credential))

    async def raw_manifest(
        self, repository: Repository, reference: Digest | str, credential: Credential | None
    ) -> bytes | None:
        """The manifest or index that a digest or a tag names, as it is stored; None when there is none.

        Raises: as `image`; InvalidError also when it doesn't match the digest.
        """
        answer = await self._manifest("GET", repository, str(reference), credential)
        if answer is None:
            return None
        return _matching(answer.body, reference, repository) if isinstance(reference, Digest) else answer.body

    async def raw_blob(
        self, repository: Repository, digest: Digest, credential: Credential | None, *, limit: int
    ) -> bytes | None:
        """The blob, of at most `limit` bytes; None when there is none.

        Raises: as `image`; InvalidError also when it is larger or doesn't match its digest.
        """
        answer = _found(
            await self._send("GET", repository, f"blobs/{digest}", credential, headers={}, limit=limit), repository
        )
        return None if answer is None else _matching(answer.body, digest, repository)

    async def referrers(
        self, repository: Repository, digest: Digest, credential: Credential | None, *, pages: int
    ) -> tuple[bytes, ...] | None:
        """The pages of the index of what refers to `digest`, at most `pages`; None where the registry has no such API.

        Without a filter by type, since registries differ in what they take for one.

        Raises: as `digest`.
        """
        path, read = f"referrers/{digest}", list[bytes]()
        while len(read) < pages:
            answer = await self._send("GET", repository, path, credential, headers=_INDEX, limit=MANIFEST_LIMIT)
            if answer.status != 200:
                return tuple(read) or None  # 404 by the specification; others say 400 or 405
            read.append(answer.body)
            query = _next_page(answer)
            if query is None:
                break
            path = f"referrers/{digest}?{query}"
        return tuple(read)

    async def login(self, repository: Repository, credential: Credential | None) -> Credential | None:
        """What another program may log in to the repository's host with, and nowhere else; None for nobody.

        Raises:
            DeniedError, UnavailableError, InvalidError: as `digest`.
        """
        covered = self._acr.covers(repository.host)
        return await self._acr.login(repository, credential) if covered else credential

    async def _looked_for(self, key: _Key, credential: Credential | None) -> Image | None:
        repository, digest, _ = key
        found = await self._read(repository, digest, credential)
        self._note_missing(key, found)
        return found

    def _note_missing(self, key: _Key, found: Image | None) -> None:
        _, wait = self._missing.pop(key, (0.0, 0.0))
        if found is not None:
            return
        wait = min(wait * 2, _LONGEST_MISS) or _FIRST_MISS
        self._missing[key] = (self._clock.monotonic() + wait, wait)
        if len(self._missing) > self._cache_size:
            self._missing.popitem(last=False)

    async def _read(self, repository: Repository, digest: Digest, credential: Credential | None) -> Image | None:
        async def manifest(wanted: Digest) -> tuple[bytes, str] | None:
            answer = await self._manifest("GET", repository, str(wanted), credential)
            return None if answer is None else (answer.body, answer.headers.get("Content-Type", ""))

        async def config(wanted: Digest) -> bytes | None:
            path = f"blobs/{wanted}"
            answer = await self._send("GET", repository, path, credential, headers={}, limit=CONFIG_LIMIT)
            found = _found(answer, repository)
            return None if found is None else found.body

        image = await ImageReader(repository, manifest, config).read(digest)
        if image is not None:
            self._keep(image)
        return image

    async def _manifest(
        self, method: str, repository: Repository, reference: str, credential: Credential | None
    ) -> Answer | None:
        path = f"manifests/{reference}"
        limit = TOKEN_LIMIT if method == "HEAD" else MANIFEST_LIMIT
        answer = await self._send(method, repository, path, credential, headers=_ACCEPT, limit=limit)
        return _found(answer, repository)

    async def _send(
        self,
        method: str,
        repository: Repository,
        path: str,
        credential: Credential | None,
        *,
        headers: Mapping[str, str],
        limit: int,
    ) -> Answer:
        """The answer after authentication and redirects; neither 401, 403, 429 nor 5xx."""
        authentication: Authentication = self._acr if self._acr.covers(repository.host) else self._others
        endpoint = _HUB_ENDPOINT if repository.host == DOCKER_HUB else repository.host
        url = URL(f"https://{endpoint}/v2/{repository.path}/{path}")
        sent = await authentication.header(repository, credential)
        answer = await self._follow(method, url, headers, sent, limit)
        if answer.status == 401 and answer.url.origin() == url.origin():
            challenges = answer.headers.getall("WWW-Authenticate", [])
            sent = await authentication.renew(repository, credential, challenges, sent)
            answer = await self._follow(method, url, headers, sent, limit)
        if answer.status in {401, 403}:
            if answer.url.origin() != url.origin():
                raise DeniedError(
                    f"{endpoint} redirects to {host_of(answer.url)}, which refuses the request; "
                    "see the registry's storage settings and the network's rules"
                )
            raise authentication.refusal(repository, credential)
        return answer

    async def _follow(
        self, method: str, url: URL, headers: Mapping[str, str], authorization: str | None, limit: int
    ) -> Answer:
        """The answer at the end of a chain of redirects; only the first host is shown who asks."""
        target = url
        for _ in range(_LONGEST_CHAIN + 1):
            shown = authorization is not None and target.origin() == url.origin()
            sent = {**headers, "Authorization": authorization} if shown and authorization is not None else headers
            answer = await self._http.request(method, target, headers=sent, limit=limit)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            target = _redirected(target, location)
        raise InvalidError(f"{host_of(url)} redirects more than {_LONGEST_CHAIN} times")

    def _keep(self, image: Image) -> None:
        if image.digest in self._images:
            return
        self._images[image.digest] = image
        self._cached += _places(image)
        while self._cached > self._cache_size and len(self._images) > 1:
            _, oldest = self._images.popitem(last=False)
            self._cached -= _places(oldest)


def _places(image: Image) -> int:
    """How many places of the cache the image takes."""
    return sum(1 + _length(one) // _SHARE for one in image.platforms)


def _length(image: PlatformImage) -> int:
    """Characters of what is kept of it."""
    said = sum(len(entry.created) + len(entry.created_by) + len(entry.comment) for entry in image.history)
    return len(image.user) + said + sum(map(len, image.diff_ids)) + sum(map(len, image.annotations.values()))


def _found(answer: Answer, repository: Repository) -> Answer | None:
    """The answer when it is what was asked for; None for a 404, whatever its code."""
    match answer.status:
        case 200:
            return answer
        case 404:
            return None
        case 405:
            raise DeniedError(
                f"{repository.host} doesn't let {repository.path} be read; the image is locked or in quarantine"
            )
        case status:
            raise InvalidError(
                f"{repository.host} answers with status {status} when asked for {repository.path}; "
                "see whether it is an OCI registry"
            )


def _told(answer: Answer) -> Digest | None:
    """The digest that the registry names; None when it names none that can be one."""
    try:
        return Digest(answer.headers.get("Docker-Content-Digest", "").strip())
    except InvalidError:
        return None


def _hashed(answer: Answer, repository: Repository) -> Digest:
    """The digest of the content itself, for registries that don't name it."""
    told = _told(answer)
    if not answer.body:
        raise InvalidError(f"{repository} answers with an empty manifest; push the image again")
    if told is None:
        return Digest.of(answer.body)
    if not told.matches(answer.body):
        raise InvalidError(
            f"{repository} names the digest {told.short} for content that has another; "
            "the registry or a proxy before it changes or cuts content"
        )
    return told


def _matching(content: bytes, digest: Digest, repository: Repository) -> bytes:
    """The content, which has to be what its digest says."""
    if not digest.matches(content):
        raise InvalidError(
            f"{repository} gives something else than {digest.short} when asked for it by its digest; "
            "the registry or a proxy before it changes or cuts content"
        )
    return content


def _next_page(answer: Answer) -> str | None:
    """The query of the page that a Link header names; None after the last. Only the query is taken from it."""
    link = _NEXT.search(answer.headers.get("Link", ""))
    try:
        return (link and URL(link[1], encoded=True).raw_query_string) or None
    except ValueError:
        return None


def _redirected(source: URL, location: str) -> URL:
    try:
        target = source.join(URL(location, encoded=True))
    except ValueError:
        target = URL()
    if target.scheme != "https" or not target.host or target.user is not None:
        raise InvalidError(
            f"{host_of(source)} redirects to something that isn't an https address, which isn't followed"
        )
    return target
