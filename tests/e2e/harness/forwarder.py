"""A TCP forwarder that can lose the connection: what lies between the operator and the API server in a bad network.

Owns the sockets and a thread with an event loop of its own. Sees nothing inside TLS.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

CHUNK = 65_536
CALL_SECONDS = 10.0


class Forwarder:
    """Forwards `127.0.0.1:port` to another port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forwarder", daemon=True)
        self._lets_through = asyncio.Event()
        self._lets_through.set()
        self.port = 0

    def start(self) -> None:
        """Return when it listens; `port` is known then."""
        self._thread.start()

        async def listen() -> int:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            return int(self._server.sockets[0].getsockname()[1])

        self.port = asyncio.run_coroutine_threadsafe(listen(), self._loop).result(CALL_SECONDS)

    def stop(self) -> None:
        """Cut everything and end."""
        self._call(self._server.close)
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)

    def cut(self) -> int:
        """Break every connection; how many there were. New ones are taken."""
        return self._call(self._abort)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Let nothing through meanwhile, and tell nobody: no connection breaks before the end, when all do."""
        self._call(self._lets_through.clear)
        try:
            yield
        finally:
            self.cut()
            self._call(self._lets_through.set)

    def _abort(self) -> int:
        found = list(self._open)
        for writer in found:
            writer.transport.abort()
        return len(found) // 2

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._lets_through.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._open.add(far_writer)
            try:
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            finally:
                self._open.discard(far_writer)
                far_writer.close()
        except OSError:
            pass  # nobody listens there now: the client sees its connection break
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                await self._lets_through.wait()
                target.write(data)
                await target.drain()
        target.close()

    def _call(self, function: Callable[[], object]) -> int:
        async def called() -> int:
            found = function()
            return found if isinstance(found, int) else 0

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(CALL_SECONDS)
