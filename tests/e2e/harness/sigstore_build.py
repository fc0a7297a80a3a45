"""The programs of a private Sigstore, made from their Go modules: Fulcio, Rekor, and the time stamp authority.

Owns their versions and the cache under `.cache/sigstore/`. Each is a module by itself, whose own go.mod pins what it is made of;
Go's checksum database vouches for all of it. A cold build takes two to three minutes on two cores. By hand:
`python -m tests.e2e.harness.sigstore_build`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

PROGRAMS: Final = {
    "fulcio": "github.com/sigstore/fulcio@v1.8.8",
    "rekor": "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@v2.2.1",
    "timestamp-server": "github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server@v2.1.0",
}
CACHE: Final = Path(__file__).parents[3] / ".cache" / "sigstore"
SECONDS: Final = 1200


class SigstoreBuildError(RuntimeError):
    """The Go toolchain refused; the message is what it said."""


def directory() -> Path:
    """Where the programs of these versions lie, or will lie."""
    return CACHE / hashlib.sha256(repr(sorted(PROGRAMS.items())).encode()).hexdigest()[:16]


def obstacle() -> str | None:
    """Why there are no programs and can't be any; None when all is well."""
    if all((directory() / name).exists() for name in PROGRAMS) or shutil.which("go"):
        return None
    return "no Go toolchain to build a private Sigstore with (Go 1.26 or newer)"


def build(say: Callable[[str], None]) -> Path:
    """The directory of the programs, built if need be; `say` hears of each that has to be.

    Raises:
        SigstoreBuildError: the build of one failed.
    """
    target = directory()
    target.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, package in PROGRAMS.items():
            if not (target / name).exists():
                say(f"building {package} (once; a minute when nothing is cached)")
                _install(package, target, name)
    return target


def _install(package: str, target: Path, name: str) -> None:
    fresh = target / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    done = subprocess.run(
        ["go", "install", "-buildvcs=false", "-ldflags=-s -w", package],
        env={**os.environ, "GOBIN": str(fresh)},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if done.returncode:
        raise SigstoreBuildError(f"go install {package} failed:\n{done.stderr[-4000:]}")
    (built,) = fresh.iterdir()
    built.replace(target / name)
    fresh.rmdir()


def _to_terminal(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.stdout.write(f"{build(_to_terminal)}\n")
