"""As whom an image runs, by its configuration: a finding of our own where that is root.

Trivy's scanner `misconfig` reads the user out of the image's history, which no runtime looks at and which its author can write
at will. So what it says of the user is replaced by what the configuration says. Pure; used by `scanning`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from basetracker.adapters.gates.trivy.report import OF_CONFIGURATION
from basetracker.api.severity import Severity
from basetracker.core.findings import Finding, FindingKind, Scan
from basetracker.oci.lineage import PlatformImage

RUNS_AS_ROOT: Final = "DS-0002"
"""Trivy's own id for it, so that waivers hold for both."""
_OTHER_IDS: Final = frozenset({RUNS_AS_ROOT, "DS002", "AVD-DS-0002"})
_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_LARGEST: Final = 2**31 - 1
"""Some runtimes take a larger number for another one, down to 0."""


def with_user(scan: Scan, image: PlatformImage) -> Scan:
    """The scan with what the image's configuration says of its user, in place of what Trivy has read of its history."""
    others = {one for one in scan.findings if not (one.id in _OTHER_IDS and one.package == OF_CONFIGURATION)}
    ours = {_finding(image.user)} if is_root(image.user, windows=image.platform.os == "windows") else set()
    return replace(scan, findings=frozenset(others | ours))


def is_root(user: str, *, windows: bool = False) -> bool:
    """Whether a configuration's `User` means root: by its name, its number, or since nothing else is named.

    Another name is taken for what it says: which number it has is in the image's files.
    """
    name = user.partition(":")[0].strip()
    if _NUMBER.fullmatch(name):
        digits = name.lstrip("+-0")
        return len(digits) > len(str(_LARGEST)) or name.startswith("-") or not 0 < int(digits or "0") <= _LARGEST
    if windows:
        return name.rpartition("\\")[2].casefold() in {"", "containeradministrator", "administrator"}
    return name in {"", "root"}


def _finding(user: str) -> Finding:
    return Finding(
        id=RUNS_AS_ROOT,
        package=OF_CONFIGURATION,
        severity=Severity.HIGH,
        kind=FindingKind.MISCONFIGURATION,
        title=f"the image runs as root: its configuration names {user[:60]!r} as its user"
        if user
        else "the image runs as root: its configuration names no user",
    )
