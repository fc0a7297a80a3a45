"""What one run of Trivy may take: memory, room on the disk, the size of an image.

Owns how the bounds are put on a child process. An image decides how much Trivy needs, and the kernel ends the whole Pod when its
memory runs out; so each run has a bound of its own. Used by `program` and `scanning`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from basetracker.adapters.gates.trivy import launch
from basetracker.errors import MissingError

NOT_BEGUN: Final = launch.NOT_BEGUN
HOLDS: Final = sys.platform == "linux"
"""Elsewhere a limit of this kind doesn't bound what a program takes; only Go's own soft bound is set there."""
LARGEST_DATABASE: Final = 4 << 30
"""Bytes of the largest file that a download may write."""
_SOFT: Final = 0.8
"""The part of the memory from which Go cleans up eagerly: the rest is for what it doesn't count."""
_LOOKS_EVERY: Final = 0.5
_BLOCK: Final = 512
_RESERVE: Final = 64 << 20
"""Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """In bytes; `image` is of an image's layers as they are stored, together."""

    memory: int = 1 << 30
    room: int = 2 << 30
    image: int = 10 << 30

    @property
    def environment(self) -> dict[str, str]:
        """What tells Go's runtime of the bound."""
        return {"GOMEMLIMIT": str(int(self.memory * _SOFT))}

    def command(self, executable: str, arguments: Sequence[str], *, largest_file: int) -> list[str]:
        """The command that begins the program under the bounds.

        Raises:
            MissingError: Python doesn't know its own place, so that nothing can be bounded.
        """
        if not HOLDS:
            return [executable, *arguments]
        if not sys.executable:
            raise MissingError("Trivy isn't started, since the Python that would bound its memory isn't found")
        python = [sys.executable, "-I", "-S", launch.__file__]
        return [*python, str(self.memory), str(largest_file), executable, *arguments]


class Lack(Enum):
    """What a run is ended for."""

    ROOM = auto()
    """It takes more than it may."""
    DISK = auto()
    """The disk is nearly full, whoever fills it: what can't be written could be left out without a word."""


async def lacking(place: Path, room: int) -> Lack:
    """Return when more than `room` bytes lie in the folder, or next to nothing is free on its disk."""
    while (found := await asyncio.to_thread(_lack, place, room)) is None:  # noqa: ASYNC110  nobody tells when a file grows
        await asyncio.sleep(_LOOKS_EVERY)
    return found


def has_room(place: Path, room: int) -> bool:
    """Whether as much is free on the folder's disk as a run may take."""
    return shutil.disk_usage(place).free >= room + _RESERVE


def _lack(place: Path, room: int) -> Lack | None:
    if _taken(place) > room:
        return Lack.ROOM
    return None if shutil.disk_usage(place).free >= _RESERVE else Lack.DISK


def _taken(place: Path) -> int:
    """Bytes of disk under the folder; what vanishes meanwhile counts for nothing."""
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                total += (
                    getattr(os.lstat(os.path.join(folder, name)), "st_blocks", 0) * _BLOCK
                )  # some systems don't tell
            except OSError:
                continue
    return total
