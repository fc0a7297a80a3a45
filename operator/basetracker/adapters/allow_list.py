"""Which namespaces may have which ACR Tasks started: `ports.AllowList`, read from a mounted file.

The file is the `tasks.yaml` of a ConfigMap, mounted into the Pod, so that no right to read ConfigMaps is needed:

    - namespaces: [shop]                # names or patterns; "*" is every namespace
      registries: [contoso, /subscriptions/…/registries/contoso]     # a name or an ARM id, or a pattern of either
      tasks: [build-checkout, "build-*"]

A task may be started when one entry names the namespace, the registry and the task. Patterns are those of a shell
(`*`, `?`, `[abc]`); upper and lower case are the same, as in Azure. A list that is absent or can't be read allows nothing.

Owns reading, re-reading and matching; must not know what a task is. The engine asks before each build.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import yaml

from basetracker.errors import InvalidError
from basetracker.ports import Clock

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
LARGEST: Final = 1 << 20
"""Bytes: the limit of a ConfigMap."""
_FIELDS: Final = ("namespaces", "registries", "tasks")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowEntry:
    """One entry, in lower case."""

    namespaces: tuple[str, ...]
    registries: tuple[str, ...]
    tasks: tuple[str, ...]

    def allows(self, namespace: str, registry: str, task: str) -> bool:
        """Whether this entry alone allows it; `registry` is an ARM id. All in lower case."""
        return (
            any(fnmatchcase(namespace, pattern) for pattern in self.namespaces)
            and any(_names(pattern, registry) for pattern in self.registries)
            and any(fnmatchcase(task, pattern) for pattern in self.tasks)
        )


class FileAllowList:
    """The allow-list in a file; a changed file counts within `LOOK_SECONDS`."""

    def __init__(self, path: Path | None, *, clock: Clock) -> None:
        """Without a `path` nothing is allowed."""
        self._path = path
        self._clock = clock
        self._entries: tuple[AllowEntry, ...] = ()
        self._stamp: object = None
        self._trouble = ""
        self._looked: float | None = None

    async def allows(self, namespace: str, registry: str, task: str) -> bool:
        """Whether trackers of `namespace` may start `task` of the registry with this ARM id."""
        now = self._clock.monotonic()
        if self._looked is None or now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        asked = (namespace.lower(), registry.lower(), task.lower())
        return any(entry.allows(*asked) for entry in self._entries)

    def _look(self) -> None:
        """Read the file if it is another one: a ConfigMap's mount is swapped by a link, so the inode tells."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp, self._entries = stamp, ()
        if self._path is None:
            self._say("there is no list of allowed tasks, so no task is started")
            return
        try:
            self._entries = read_entries(_text(self._path))
            self._say("")
            _log.info("the list of allowed tasks is read", extra={"entries": len(self._entries)})
        except (OSError, ValueError, InvalidError) as error:
            if isinstance(error, OSError):
                self._stamp = None  # the file may be the same and readable next time
            self._say(f"the list of allowed tasks at {self._path} can't be used, so no task is started: {error}")

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _log.error("%s", trouble)
        self._trouble = trouble


def read_entries(text: str) -> tuple[AllowEntry, ...]:
    """The entries of a `tasks.yaml`; an empty one has none.

    Raises:
        InvalidError: naming the entry that is wrong. One wrong entry makes the whole list unusable.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidError(f"it isn't YAML: {' '.join(str(error).split())}") from error
    if document is None:
        return ()
    if not isinstance(document, list):
        raise InvalidError("it has to be a list of entries with namespaces, registries and tasks")
    return tuple(_entry(item, number) for number, item in enumerate(document, start=1))


def _entry(item: Any, number: int) -> AllowEntry:
    if not isinstance(item, dict) or set(item) != set(_FIELDS):
        raise InvalidError(f"entry {number} needs exactly {', '.join(_FIELDS)}")
    for field in _FIELDS:
        values = item[field]
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise InvalidError(f"entry {number}: {field} has to be a list of names")
    namespaces, registries, tasks = (tuple(value.lower() for value in item[field]) for field in _FIELDS)
    return AllowEntry(namespaces=namespaces, registries=registries, tasks=tasks)


def _names(pattern: str, registry: str) -> bool:
    """A pattern with a leading slash is of the ARM id, another one of the registry's name."""
    return fnmatchcase(registry if pattern.startswith("/") else registry.rpartition("/")[2], pattern)


def _stamp(path: Path | None) -> object:
    if path is None:
        return "none"
    try:
        found = path.stat()
    except OSError as error:
        return type(error).__name__
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise InvalidError(f"it is larger than {LARGEST >> 20} MiB")
    return content.decode()
