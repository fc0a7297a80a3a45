"""Durations as Go writes them (`1h30m`, `10s`, `250ms`), which is how Kubernetes' users write them."""

from __future__ import annotations

import re
from datetime import timedelta

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> timedelta:
    """The duration that `text` writes.

    Raises:
        ValueError: with an example of what is right.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text[:40]!r} is not a duration; write it like 5m, 1h30m or 90s")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > timedelta(days=3660).total_seconds():
        raise ValueError(f"{text[:40]!r} is longer than ten years; write it like 5m, 1h30m or 90s")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """`duration` in whole seconds as Go would write it, without its zero parts; `0s` for none."""
    rest = int(duration.total_seconds())
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
