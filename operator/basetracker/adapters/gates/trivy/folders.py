"""Folders of one process in a cache that several may share, and the removal of those that a dead one has left.

Owns who still needs a folder: whoever does holds a lock on it, which the kernel gives up with the process, however that ends.
Used by `program` and `database`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

_LOCKS: Final = sys.platform != "win32"
_LEFT_SECONDS: Final = 24 * 3600.0
"""Where a file system knows no locks: after so long no other process can still be working there."""


class Folder:
    """One that this process needs.

    `descriptor` holds the lock, and a child that inherits it needs the folder as well; it is negative where there are no locks.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def __del__(self) -> None:
        self.leave()  # made for somebody who was cancelled meanwhile

    def leave(self) -> None:
        """Need it no more; it stays."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def rename(self, prefix: str) -> None:
        """Let its name begin with `prefix`; the lock stays. Raises OSError."""
        path = self.path.with_name(f"{prefix}{self.path.name.partition('-')[2]}")
        with _alone(self.path.parent):
            self.path.rename(path)
        self.path = path

    def remove(self) -> None:
        """Need it no more, and remove it unless somebody else needs it: then that one or a later process does."""
        with suppress(OSError), _alone(self.path.parent):
            if self.descriptor >= 0 and not _lock(self.descriptor, shared=False):
                self.leave()
                return
        shutil.rmtree(self.path, ignore_errors=True)
        self.leave()


def make(cache: Path, prefix: str) -> Folder:
    """A new one in the cache, which is made as well. Raises OSError."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(cache):
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=cache))
        return Folder(path, _opened(path))


def take(path: Path) -> Folder | None:
    """One that is there already; None when it is gone or being removed."""
    try:
        with _alone(path.parent):
            return Folder(path, _opened(path))
    except OSError:
        return None


def sweep(cache: Path, prefix: str, keep: Path | None = None) -> None:
    """Remove those that nobody needs any more, but for `keep`."""
    for path in cache.glob(f"{prefix}*"):
        if path != keep:
            with suppress(OSError):
                _remove_left(path)


def _remove_left(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY) if _LOCKS else -1
    try:
        with _alone(path.parent):
            if not _is_free(path, descriptor):
                return
        shutil.rmtree(path, ignore_errors=True)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _is_free(path: Path, descriptor: int) -> bool:
    """Whether nobody else needs it; then it can't be taken any more either."""
    try:
        return _lock(descriptor, shared=False)
    except OSError:
        return time.time() - path.stat().st_mtime > _LEFT_SECONDS


def _opened(path: Path) -> int:
    if not _LOCKS:
        return -1
    descriptor = os.open(path, os.O_RDONLY)
    try:
        is_ours = _lock(descriptor, shared=True)
    except OSError:  # a file system without locks: the folder is young, which keeps it as well
        is_ours = True
    if not is_ours or not path.exists() or not os.path.samestat(path.stat(), os.fstat(descriptor)):
        os.close(descriptor)
        raise FileNotFoundError(str(path))
    return descriptor


def _lock(descriptor: int, *, shared: bool) -> bool:
    """Whether it could be locked at once. Raises OSError where that can't be told."""
    if sys.platform == "win32":
        raise OSError("there are no such locks here")
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Nobody else makes, takes or removes folders meanwhile: one that is made isn't locked for a moment."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(cache, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
