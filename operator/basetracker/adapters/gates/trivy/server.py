"""A Trivy server's word on which database it uses.

Owns the one request that asks it; the scans themselves are Trivy's own client's matter. Used by `scanning`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp
from yarl import URL

from basetracker.adapters.gates.trivy.database import LONGEST_STALE
from basetracker.adapters.http import Http
from basetracker.errors import InvalidError, UnavailableError
from basetracker.ports import Clock

_LIMIT: Final = 64 * 1024
_LABEL: Final = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_SERVICE: Final = re.compile(rf"[a-z]([a-z0-9-]*[a-z0-9])?|({_LABEL}[.])+svc([.]cluster[.]local)?")
"""A name without dots begins with a letter: some resolvers read one of digits as an address."""
_INTERVAL: Final = timedelta(minutes=10)


class Server:
    """Where the server is, and the edition of its database as it was last heard."""

    def __init__(self, address: str, http: Http, clock: Clock) -> None:
        """`address` is an https URL, or an http one of a near host. Raises InvalidError for another."""
        self.url = _parsed(address)
        self._http = http
        self._clock = clock
        self._asking: asyncio.Task[None] | None = None
        self._updated: datetime | None = None
        self.edition = ""

    async def ready(self) -> str:
        """The edition, asked for now when it isn't known; empty when the server doesn't tell. Later asked in the background.

        Raises:
            UnavailableError: its database is so old that it says nothing any more.
        """
        if not self.edition:
            await self._ask()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_again(), name="Trivy server's database")
        if self._updated is not None and self._clock.now() - self._updated > LONGEST_STALE:
            raise UnavailableError(
                f"the Trivy server's vulnerability database is older than {LONGEST_STALE.days} days; "
                "see that the server can download a newer one"
            )
        return self.edition

    async def close(self) -> None:
        """End the asking."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _ask_again(self) -> None:
        while True:
            await self._clock.sleep(_INTERVAL.total_seconds())
            await self._ask()

    async def _ask(self) -> None:
        """One request; an answer that doesn't come or can't be read leaves what is known."""
        with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError, RecursionError):
            host = self.url.host or ""
            proxy = self._http.proxy_for(host) if self.url.scheme == "https" else None
            async with self._http.session.get(self.url / "version", allow_redirects=False, proxy=proxy) as answer:
                body = await answer.content.read(_LIMIT)
                if answer.status == 200:
                    self.edition, self._updated = edition_of(json.loads(body)["VulnerabilityDB"])


def edition_of(database: Any) -> tuple[str, datetime]:
    """What names a server's database, and when that was made. Raises KeyError, TypeError or ValueError when it isn't told."""
    updated = datetime.fromisoformat(database["UpdatedAt"])
    if updated.tzinfo is None:
        raise ValueError("a time without its zone")
    return f"{int(database['Version'])} of {updated.isoformat()}", updated


def _parsed(address: str) -> URL:
    try:
        url = URL(address)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host or url.user is not None:
        raise InvalidError(
            "BASETRACKER_TRIVY_SERVER is not an http or https address like https://trivy.example.com:4954"
        )
    if url.scheme == "http" and not _is_near(url.host):
        raise InvalidError(
            "BASETRACKER_TRIVY_SERVER is spoken to without TLS only on this machine and as a Service of this cluster, like "
            "http://trivy.trivy.svc:4954; write https:// for another"
        )
    return url


def _is_near(host: str) -> bool:
    """Whether the name is this machine's or a Service's, as it stands in the address; nothing is looked up."""
    if host == "localhost" or _SERVICE.fullmatch(host):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
