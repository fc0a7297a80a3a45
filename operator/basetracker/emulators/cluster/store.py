"""What a cluster remembers: the objects, their versions, and a bounded window of changes to replay.

Owns the one revision counter, so that every write of any kind has a resourceVersion of its own, and the history
that watches read. A watch keeps no queue: it remembers how far it read, so a slow one costs no memory and learns
that it is too late when its place has left the window. Knows nothing of schemas, selectors or HTTP.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from basetracker.emulators.cluster.document import Json

Name = tuple[str, str]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(slots=True, eq=False)
class Stored:
    """One version of one object; `document` is never changed."""

    document: Json
    revision: int
    _encoded: bytes | None = field(default=None, repr=False)

    @property
    def encoded(self) -> bytes:
        """The document as JSON, made at first use."""
        if self._encoded is None:
            self._encoded = json.dumps(self.document, separators=(",", ":")).encode()
        return self._encoded


@dataclass(frozen=True, slots=True)
class Change:
    """One write: the version it made (of a deletion: the last one) and the version before it."""

    revision: int
    type: ChangeType
    key: str
    name: Name
    new: Stored
    old: Stored | None


class Store:
    """All objects of a cluster by kind, namespace and name."""

    def __init__(self, *, window: int = 5000) -> None:
        self.revision = 1
        self._window = window
        self._objects: dict[str, dict[Name, Stored]] = {}
        self._history: dict[str, list[Change]] = {}
        self._oldest: dict[str, int] = {}
        self._compacted = 0
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._listeners: list[Callable[[Change], None]] = []

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` with each change, at once; it must not write."""
        self._listeners.append(listener)

    def get(self, key: str, name: Name) -> Stored | None:
        """The object, if it is there."""
        return self._objects.get(key, {}).get(name)

    def all(self, key: str, namespace: str = "") -> list[tuple[Name, Stored]]:
        """The objects of a kind in the order of their names; of one namespace, or of all when it is empty."""
        objects = self._objects.get(key, {})
        return sorted(item for item in objects.items() if not namespace or item[0][0] == namespace)

    def keys(self) -> list[str]:
        """Every kind that has or had objects."""
        return list(self._objects)

    def next_revision(self) -> int:
        """The resourceVersion that the next write will get."""
        return self.revision + 1

    def put(self, key: str, name: Name, document: Json) -> Stored:
        """Write this version; its `metadata.resourceVersion` must be `next_revision()`."""
        self.revision += 1
        objects = self._objects.setdefault(key, {})
        old, new = objects.get(name), Stored(document, self.revision)
        objects[name] = new
        self._record(Change(self.revision, "MODIFIED" if old else "ADDED", key, name, new, old))
        return new

    def remove(self, key: str, name: Name, document: Json) -> Stored:
        """Delete; `document` is the last version, as watches will see it."""
        self.revision += 1
        old = self._objects[key].pop(name)
        new = Stored(document, self.revision)
        self._record(Change(self.revision, "DELETED", key, name, new, old))
        return new

    def _record(self, change: Change) -> None:
        history = self._history.setdefault(change.key, [])
        history.append(change)
        if len(history) >= 2 * self._window:
            self._oldest[change.key] = history[-self._window - 1].revision
            del history[: -self._window]
        for waiter in self._waiters.get(change.key, ()):
            waiter.set()
        for listener in self._listeners:
            listener(change)

    def oldest(self, key: str) -> int:
        """The oldest resourceVersion from which a new watch of this kind can start."""
        return max(self._oldest.get(key, 0), self._compacted)

    def replayable(self, key: str) -> int:
        """The oldest resourceVersion from which a watch that already runs can go on."""
        return self._oldest.get(key, 0)

    def compact(self) -> None:
        """Let no new watch start from a version up to now; running ones aren't disturbed."""
        self._compacted = self.revision

    def since(self, key: str, revision: int) -> Iterator[Change]:
        """The changes of this kind after that revision, oldest first."""
        history = self._history.get(key, [])
        start = bisect_right(history, revision, key=lambda change: change.revision)
        yield from history[start:]

    def waiter(self, key: str) -> asyncio.Event:
        """An event that is set at each change of this kind, until it is given back to `release`."""
        event = asyncio.Event()
        self._waiters.setdefault(key, set()).add(event)
        return event

    def release(self, key: str, event: asyncio.Event) -> None:
        """Stop setting this event."""
        self._waiters.get(key, set()).discard(event)
