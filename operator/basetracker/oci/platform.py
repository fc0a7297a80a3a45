"""Platforms: which of an index's images runs where.

Owns matching by os, architecture and variant as the OCI image index describes it. Used by lineage.
"""

from __future__ import annotations

from dataclasses import dataclass

_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system and processor, e.g. `linux/arm64/v8`; `os_version` matters for Windows only."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @property
    def is_known(self) -> bool:
        """False for the `unknown/unknown` entries that carry attestations instead of an image."""
        return self.os not in {"", "unknown"} and self.architecture not in {"", "unknown"}

    def matches(self, other: Platform) -> bool:
        """Whether an image for `other` is one for this platform; a variant that isn't named is the usual one."""
        return (self.os, self.architecture, self._variant, self._windows) == (
            other.os,
            other.architecture,
            other._variant,
            other._windows,
        )

    @property
    def _variant(self) -> str:
        return self.variant or _DEFAULT_VARIANTS.get(self.architecture, "")

    @property
    def _windows(self) -> str:
        """Windows images run on the build they were made for; its last number is the patch level."""
        return self.os_version.rpartition(".")[0] if self.os == "windows" else ""
