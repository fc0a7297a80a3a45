"""The one door to the Kubernetes API server: JSON in, JSON out.

Owns requests, watches, log-in and the translation of refusals to `errors.py`. Stands on the `kubernetes` package for
configuration, TLS and proxies, and uses none of its model classes, so that a list costs only its JSON. Must not
know what the objects mean. Used by every adapter that talks to the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from yarl import URL

from basetracker import __version__
from basetracker.adapters.fence import fence
from basetracker.adapters.kube_answers import (
    ExpiredError,
    Json,
    as_json,
    one_line,
    read_json,
    read_lines,
    read_refusal,
    read_text,
    translate,
    unreachable,
)
from basetracker.adapters.kube_login import Connection, Login, authorization, connection
from basetracker.errors import InvalidError, UnavailableError

__all__ = ["JSON_PATCH", "MERGE_PATCH", "METADATA_LIST", "ExpiredError", "Json", "Kube", "WatchEvent", "path_of"]

Params = Mapping[str, str] | None

JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
PAGE: Final = 500
CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 30.0
WATCH_SECONDS: Final = 300
SILENCE_SECONDS: Final = 75.0
"""A watch gets a bookmark every 60 s; a longer silence is a dead connection."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change: `type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Json


def _total(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)


_USUAL_LIMIT: Final = _total(REQUEST_SECONDS)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    params: Params = None
    body: Json | list[Json] | None = None
    content_type: str = JSON
    accept: str = JSON
    limit: aiohttp.ClientTimeout = _USUAL_LIMIT

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.params)}" if self.params else self.path

    def headers(self) -> dict[str, str]:
        return {
            "Accept": self.accept,
            "Content-Type": self.content_type,
            "User-Agent": f"basetracker/{__version__}",
        }


@dataclass(frozen=True, slots=True)
class _Session:
    rest: RESTClientObject
    configuration: Configuration
    namespace: str


def path_of(api_version: str, plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The path of a resource, every part escaped; without a namespace of all, without a name of the collection.

    Raises:
        InvalidError: a part would lead somewhere else.
    """
    parts = ["apis" if "/" in api_version else "api", *api_version.split("/")]
    parts += ["namespaces", namespace] if namespace else []
    parts += [plural, *filter(None, (name, subresource))]
    if any(part in {"", ".", ".."} for part in parts):
        raise InvalidError(f"{name or namespace!r} is not a name in Kubernetes")
    return "/" + "/".join(quote(part, safe="") for part in parts)


class Kube:
    """A client of one API server; safe for any number of tasks of one event loop."""

    def __init__(self, login: Login, *, counted: Callable[[str, int], None] = lambda method, status: None) -> None:
        """`counted` is called with the method and the HTTP status of every answer; 0 stands for none."""
        self._login = login
        self._counted = counted
        self._session: _Session | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Kube:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.rest.close()

    async def connection(self) -> Connection:
        """Server and credentials, read anew: for kopf's log-in."""
        configuration, namespace = await self._login.load()
        return await connection(configuration, namespace)

    async def namespace(self) -> str:
        """The namespace that is meant when none is named: the kubeconfig context's, or the Pod's own."""
        return (await self._open()).namespace

    async def get(
        self, path: str, params: Params = None, *, accept: str = JSON, seconds: float = REQUEST_SECONDS
    ) -> Json | None:
        """The object or list; None when there is none."""
        async with await self._send(_Request("GET", path, params, accept=accept, limit=_total(seconds))) as response:
            return None if response.status == 404 else await self._document(response)

    async def text(self, path: str, params: Params = None, *, largest: int) -> str | None:
        """The beginning of what isn't JSON, such as a log: `largest` bytes at most; None when there is none."""
        async with await self._send(_Request("GET", path, params, accept="*/*")) as response:
            if response.status == 404:
                return None
            if response.status != 200:
                raise await self._refusal(response)
            try:
                return await read_text(response, largest)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise unreachable(error) from error

    async def pages(
        self, path: str, params: Params = None, *, accept: str = JSON, limit: int = PAGE
    ) -> AsyncGenerator[Json, None]:
        """The list page by page.

        Raises:
            ExpiredError: it took too long between two pages; start again.
            MissingError: there is no such kind of resource.
        """
        query = dict(params or {}) | {"limit": str(limit)}
        while True:
            async with await self._send(_Request("GET", path, query, accept=accept)) as response:
                page = await self._document(response)
            yield page
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return
            query["continue"] = more

    async def watch(
        self,
        path: str,
        version: str,
        params: Params = None,
        *,
        seconds: int = WATCH_SECONDS,
        silence: float = SILENCE_SECONDS,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Changes after `version`, until the server ends the watch after `seconds`.

        `opened` is called when the server has taken the watch up; the first event may come a minute later.

        Raises:
            ExpiredError: the server no longer knows this version.
            UnavailableError: it was cut, or silent for `silence` seconds.
        """
        query = dict(params or {}) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        response = await self._send(_Request("GET", path, query, limit=limit))
        try:
            if response.status != 200:
                raise await self._refusal(response)
            opened()
            async with aclosing(read_lines(response)) as lines:
                async for line in lines:
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(error) from error
        finally:
            response.close()

    async def post(self, path: str, body: Json, params: Params = None, *, seconds: float = REQUEST_SECONDS) -> Json:
        """Create an object; the answer is as stored."""
        return await self._write(_Request("POST", path, params, body=body, limit=_total(seconds)))

    async def put(self, path: str, body: Json, params: Params = None, *, seconds: float = REQUEST_SECONDS) -> Json:
        """Replace an object; the answer is as stored."""
        return await self._write(_Request("PUT", path, params, body=body, limit=_total(seconds)))

    async def patch(
        self,
        path: str,
        body: Json | list[Json],
        params: Params = None,
        *,
        content_type: str,
        tested: bool = False,
        seconds: float = REQUEST_SECONDS,
    ) -> Json:
        """Change an object; the answer is as stored. With `tested` a failed JSON patch is a ConflictError."""
        request = _Request("PATCH", path, params, body=body, content_type=content_type, limit=_total(seconds))
        return await self._write(request, tested=tested)

    async def _write(self, request: _Request, *, tested: bool = False) -> Json:
        async with await self._send(request) as response:
            return await self._document(response, tested=tested)

    async def _document(self, response: aiohttp.ClientResponse, *, tested: bool = False) -> Json:
        if not 200 <= response.status < 300:
            raise await self._refusal(response, tested=tested)
        try:
            document = await read_json(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(error) from error
        if not isinstance(document, dict):
            raise UnavailableError("the Kubernetes API server gave an answer that isn't a JSON object")
        return document

    @staticmethod
    async def _refusal(response: aiohttp.ClientResponse, *, tested: bool = False) -> Exception:
        try:
            document = await read_refusal(response)
        except (aiohttp.ClientError, TimeoutError, OSError):
            document = None  # the status alone tells enough
        return translate(
            response.status,
            document,
            retry_after=response.headers.get("Retry-After"),
            tested=tested,
            method=response.method,
        )

    async def _send(self, request: _Request) -> aiohttp.ClientResponse:
        """The answer's head; credentials that aren't accepted are read anew, once."""
        session = await self._open()
        response = await self._ask(session, request)
        if response.status == 401:
            response.close()
            response = await self._ask(await self._renewed(session), request)
        return response

    async def _ask(self, session: _Session, request: _Request) -> aiohttp.ClientResponse:
        token = await authorization(session.configuration)
        headers = request.headers() | ({"Authorization": token} if token else {})
        url = URL(session.configuration.host + request.target, encoded=True)
        ask: Any = session.rest.request  # carries no annotations
        try:
            answer = await ask(request.method, url, headers=headers, body=request.body, _request_timeout=request.limit)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._counted(request.method, 0)
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                await self._forget(session)  # the CA may have been renewed
            raise unreachable(error) from error
        response: aiohttp.ClientResponse = answer.response
        self._counted(request.method, response.status)
        return response

    async def _open(self) -> _Session:
        if self._session is not None:
            return self._session
        async with self._opening:
            if self._session is None:
                self._session = await self._load()
            return self._session

    async def _load(self) -> _Session:
        configuration, namespace = await self._login.load()
        configuration.trace_configs = [fence()]
        try:
            rest: Any = RESTClientObject(configuration)
        except (OSError, ValueError) as error:
            raise InvalidError(f"the cluster's certificates can't be used: {one_line(error)}") from error
        return _Session(rest, configuration, namespace)

    async def _renewed(self, refused: _Session) -> _Session:
        """A session with credentials read after `refused` got them; its connections are kept if they can be."""
        async with self._opening:
            if self._session is not None and self._session is not refused:
                return self._session
            fresh = await self._load()
            if _transport(fresh.configuration) == _transport(refused.configuration):
                fresh = _Session(refused.rest, fresh.configuration, fresh.namespace)
            else:
                await refused.rest.close()
            self._session = fresh
            return fresh

    async def _forget(self, session: _Session) -> None:
        if self._session is session:
            await self.close()


def _transport(configuration: Configuration) -> tuple[object, ...]:
    """What a connection depends on; the token isn't part of it."""
    return (
        configuration.host,
        configuration.ssl_ca_cert,
        configuration.verify_ssl,
        configuration.cert_file,
        configuration.key_file,
        configuration.tls_server_name,
        configuration.proxy,
    )


def _event(line: bytes) -> WatchEvent:
    document = as_json(line)
    kind, body = (document.get("type"), document.get("object")) if isinstance(document, dict) else (None, None)
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise UnavailableError("the Kubernetes API server sent a watch event that can't be read")
    if kind == "ERROR":
        code = body.get("code")
        raise translate(code if isinstance(code, int) else 500, body)
    return WatchEvent(kind, body)
