"""The HTTP side of a cluster: authentication, faults, the log, and one handler for every URL.

Owns the path of a request from the socket to the API machinery and back: who asks, whether a fault strikes, whether
it is allowed, which operation it is, in which form it is answered. What an operation does is `operations.py`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import ClientConnectionError, web

from basetracker.emulators.cluster import protobuf
from basetracker.emulators.cluster.access import Attributes, Authorizer
from basetracker.emulators.cluster.document import Json
from basetracker.emulators.cluster.identity import Tokens, User, named_user
from basetracker.emulators.cluster.instruments import Fault, Instruments, RequestRecord
from basetracker.emulators.cluster.refusals import Refusal, bad_request, unsupported_media
from basetracker.emulators.cluster.requests import Target, attributes, target_of
from basetracker.emulators.cluster.watches import Watch

_LOG = logging.getLogger(__name__)
_OPEN = ("/healthz", "/readyz", "/livez", "/version")
_MOST_BYTES = 3 * 1024 * 1024  # as etcd's limit and the API server's together allow


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, taken apart; `body` is decoded, and None where there is none."""

    method: str
    path: str
    query: Mapping[str, str]
    target: Target | None
    user: User
    user_agent: str
    accept: str
    media_type: str
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: a JSON document, or JSON already encoded, with warnings for the client."""

    body: Json | bytes
    status: int = 200
    warnings: tuple[str, ...] = ()
    media_type: str = "application/json"


Handler = Callable[[Call], Awaitable[Reply | Watch]]


class Server:
    """Serves one cluster over HTTPS on the loopback; keeps its port over a restart."""

    def __init__(
        self,
        handler: Handler,
        tokens: Tokens,
        authorizer: Authorizer,
        instruments: Instruments,
        context: ssl.SSLContext,
    ) -> None:
        self._handler = handler
        self._tokens = tokens
        self._authorizer = authorizer
        self._instruments = instruments
        self._context = context
        self._runner: web.AppRunner | None = None
        self._open: dict[int, web.Request] = {}
        self._watching: dict[int, web.Request] = {}
        self.port = 0

    async def start(self) -> None:
        """Listen; the port is chosen at the first start."""
        application = web.Application(client_max_size=_MOST_BYTES)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5, keepalive_timeout=75
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._context, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut every connection and stop listening."""
        self.cut(watches_only=False)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def cut(self, *, watches_only: bool) -> int:
        """Cut the connections of running watches, or of all running requests; answers how many."""
        cut = list((self._watching if watches_only else self._open).values())
        for request in cut:
            _abort(request)
        return len(cut)

    # ------------------------------------------------------------------------------------------ one request

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self._open[id(request)] = request
        record = _Recorded(request)
        try:
            return await self._answer(request, record)
        except Refusal as refusal:
            record.status = refusal.code
            return _json(refusal.status(), refusal.code)
        except Exception as error:
            _LOG.exception("the emulated API server failed at %s %s", request.method, request.path_qs)
            record.status = 500
            return _json(Refusal(500, "InternalError", f"Internal error occurred: {error}").status(), 500)
        finally:
            del self._open[id(request)]
            self._instruments.record(record.finished())

    async def _answer(self, request: web.Request, record: _Recorded) -> web.StreamResponse:
        line = f"{request.method} {request.path_qs}"
        if struck := self._instruments.strike(line, after=False):
            answer = await _struck(request, struck, record)
            if answer is not None:
                return answer
        reply = await self._operate(request, record)
        if isinstance(reply, Watch):
            record.status = 200
            return await self._stream(request, reply)
        if struck := self._instruments.strike(line, after=True):
            answer = await _struck(request, struck, record)
            if answer is not None:
                return answer
        record.status = reply.status
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {"Content-Type": reply.media_type}
        response = web.Response(body=body, status=reply.status, headers=headers)
        for warning in reply.warnings:
            quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{quoted}"')
        return response

    async def _operate(self, request: web.Request, record: _Recorded) -> Reply | Watch:
        if request.path.startswith(_OPEN) and request.method == "GET":
            user = User("system:anonymous", ("system:unauthenticated",))
        else:
            user = self._user(request)
        record.user = user.name
        target = target_of(request.path)
        if not request.path.startswith(_OPEN):
            self._authorizer.require(user, attributes(request.method, request.path, target, request.query))
        call = Call(
            method=request.method,
            path=request.path,
            query=request.query,
            target=target,
            user=user,
            user_agent=request.headers.get("User-Agent", ""),
            accept=request.headers.get("Accept", ""),
            media_type=request.content_type if request.body_exists else "",
            body=await _body(request),
        )
        return await self._handler(call)

    def _user(self, request: web.Request) -> User:
        """Who asks: the token's user, or whom that one may act as."""
        user = self._tokens.user_of(request.headers.get("Authorization"))
        wanted = request.headers.get("Impersonate-User")
        if wanted is None:
            return user
        self._authorizer.require(user, Attributes(verb="impersonate", resource="users", name=wanted))
        return named_user(wanted, request.headers.getall("Impersonate-Group", ()))

    async def _stream(self, request: web.Request, watch: Watch) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        self._watching[id(request)] = request
        lines = watch.lines()
        try:
            await response.prepare(request)
            async for line in lines:
                await response.write(line)
            await response.write_eof()
        except (ClientConnectionError, ConnectionError):
            pass  # the client is gone: that is how a watch usually ends
        finally:
            del self._watching[id(request)]
            await lines.aclose()
        return response


class _Recorded:
    """A request's line in the log, filled in as it is answered."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.user = ""
        self.status = 0

    def finished(self) -> RequestRecord:
        request = self._request
        return RequestRecord(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            user=self.user,
            user_agent=request.headers.get("User-Agent", ""),
            content_type=request.headers.get("Content-Type", ""),
            status=self.status,
        )


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _struck(request: web.Request, fault: Fault, record: _Recorded) -> web.StreamResponse | None:
    """Carry out a fault; None where it only delays."""
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.drop:
        _abort(request)
        return web.Response(status=500)  # nobody receives it
    if fault.status is None:
        return None
    record.status = fault.status
    body = fault.body.encode() if isinstance(fault.body, str) else fault.body
    headers = {"Content-Type": "application/json"} | dict(fault.headers)
    return web.Response(status=fault.status, body=body, headers=headers)


def _json(document: Json, status: int) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), status=status, content_type="application/json")


async def _body(request: web.Request) -> Any:
    """The decoded body.

    Raises:
        Refusal: 400 for what can't be parsed, 415 for protobuf and other formats.
    """
    if not request.body_exists:
        return None
    raw = await request.read()
    media_type = request.content_type
    if not raw:
        return None
    if media_type in ("application/yaml", "application/apply-patch+yaml"):
        try:
            return yaml.safe_load(raw)
        except yaml.YAMLError as error:
            raise bad_request(f"error decoding YAML: {error}") from error
    if media_type == protobuf.MEDIA_TYPE:
        return protobuf.decode(raw)
    if not media_type.endswith("json") and media_type != "application/octet-stream":
        raise unsupported_media(media_type, ["application/json", "application/yaml"])
    try:
        return json.loads(raw)
    except ValueError as error:
        raise bad_request(f"error decoding the body of the request: {error}") from error
