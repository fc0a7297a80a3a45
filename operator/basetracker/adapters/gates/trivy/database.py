"""Trivy's vulnerability database: downloaded once for all scans, anew every few hours, never twice at once.

Owns where it lies and which edition is in use. Each download goes into a folder of its own and is taken into use when it is
whole, so that no scan reads a database that changes. Used by `scanning`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from basetracker.adapters.flights import Flights
from basetracker.adapters.gates.trivy.bounds import LARGEST_DATABASE
from basetracker.adapters.gates.trivy.folders import Folder, make, sweep, take
from basetracker.adapters.gates.trivy.program import Program
from basetracker.errors import BasetrackerError, InvalidError, UnavailableError
from basetracker.ports import Clock
from basetracker.telemetry import LOGGER

DOWNLOAD_SECONDS: Final = 900.0
RETRY: Final = timedelta(minutes=10)
LONGEST_STALE: Final = timedelta(days=7)
"""A database that was made or downloaded so long ago is none: what is clean by it may long not be."""
_FILES: Final = "db-"
_UNFINISHED: Final = "new-"
"""Of a folder that is being filled: nobody takes it into use, whatever lies in it already."""
_METADATA_LIMIT: Final = 64 * 1024

Secrets = Callable[[], Awaitable[dict[str, str]]]
"""Gives the environment with which the database's own registry is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One download: a folder that nobody writes to any more, and what names its content."""

    place: Folder
    edition: str
    updated: datetime
    """When its content was put together, as its makers say: a copy that isn't brought up to date stands still in it."""
    downloaded: datetime

    @property
    def folder(self) -> Path:
        return self.place.path

    def is_stale(self, now: datetime) -> bool:
        """Whether it says nothing any more."""
        return now - min(self.updated, self.downloaded) > LONGEST_STALE


async def no_secrets() -> dict[str, str]:
    """For databases that anybody may read."""
    return {}


class Database:
    """The newest snapshot; refreshed in the background from the first use on."""

    def __init__(
        self,
        program: Program,
        clock: Clock,
        *,
        interval: timedelta,
        repository: str = "",
        java_repository: str = "",
        secrets: Secrets = no_secrets,
        java_secrets: Secrets = no_secrets,
    ) -> None:
        """Empty repositories: Trivy's own for vulnerabilities, and none for Java archives."""
        self._program = program
        self._clock = clock
        self._interval = interval
        self._repository = repository
        self._java_repository = java_repository
        self._secrets = secrets
        self._java_secrets = java_secrets
        self._current: Snapshot | None = None
        self._previous: Folder | None = None
        self._flights: Flights[Snapshot] = Flights()
        self._refreshing: asyncio.Task[None] | None = None
        self._wait = interval

    @property
    def edition(self) -> str:
        """Names the content in use; empty before the first download."""
        return self._current.edition if self._current is not None else ""

    async def ready(self) -> Snapshot:
        """The snapshot to scan with.

        Raises:
            UnavailableError: it can't be downloaded, or is so old that it says nothing any more.
            MissingError, InvalidError: there is no Trivy, or no place for it.
        """
        if self._current is None:
            await self._flights.join("first", self._first)
        assert self._current is not None  # noqa: S101  set by the flight
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(), name="Trivy's database")
        if self._current.is_stale(self._clock.now()):
            raise UnavailableError(
                f"Trivy's vulnerability database is older than {LONGEST_STALE.days} days and there is no newer one; "
                "the operator's log says why"
            )
        return self._current

    async def close(self) -> None:
        """End the refreshing."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await self._refreshing
        for place in (self._previous, self._current.place if self._current is not None else None):
            if place is not None:
                place.leave()

    async def _first(self) -> Snapshot:
        """What an earlier process has left, if it is new enough, else a download."""
        left = await asyncio.to_thread(_newest, self._program.cache, with_java=bool(self._java_repository))
        now = self._clock.now()
        if left is not None and now - left.downloaded < self._interval and not left.is_stale(now):
            self._current = left
            return left
        if left is not None:
            left.place.leave()
        return await self._download()

    async def _refresh(self) -> None:
        while True:
            await self._clock.sleep(self._wait.total_seconds())
            try:
                await self._download()
            except BasetrackerError as error:
                LOGGER.warning("Trivy's vulnerability database stays as it is: %s", error)
                self._wait = RETRY

    async def _download(self) -> Snapshot:
        place = await asyncio.to_thread(self._made)
        folder = place.path
        try:
            await self._fetch("--download-db-only", "--db-repository", self._repository, folder, self._secrets)
            if self._java_repository:
                await asyncio.to_thread(self._bring_java, folder)
                await self._fetch(
                    "--download-java-db-only", "--java-db-repository", self._java_repository, folder, self._java_secrets
                )
            found = await asyncio.to_thread(_read, place, with_java=bool(self._java_repository))
            if found is None:
                raise UnavailableError("what was downloaded as Trivy's vulnerability database is none")
            await asyncio.to_thread(self._finished, place)
        except BaseException:
            await asyncio.to_thread(place.remove)
            raise
        old, self._previous = self._previous, self._current.place if self._current is not None else None
        self._current = found
        self._wait = self._interval
        if found.is_stale(self._clock.now()):
            source = self._repository or "Trivy's public registries"
            LOGGER.warning("Trivy's vulnerability database from %s was last updated at %s", source, found.updated)
            self._wait = min(RETRY, self._interval)
        if old is not None:
            await asyncio.to_thread(old.remove)
        return found

    async def _fetch(self, what: str, flag: str, repository: str, folder: Path, secrets: Secrets) -> None:
        source = [f"{flag}={repository}"] if repository else []
        done = await self._program.run(
            *("image", what, "--no-progress", "--cache-dir", str(folder), "--skip-version-check"),
            *("--disable-telemetry", *source),
            seconds=DOWNLOAD_SECONDS,
            largest_file=LARGEST_DATABASE,
            secrets=await secrets(),
        )
        if done.code != 0:
            LOGGER.warning("Trivy's download ended with exit code %d: %s", done.code, last_words(done.complaint))
            place = repository or "Trivy's public registries"
            raise UnavailableError(f"Trivy's database can't be downloaded from {place}; the operator's log says why")

    def _made(self) -> Folder:
        try:
            return make(self._program.cache, _UNFINISHED)
        except OSError as error:
            raise self._unwritable() from error

    def _finished(self, place: Folder) -> None:
        try:
            place.rename(_FILES)
        except OSError as error:
            raise self._unwritable() from error

    def _unwritable(self) -> InvalidError:
        return InvalidError(
            f"the folder {self._program.cache} can't be written; name another one in BASETRACKER_TRIVY_CACHE"
        )

    def _bring_java(self, folder: Path) -> None:
        """A copy of the one in use, which Trivy replaces only when it is out of date: it is large."""
        if self._current is None or not (self._current.folder / "java-db").is_dir():
            return
        try:
            shutil.copytree(self._current.folder / "java-db", folder / "java-db")
        except OSError as error:
            raise UnavailableError("there is no room for another copy of Trivy's Java database") from error


def last_words(complaint: str) -> str:
    """The end of what the program logged, in one line without control characters, for the operator's own log.

    Of one that broke, why it did; its stacks come after that.
    """
    lines = [line for line in complaint.splitlines() if line.strip()]
    broke = [line for line in lines if line.startswith(("fatal error: ", "panic: ", "SIG"))]
    text = " | ".join(broke[:1] or lines[-3:])[-2000:]
    return "".join(char if char.isprintable() else " " for char in text)


def _newest(cache: Path, *, with_java: bool) -> Snapshot | None:
    """The newest whole snapshot there; what dead processes have left beside it is removed."""
    taken = (_taken(path, with_java=with_java) for path in cache.glob(f"{_FILES}*"))
    found = [snapshot for snapshot in taken if snapshot is not None]
    newest = max(found, key=lambda one: one.downloaded, default=None)
    for snapshot in found:
        if snapshot is not newest:
            snapshot.place.leave()
    sweep(cache, _UNFINISHED)
    sweep(cache, _FILES, keep=newest.folder if newest is not None else None)
    return newest


def _taken(path: Path, *, with_java: bool) -> Snapshot | None:
    place = take(path)
    if place is None:
        return None
    snapshot = _read(place, with_java=with_java)
    if snapshot is None:
        place.leave()
    return snapshot


def _read(place: Folder, *, with_java: bool) -> Snapshot | None:
    """The snapshot in a folder; None when it isn't whole."""
    folder = place.path
    try:
        with (folder / "db" / "metadata.json").open("rb") as file:
            document = json.loads(file.read(_METADATA_LIMIT))
        version, updated = int(document["Version"]), datetime.fromisoformat(document["UpdatedAt"])
        downloaded = datetime.fromisoformat(document["DownloadedAt"])
        if not (folder / "db" / "trivy.db").stat().st_size or None in (updated.tzinfo, downloaded.tzinfo):
            return None
        java = folder / "java-db"
        if with_java and not ((java / "metadata.json").stat().st_size and (java / "trivy-java.db").stat().st_size):
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    edition = f"{version} of {updated.isoformat()}"
    return Snapshot(place=place, edition=edition, updated=updated, downloaded=downloaded)
