"""The endpoint that an API server asks a node for logs at: what a container has written is its Pod's annotation.

Owns a small HTTPS server on the loopback, which an API server on this machine reaches. Runs in the nodes' own event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from basetracker.emulators.authority import Authority

Object = dict[str, Any]
LOG_ANNOTATION = "emulator.basetracker.dev/log"
ADDRESS = "127.0.0.1"


class PodLogs:
    """Answers `/containerLogs/NAMESPACE/POD/CONTAINER`; `annotations` tells those of a Pod by namespace and name."""

    def __init__(self, annotations: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
        self._annotations = annotations
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port. The API server checks no certificate: it isn't told whose would be right."""
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, ADDRESS, 0, ssl_context=Authority().server_context(ADDRESS)).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        found = self._annotations.get((request.match_info["namespace"], request.match_info["pod"]))
        if found is None:
            raise web.HTTPNotFound
        lines = found.get(LOG_ANNOTATION, "").splitlines(keepends=True)
        if "tailLines" in request.query:
            lines = lines[-int(request.query["tailLines"]) :]
        text = "".join(lines).encode()
        return web.Response(body=text[: int(request.query.get("limitBytes", len(text)))], content_type="text/plain")
