"""Events have two faces: `v1` and `events.k8s.io/v1` show the same stored object under different field names.

Owns the translation; Events are stored in their `v1` form.
"""

from __future__ import annotations

from basetracker.emulators.cluster.document import Json

_TO_CORE = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_TO_NEW = {core: new for new, core in _TO_CORE.items()}


def core_event(document: Json) -> Json:
    """The `v1` form of an `events.k8s.io/v1` Event."""
    return {_TO_CORE.get(key, key): value for key, value in document.items()} | {"apiVersion": "v1"}


def new_event(document: Json) -> Json:
    """The `events.k8s.io/v1` form of a `v1` Event."""
    return {_TO_NEW.get(key, key): value for key, value in document.items()} | {"apiVersion": "events.k8s.io/v1"}
