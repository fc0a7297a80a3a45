"""What the Dockerfile's last stage says of the process: environment, user, directory and command line.

The image itself isn't built here; the installed wheel is mounted where the image has it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .repository import ROOT

PROGRAMS = "/opt/basetracker"
"""Where the image has the environment with the installed wheel."""
# Of the official images of Python, on which it is built.
BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The configuration of an image."""

    environment: Mapping[str, str]
    user: tuple[int, int]
    directory: str
    entrypoint: Sequence[str]
    command: Sequence[str]


def shipped() -> Image:
    """That of the Dockerfile of this tree. Raises ValueError when it doesn't install to where it is mounted."""
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    said: dict[str, list[str]] = {}
    for line in lines[last:]:
        word, _, rest = line.partition(" ")
        said.setdefault(word, []).append(rest.strip())
    if f"--from=build {PROGRAMS} {PROGRAMS}" not in said["COPY"]:
        raise ValueError(f"the Dockerfile copies nothing to {PROGRAMS}: {said['COPY']}")
    environment = {"PATH": BASE_PATH}
    for setting in (setting for rest in said.get("ENV", ()) for setting in shlex.split(rest)):
        name, _, value = setting.partition("=")
        environment[name] = value.replace("${PATH}", environment["PATH"])
    uid, _, gid = said.get("USER", ["0:0"])[-1].partition(":")
    return Image(
        environment=environment,
        user=(int(uid), int(gid or 0)),
        directory=said.get("WORKDIR", ["/"])[-1],
        entrypoint=json.loads(said["ENTRYPOINT"][-1]),
        command=json.loads(said.get("CMD", ["[]"])[-1]),
    )
