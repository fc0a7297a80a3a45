"""Operators in this process: each in a thread, to be ended, broken off or frozen at any time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from basetracker.adapters.kube_login import Login
from basetracker.handlers.lifecycle import run_operator
from basetracker.settings import Settings


class Operator:
    """An operator in a thread with a loop of its own, as `basetracker run` is a process of its own.

    kopf ends whatever was begun on its loop; there is nothing else on this one.
    """

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self.name = name
        self.port = 0
        """Of the probes and metrics, on loopback."""
        self.error: BaseException | None = None
        """What it ended with, if not in peace."""
        self._environ = environ
        self._thread = threading.Thread(target=self._run, name=f"operator {name}", daemon=True)
        self._began = threading.Event()
        self._thaw = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._working: asyncio.Task[None]
        self._stop: asyncio.Event
        self._thread.start()
        self._began.wait()

    def _serve(self, port: int) -> None:
        self.port = port

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    async def ended(self) -> None:
        """Ask it to end, as SIGTERM does, and wait until it has."""
        self._call(self._stop.set)
        await asyncio.to_thread(self._thread.join)

    async def killed(self) -> None:
        """Break it off wherever it is; it still gives the Lease back."""
        self._thaw.set()
        self._call(self._working.cancel)
        await asyncio.to_thread(self._thread.join)

    def freeze(self) -> None:
        """Stop it like SIGSTOP: nothing of it goes on, and the Lease isn't given back."""
        self._call(self._thaw.wait)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._thaw.set()

    def _call(self, function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # its loop is closed already
            self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.error = error

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        settings = Settings(**{"pod_name": self.name})  # type: ignore[arg-type]  # the rest comes from the environment
        login = Login(environ=self._environ)
        working = run_operator(settings, login, self._environ, stop=self._stop, serving=self._serve)
        self._working = asyncio.create_task(working)
        self._began.set()
        await self._working
