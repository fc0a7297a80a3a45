"""How bad a vulnerability is, in the words of the public contract.

Scanners have their own; each gate's adapter translates. Used by the gates that judge findings.
"""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """Declared worst first; what nobody has rated comes last."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"
    UNKNOWN = "UNKNOWN"

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(Severity).index(self)
