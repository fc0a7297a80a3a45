"""The last look at the lead: asked when an effect's first byte is about to leave, not when it was decided on.

Between the engine's question and the sending lie a token, a limit and a new connection, and a process that stands still
meanwhile has long been replaced when it goes on. Knows neither Leases nor what is sent. Used by the adapters that have
effects; `kube` and `http` open their sessions with `fence()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Final

import aiohttp

from basetracker.errors import UnavailableError

May = Callable[[], bool]
"""Answers at once whether effects are still ours to have."""

_may: Final[ContextVar[May | None]] = ContextVar("may", default=None)


class FencedError(UnavailableError):
    """Nothing was sent, since another replica leads by now."""


def always() -> bool:
    """For those who have no replicas beside them."""
    return True


@contextmanager
def only_while(may: May) -> Iterator[None]:
    """Let what is sent within leave only while `may` says so; whatever else is asked on the way, too.

    Raises:
        FencedError: out of the request, which was not sent.
    """
    before = _may.set(may)
    try:
        yield
    finally:
        _may.reset(before)


def fence() -> aiohttp.TraceConfig:
    """What a session needs so that `only_while` holds for its requests."""
    trace = aiohttp.TraceConfig()
    # Both are called before the bytes leave: the head waits for the body, which is sent a turn of the loop later.
    trace.on_request_headers_sent.append(_ask)
    trace.on_request_chunk_sent.append(_ask)
    return trace


async def _ask(session: aiohttp.ClientSession, context: SimpleNamespace, parameters: object) -> None:
    may = _may.get()
    if may is not None and not may():
        raise FencedError("another replica leads by now, so nothing was sent")
