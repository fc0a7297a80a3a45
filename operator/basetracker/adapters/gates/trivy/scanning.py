"""One image scanned by Trivy: every platform by its own digest, few at once, each only once for a database.

Owns the command line and the cache of scans. Knows no policy: what counts is `core/findings`'
matter. Used by the gate and by `basetracker findings`.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol

from basetracker.adapters.gates.trivy.database import Database
from basetracker.adapters.gates.trivy.failures import failure, safe
from basetracker.adapters.gates.trivy.program import Program
from basetracker.adapters.gates.trivy.releases import Releases
from basetracker.adapters.gates.trivy.report import Report, read_report, unknown
from basetracker.adapters.gates.trivy.server import Server
from basetracker.adapters.gates.trivy.user import with_user
from basetracker.adapters.gates.trivy.waiting import Awaited
from basetracker.api.gate_trivy import Scanner
from basetracker.core.findings import Scan, Scans
from basetracker.errors import BasetrackerError, InvalidError
from basetracker.oci.lineage import Image, PlatformImage
from basetracker.oci.refs import Digest, ImageRef, Repository
from basetracker.ports import Credential, Registry
from basetracker.telemetry import LOGGER

_FINDINGS_KEPT: Final = 200_000
_SCANS_KEPT: Final = 5_000
_GRACE: Final = 15.0
"""Seconds that Trivy has to end by itself after its own time limit."""
_GIB: Final = 1 << 30
_Key = tuple[Digest, str, frozenset[Scanner]]


class Logins(Protocol):
    """Gives other programs what they may log in to one registry with."""

    async def login(self, repository: Repository, credential: Credential | None) -> Credential | None:
        """For the repository's host and nowhere else; None for nobody. Raises as `Registry.digest`."""


class Trivy:
    """Scans images; one for the whole process, since it holds the database and bounds what runs at once."""

    def __init__(
        self,
        program: Program,
        source: Database | Server,
        registry: Registry,
        logins: Logins,
        *,
        releases: Releases,
        concurrency: int,
        token: str = "",
    ) -> None:
        """`source` is whose vulnerabilities are asked: a database here, or a server's; `token` is for the server."""
        self._releases = releases
        self._reading = asyncio.Semaphore(1)
        """A report takes many times its size while it is read: one at a time."""
        self._program = program
        self._source = source
        self._registry = registry
        self._logins = logins
        self._turns = asyncio.Semaphore(concurrency)
        self._token = token
        self._scans: OrderedDict[_Key, Scan] = OrderedDict()
        self._findings = 0
        self._flights: Awaited[Scan] = Awaited()
        self._preparing: asyncio.Task[None] | None = None

    @property
    def edition(self) -> str:
        """Names the database in use; empty when it isn't known yet."""
        return self._source.edition

    def prepare(self) -> None:
        """Find the edition out in the background; a failure is told and tried again when a scan needs it."""
        if self._preparing is None:
            self._preparing = asyncio.ensure_future(self._prepare())

    async def _prepare(self) -> None:
        try:
            await self._source.ready()
        except BasetrackerError as error:
            LOGGER.warning("Trivy's database can't be had yet: %s", error)

    async def close(self) -> None:
        """End what goes on in the background."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.gather(self._preparing, return_exceptions=True)
        await self._source.close()

    async def scan(
        self, image: ImageRef, credential: Credential | None, scanners: frozenset[Scanner], limit: timedelta
    ) -> Scans | None:
        """What is found in `image.digest` on each platform; None when the registry has no such image.

        `limit` bounds the scan of one platform, without the wait for its turn. A scan that nobody waits for any more ends.

        Raises:
            UnavailableError: it can't be had now: Trivy or the registry failed, or took too long.
            DeniedError: the registry doesn't let it be read.
            InvalidError, MissingError: no image, no report about it, no Trivy.
        """
        found = await self._registry.image(image, credential)
        if found is None:
            return None
        self._expect_small(found)
        calls = [
            self._platform(image.repository, platform, credential, scanners, limit) for platform in found.platforms
        ]
        return await _all(calls)

    def _expect_small(self, image: Image) -> None:
        """Trivy itself holds against each layer's size what the registry sends."""
        size, most = max(one.size for one in image.platforms), self._program.bounds.image
        if size > most:
            raise InvalidError(
                f"the image's layers have {size / _GIB:.1f} GiB and Trivy may read {most / _GIB:.1f} GiB; "
                "if the image is as it should be, raise BASETRACKER_TRIVY_IMAGE_SIZE"
            )

    async def _platform(
        self,
        repository: Repository,
        platform: PlatformImage,
        credential: Credential | None,
        scanners: frozenset[Scanner],
        limit: timedelta,
    ) -> Scan:
        where, edition = await self._where()
        key = (platform.digest, edition, scanners)
        known = self._scans.get(key)
        if known is not None:
            self._scans.move_to_end(key)
            return known

        async def fly() -> Scan:
            async with self._turns:
                scan = await self._scanned(repository, platform, credential, scanners, limit, where)
            if edition:
                self._keep(key, scan)
            return scan

        return await self._flights.join((repository, key, credential, limit), fly)

    async def _scanned(
        self,
        repository: Repository,
        platform: PlatformImage,
        credential: Credential | None,
        scanners: frozenset[Scanner],
        limit: timedelta,
        where: Sequence[str],
    ) -> Scan:
        secrets = environment_of(repository, await self._logins.login(repository, credential))
        if self._token:
            secrets["TRIVY_TOKEN"] = self._token
        reference = f"{repository}@{platform.digest}"
        done = await self._program.run(
            *_arguments(scanners, limit, where),
            *(_apart(platform.digest) if isinstance(self._source, Server) else ()),
            "--",
            reference,
            seconds=limit.total_seconds() + _GRACE,
            secrets=secrets,
        )
        if done.code != 0:
            LOGGER.warning("Trivy's scan of %s ended with exit code %d: %s", reference, done.code, safe(done, secrets))
            raise failure(done, repository)
        async with self._reading:
            report = await asyncio.to_thread(read_report, done.output, done.complaint, platform, scanners)
        scan = await self._checked(report)
        return with_user(scan, platform) if Scanner.MISCONFIG in scanners else scan

    async def _checked(self, report: Report) -> Scan:
        """The scan, blind when a server has judged packages of a release that Trivy has never heard of: it tells its log alone."""
        scan, system = report.scan, report.system
        if scan.blind or system is None or not isinstance(self._source, Server):
            return scan
        return scan if await self._releases.knows(system) else replace(scan, blind=unknown(system))

    async def _where(self) -> tuple[tuple[str, ...], str]:
        """The arguments that name the source of vulnerabilities, and its edition."""
        if isinstance(self._source, Server):
            return ("--server", str(self._source.url)), await self._source.ready()
        snapshot = await self._source.ready()
        folder = ("--cache-dir", str(snapshot.folder), "--cache-backend", "memory")
        return (*folder, "--skip-db-update", "--skip-java-db-update"), snapshot.edition

    def _keep(self, key: _Key, scan: Scan) -> None:
        before = self._scans.pop(key, None)
        self._findings += len(scan.findings) - (len(before.findings) if before is not None else 0)
        self._scans[key] = scan
        while len(self._scans) > 1 and (self._findings > _FINDINGS_KEPT or len(self._scans) > _SCANS_KEPT):
            _, oldest = self._scans.popitem(last=False)
            self._findings -= len(oldest.findings)


async def _all(calls: Sequence[Coroutine[None, None, Scan]]) -> Scans:
    """The answers of all; the first error ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in calls]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return tuple(task.result() for task in tasks)


def _arguments(scanners: frozenset[Scanner], limit: timedelta, where: Sequence[str]) -> list[str]:
    words = sorted(str(one) for one in scanners)
    of_settings = [one for one in words if one in {Scanner.MISCONFIG, Scanner.SECRET}]
    return [
        *("image", "--image-src", "remote", "--format", "json", "--list-all-pkgs", "--no-progress"),
        *("--scanners", ",".join(words)),
        *(["--image-config-scanners", ",".join(of_settings)] if of_settings else []),
        *("--timeout", f"{limit.total_seconds():.0f}s", "--offline-scan", "--skip-check-update"),
        *("--skip-version-check", "--disable-telemetry", "--ignorefile", "", "--secret-config", ""),
        *where,
    ]


def _apart(digest: Digest) -> tuple[str, str]:
    """Arguments that keep what a server has read of other images out of this scan.

    A server remembers layers by the names that an image's configuration gives them, and compares these with nothing. So an
    image that claims the names of others' layers could make those look harmless. Which files are left out is part of what it
    remembers them by: a file that no image can hold, since its name would be made of the image's own digest, sets each
    image apart.
    """
    return ("--skip-files", f"basetracker/{digest.value.rpartition(':')[2]}")


def environment_of(repository: Repository, login: Credential | None) -> dict[str, str]:
    """The login as Trivy reads it: lists set apart by commas and spaces, so that not every password can be told.

    Raises:
        InvalidError: it can't be told, or might be shown to anybody on the way.
    """
    if login is None:
        return {}
    if _may_be_plain(repository.host):
        raise InvalidError(
            f"Trivy may ask {repository.host} without TLS, so no credential is given to it; "
            "name the registry by a host name that isn't local"
        )
    if any(not one or set(one) & set(', \t\r\n\0"') for one in (login.username, login.password)):
        raise InvalidError(
            f"Trivy can't take the credential for {repository.host}, since its user name or password holds a comma, "
            "a space or a quotation mark; use another one"
        )
    return {"TRIVY_USERNAME": login.username, "TRIVY_PASSWORD": login.password}


def _may_be_plain(host: str) -> bool:
    """Whether Trivy's registry client falls back to plain HTTP there: local names and private addresses."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower()
    if name == "localhost" or name.endswith((".localhost", ".local")):
        return True
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        return False
