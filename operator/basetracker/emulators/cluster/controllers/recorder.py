"""Events that the cluster's own parts write.

Owns their form, the counting of repeats, and a bound on how many are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.document import Json, rfc3339
from basetracker.emulators.cluster.refusals import Refusal

_KEPT = 2000


class Recorder:
    """Writes Events; the same one again only counts up."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._names: OrderedDict[tuple[str, ...], tuple[str, str]] = OrderedDict()

    def record(self, about: Json, kind: str, reason: str, message: str, component: str, field: str = "") -> None:
        """Record what happened to an object; `kind` is Normal or Warning. Lost where the namespace is going."""
        metadata = about["metadata"]
        mark = (metadata["uid"], kind, reason, message)
        if known := self._names.get(mark):
            counted = self._client.edit("Event", *known, self._count_up)
            if counted is not None:
                return
        namespace, now = metadata.get("namespace") or "default", rfc3339(self._clock())
        name = f"{metadata['name']}.{self._client.objects.store.next_revision():016x}"
        involved = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved | ({"fieldPath": field} if field else {}),
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._client.create(event)
        except Refusal:
            return
        self._names[mark] = (namespace, name)
        self._forget()

    def _count_up(self, event: Json) -> None:
        event["count"] = event.get("count", 1) + 1
        event["lastTimestamp"] = rfc3339(self._clock())

    def _forget(self) -> None:
        while len(self._names) > _KEPT:
            _, (namespace, name) = self._names.popitem(last=False)
            self._client.delete("Event", namespace, name)
