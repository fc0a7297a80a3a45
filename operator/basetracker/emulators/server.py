"""One emulated host: an HTTPS server on loopback that carries the certificate of a real name.

Owns starting and stopping, the recording of every request and the striking of faults. Knows nothing of
what is served. `proxy.py` leads clients here by the real name.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Iterator
from urllib.parse import parse_qsl

from aiohttp import web

from basetracker.emulators.authority import Authority
from basetracker.emulators.faults import Asked, Faults, Handler, answer_with
from basetracker.emulators.tokens import Ledger

FORM = "application/x-www-form-urlencoded"
LARGEST_BODY = 1 << 30


class RefusedError(Exception):
    """Carries the answer of a service that won't do what it was asked; the site sends it."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


class Site:
    """A host name and what answers for it; started on first use."""

    def __init__(
        self,
        host: str,
        routes: Iterable[web.RouteDef],
        *,
        authority: Authority,
        faults: Faults,
        ledger: Ledger,
        before: Callable[[], Awaitable[None]],
    ) -> None:
        """`before` is awaited ahead of every request, so that the world is up to date when looked at."""
        self.host = host
        self._authority = authority
        self._faults = faults
        self._ledger = ledger
        self._before = before
        self._app = web.Application(client_max_size=LARGEST_BODY, middlewares=[self._middleware])
        self._app.add_routes(list(routes))
        self._runner: web.AppRunner | None = None
        self._starting = asyncio.Lock()

    async def port(self) -> int:
        """The loopback port that serves this host; starts the server when it isn't running."""
        async with self._starting:
            if self._runner is None:
                runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.1)
                await runner.setup()
                context = self._authority.server_context(self.host)
                await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
                self._runner = runner
            return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close the server and its connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await self._before()
        secrets = tuple(one for value in await _shown(request) if (one := self._ledger.find(value)))
        answer = await self._answer(request, handler)
        asked = Asked(
            method=request.method,
            host=self.host,
            path=request.path_qs,
            status=answer.status if answer else 0,
            authorization=_scheme(request),
            secrets=secrets,
            user_agent=request.headers.get("User-Agent", ""),
        )
        self._faults.record(asked)
        return answer or web.Response()  # the connection is gone: nobody reads this

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse | None:
        async def serve(asked: web.Request) -> web.StreamResponse:
            try:
                return await handler(asked)
            except RefusedError as refusal:
                return refusal.response
            except web.HTTPException as refusal:  # aiohttp's own: no such route, wrong method
                return _plain(refusal)

        fault = self._faults.strike(f"{request.method} {self.host} {request.path_qs}")
        return await (answer_with(fault, request, serve) if fault else serve(request))


def _plain(refusal: web.HTTPException) -> web.Response:
    headers = {name: value for name, value in refusal.headers.items() if name.lower() != "content-length"}
    return web.Response(status=refusal.status, body=refusal.body, headers=headers)


def _scheme(request: web.Request) -> str | None:
    header = request.headers.get("Authorization")
    return header.split(" ", 1)[0] if header else None


async def _shown(request: web.Request) -> set[str]:
    """Everything in the request that could be a secret: header, query and form values."""
    values = set(request.query.values()) | set(_from_header(request.headers.get("Authorization", "")))
    if request.content_type == FORM:
        body = (await request.read()).decode("utf-8", "replace")
        values |= {value for _, value in parse_qsl(body)}
    return values


def _from_header(header: str) -> Iterator[str]:
    scheme, _, value = header.partition(" ")
    yield value
    if scheme.lower() == "basic":
        try:
            yield base64.b64decode(value).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return
