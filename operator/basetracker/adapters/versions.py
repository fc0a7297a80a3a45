"""The order of resourceVersions, by which no cache ever goes back. Used by the stores of this floor."""

from __future__ import annotations


def is_newer(version: str, known: str) -> bool:
    """Whether `version` is later than `known`; where they aren't numbers, whether it is another one."""
    if version.isdecimal() and known.isdecimal():
        return int(version) > int(known)
    return version != known
