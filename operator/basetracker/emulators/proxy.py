"""The way out of the emulated world: an HTTPS proxy that leads real host names to emulated servers.

Plain HTTP on loopback; only CONNECT. It knows which names exist and counts who is asked for; every other
name is refused with 502 and noted, so nothing ever leaves the machine. It never sees inside TLS.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable

HEAD_LIMIT = 16_384
CHUNK = 65_536
RECORD_LIMIT = 1_000

Lookup = Callable[[str], Awaitable[int | None]]
"""Answers the loopback port of a `host:port` target; None when there is no such host in this world."""


class Proxy:
    """A CONNECT proxy for one emulated world."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.StreamWriter] = set()
        self.connects: Counter[str] = Counter()
        """Tunnels opened, by `host:port`; a client that keeps its connections opens few."""
        self.refused: deque[str] = deque(maxlen=RECORD_LIMIT)
        """What was asked for and is not of this world: `"METHOD target"`, oldest first."""

    async def start(self) -> None:
        """Listen on a free loopback port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_LIMIT)

    async def stop(self) -> None:
        """Stop listening and cut every tunnel."""
        if self._server is not None:
            self._server.close()
            self.cut_tunnels()
            await self._server.wait_closed()
            self._server = None

    @property
    def url(self) -> str:
        """What belongs into `HTTPS_PROXY`. Only while started."""
        if self._server is None:
            raise RuntimeError("the proxy is not running")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut_tunnels(self) -> None:
        """Break every open connection, as a network failure would."""
        for writer in list(self._tunnels):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tunnels.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._connect(head, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the client went away or speaks no HTTP
        finally:
            self._tunnels.discard(writer)
            writer.close()

    async def _connect(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        target = rest.partition(" ")[0].lower()
        port = await self._lookup(target) if method == "CONNECT" else None
        if port is None:
            self.refused.append(f"{method} {target}")
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        self.connects[target] += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        self._tunnels.add(far_writer)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            self._tunnels.discard(far_writer)
            far_writer.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until either side ends, then end the other."""
    try:
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()
