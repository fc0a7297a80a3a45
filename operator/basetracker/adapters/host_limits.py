"""How often a host is asked, and when it must not be asked at all.

Owns a token bucket, a bound on concurrent requests and the hold that a `Retry-After` puts on a whole host. Knows
nothing of HTTP or of what is asked. Used by `http` and by the transport of Azure's clients.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from basetracker.errors import UnavailableError
from basetracker.ports import Clock

_HOSTS_KEPT: Final = 1_000
_HOSTS_SEARCHED: Final = 100


class HeldError(UnavailableError):
    """Nothing was sent, since the host has asked for a pause that isn't over."""


@dataclass(slots=True)
class _Host:
    tokens: float
    filled_at: float
    slots: asyncio.Semaphore
    held_until: float = 0.0
    users: int = field(default=0)


class HostLimits:
    """The limits of every host, each with its own bucket, slots and hold."""

    def __init__(self, clock: Clock, *, rate: float = 10.0, burst: int = 20, concurrency: int = 8) -> None:
        """`rate` is in requests a second; `burst` may be sent at once after a pause."""
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._concurrency = concurrency
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait until `host` may be asked, and hold one of its slots meanwhile.

        Raises:
            HeldError: nothing may be sent to it yet.
        """
        state = self._state(host)
        state.users += 1
        try:
            self._refuse_if_held(host, state)
            await self._await_token(state)
            async with state.slots:
                self._refuse_if_held(host, state)
                yield
        finally:
            state.users -= 1

    def hold(self, host: str, seconds: float) -> None:
        """Let nothing be sent to `host` for `seconds`; a longer hold stays."""
        state = self._state(host)
        state.held_until = max(state.held_until, self._clock.monotonic() + seconds)

    def held(self, host: str) -> float:
        """For how many seconds `host` is still held; 0 when it isn't."""
        state = self._hosts.get(host)
        return max(0.0, state.held_until - self._clock.monotonic()) if state is not None else 0.0

    def _refuse_if_held(self, host: str, state: _Host) -> None:
        left = state.held_until - self._clock.monotonic()
        if left > 0:
            raise HeldError(f"{host} has asked for a pause; it is asked again after that", retry_after=left)

    async def _await_token(self, state: _Host) -> None:
        """Take a token; it may be one of the future, so that callers are served in the order in which they came."""
        now = self._clock.monotonic()
        state.tokens = min(float(self._burst), state.tokens + (now - state.filled_at) * self._rate) - 1
        state.filled_at = now
        if state.tokens >= 0:
            return
        try:
            await self._clock.sleep(-state.tokens / self._rate)
        except asyncio.CancelledError:
            state.tokens += 1
            raise

    def _state(self, host: str) -> _Host:
        state = self._hosts.get(host)
        if state is None:
            now = self._clock.monotonic()
            state = _Host(float(self._burst), now, asyncio.Semaphore(self._concurrency))
            self._hosts[host] = state
            self._drop_idle(now)
        self._hosts.move_to_end(host)
        return state

    def _drop_idle(self, now: float) -> None:
        """Forget a host that wasn't asked for long, so that names in redirects can't fill the memory."""
        if len(self._hosts) > _HOSTS_KEPT:
            for name, state in islice(self._hosts.items(), _HOSTS_SEARCHED):
                if state.users == 0 and state.held_until <= now:
                    del self._hosts[name]
                    return
