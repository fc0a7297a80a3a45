"""Sizes as Kubernetes writes them (`512Mi`, `1Gi`)."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([0-9]{1,15})(|Ki|Mi|Gi|Ti)")
_UNITS = ("", "Ki", "Mi", "Gi", "Ti")


def parse_size(text: str) -> int:
    """The bytes that `text` writes.

    Raises:
        ValueError: with an example of what is right.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a size; write it like 512Mi or 2Gi")
    return int(found[1]) << (10 * _UNITS.index(found[2]))


def format_size(size: int) -> str:
    """`size` in bytes, in the largest unit that it has a whole number of."""
    power = 0
    while size and size % 1024 == 0 and power < len(_UNITS) - 1:
        size, power = size // 1024, power + 1
    return f"{size}{_UNITS[power]}"
