"""Trivy as a child process: a private place to work in, the environment that it needs and nothing more, bounds on all it does.

Owns how it is started and ended; what it is asked is the callers' matter. Secrets go by the environment, so that they are
on no disk and in no list of processes. Used by `database`, `scanning` and `releases`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from basetracker.adapters.gates.trivy.bounds import NOT_BEGUN, Bounds, Lack, has_room, lacking
from basetracker.adapters.gates.trivy.folders import Folder, make, sweep
from basetracker.errors import InvalidError, MissingError, UnavailableError

OUTPUT_LIMIT: Final = 64 * 1024 * 1024
_COMPLAINT_LIMIT: Final = 1024 * 1024
"""Bytes. Of what is written to standard error only the first and the last part are kept."""
_LEFT_SECONDS: Final = 10.0
"""How long the pipes of a killed program may stay open: a child that left its group holds them."""
_CHUNK: Final = 64 * 1024
_PASSED_ON: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_DIR"),
    "LD_LIBRARY_PATH",  # some builds of Python, which begins it, don't start without
)
_FILES: Final = "run-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How it ended: exit code (negative: the signal), standard output, and beginning and end of standard error."""

    code: int
    output: bytes = field(repr=False)
    complaint: str = field(repr=False)


class TooMuchOutputError(InvalidError):
    """It writes more than is read."""


class TooMuchRoomError(InvalidError):
    """It fills the disk."""

    def __init__(self) -> None:
        super().__init__(
            "Trivy needs more room on the disk for the image than it may have; if the image is as it should be, raise "
            "BASETRACKER_TRIVY_ROOM, and the size of the volume with it"
        )


class FullDiskError(UnavailableError):
    """There is less room than a run may take: what Trivy can't write it may leave out without a word."""

    def __init__(self) -> None:
        super().__init__(
            "the disk where Trivy works has less free room than a scan may take; see BASETRACKER_TRIVY_CACHE and "
            "BASETRACKER_TRIVY_ROOM"
        )


class Program:
    """The Trivy binary."""

    def __init__(
        self,
        executable: str,
        cache: Path,
        environ: Mapping[str, str],
        *,
        ca_file: Path | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """`cache` is a folder of our own for everything that it writes; `ca_file` is trusted besides the system's CAs."""
        self.bounds = bounds or Bounds()
        self._is_swept = False
        self._executable = executable
        self._environ = environ
        self._ca_file = ca_file
        self.cache = cache

    async def run(
        self,
        *arguments: str,
        seconds: float,
        secrets: Mapping[str, str] | None = None,
        output_limit: int = OUTPUT_LIMIT,
        largest_file: int = 0,
        files: Mapping[str, bytes] | None = None,
    ) -> Finished:
        """Start it, wait for its end, and read what it writes; after `seconds` it is killed with its children.

        `secrets` are variables of its environment. `largest_file` is in bytes, for what takes its room elsewhere; any unless
        given. `files` lie in its working directory when it starts.

        Raises:
            MissingError: there is no such program.
            InvalidError: its folder can't be written, it takes more room than it may, or it writes more than `output_limit`
                bytes to its output.
            UnavailableError: it took too long, or the disk has less room than it may take.
        """
        executable = self._found()
        room = largest_file or self.bounds.room
        command = self.bounds.command(executable, arguments, largest_file=largest_file)
        async with self._workplace(files or {}) as folder:
            place = folder.path
            if not largest_file and not await asyncio.to_thread(has_room, place, room):
                raise FullDiskError
            environment = {**await asyncio.to_thread(self._environment, place), **(secrets or {})}
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=place / "cwd",
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    start_new_session=True,
                    pass_fds=(folder.descriptor,) if folder.descriptor >= 0 else (),
                )
            except (OSError, ValueError) as error:
                raise self._unable() from error
            try:
                async with asyncio.timeout(seconds):
                    done = await _finished(process, output_limit, lacking(place, room))
            except TimeoutError as error:
                raise UnavailableError("Trivy took longer than it may; see the gate's timeout") from error
            finally:
                await _ended(process)
        if done.code == NOT_BEGUN and not done.output:
            raise self._unable()
        return done

    def _unable(self) -> MissingError:
        return MissingError(f"Trivy ({self._executable}) can't be started; see BASETRACKER_TRIVY")

    def _found(self) -> str:
        found = shutil.which(self._executable, path=self._environ.get("PATH", os.defpath))
        if found is None:
            raise MissingError(
                f"there is no Trivy here ({self._executable}); install it, or name it in BASETRACKER_TRIVY"
            )
        return os.path.abspath(found)

    @asynccontextmanager
    async def _workplace(self, files: Mapping[str, bytes]) -> AsyncIterator[Folder]:
        """A new empty folder, removed afterwards: no configuration, ignore file or Docker login of anybody is found there."""
        try:
            place = await asyncio.to_thread(self._made, files)
        except OSError as error:
            raise InvalidError(
                f"the folder {self.cache} can't be written; name another one in BASETRACKER_TRIVY_CACHE"
            ) from error
        try:
            yield place
        finally:
            await asyncio.shield(asyncio.to_thread(place.remove))

    def _made(self, files: Mapping[str, bytes]) -> Folder:
        if not self._is_swept:
            self._is_swept = True
            sweep(self.cache, _FILES)
        place = make(self.cache, _FILES)
        for name in ("home", "cwd", "tmp"):
            (place.path / name).mkdir()
        for name, content in files.items():
            file = place.path / "cwd" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return place

    def _environment(self, place: Path) -> dict[str, str]:
        home = str(place / "home")
        environment = {name: self._environ[name] for name in _PASSED_ON if self._environ.get(name)}
        environment |= {"PATH": self._environ.get("PATH", os.defpath), "TMPDIR": str(place / "tmp")}
        environment |= self.bounds.environment
        environment |= dict.fromkeys(
            ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"), home
        )
        trusted = self._environ.get("SSL_CERT_FILE") or ""
        if self._ca_file is not None:
            trusted = str(self._bundle(place, trusted))
        return environment | ({"SSL_CERT_FILE": trusted} if trusted else {})

    def _bundle(self, place: Path, trusted: str) -> Path:
        """One file with the system's authorities and ours, since Go takes one file."""
        paths = ssl.get_default_verify_paths()
        bundle = place / "ca.pem"
        parts = []
        for source in (trusted or paths.cafile or paths.openssl_cafile, self._ca_file):
            with suppress(OSError):
                parts.append(Path(str(source)).read_bytes())
        bundle.write_bytes(b"\n".join(parts))
        return bundle


async def _finished(
    process: asyncio.subprocess.Process, output_limit: int, lack: Coroutine[None, None, Lack]
) -> Finished:
    """What it has written, once it has ended; `lack` returns when it has to be ended."""
    assert process.stdout is not None  # noqa: S101  both are pipes
    assert process.stderr is not None  # noqa: S101
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_refused(lack))
            output = group.create_task(_all(process.stdout, output_limit))
            complaint = group.create_task(_end(process.stderr))
            await asyncio.wait([output, complaint])
            code = await process.wait()
            watch.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return Finished(code=code, output=output.result(), complaint=complaint.result())


async def _refused(lack: Coroutine[None, None, Lack]) -> None:
    raise TooMuchRoomError if await lack is Lack.ROOM else FullDiskError


async def _all(stream: asyncio.StreamReader, limit: int) -> bytes:
    read = bytearray()
    while chunk := await stream.read(_CHUNK):
        read += chunk
        if len(read) > limit:
            raise TooMuchOutputError(f"Trivy writes more than {limit // (1024 * 1024)} MiB, which isn't read")
    return bytes(read)


async def _end(stream: asyncio.StreamReader) -> str:
    """The beginning and the end of it: a program that breaks tells why first, and its stacks afterwards."""
    first, last = b"", b""
    while chunk := await stream.read(_CHUNK):
        room = _COMPLAINT_LIMIT - len(first)
        first, last = first + chunk[:room], (last + chunk[room:])[-_COMPLAINT_LIMIT:]
    return (first + last).decode("utf-8", errors="replace")


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Kill it with all that it has started, unless it has ended by itself; its number may be another's by then."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        # asyncio sees the end only when the pipes have ended too, and one that nobody reads any more never does.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEFT_SECONDS):
                await asyncio.gather(
                    *(_end(stream) for stream in (process.stdout, process.stderr) if stream is not None)
                )
                await process.wait()
