"""Platforms: which of an index's images runs where.

Owns matching by os, architecture, variant and Windows build, with the spellings and the order of preference that
containerd has: a build for `linux/arm/v7` takes a base for `linux/arm/v6` where there is no nearer one. Used by
lineage.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_DEFAULT_VARIANTS: Final = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
_LEVEL = re.compile(r"v?([0-9]{1,3})(?:\.([0-9]{1,3}))?")
_LAST: Final = 10**6
"""Worse than any difference of variants."""


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system and processor, e.g. `linux/arm64/v8`; `os_version` matters for Windows only."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        system = f"{self.os}({self.os_version})" if self.os == "windows" and self.os_version else self.os
        return "/".join(part for part in (system, self.architecture, self.variant) if part) or "no named platform"

    @property
    def is_known(self) -> bool:
        """False for the `unknown/unknown` entries that carry attestations instead of an image."""
        return self.os not in {"", "unknown"} and self.architecture not in {"", "unknown"}

    def matches(self, other: Platform) -> bool:
        """Whether both are one platform; a variant or Windows build that isn't named is the usual or any one."""
        return self.distance(other) in {0, _LAST}

    def distance(self, other: Platform) -> int | None:
        """How far an image for `other` is from one for this platform: 0 is the same, None runs not here.

        An image for an older variant of the processor runs too, the nearest one best. A Windows version that only
        one side names is taken last.
        """
        if (self.os.lower(), self._processor[0]) != (other.os.lower(), other._processor[0]):
            return None
        level, offered = self._processor[1], other._processor[1]
        if level == offered:
            gap = 0
        elif (mine := _level(level)) is None or (theirs := _level(offered)) is None or theirs > mine:
            return None
        else:
            gap = mine - theirs
        if self._windows == other._windows:
            return gap
        return None if self._windows and other._windows else _LAST + gap

    @property
    def _processor(self) -> tuple[str, str]:
        """Architecture and variant in their usual spelling."""
        given, variant = self.architecture.lower(), self.variant.lower()
        architecture, implied = _ARCHITECTURES.get(given, (given, ""))
        return architecture, implied or variant or _DEFAULT_VARIANTS.get(architecture, "")

    @property
    def _windows(self) -> str:
        """Windows images run on the build they were made for: `10.0.20348`; a fourth number is the patch level."""
        return ".".join(self.os_version.split(".")[:3]) if self.os.lower() == "windows" else ""


def _level(variant: str) -> int | None:
    """The variant as a number that grows with the processor; None when it isn't of that kind."""
    found = _LEVEL.fullmatch(variant)
    return int(found[1]) * 1000 + int(found[2] or 0) if found else None
