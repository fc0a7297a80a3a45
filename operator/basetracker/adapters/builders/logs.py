"""The log of a run, read in pieces from the blob that ACR Tasks write it to.

Owns the reading by ranges and knowing when the log is complete. The blob's address is a secret: whoever has it can
read, so it appears in no error and no log, and no Authorization header is sent with it. Used by `acr_tasks`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Final

from yarl import URL

from basetracker.adapters.http import Answer, Http
from basetracker.errors import DeniedError, InvalidError, UnavailableError
from basetracker.ports import Clock

_PIECE: Final = 1024 * 1024
_WHOLE: Final = 64 * 1024 * 1024
"""Bytes: the largest log that is taken from a server that doesn't know ranges."""
_PAUSE: Final = 2.0
_LOOKS_PER_RUN: Final = 5
_COMPLETE: Final = "x-ms-meta-Complete"

Link = Callable[[], Awaitable[str]]
"""Answers a fresh address of the log."""
Ended = Callable[[], Awaitable[bool]]
"""Answers whether the run has ended."""


class RunLog:
    """One run's log."""

    def __init__(self, http: Http, clock: Clock, *, link: Link, ended: Ended) -> None:
        self._http = http
        self._clock = clock
        self._link = link
        self._ended = ended
        self._url: URL | None = None
        self._offset = 0

    async def read(self) -> AsyncIterator[bytes]:
        """What there is now."""
        while piece := await self._next():
            yield piece

    async def follow(self) -> AsyncIterator[bytes]:
        """What there is and what comes, until the log is complete or the run has ended."""
        last = False
        for look in count():
            async for piece in self.read():
                yield piece
            if last or await self._is_complete():
                return
            # The storage tells it sooner and for less; the run is asked for a log that is never marked complete.
            last = look % _LOOKS_PER_RUN == 0 and await self._ended()
            if not last:
                await self._clock.sleep(_PAUSE)

    async def _next(self) -> bytes:
        """The next piece; empty when there is nothing new."""
        answer = await self._ask("GET", {"Range": f"bytes={self._offset}-{self._offset + _PIECE - 1}"})
        if answer.status in {404, 416}:  # not written yet, or nothing after what was read
            return b""
        piece = answer.body if answer.status == 206 else answer.body[self._offset :]
        self._offset += len(piece)
        return piece

    async def _is_complete(self) -> bool:
        answer = await self._ask("HEAD", {})
        size = int(answer.headers.get("Content-Length", "0")) if answer.status == 200 else 0
        return _COMPLETE in answer.headers and size <= self._offset

    async def _ask(self, method: str, headers: dict[str, str]) -> Answer:
        """One request to the blob; an address that has come to its end is renewed once."""
        for fresh in (self._url is None, True):
            if self._url is None:
                self._url = _address(await self._link())
            answer = await self._http.request(method, self._url, headers=headers, limit=_WHOLE)
            if answer.status in {200, 206, 404, 416}:
                return answer
            self._url = None
            if answer.status != 403:
                raise UnavailableError(f"the log can't be read now (status {answer.status})")
            if fresh:
                break
        raise DeniedError("the storage that keeps the log refuses to show it; see the network's rules")


def _address(link: str) -> URL:
    try:
        url = URL(link, encoded=True)  # the signature in it is of these very characters
    except ValueError:
        url = URL()
    if url.scheme != "https" or not url.host:
        raise InvalidError("Azure names no address by https for the log")
    return url
