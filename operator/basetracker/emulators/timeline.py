"""The time of an emulated world: a clock that can be set, and the formats Azure writes times in.

Every emulated service takes a `Clock`, so a test can let hours pass in a moment. Knows no service.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Answers the present moment, aware, UTC."""


def utcnow() -> datetime:
    """The real time, UTC."""
    return datetime.now(UTC)


class ManualClock:
    """A clock that only moves when it is told to."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime(2026, 3, 24, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass."""
        self.now += timedelta(seconds=seconds)


def arm_time(moment: datetime) -> str:
    """As ARM writes it: `2026-03-24T00:29:09.2000000+00:00` (seven digits of a second)."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}0+00:00"


def registry_time(moment: datetime) -> str:
    """As ACR's metadata writes it: `2026-03-24T00:29:09.2000000Z`."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}0Z"


def rfc3339(moment: datetime) -> str:
    """As OCI configs and histories write it: `2026-03-24T00:29:09Z`."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
