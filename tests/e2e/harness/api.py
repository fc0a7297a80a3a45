"""The few calls to an API server that the emulated nodes make.

Owns paths' verbs, media types and the list-and-watch loop. The connection is the Unix socket of a
`kubectl proxy`, which has the credentials. Used by `kubelet.py` alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, Self

import aiohttp

Object = dict[str, Any]
log = logging.getLogger(__name__)

# One line of a watch is one object.
LONGEST_LINE = 4 * 2**20
PAUSE_SECONDS = 0.5
# How often a write is tried while no API server answers: for some two minutes.
TRIES = 240
AWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})


class GoneError(Exception):
    """The object, or its namespace, is gone or going: there is nothing more to do for it."""


class Api:
    """One connection pool; enter it as an async context."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def __aenter__(self) -> Self:
        # kubectl proxy accepts only local names as Host.
        self._session = aiohttp.ClientSession(
            "http://localhost",
            connector=aiohttp.UnixConnector(str(self._socket), limit=50),
            timeout=aiohttp.ClientTimeout(total=30),
            read_bufsize=LONGEST_LINE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def create(self, path: str, body: Object, *, again: bool = False) -> None:
        """POST. An object that exists already is an error of `GoneError`'s kind, or no error with `again`."""
        await self._send("POST", path, body, "application/json", fine={HTTPStatus.CONFLICT} if again else set())

    async def patch(
        self, path: str, body: Object, *, merge: Literal["strategic-merge", "merge"] = "strategic-merge"
    ) -> None:
        """PATCH."""
        await self._send("PATCH", path, body, f"application/{merge}-patch+json")

    async def delete(self, path: str, options: Object) -> None:
        """DELETE with these DeleteOptions."""
        await self._send("DELETE", path, options, "application/json")

    async def watch(self, path: str) -> AsyncIterator[tuple[str, Object]]:
        """ADDED, MODIFIED and DELETED, for ever; what exists comes first, and again after every break."""
        while True:
            try:
                async with self._session.get(path) as answer:
                    answer.raise_for_status()
                    listed: Object = await answer.json()
                for item in listed["items"]:
                    yield "ADDED", item
                async for event in self._events(path, listed["metadata"]["resourceVersion"]):
                    yield event
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("watch of %s broke: %s", path, error)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _events(self, path: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        endless = aiohttp.ClientTimeout(total=None, sock_connect=10)
        query = {"watch": "1", "resourceVersion": version}
        async with self._session.get(path, params=query, timeout=endless) as stream:
            stream.raise_for_status()
            async for line in stream.content:
                try:
                    event = json.loads(line)
                except ValueError:
                    log.warning("watch of %s was cut within a line", path)
                    return
                if event["type"] == "ERROR":
                    log.warning("watch of %s ended: %s", path, event["object"].get("message"))
                    return
                yield event["type"], event["object"]

    async def _send(
        self, method: str, path: str, body: Object, kind: str, *, fine: set[HTTPStatus] | None = None
    ) -> None:
        """Send until an API server answers, as a kubelet does; what an answer that was lost has done already is fine."""
        for tries_left in reversed(range(TRIES)):
            try:
                return await self._send_once(method, path, body, kind, fine or set())
            except aiohttp.ClientResponseError as error:
                if not _is_away(error) or not tries_left:
                    raise
            except (aiohttp.ClientConnectionError, TimeoutError):
                if not tries_left:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    async def _send_once(self, method: str, path: str, body: Object, kind: str, fine: set[HTTPStatus]) -> None:
        async with self._session.request(method, path, data=json.dumps(body), headers={"Content-Type": kind}) as answer:
            if answer.ok or answer.status in fine:
                return
            said = await answer.text()
            if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT} or "being terminated" in said:
                raise GoneError(said)
            raise aiohttp.ClientResponseError(
                answer.request_info, answer.history, status=answer.status, message=said, headers=answer.headers
            )


def _is_away(error: aiohttp.ClientResponseError) -> bool:
    """Whether no API server has said this: where `kubectl proxy` reaches none it answers 500 with plain text."""
    plain = error.headers is not None and error.headers.get("Content-Type", "").startswith("text/plain")
    return error.status in AWAY or (error.status == HTTPStatus.INTERNAL_SERVER_ERROR and plain)
