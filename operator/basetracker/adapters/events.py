"""Kubernetes Events about what has happened: `ports.Events`.

Owns naming, counting and sparing: one Event for each (object, reason, message), its count raised at most once a minute.
Must not know what is worth telling. The engine tells.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from basetracker.adapters.kube import MERGE_PATCH, Json, Kube, path_of
from basetracker.api.names import FIELD_MANAGER
from basetracker.api.status import format_time
from basetracker.errors import ConflictError, MissingError
from basetracker.ports import Clock, ObjectRef

_log = logging.getLogger(__name__)

QUIET_SECONDS: Final = 60.0
REMEMBERED: Final = 2_000
LONGEST_MESSAGE: Final = 1_000
LONGEST_NAME: Final = 230
REQUEST_SECONDS: Final = 5.0
"""Telling is never worth a long wait of the turn."""


@dataclass(slots=True)
class _Told:
    """`count` is the server's, `more` what happened since, `at` the last write by the monotonic clock."""

    count: int
    at: float
    more: int = 0


class ClusterEvents:
    """Writes Events; remembers the latest `REMEMBERED` of them."""

    def __init__(self, kube: Kube, *, clock: Clock, instance: str) -> None:
        """`instance` is the Pod's name."""
        self._kube = kube
        self._clock = clock
        self._instance = instance
        self._told: OrderedDict[str, _Told] = OrderedDict()

    async def tell(self, about: ObjectRef, *, reason: str, message: str, warning: bool = False) -> None:
        """Write an Event, or raise the count of the one that says the same; never raises."""
        try:
            await self._tell(self._event(about, reason=reason, message=message, warning=warning))
        except Exception as error:  # whatever it is, telling must not stop the work
            _log.warning("an event can't be written: %s", error, extra={"reason": reason, "object": about.name})

    async def _tell(self, event: Json) -> None:
        name = event["metadata"]["name"]
        told = self._told.get(name)
        if told is not None:
            self._told.move_to_end(name)
            told.more += 1
            if self._clock.monotonic() - told.at < QUIET_SECONDS:
                return
        # Remembered before the write: what fails is not tried again at once, and two turns don't write the same.
        self._told[name] = told = told or _Told(count=0, at=0.0, more=1)
        told.at = self._clock.monotonic()
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        if told.count == 0 or not await self._raise_count(event, told):
            await self._create(event, told)

    async def _create(self, event: Json, told: _Told) -> None:
        collection = path_of("v1", "events", event["metadata"]["namespace"])
        event["count"] = told.more
        try:
            await self._kube.post(collection, event, {"fieldManager": FIELD_MANAGER}, seconds=REQUEST_SECONDS)
            told.count, told.more = told.more, 0
        except ConflictError:  # another process of ours has told it; its answer brings the count so far
            answer = await self._patch(event, {"lastTimestamp": event["lastTimestamp"]})
            told.count = int(answer.get("count") or 1)
            await self._raise_count(event, told)

    async def _raise_count(self, event: Json, told: _Told) -> bool:
        """Whether the Event was still there; the server drops them after an hour."""
        count = told.count + told.more
        try:
            await self._patch(event, {"count": count, "lastTimestamp": event["lastTimestamp"]})
        except MissingError:
            return False
        told.count, told.more = count, 0
        return True

    async def _patch(self, event: Json, change: Json) -> Json:
        metadata = event["metadata"]
        path = path_of("v1", "events", metadata["namespace"], metadata["name"])
        parameters = {"fieldManager": FIELD_MANAGER}
        return await self._kube.patch(path, change, parameters, content_type=MERGE_PATCH, seconds=REQUEST_SECONDS)

    def _event(self, about: ObjectRef, *, reason: str, message: str, warning: bool) -> Json:
        message = message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"
        digest = hashlib.sha256("\0".join((about.uid, reason, message)).encode()).hexdigest()[:16]
        now = format_time(self._clock.now())
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about.name[:LONGEST_NAME].rstrip('.-')}.{digest}", "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._instance,
        }
