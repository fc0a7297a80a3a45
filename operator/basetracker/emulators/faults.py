"""What every emulated server shares for tests: the record of requests, and faults on demand.

A fault answers for the service before or after the side effect, cuts the connection, delays, or damages
the true answer. The record tells what was asked and whether a secret went to a host that must not see it.
Knows nothing of what the services do; `server.py` runs every request through here.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from basetracker.emulators.tokens import Issued

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RECORD_LIMIT = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as the server saw it; `status` 0 means the connection was cut without an answer."""

    method: str
    host: str
    path: str
    status: int
    authorization: str | None
    secrets: tuple[Issued, ...]
    user_agent: str

    @property
    def leaked(self) -> tuple[Issued, ...]:
        """The secrets in it that this host should never have seen."""
        return tuple(one for one in self.secrets if self.host not in one.hosts)

    def __str__(self) -> str:
        return f"{self.method} {self.host} {self.path} -> {self.status}"


@dataclass(slots=True, kw_only=True)
class Fault:
    """One disturbance.

    `match` is a regular expression searched in `"METHOD host path?query"`. It strikes `n` times (None: for
    ever) after letting the first `skip` matches pass. `status`, `headers` and `body` make the answer
    (a JSON error when `body` is None);
    `after=True` lets the service do its work first. `drop` cuts the connection instead of answering.
    Without `status` and `drop` the true answer is given, after `delay` seconds, with its headers overridden
    by `headers` and damaged as asked: `truncate` keeps so many bytes (an honest Content-Length), `torn`
    announces all and cuts half-way, `pad` appends so many bytes.
    """

    match: str
    n: int | None = 1
    skip: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | Mapping[str, object] | None = None
    after: bool = False
    drop: bool = False
    delay: float = 0.0
    truncate: int | None = None
    torn: bool = False
    pad: int = 0

    def strikes(self, line: str) -> bool:
        """Whether this request is hit; counts it."""
        if self.n == 0 or re.search(self.match, line) is None:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.n is not None:
            self.n -= 1
        return True


class Faults:
    """The faults that are still to come and the record of what was asked, for one world."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []
        self.log: deque[Asked] = deque(maxlen=RECORD_LIMIT)
        self.counts: Counter[str] = Counter()
        """Requests by `"METHOD host"`; never trimmed."""
        self.leaks: list[Asked] = []
        """Requests that carried a secret to a host it was not made for."""
        self.listeners: list[Callable[[Asked], None]] = []
        """Told of each request when it has had its effect, before its answer leaves."""

    def add(self, *faults: Fault) -> None:
        """Let these strike from now on; of several that match, the one added first does."""
        self.pending.extend(faults)

    def clear(self) -> None:
        """Forget the faults that have not struck."""
        self.pending.clear()

    def record(self, asked: Asked) -> None:
        """Keep what was asked."""
        self.log.append(asked)
        self.counts[f"{asked.method} {asked.host}"] += 1
        if asked.leaked:
            self.leaks.append(asked)
        for listener in self.listeners:
            listener(asked)

    def asked(self, pattern: str) -> list[Asked]:
        """The recorded requests whose `"METHOD host path?query"` matches, oldest first."""
        return [one for one in self.log if re.search(pattern, f"{one.method} {one.host} {one.path}")]

    def strike(self, line: str) -> Fault | None:
        """The fault for this request, if any."""
        return next((fault for fault in self.pending if fault.strikes(line)), None)


async def answer_with(fault: Fault, request: web.Request, serve: Handler) -> web.StreamResponse | None:
    """The answer under this fault; None when the connection was cut."""
    if fault.delay:
        await asyncio.sleep(fault.delay)
    replaced = fault.drop or fault.status is not None
    true_answer = await serve(request) if fault.after or not replaced else None
    if fault.drop:
        cut(request)
        return None
    if fault.status is not None:
        kind = {"Content-Type": "application/json"}
        return web.Response(status=fault.status, headers=kind | dict(fault.headers), body=_error_body(fault))
    if not isinstance(true_answer, web.Response):
        return true_answer
    return await _damaged(fault, request, true_answer)


def cut(request: web.Request) -> None:
    """Break the connection of this request without another byte."""
    if request.transport is not None:
        request.transport.abort()


async def _damaged(fault: Fault, request: web.Request, answer: web.Response) -> web.StreamResponse | None:
    body = bytes(answer.body) if isinstance(answer.body, bytes | bytearray) else b""
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
    headers.update(fault.headers)
    if fault.torn:
        await _tear(request, web.StreamResponse(status=answer.status, headers=headers), body)
        return None
    if fault.truncate is not None:
        body = body[: fault.truncate]
    return web.Response(status=answer.status, headers=headers, body=body + b" " * fault.pad)


async def _tear(request: web.Request, half: web.StreamResponse, body: bytes) -> None:
    half.content_length = max(len(body), 2)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()


def _error_body(fault: Fault) -> bytes:
    body = fault.body
    if body is None:  # readable by clients of ARM and of registries alike
        told = {"code": "InternalServerError", "message": f"fault of {fault.match}"}
        body = {"error": told, "errors": [told]}
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
