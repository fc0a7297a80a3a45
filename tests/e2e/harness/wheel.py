"""The operator as a user gets it: the wheel, installed beside the locked dependencies and nothing else.

Owns building the wheel and the environment that it is put into. The environment is kept under `.cache/`, named after
the lock file and the interpreter, and gets the wheel of this run; the source tree is on no path in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .repository import ROOT

LOCKED = ROOT / "requirements.lock"
CACHE = ROOT / ".cache" / "e2e-venv"
INSTALL_SECONDS = 600.0
Say = Callable[[str], None]


class WheelError(RuntimeError):
    """The wheel can't be built or installed; the message is what pip or the build said."""


@contextmanager
def installed(workspace: Path, say: Say) -> Iterator[Path]:
    """The `bin` directory with the installed `basetracker`; no other run changes it while the context lasts.

    Raises:
        WheelError: something can't be built or installed.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = CACHE / _fingerprint()
        if not (environment / "complete").exists():
            _make_environment(environment, say)
        wheel = _built(workspace / "wheel")
        python = environment / "bin" / "python"
        _run([python, "-m", "pip", *_PIP, "--no-deps", "--no-index", "--force-reinstall", wheel])
        yield environment / "bin"


_PIP = ("install", "--quiet", "--disable-pip-version-check")


def _fingerprint() -> str:
    digest = hashlib.sha256(LOCKED.read_bytes())
    digest.update(f"{sys.version}{sys.prefix}".encode())
    return digest.hexdigest()[:16]


def _make_environment(environment: Path, say: Say) -> None:
    say("installing the locked dependencies for the wheel (once; about half a minute)")
    for old in CACHE.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    _run([sys.executable, "-m", "venv", environment])
    _run([environment / "bin" / "python", "-m", "pip", *_PIP, "--require-hashes", "-r", LOCKED])
    (environment / "complete").touch()


def _built(directory: Path) -> Path:
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, ROOT])
    (wheel,) = directory.glob("*.whl")
    return wheel


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode:
        words = " ".join(str(word) for word in command)
        raise WheelError(f"{words} failed:\n{(done.stdout + done.stderr)[-4000:]}")
