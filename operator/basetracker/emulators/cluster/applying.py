"""Server-side apply: merge what an applier wants into what is there, and refuse to take others' fields.

Owns the merge by list types, the conflicts with their texts, the removal of what an applier no longer names, and
the resulting ownership. Paths and entries are `fieldpaths.py`'s and `ownership.py`'s; the write is `objects.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from basetracker.emulators.cluster.document import Json, clone
from basetracker.emulators.cluster.fieldpaths import (
    Path,
    Paths,
    applied,
    item_keys,
    item_step,
    list_kind,
    shown,
    tracked_paths,
    written,
)
from basetracker.emulators.cluster.objects import Objects, Outcome, WriteOptions
from basetracker.emulators.cluster.ownership import Entry, Writer, documents_of, entries_of
from basetracker.emulators.cluster.refusals import Cause, bad_request, field_conflict, not_found
from basetracker.emulators.cluster.resources import Resource


def apply(
    objects: Objects, resource: Resource, namespace: str, name: str, wanted: Json, options: WriteOptions
) -> Outcome:
    """Apply `wanted`; creates the object when it isn't there.

    Raises:
        Refusal: 400, 404 (a status of nothing), 409 with a cause per field that somebody else owns, 422.
    """
    _require_applicable(resource, name, wanted)
    writer = options.writer(resource, objects.clock())
    mine = _mine(resource, wanted, options)
    stored = objects.store.get(resource.key, (namespace, name))
    if stored is None:
        if options.subresource:
            raise not_found(resource, name)
        wanted = clone(wanted)
        wanted.setdefault("metadata", {})["name"] = name
        return objects.create(resource, namespace, wanted, options, documents_of([Entry(writer, mine)]))
    sent = wanted.get("metadata") or {}
    objects.require_preconditions(resource, stored, name, sent)
    live = stored.document
    entries = entries_of(live)
    others = [entry for entry in entries if not entry.belongs_to(writer)]
    previous = next((entry for entry in entries if entry.belongs_to(writer)), None)
    merged = _merge(resource.ownership_schema, live, _relevant(resource, wanted, options))
    if previous is not None:
        _drop(resource.ownership_schema, merged, _named(previous.fields) - _named(mine), others)
    before, after = tracked_paths(resource.ownership_schema, live), tracked_paths(resource.ownership_schema, merged)
    changed, gone = written(before, after), frozenset(before.keys() - after.keys())
    if not options.force:
        _require_no_conflicts(others, changed)
    kept = [replace(entry, fields=entry.fields - changed - gone) for entry in others]
    unchanged = previous is not None and previous.fields == mine and not changed and not gone
    owner = previous.writer if previous is not None and unchanged else writer
    merged["metadata"].pop("resourceVersion", None)
    return objects.rewrite(resource, stored, merged, options, documents_of([*kept, Entry(owner, mine)]))


def _require_applicable(resource: Resource, name: str, wanted: Json) -> None:
    if (wanted.get("apiVersion"), wanted.get("kind")) != (resource.api_version, resource.kind):
        raise bad_request(f"apply needs apiVersion {resource.api_version} and kind {resource.kind} in its body")
    metadata = wanted.get("metadata") or {}
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if metadata.get("name", name) != name:
        raise bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")


def _relevant(resource: Resource, wanted: Json, options: WriteOptions) -> Json:
    """What of the applied configuration counts: status only for the subresource, all but status otherwise."""
    if options.subresource == "status":
        return {"status": wanted.get("status") or {}}
    return {key: value for key, value in wanted.items() if key != "status" or not resource.has_status}


def _mine(resource: Resource, wanted: Json, options: WriteOptions) -> Paths:
    return applied(tracked_paths(resource.ownership_schema, _relevant(resource, wanted, options)))


# ---------------------------------------------------------------------------------------------- conflicts


def _by(writer: Writer) -> str:
    if writer.operation == "Apply":
        return f'"{writer.manager}"'
    part = f' with subresource "{writer.subresource}"' if writer.subresource else ""
    return f'"{writer.manager}"{part} using {writer.api_version}'


def _require_no_conflicts(others: Sequence[Entry], changed: Paths) -> None:
    found = [(_by(entry.writer), shown(path)) for entry in others for path in sorted(entry.fields & changed)]
    if not found:
        return
    causes = [Cause(reason="FieldManagerConflict", message=f"conflict with {by}", field=path) for by, path in found]
    if len(found) == 1:
        by, path = found[0]
        raise field_conflict(causes, f"Apply failed with 1 conflict: conflict with {by}: {path}")
    lines: list[str] = []
    for manager in sorted({by for by, _ in found}):
        lines += [f"conflicts with {manager}:", *(f"- {path}" for by, path in found if by == manager)]
    raise field_conflict(causes, f"Apply failed with {len(found)} conflicts: " + "\n".join(lines))


# ---------------------------------------------------------------------------------------------- merging


def _merge(schema: Json, live: Any, wanted: Any) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict) and schema.get("x-kubernetes-map-type") != "atomic":
        return _merge_map(schema, live, wanted)
    if isinstance(live, list) and isinstance(wanted, list) and list_kind(schema) != "atomic":
        return _merge_list(schema, live, wanted)
    return clone(wanted)


def _merge_map(schema: Json, live: Json, wanted: Json) -> Json:
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    merged: Json = {key: clone(value) for key, value in live.items()}
    for key, value in wanted.items():
        part = properties.get(key, others if isinstance(others, dict) else {})
        merged[key] = _merge(part, live[key], value) if key in live else clone(value)
    return merged


def _merge_list(schema: Json, live: list[Any], wanted: list[Any]) -> list[Any]:
    """Applied items keep the applier's order; items that only others have stay before what follows them."""
    items = schema.get("items") or {}
    now = {item_step(schema, item): item for item in live}
    asked = {item_step(schema, item): item for item in wanted}
    merged = [
        _merge(items, item, asked[step]) if step in asked and list_kind(schema) == "map" else clone(item)
        for step, item in now.items()
    ]
    return merged + [clone(item) for step, item in asked.items() if step not in now]


# ---------------------------------------------------------------------------------------------- removal


def _named(paths: Paths) -> Paths:
    """The paths with the objects around them: one that is no longer named goes with what defaults have put into it."""
    around = {path[:end] for path in paths for end in range(2, len(path)) if path[end - 1].startswith("f:")}
    return paths | around


def _drop(schema: Json, document: Json, paths: Paths, others: Sequence[Entry]) -> None:
    """Remove, in place, what the applier no longer names and nobody else owns."""
    owned = {path for entry in others for path in entry.fields}
    for path in sorted(paths, key=len, reverse=True):
        if not any(other[: len(path)] == path for other in owned):
            _remove(schema, document, path)


def _remove(schema: Json, value: Any, path: Path) -> None:
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        key = step.removeprefix("f:")
        others = schema.get("additionalProperties")
        part = (schema.get("properties") or {}).get(key, others if isinstance(others, dict) else {})
        if not rest:
            value.pop(key, None)
        elif key in value:
            _remove(part, value[key], rest)
            if value[key] in ({}, []) and not part.get("properties"):
                del value[key]
    elif isinstance(value, list):
        place = next((i for i, item in enumerate(value) if item_step(schema, item) == step), None)
        if place is None:
            return
        if not rest:
            del value[place]
        elif rest[-1].removeprefix("f:") not in item_keys(schema, value[place]) or len(rest) > 1:
            _remove(schema.get("items") or {}, value[place], rest)
