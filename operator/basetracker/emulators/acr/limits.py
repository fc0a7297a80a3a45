"""How often a registry may be asked: Azure's budgets a minute, and the 429 that counts down.

Owns one bucket a registry and caller and category. Knows no HTTP beyond the refusal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from basetracker.emulators.acr.access import registry_error
from basetracker.emulators.timeline import Clock

COOL_DOWN = 60.0
"""Seconds until an exhausted bucket is full again."""

BASIC = {"read": (10_000, 5_000), "write": (2_000, 1_000), "delete": (1_000, 500), "referrers": (500, 250)}
PREMIUM = {"read": (20_000, 10_000), "write": (4_000, 2_000), "delete": (4_000, 2_000), "referrers": (2_000, 1_000)}
BUDGETS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "Basic": BASIC,
    "Standard": BASIC,
    "Premium": PREMIUM,
}
"""Requests a minute by SKU and category: for the whole registry, for one identity."""


class Bucket:
    """Tokens that refill evenly; once empty it stays shut for the cool-down."""

    def __init__(self, per_minute: int, now: datetime) -> None:
        self._size = float(per_minute)
        self._left = float(per_minute)
        self._at = now
        self._shut_until: datetime | None = None

    def take(self, now: datetime) -> int:
        """0 when one was taken, else the seconds to wait, at least 1."""
        if self._shut_until is not None:
            if now < self._shut_until:
                return max(1, math.ceil((self._shut_until - now).total_seconds()))
            self._shut_until, self._left = None, self._size
        self._left = min(self._size, self._left + (now - self._at).total_seconds() * self._size / 60)
        self._at = now
        if self._left < 1:
            self._shut_until = now + timedelta(seconds=COOL_DOWN)
            return math.ceil(COOL_DOWN)
        self._left -= 1
        return 0


class Limits:
    """The budgets of one registry; `budgets` may be replaced at any time, an empty one limits nothing."""

    def __init__(self, clock: Clock, budgets: Mapping[str, tuple[int, int]]) -> None:
        self._clock = clock
        self._budgets = dict(budgets)
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def allow(self, category: str, registry_per_minute: int, caller_per_minute: int) -> None:
        """Set the budget of a category (`read`, `write`, `delete`, `referrers`); buckets start full."""
        self._budgets[category] = (registry_per_minute, caller_per_minute)
        self._buckets.clear()

    def spend(self, category: str, caller: str) -> None:
        """Count a request. Raises RefusedError (429 with Retry-After) when a budget is used up."""
        if category not in self._budgets:
            return
        now = self._clock()
        for owner, size in zip(("", caller), self._budgets[category], strict=True):
            bucket = self._buckets.setdefault((category, owner), Bucket(size, now))
            wait = bucket.take(now)
            if wait:
                headers = {"Retry-After": str(wait)}
                raise registry_error(429, "TOOMANYREQUESTS", "too many requests", headers=headers)
