"""The control plane's binary: built once for each version of its sources.

Owns the cache under `.cache/controlplane/`. A cold build compiles Kubernetes and takes some ten to twenty
minutes on two cores; a known version is found in the cache and costs nothing. Used by the fixtures, and by
hand: `python -m tests.e2e.harness.build`.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "controlplane"
CACHE = Path(__file__).parents[3] / ".cache" / "controlplane"
PROGRESS_SECONDS = 10.0
# Longer than any run: a version that another run uses stays.
KEPT_SECONDS = 7 * 24 * 3600

Say = Callable[[str], None]


class BuildError(RuntimeError):
    """The Go toolchain refused; the message is what it said."""


def kubernetes_version() -> str:
    """The version of Kubernetes in go.mod, like v1.36.3."""
    line = next(line for line in (SOURCES / "go.mod").read_text().splitlines() if "k8s.io/kubernetes v" in line)
    return line.split()[1]


def fingerprint() -> str:
    """16 hex digits that change with every source file, go.mod, go.sum and the link flags."""
    digest = hashlib.sha256(_link_flags().encode())
    for path in sorted([*SOURCES.glob("*.go"), SOURCES / "go.mod", SOURCES / "go.sum"]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def binary_path() -> Path:
    """Where the binary of the present sources lies, or will lie."""
    return CACHE / fingerprint() / "controlplane"


def obstacle() -> str | None:
    """Why there is no binary and can't be one; None when all is well."""
    if binary_path().exists() or shutil.which("go"):
        return None
    return "no Go toolchain to build the control plane with (Go 1.26 or newer), and no cluster was given"


def build(say: Say) -> Path:
    """The binary, built if need be; `say` hears of the progress every ten seconds.

    Raises:
        BuildError: the build failed.
    """
    target = binary_path()
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone(CACHE / "lock"):
        if not target.exists():
            fresh = CACHE / "controlplane.new"
            _compile(fresh, say)
            _forget_old_versions()
            target.parent.mkdir(exist_ok=True)
            fresh.rename(target)
    return target


def _forget_old_versions() -> None:
    """Remove binaries built more than a week ago; Go's own cache makes one again in seconds."""
    for old in CACHE.glob("*/controlplane"):
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old.parent)


def _link_flags() -> str:
    """No symbol table, and the version that the components report: without it kubectl can't read theirs."""
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    stamped = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamped.items())])


def _compile(output: Path, say: Say) -> None:
    say("building the Kubernetes control plane from Go modules (once; minutes when nothing is cached)")
    command = ["go", "build", f"-ldflags={_link_flags()}", "-o", str(output), "."]
    log = output.with_suffix(".log")
    began = time.monotonic()
    with log.open("wb") as sink:
        child = subprocess.Popen(command, cwd=SOURCES, stdout=sink, stderr=subprocess.STDOUT)
        try:
            while child.poll() is None:
                try:
                    child.wait(PROGRESS_SECONDS)
                except subprocess.TimeoutExpired:
                    say(f"  still building, {time.monotonic() - began:.0f} s")
        finally:
            child.kill()
            child.wait()
    words = log.read_text(errors="replace")
    log.unlink()
    if child.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{words[-4000:]}")
    say(f"built in {time.monotonic() - began:.0f} s: {output.stat().st_size // 2**20} MiB")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _to_terminal(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.stdout.write(f"{build(_to_terminal)}\n")
