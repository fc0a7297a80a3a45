"""Run logs in blob storage, behind signed links.

Owns the links and the blob host's answers. A link is a secret: without its signature, or after its end,
nothing is shown; it needs no Authorization header and refuses one.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from aiohttp import web

from basetracker.emulators.acr.blobs import ranged
from basetracker.emulators.server import RefusedError
from basetracker.emulators.tasks.run import Run
from basetracker.emulators.timeline import Clock
from basetracker.emulators.tokens import Ledger

HOST = "acrtaskprodweu001.blob.core.windows.net"
LINK_SECONDS = 3_600


class Logs:
    """The storage account that run logs lie in."""

    def __init__(self, clock: Clock, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._links: dict[str, tuple[Run, datetime]] = {}

    def link(self, run: Run) -> str:
        """A URL that shows the run's log for an hour."""
        signature = self._ledger.issue(secrets.token_urlsafe(24), "log link", {HOST})
        ends = self._clock() + timedelta(seconds=LINK_SECONDS)
        self._links[signature] = (run, ends)
        query = f"sv=2019-07-07&sr=b&sp=r&se={ends:%Y-%m-%dT%H%%3A%M%%3A%SZ}&sig={signature}"
        return f"https://{HOST}/{run.task.registry.name}/logs/{run.id}/rawtext.log?{query}"

    def routes(self) -> list[web.RouteDef]:
        """What the blob host serves."""
        return [web.get("/{registry}/logs/{run}/rawtext.log", self._get)]

    async def _get(self, request: web.Request) -> web.Response:
        if "Authorization" in request.headers:
            raise _refused(400, "InvalidAuthenticationInfo")
        run, ends = self._links.get(request.query.get("sig", ""), (None, self._clock()))
        if run is None or ends <= self._clock() or run.id != request.match_info["run"]:
            raise _refused(403, "AuthenticationFailed")
        headers = {"Content-Type": "text/plain; charset=utf-8", "x-ms-blob-type": "AppendBlob"}
        if not run.live:
            headers["x-ms-meta-Complete"] = "successful" if run.status == "Succeeded" else "failed"
        return ranged(request, "".join(f"{line}\r\n" for line in run.log).encode(), headers)


def _refused(status: int, code: str) -> RefusedError:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code></Error>'
    headers = {"x-ms-error-code": code, "Content-Type": "application/xml"}
    return RefusedError(web.Response(status=status, body=body.encode(), headers=headers))
