"""The trackers as kopf's watch last saw them, and the writing of their status: `ports.Trackers`.

Owns the store and the rule which sightings call for a turn. Must not know what a turn does. `handlers/` feeds it,
the engine reads and writes through it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basetracker.adapters.fence import May, always, only_while
from basetracker.adapters.kube import JSON_PATCH, METADATA_LIST, ExpiredError, Json, Kube, path_of
from basetracker.adapters.versions import is_newer
from basetracker.api.names import API_VERSION, FIELD_MANAGER, PLURAL
from basetracker.api.status import Status
from basetracker.api.tracker import Key, Tracker, parse_tracker

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync:
    """What a look at the cluster found that the watch had missed."""

    gone: tuple[Key, ...]
    changed: tuple[Key, ...]


@dataclass(slots=True)
class _Entry:
    tracker: Tracker
    announced: tuple[object, ...]
    """What called for a turn when `seen` last looked; a status answer may bring news before the watch does."""


class TrackerStore:
    """All trackers, each at the newest version seen; filled by `seen` and `gone`."""

    def __init__(self, kube: Kube, *, may: May = always, wrote: Callable[[Key], None] = lambda key: None) -> None:
        """Statuses are sent only while `may`; `wrote` is called after each one that was stored."""
        self._kube = kube
        self._may = may
        self._wrote = wrote
        self._entries: dict[str, dict[str, _Entry]] = {}

    def seen(self, body: Mapping[str, Any]) -> bool:
        """Remember an object as sighted; whether it calls for a turn.

        It does when it is new, or when spec, deletion or one of the annotations that ask for something has changed. A
        changed status doesn't: it is our own. An older version than the known one is ignored.
        """
        metadata = body["metadata"]
        entry = self._entry(metadata["namespace"], metadata["name"])
        if entry is None:
            tracker = parse_tracker(body)
            entries = self._entries.setdefault(tracker.key.namespace, {})
            entries[tracker.key.name] = _Entry(tracker, _asks(tracker))
            return True
        if is_newer(metadata.get("resourceVersion", ""), entry.tracker.resource_version):
            entry.tracker = parse_tracker(body)
        asks = _asks(entry.tracker)
        changed, entry.announced = asks != entry.announced, asks
        return changed

    def gone(self, key: Key, uid: str = "") -> bool:
        """Forget a deleted tracker; whether it was known. With a `uid`, a successor of the same name stays."""
        entry = self._entry(key.namespace, key.name)
        if entry is None or (uid and entry.tracker.uid != uid):
            return False
        del self._entries[key.namespace][key.name]
        if not self._entries[key.namespace]:
            del self._entries[key.namespace]
        return True

    def get(self, key: Key) -> Tracker | None:
        """The tracker as it was last seen or written."""
        entry = self._entry(key.namespace, key.name)
        return entry.tracker if entry is not None else None

    def in_namespace(self, namespace: str) -> Sequence[Tracker]:
        """All trackers of a namespace."""
        return tuple(entry.tracker for entry in self._entries.get(namespace, {}).values())

    def everywhere(self) -> Iterator[Tracker]:
        """All trackers of all namespaces that are served."""
        return (entry.tracker for entries in self._entries.values() for entry in entries.values())

    def keys(self) -> Sequence[Key]:
        """Every tracker's key."""
        return tuple(tracker.key for tracker in self.everywhere())

    def namespaces(self) -> frozenset[str]:
        """The namespaces that have trackers."""
        return frozenset(self._entries)

    async def write_status(self, tracker: Tracker, status: Status, *, guarded: bool) -> Tracker:
        """Replace the status; the answer is the tracker as stored.

        With `guarded` only if the tracker is still at its resourceVersion.

        Raises:
            ConflictError: it has moved (guarded), or is another object by now (always); nothing was written.
            MissingError: it is gone.
        """
        operations: list[Json] = [{"op": "test", "path": "/metadata/uid", "value": tracker.uid}]
        if guarded:
            version = tracker.resource_version
            operations.append({"op": "test", "path": "/metadata/resourceVersion", "value": version})
        operations.append({"op": "add", "path": "/status", "value": status.document()})
        path = path_of(API_VERSION, PLURAL, tracker.key.namespace, tracker.key.name, "status")
        parameters = {"fieldManager": FIELD_MANAGER}
        with only_while(self._may):
            answer = await self._kube.patch(path, operations, parameters, content_type=JSON_PATCH, tested=True)
        stored = parse_tracker(answer)
        self._adopt(stored)
        self._wrote(tracker.key)
        return stored

    async def load(self, namespaces: Iterable[str] = ("",)) -> Sequence[Key]:
        """Read all trackers, so that the first turn knows every sibling; the answer is their keys.

        Raises:
            UnavailableError, DeniedError, MissingError: they can't be listed (now).
        """
        for namespace in namespaces:
            async for page in self._kube.pages(path_of(API_VERSION, PLURAL, namespace)):
                for item in page.get("items") or ():
                    self.seen(item)
        return self.keys()

    async def resync(self, namespaces: Iterable[str] = ("",)) -> Resync:
        """Compare with the cluster by names and versions alone; an empty namespace means all of them.

        Closes the hole that a deletion is lost when a watch has to begin anew. Whatever else was missed is read
        and remembered too.
        """
        gone: list[Key] = []
        changed: list[Key] = []
        for namespace in namespaces:
            version, found = await self._list(namespace)
            gone += self._forget_all_but(found, namespace, version)
            for key, latest in found.items():
                known = self.get(key)
                if (known is None or is_newer(latest, known.resource_version)) and await self._reread(key):
                    changed.append(key)
        return Resync(gone=tuple(gone), changed=tuple(changed))

    async def _list(self, namespace: str) -> tuple[str, dict[Key, str]]:
        try:
            return await self._list_once(namespace)
        except ExpiredError:
            _log.info("listing the trackers took too long; starting again")
            return await self._list_once(namespace)

    async def _list_once(self, namespace: str) -> tuple[str, dict[Key, str]]:
        version, found = "", {}
        async for page in self._kube.pages(path_of(API_VERSION, PLURAL, namespace), accept=METADATA_LIST):
            version = page.get("metadata", {}).get("resourceVersion", "")
            for item in page.get("items") or ():
                metadata = item["metadata"]
                key = Key(namespace=metadata["namespace"], name=metadata["name"])
                found[key] = metadata.get("resourceVersion", "")
        return version, found

    def _forget_all_but(self, found: Mapping[Key, str], namespace: str, version: str) -> list[Key]:
        """Forget what the list at `version` lacks, unless it is younger than the list."""
        lost = [
            tracker.key
            for known in ([namespace] if namespace else self.namespaces())
            for tracker in self.in_namespace(known)
            if tracker.key not in found and not is_newer(tracker.resource_version, version)
        ]
        for key in lost:
            self.gone(key)
        return lost

    async def _reread(self, key: Key) -> bool:
        body = await self._kube.get(path_of(API_VERSION, PLURAL, key.namespace, key.name))
        return body is not None and self.seen(body)

    def _adopt(self, stored: Tracker) -> None:
        """Take over the answer to a write, unless the tracker is gone or the watch was faster."""
        entry = self._entry(stored.key.namespace, stored.key.name)
        if entry is None or entry.tracker.uid != stored.uid:
            return
        if is_newer(stored.resource_version, entry.tracker.resource_version):
            entry.tracker = stored

    def _entry(self, namespace: str, name: str) -> _Entry | None:
        return self._entries.get(namespace, {}).get(name)


def _asks(tracker: Tracker) -> tuple[object, ...]:
    """What of a tracker calls for a turn when it changes."""
    return (tracker.uid, tracker.generation, tracker.deleting, tracker.requested_at, tracker.resume)
