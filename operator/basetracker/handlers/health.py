"""Probes and metrics over HTTP: /healthz, /readyz and /metrics.

Liveness asks whether the loop answers and the watches still hear of the API server; a registry that is down is no reason to
restart. A replica that waits for the Lease is ready: it is meant to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from basetracker.telemetry import Metrics

LAG_SECONDS = 5.0
SILENCE_SECONDS = 300.0


@dataclass(slots=True, kw_only=True)
class Health:
    """What the probes are answered from; the door keeps it up to date."""

    silent_for: Callable[[], float] = lambda: 0.0
    is_synced: Callable[[], bool] = lambda: True
    is_started: bool = False
    ended: str = ""
    beat: float = field(default=0.0)

    async def beat_for_ever(self) -> None:
        """Note once a second that the loop runs."""
        loop = asyncio.get_running_loop()
        while True:
            self.beat = loop.time()
            await asyncio.sleep(1)

    def trouble(self) -> str:
        """Why the process should be restarted; empty when it shouldn't."""
        if self.ended:
            return self.ended
        lag = asyncio.get_running_loop().time() - self.beat
        if lag > LAG_SECONDS:
            return f"the event loop is {lag:.0f} s late"
        silent = self.silent_for()
        return f"no watch has heard of the API server for {silent:.0f} s" if silent > SILENCE_SECONDS else ""


@asynccontextmanager
async def served(health: Health, metrics: Metrics, listen: str) -> AsyncIterator[int]:
    """Serve the probes at `host:port`; the answer is the port (port 0 takes a free one)."""
    app = web.Application()

    async def healthz(_: web.Request) -> web.Response:
        trouble = health.trouble()
        return web.Response(status=500 if trouble else 200, text=trouble or "ok")

    async def readyz(_: web.Request) -> web.Response:
        ready = health.is_started and health.is_synced()
        return web.Response(status=200 if ready else 503, text="ok" if ready else "not ready")

    async def metric_text(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metric_text)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    site = web.TCPSite(runner, host.strip("[]") or None, int(port))
    await site.start()
    beating = asyncio.create_task(health.beat_for_ever())
    try:
        yield runner.addresses[0][1]
    finally:
        beating.cancel()
        await runner.cleanup()
