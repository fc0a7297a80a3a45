"""Who owns which field: `metadata.managedFields`.

Owns reading and writing the entries, and what a plain write (create, PUT, patch) does to them: the writer owns what
it changed, nobody owns what is gone. Server-side apply has its own rules, in `applying.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from basetracker.emulators.cluster.document import Json
from basetracker.emulators.cluster.fieldpaths import Paths, fields_v1, from_fields_v1, tracked_paths, written
from basetracker.emulators.cluster.resources import Resource

Operation = Literal["Update", "Apply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes, how and when (RFC 3339)."""

    manager: str
    operation: Operation
    api_version: str
    subresource: str
    time: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A writer and the fields it owns."""

    writer: Writer
    fields: Paths

    def belongs_to(self, writer: Writer) -> bool:
        """Whether this is the entry of that writer; an applier has one whatever the version."""
        mine = self.writer
        if (mine.manager, mine.operation, mine.subresource) != (writer.manager, writer.operation, writer.subresource):
            return False
        return mine.operation == "Apply" or mine.api_version == writer.api_version

    def document(self) -> Json:
        """As it appears in `managedFields`."""
        document = {
            "manager": self.writer.manager,
            "operation": self.writer.operation,
            "apiVersion": self.writer.api_version,
            "time": self.writer.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields_v1(self.fields),
        }
        return document | ({"subresource": self.writer.subresource} if self.writer.subresource else {})


def entries_of(document: Json | None) -> list[Entry]:
    """The entries of an object; what can't be read as an entry is left out."""
    if document is None:
        return []
    raw: Any = document["metadata"].get("managedFields") or []
    return [_entry(item) for item in raw if isinstance(item, dict) and item.get("manager")]


def _entry(item: Json) -> Entry:
    writer = Writer(
        manager=item["manager"],
        operation="Apply" if item.get("operation") == "Apply" else "Update",
        api_version=item.get("apiVersion", ""),
        subresource=item.get("subresource", ""),
        time=item.get("time", ""),
    )
    return Entry(writer, frozenset(from_fields_v1(item.get("fieldsV1") or {})))


def documents_of(entries: Iterable[Entry]) -> list[Json]:
    """The entries as `managedFields`; empty ones vanish."""
    return [entry.document() for entry in entries if entry.fields]


def record_update(resource: Resource, old: Json | None, new: Json, writer: Writer) -> None:
    """Write into `new` who owns its fields after this plain write.

    `managedFields` that the writer sends itself replace the stored ones, as the API server lets it.
    """
    sent = new["metadata"].get("managedFields")
    base = new if sent and old is not None and not writer.subresource else old
    before = tracked_paths(resource.ownership_schema, old) if old is not None else {}
    after = tracked_paths(resource.ownership_schema, new)
    changed, gone = written(before, after), before.keys() - after.keys()
    kept: list[Entry] = []
    mine = Entry(writer, changed)
    for entry in entries_of(base):
        if entry.belongs_to(writer):
            owner = writer if changed else entry.writer
            mine = Entry(owner, (entry.fields | changed) - gone)
        else:
            kept.append(replace(entry, fields=entry.fields - changed - gone))
    entries = documents_of([*kept, mine])
    if entries:
        new["metadata"]["managedFields"] = entries
    else:
        new["metadata"].pop("managedFields", None)
