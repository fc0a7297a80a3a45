"""A bare HTTP client of a Kubernetes API, for contract tests: what is sent and what comes back, nothing hidden."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    body: Any
    headers: Mapping[str, str]

    def expect(self, status: int) -> Any:
        """The body, once the status is as expected."""
        assert self.status == status, f"{self.status}: {self.body}"
        return self.body

    @property
    def causes(self) -> dict[str, str]:
        """Field → message of a refusal's causes."""
        return {cause["field"]: cause["message"] for cause in self.body["details"]["causes"]}


def _file_or_data(entry: Json, key: str) -> bytes | None:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(data)
    return Path(entry[key]).read_bytes() if entry.get(key) else None


class Api:
    """Requests to the cluster that a kubeconfig's current context names."""

    def __init__(self, kubeconfig: Json) -> None:
        named = {kind: {item["name"]: item for item in kubeconfig[kind]} for kind in ("clusters", "users", "contexts")}
        context = named["contexts"][kubeconfig["current-context"]]["context"]
        cluster, user = named["clusters"][context["cluster"]]["cluster"], named["users"][context["user"]]["user"]
        authority = _file_or_data(cluster, "certificate-authority")
        self.tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
        certificate, key = _file_or_data(user, "client-certificate"), _file_or_data(user, "client-key")
        if certificate and key:
            with tempfile.NamedTemporaryFile() as file:
                file.write(certificate + b"\n" + key)
                file.flush()
                self.tls.load_cert_chain(file.name)
        self.kubeconfig = kubeconfig
        self.url = cluster["server"]
        self._headers = {"User-Agent": "contract/1"}
        if user.get("token"):
            self._headers["Authorization"] = f"Bearer {user['token']}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls, limit=20))
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._session is not None
        await self._session.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """An open response, as a context manager."""
        assert self._session is not None
        headers = self._headers | dict(options.pop("headers", {}))
        timeout = aiohttp.ClientTimeout(total=options.pop("timeout", 20))
        return self._session.request(method, self.url + path, headers=headers, timeout=timeout, **options)

    async def call(
        self, method: str, path: str, body: Any = None, *, accept: str = "application/json", **more: Any
    ) -> Answer:
        """One request; `media_type` and `headers` may be given, all else is the query."""
        headers = {"Accept": accept, **more.pop("headers", {})}
        data = None
        if body is not None:
            headers["Content-Type"] = more.pop("media_type", "application/json")
            data = json.dumps(body) if not isinstance(body, (bytes, str)) else body
        query = {key: str(value) for key, value in more.items()}
        async with self.request(method, path, params=query, headers=headers, data=data) as response:
            raw = await response.read()
            is_json = raw[:1] in (b"{", b"[")  # not by the type: the index of OpenAPI is sent as text
            return Answer(response.status, json.loads(raw) if is_json else raw.decode(), dict(response.headers))

    async def get(self, path: str, **query: Any) -> Answer:
        """GET."""
        return await self.call("GET", path, **query)

    async def post(self, path: str, body: Any, **query: Any) -> Answer:
        """POST."""
        return await self.call("POST", path, body, **query)

    async def put(self, path: str, body: Any, **query: Any) -> Answer:
        """PUT."""
        return await self.call("PUT", path, body, **query)

    async def patch(self, path: str, body: Any, media_type: str = MERGE, **query: Any) -> Answer:
        """PATCH."""
        return await self.call("PATCH", path, body, media_type=media_type, **query)

    async def delete(self, path: str, body: Any = None, **query: Any) -> Answer:
        """DELETE."""
        return await self.call("DELETE", path, body, **query)

    async def watch(self, path: str, count: int, *, accept: str = "application/json", **query: Any) -> list[Json]:
        """The first so many events of a watch; fewer when the server ends it before."""
        found: list[Json] = []
        params = {"watch": "true", **{key: str(value) for key, value in query.items()}}
        async with self.request("GET", path, params=params, headers={"Accept": accept}) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                found.append(json.loads(line))
                if len(found) >= count:
                    break
        return found

    async def until(self, path: str, holds: Any, seconds: float = 20) -> Any:
        """The object at `path`, once `holds(body, status)`."""
        async with asyncio.timeout(seconds):
            while True:
                answer = await self.get(path)
                if holds(answer.body, answer.status):
                    return answer.body
                await asyncio.sleep(0.02)
