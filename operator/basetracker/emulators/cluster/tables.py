"""`kubectl get`: objects as a Table, printed by the server.

Owns the `Table` form, the cells of custom kinds by their printer columns, and how long ago something is in words.
The columns of built-in kinds are in `printers.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from basetracker.emulators.cluster.document import Json, moment_of
from basetracker.emulators.cluster.jsonpath import matches
from basetracker.emulators.cluster.printers import PRINTERS, Cell
from basetracker.emulators.cluster.resources import Column, Resource

_AGE = Column(name="Age", type="date", path=".metadata.creationTimestamp")
Include = Literal["None", "Metadata", "Object"]


@dataclass(frozen=True, slots=True)
class _Shown:
    header: Json
    cell: Callable[[Json, datetime], Any]


def age(then: str | None, now: datetime) -> str:
    """How long ago `then` (RFC 3339) is, as kubectl writes it: `45s`, `5m`, `3h12m`, `2d`."""
    if not then:
        return "<unknown>"
    try:
        seconds = int((now - moment_of(then)).total_seconds())
    except ValueError:
        return "<invalid>"
    return human_duration(seconds)


def human_duration(seconds: int) -> str:
    """Seconds in at most two units."""
    if seconds < -1:
        return "<invalid>"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 2:
        return f"{max(seconds, 0)}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


def table(
    resource: Resource,
    documents: Sequence[Json],
    now: datetime,
    *,
    metadata: Json,
    include: Include = "Metadata",
    headers: bool = True,
) -> Json:
    """A `Table` of these objects; `metadata` is that of the list."""
    columns = _columns(resource)
    rows = [
        {"cells": [column.cell(document, now) for column in columns]} | _object(document, include)
        for document in documents
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [column.header for column in columns] if headers else None,
        "rows": rows,
    }


def _object(document: Json, include: Include) -> Json:
    if include == "None":
        return {}
    return {"object": document if include == "Object" else partial_metadata(document)}


def partial_metadata(document: Json) -> Json:
    """The object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": document["metadata"],
    }


def _columns(resource: Resource) -> list[_Shown]:
    name = _header("Name", "string", "Name must be unique within a namespace.", "name", 0)
    shown = [_Shown(name, lambda document, now: document["metadata"]["name"])]
    if not resource.custom and resource.kind == "Event":
        return [_builtin(cell) for cell in PRINTERS["Event"]]
    if not resource.custom and resource.kind in PRINTERS:
        return shown + [_builtin(cell) for cell in PRINTERS[resource.kind]]
    columns = resource.columns if resource.columns or not resource.custom else (_AGE,)
    return shown + [_custom(column) for column in columns or (_AGE,)]


def _header(name: str, kind: str, description: str, form: str, priority: int) -> Json:
    return {"name": name, "type": kind, "format": form, "description": description, "priority": priority}


def _builtin(cell: Cell) -> _Shown:
    def value(document: Json, now: datetime) -> Any:
        found = cell.value(document)
        return age(found, now) if cell.is_time else found

    return _Shown(_header(cell.name, "string", cell.name, "", cell.priority), value)


def _custom(column: Column) -> _Shown:
    header = _header(column.name, column.type, column.description, column.format, column.priority)
    return _Shown(header, lambda document, now: _cell(column, document, now))


def _cell(column: Column, document: Json, now: datetime) -> Any:
    found = matches(column.path, document)
    if not found:
        return None
    value = found[0]
    match column.type:
        case "date":
            return age(value, now) if isinstance(value, str) else None
        case "integer":
            return int(value) if isinstance(value, (int, float)) else None
        case "number":
            return value if isinstance(value, (int, float)) else None
        case "boolean":
            return value if isinstance(value, bool) else None
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
