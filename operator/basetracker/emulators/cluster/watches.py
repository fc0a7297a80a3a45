"""Watches: the changes of a kind as a stream of JSON lines.

Owns what a watch sends and when: the state at its start, the changes after a resourceVersion, bookmarks, the 410
inside the stream, its end. Reads the store's history and keeps nothing itself. How the lines reach the client is
`server.py`'s.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from basetracker.emulators.cluster.document import Json
from basetracker.emulators.cluster.lists import formed
from basetracker.emulators.cluster.objects import Objects, view
from basetracker.emulators.cluster.refusals import Cause, Refusal, bad_request, too_old
from basetracker.emulators.cluster.requests import Form
from basetracker.emulators.cluster.resources import Resource
from basetracker.emulators.cluster.selectors import matcher
from basetracker.emulators.cluster.store import Change, Stored

_INITIAL_END = "k8s.io/initial-events-end"


class Watch:
    """One watch of one kind; `bookmark_seconds` is the pause between bookmarks."""

    def __init__(
        self,
        objects: Objects,
        resource: Resource,
        namespace: str,
        query: Mapping[str, str],
        form: Form,
        *,
        bookmark_seconds: float,
    ) -> None:
        self._objects = objects
        self._resource = resource
        self._namespace = namespace
        self._query = query
        self._form = form
        self._bookmark_seconds = bookmark_seconds
        self._bookmarks = query.get("allowWatchBookmarks", "").lower() in ("1", "true")
        self._initial = query.get("sendInitialEvents", "").lower() in ("1", "true")
        self._matches = matcher(resource, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        self._headers = True
        self._require_sense()

    def _require_sense(self) -> None:
        version = self._query.get("resourceVersion", "")
        if version and not version.isdigit():
            raise bad_request(f"invalid resource version {version!r}")
        if self._initial and self._query.get("resourceVersionMatch") != "NotOlderThan":
            text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            cause = Cause(reason="FieldValueForbidden", message=f"Forbidden: {text}", field="resourceVersionMatch")
            message = f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: {cause.message}'
            raise Refusal(422, "Invalid", message, details={"causes": [cause.document()]})

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """The stream, one JSON document a line, until `timeoutSeconds` are over."""
        store, key = self._objects.store, self._resource.key
        loop = asyncio.get_running_loop()
        end = loop.time() + float(self._query.get("timeoutSeconds") or 1800)
        asked = int(self._query.get("resourceVersion") or 0)
        fresh = self._initial or asked == 0
        place = store.revision if fresh else asked
        event = store.waiter(key)
        try:
            if fresh:
                for line in self._start():
                    yield line
            next_bookmark = loop.time() + self._bookmark_seconds
            oldest = store.oldest(key) if not fresh else 0
            while True:
                event.clear()
                if place < max(oldest, store.replayable(key)):
                    yield self._line("ERROR", too_old(place, store.oldest(key)).status())
                    return
                oldest = 0
                for change in store.since(key, place):
                    place = change.revision
                    if (event_line := self._change(change)) is not None:
                        yield event_line
                place = max(place, store.revision) if not event.is_set() else place
                now = loop.time()
                if now >= end:
                    return
                if now >= next_bookmark:
                    next_bookmark = now + self._bookmark_seconds
                    if self._bookmarks:
                        yield self._bookmark(place)
                await _wait(event, min(end, next_bookmark) - now)
        finally:
            store.release(key, event)

    def _start(self) -> list[bytes]:
        """What is there now, as additions, and the mark behind it where it was asked for."""
        stored = self._objects.store.all(self._resource.key, self._namespace)
        lines = [self._event("ADDED", item) for _, item in stored if self._selected(item)]
        if self._initial and self._bookmarks:
            lines.append(self._bookmark(self._objects.store.revision, {_INITIAL_END: "true"}))
        return lines

    def _selected(self, stored: Stored | None) -> bool:
        if stored is None:
            return False
        return self._matches is None or self._matches(view(self._resource, stored.document))

    def _change(self, change: Change) -> bytes | None:
        """The event that a change is for this watch: with a selector, objects come and go by what they match."""
        if self._namespace and change.name[0] != self._namespace:
            return None
        was = self._selected(change.old)
        if change.type == "DELETED":
            return self._event("DELETED", change.new) if was or self._selected(change.new) else None
        match was, self._selected(change.new):
            case False, True:
                return self._event("ADDED", change.new)
            case True, True:
                return self._event("MODIFIED", change.new)
            case True, False:
                return self._event("DELETED", change.new)
        return None

    def _event(self, kind: str, stored: Stored) -> bytes:
        plain = self._form == "Object" and stored.document.get("apiVersion") == self._resource.api_version
        if plain:
            return b'{"type":"' + kind.encode() + b'","object":' + stored.encoded + b"}\n"
        document, now = view(self._resource, stored.document), self._objects.clock()
        shown = formed(self._resource, document, self._form, self._query, now, headers=self._headers)
        self._headers = False
        return self._line(kind, shown)

    def _bookmark(self, revision: int, annotations: Mapping[str, str] | None = None) -> bytes:
        metadata: Json = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = dict(annotations)
        document: Json = {
            "kind": self._resource.kind,
            "apiVersion": self._resource.api_version,
            "metadata": metadata,
        }
        if self._form != "Object":
            kind = "Table" if self._form == "Table" else "PartialObjectMetadata"
            document = {"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        if self._form == "Table":
            document |= {"columnDefinitions": [], "rows": []}
        return self._line("BOOKMARK", document)

    def _line(self, kind: str, document: Any) -> bytes:
        return json.dumps({"type": kind, "object": document}, separators=(",", ":")).encode() + b"\n"


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout=max(seconds, 0))
    except TimeoutError:
        return
