"""A reader's terminal: the commands of a page, one after the other, in one shell whose variables stay."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from .console import Step, difference

COMMAND_SECONDS = 200.0
PATIENCE = 20.0
"""Seconds until what is read has to be what the page shows."""
_READS = re.compile(r"(kubectl .*\b(get|describe|history)|basetracker (explain|logs|check))\b")


class Shell:
    """Bash in `directory`, with this environment and nothing else of the test's own."""

    def __init__(self, directory: Path, state: Path, environment: Mapping[str, str]) -> None:
        """`state` is a file for the variables between two commands."""
        self.directory = directory
        self._state = state
        self._keep({"HOME": str(state.parent), "LANG": "C.UTF-8", **environment})

    def set(self, environment: Mapping[str, str]) -> None:
        """Set variables from outside."""
        with self._state.open("a", encoding="utf-8") as file:
            file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())

    def run(self, command: str) -> tuple[int, str]:
        """The exit code, and all that a terminal would show."""
        state = shlex.quote(str(self._state))
        script = f"set -a\n. {state}\n{command}\ncode=$?\nexport -p > {state}\nexit $code\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def play(self, step: Step, command: str = "") -> None:
        """Do a step; fails when the command does, or prints something else than the page shows.

        `command` is what is run in place of the step's own. What only reads is tried again for a while: an operator needs
        a moment.
        """
        end = time.monotonic() + PATIENCE
        while complaint := self._complaint(step, command or step.command):
            if not _READS.search(step.command) or time.monotonic() > end:
                raise AssertionError(f"{step}\n{complaint}")
            time.sleep(0.5)

    def _complaint(self, step: Step, command: str) -> str:
        code, printed = self.run(command)
        if code != 0:
            return f"ended with {code}:\n{printed}"
        if step.output is not None:
            return difference(step.output, printed)
        if _READS.search(command) and (not printed.strip() or printed.startswith("No resources found")):
            return f"found nothing: {printed}"
        return ""

    def _keep(self, environment: Mapping[str, str]) -> None:
        self._state.write_text("", encoding="utf-8")
        self.set(environment)
