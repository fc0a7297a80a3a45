"""Child processes that never outlive the test run.

Owns start, readiness and stop of one server process. Knows nothing of what runs in it. Used by every part of
the harness that isn't Python.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self


class ProcessError(RuntimeError):
    """A server didn't start, or ended by itself; the message ends with the last lines of its log."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """One server with a log file.

    It leads a process group, so `stop` takes its children too. Where `setpriv` exists (Linux), the kernel kills
    it when the test run dies without a word; for that reason it has to be started from the main thread.
    """

    def __init__(self, name: str, arguments: Sequence[str | Path], log: Path) -> None:
        self.name = name
        self.log = log
        self._arguments = [str(argument) for argument in arguments]
        self._child: subprocess.Popen[bytes] | None = None

    def start(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        inherit: bool = True,
        keep: Sequence[int] = (),
    ) -> Self:
        """Start it; `environment` is added to this process's own, or is all there is when it may not inherit.

        `keep` are file descriptors of this process that it gets, too.
        """
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                guard + self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**(os.environ if inherit else {}), **(environment or {})},
                start_new_session=True,
                pass_fds=keep,
            )
        return self

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return when `ready()` is true.

        Raises:
            ProcessError: the process ended, or `seconds` have passed.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            code = self._child.poll() if self._child else None
            if code is not None:
                raise ProcessError(f"{self.name} ended with code {code}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} was not ready after {seconds:g} s:\n{self.tail()}")
            time.sleep(0.1)

    def tail(self, lines: int = 30) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def kill(self) -> None:
        """SIGKILL to its group: it gets no time for anything."""
        if self._child is not None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def stop(self, *, patience: float = 5.0) -> int | None:
        """End it: SIGTERM to its group, SIGKILL after `patience` seconds; its exit code, None if it never ran."""
        child, self._child = self._child, None
        if child is None:
            return None
        try:
            self._ask_to_end(child)
            child.wait(patience)
        except ProcessLookupError:
            pass  # it has ended
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
        return child.wait()

    def _ask_to_end(self, child: subprocess.Popen[bytes]) -> None:
        os.killpg(child.pid, signal.SIGTERM)
