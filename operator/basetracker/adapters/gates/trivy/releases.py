"""Whether Trivy knows a release of an operating system, for scans by a server, which keeps what it logs of that to itself.

Owns the one question that is asked of the program here: the list of packages of such a system, with one package in it, and a
database without any vulnerabilities. Trivy's list of releases is part of the program. Used by `scanning`.
"""

from __future__ import annotations

import json
import struct
from collections import OrderedDict
from datetime import datetime
from typing import Final
from urllib.parse import quote

from basetracker.adapters.gates.trivy.program import Finished, Program
from basetracker.adapters.gates.trivy.report import UNKNOWN_RELEASE, System
from basetracker.errors import InvalidError
from basetracker.ports import Clock

_SECONDS: Final = 60.0
_KEPT: Final = 1_000
_CACHE: Final = "cache"
_LIST: Final = "packages.json"
_NO_CPE: Final = "unable to find CPE indices"
"""What Trivy ends with for the releases of Red Hat, after it has looked at its list: it wants rows of the database."""


class Releases:
    """What the program knows; asked once for each release, since it stays the same while this process runs."""

    def __init__(self, program: Program, clock: Clock) -> None:
        self._program = program
        self._clock = clock
        self._known: OrderedDict[System, bool] = OrderedDict()

    async def knows(self, system: System) -> bool:
        """Whether the release is on Trivy's list.

        Raises:
            InvalidError: Trivy doesn't say.
            UnavailableError, MissingError: as `Program.run`.
        """
        known = self._known.get(system)
        if known is None:
            known = self._known[system] = self._read(await self._asked(system), system)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return known

    async def _asked(self, system: System) -> Finished:
        return await self._program.run(
            *("sbom", "--format", "json", "--list-all-pkgs", "--cache-dir", _CACHE, "--cache-backend", "memory"),
            *("--skip-db-update", "--skip-java-db-update", "--offline-scan", "--skip-version-check"),
            *("--disable-telemetry", "--", _LIST),
            seconds=_SECONDS,
            files={
                f"{_CACHE}/db/metadata.json": _metadata(self._clock.now()),
                f"{_CACHE}/db/trivy.db": empty_database(),
                _LIST: _packages(system),
            },
        )

    def _read(self, done: Finished, system: System) -> bool:
        if UNKNOWN_RELEASE in done.complaint:
            return False
        if done.code == 0 and _has_looked(done.output, system):
            return True
        if done.code != 0 and _NO_CPE in done.complaint:
            return True
        raise InvalidError(
            f"whether Trivy knows the release {system} can't be told; see whether BASETRACKER_TRIVY names Trivy 0.76 or later"
        )


def _has_looked(output: bytes, system: System) -> bool:
    """Whether it has looked at the packages as at those of this release."""
    try:
        document = json.loads(output)
        told = document["Metadata"]["OS"]
        looked = {one["Type"] for one in document["Results"] if one["Class"] == "os-pkgs"}
        return looked == {system.family} and (told["Family"], told.get("Name", "")) == (system.family, system.name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _packages(system: System) -> bytes:
    """A list in the form of CycloneDX: the system, and one package in it."""
    package = {"bom-ref": "package", "type": "library", "name": "package", "version": "1"}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [
            {"bom-ref": "system", "type": "operating-system", "name": system.family, "version": system.name},
            package | {"purl": f"pkg:apk/{quote(system.family, safe='')}/package@1"},
        ],
        "dependencies": [{"ref": "system", "dependsOn": ["package"]}],
    }
    return json.dumps(document).encode()


def _metadata(now: datetime) -> bytes:
    made = now.isoformat()
    return json.dumps(
        {"Version": 2, "NextUpdate": "2999-01-01T00:00:00Z", "UpdatedAt": made, "DownloadedAt": made}
    ).encode()


_PAGE: Final = 4096
_HEADER: Final = struct.Struct("<QHHI")
_META: Final = struct.Struct("<IIIIQQQQQ")


def empty_database() -> bytes:
    """A file of bbolt, version 2, without a bucket: two pages that say where all is, no free pages, and an empty root."""
    head = b"".join(_meta(number) for number in (0, 1))
    rest = ((2, 0x10), (3, 0x02))  # the list of free pages, a leaf
    return head + b"".join(_HEADER.pack(number, kind, 0, 0).ljust(_PAGE, b"\0") for number, kind in rest)


def _meta(number: int) -> bytes:
    magic, version, root, free, pages = 0xED0CDAED, 2, 3, 2, 4
    body = _META.pack(magic, version, _PAGE, 0, root, 0, free, pages, number)
    checksum = 0xCBF29CE484222325  # FNV-1a, 64 bits
    for byte in body:
        checksum = ((checksum ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return (_HEADER.pack(number, 0x04, 0, 0) + body + struct.pack("<Q", checksum)).ljust(_PAGE, b"\0")
