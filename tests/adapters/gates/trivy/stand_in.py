"""A program that stands in for Trivy where the real one can't be brought to misbehave.

Owns its script: it downloads a database as Trivy does, notes how it was called, and answers a scan with the lines of a test.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from basetracker.oci.refs import ImageRef

from .vulnerability_database import MADE

_SCRIPT = """#!{python}
import json, os, pathlib, signal, subprocess, sys, time
here = pathlib.Path({folder!r})
words = sys.argv[1:]
download = "--download-db-only" in words
with (here / "calls").open("a") as calls:
    calls.write(json.dumps({{"words": words, "env": dict(os.environ), "cwd": os.getcwd(), "begin": time.time()}}) + "\\n")
if download:
    place = pathlib.Path(words[words.index("--cache-dir") + 1]) / "db"
    place.mkdir(parents=True)
    (place / "trivy.db").write_bytes(b"db")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    edition = (here / "edition").read_text()
    document = {{"Version": 2, "UpdatedAt": edition, "DownloadedAt": now, "NextUpdate": now}}
    (place / "metadata.json").write_text(json.dumps(document))
    sys.exit(0)
report = (here / "report.json").read_text()
{body}
"""


class StandIn:
    """The program in a folder; `calls` is what it was asked so far."""

    def __init__(self, folder: Path, body: str = "print(report)") -> None:
        folder.mkdir()
        self.folder = folder
        self.path = str(folder / "trivy")
        (folder / "edition").write_text(MADE.isoformat())
        (folder / "report.json").write_text("{}")
        Path(self.path).write_text(_SCRIPT.format(python=sys.executable, folder=str(folder), body=body))
        Path(self.path).chmod(0o755)

    def reports(self, document: Any) -> None:
        """What it says of every image."""
        text = document if isinstance(document, str) else json.dumps(document)
        (self.folder / "report.json").write_text(text)

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def scans(self) -> list[dict[str, Any]]:
        """The calls that scan an image."""
        return [call for call in self.calls if "--" in call["words"]]

    @property
    def downloads(self) -> list[dict[str, Any]]:
        """The calls that download the database."""
        return [call for call in self.calls if "--download-db-only" in call["words"]]


def report(image: ImageRef, layers: list[str], **changes: Any) -> dict[str, Any]:
    """A report without findings about this image of one platform, true to form but for the changes."""
    metadata = {
        "OS": {"Family": "alpine", "Name": "3.22.1"},
        "RepoDigests": [f"{image.repository}@{image.digest}"],
        "DiffIDs": layers,
    }
    package = {"Name": "musl", "Version": "1.2.5-r10"}
    document = {
        "SchemaVersion": 2,
        "ArtifactName": f"{image.repository}@{image.digest}",
        "ArtifactType": "container_image",
        "Metadata": metadata | changes.pop("Metadata", {}),
        "Results": [{"Target": "x (alpine 3.22.1)", "Class": "os-pkgs", "Type": "alpine", "Packages": [package]}],
    }
    return document | changes


async def until(holds: Callable[[], bool]) -> None:
    """Return when another process has come so far. Raises TimeoutError after twenty seconds."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  another process sets no event of ours
            await asyncio.sleep(0.02)
