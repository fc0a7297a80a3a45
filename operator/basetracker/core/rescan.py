"""Rescans: when gates are asked again about what runs. Pure.

Each image has its own time within the interval, the same for ever, so that the questions of many images are spread and a new
process neither asks them all at once nor has to remember when it asked last.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The interval that a time lies in: answers from before `begin` are old, and the next interval begins at `end`."""

    begin: datetime
    end: datetime


def slot_of(subject: str, interval: timedelta, now: datetime) -> Slot:
    """The interval in which `now` lies for this subject, whose intervals begin at a time of their own, on a whole second."""
    interval = timedelta(seconds=math.ceil(interval.total_seconds()))
    spread = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:6]) / 2**48
    start = _EPOCH + timedelta(seconds=int(interval.total_seconds() * spread))
    begin = start + ((now - start) // interval) * interval
    return Slot(begin=begin, end=begin + interval)
