"""Paths of an object's fields, as field ownership counts them.

Owns the translation between a document and its set of paths, and between a set and its `FieldsV1` form. A path is
a tuple of steps: `f:spec`, `k:{"name":"app"}` for an item of a keyed list, `v:"x"` for an item of a set. The
schema tells which lists and maps are owned item by item and which as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from basetracker.emulators.cluster.builtin_schemas import INLINE
from basetracker.emulators.cluster.document import Json, same

Path = tuple[str, ...]
Paths = frozenset[Path]


class Inner(Enum):
    """What a path that has others below it stands for."""

    ITEM = "an item of a list or map"
    MAP = "a map or list as such"


_UNTRACKED = {("f:apiVersion",), ("f:kind",)} | {
    ("f:metadata", f"f:{name}")
    for name in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    ]
}


def tracked_paths(schema: Json, document: Json) -> dict[Path, Any]:
    """Every path of the document that somebody can own, with its value; inner paths have an `Inner`."""
    found: dict[Path, Any] = {}
    _walk(schema, document, (), found)
    return {path: value for path, value in found.items() if path[:1] not in _UNTRACKED and path[:2] not in _UNTRACKED}


def _walk(schema: Json, value: Any, path: Path, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value and schema.get("x-kubernetes-map-type") != "atomic":
        _walk_map(schema, value, path, found)
    elif isinstance(value, list) and value and list_kind(schema) != "atomic":
        items = schema.get("items") or {}
        if not schema.get(INLINE):
            found.setdefault(path, Inner.MAP)
        for item in value:
            below = (*path, item_step(schema, item))
            found[below] = Inner.ITEM
            if list_kind(schema) == "map":
                _walk(items, item, below, found)
    elif path:
        found[path] = value


def _walk_map(schema: Json, value: Json, path: Path, found: dict[Path, Any]) -> None:
    properties = schema.get("properties") or {}
    if path and not schema.get(INLINE):
        found.setdefault(path, Inner.MAP)
    others = schema.get("additionalProperties")
    for key, item in value.items():
        part = properties.get(key, others if isinstance(others, dict) else {})
        below = (*path, f"f:{key}")
        if key not in properties and isinstance(item, (dict, list)) and item and isinstance(others, dict):
            found[below] = Inner.ITEM
        _walk(part, item, below, found)


def list_kind(schema: Json) -> str:
    """`map`, `set` or `atomic`, which is what a list is when nothing is said."""
    return str(schema.get("x-kubernetes-list-type", "atomic"))


def item_step(schema: Json, item: Any) -> str:
    """The step to this item of a keyed list or set."""
    if list_kind(schema) == "set":
        return "v:" + json.dumps(item, separators=(",", ":"))
    return "k:" + json.dumps(item_keys(schema, item), separators=(",", ":"), sort_keys=True)


def item_keys(schema: Json, item: Any) -> Json:
    """The key fields of an item of a keyed list; a protocol that isn't said is TCP, as the API server has it."""
    keys = schema.get("x-kubernetes-list-map-keys") or []
    found = {key: item[key] for key in keys if isinstance(item, dict) and key in item}
    if "protocol" in keys:
        found.setdefault("protocol", "TCP")
    defaults = (schema.get("items") or {}).get("properties") or {}
    for key in keys:
        if key not in found and "default" in defaults.get(key, {}):
            found[key] = defaults[key]["default"]
    return found


def applied(paths: Mapping[Path, Any]) -> Paths:
    """The paths that an applier of this document owns: maps count by their keys."""
    return frozenset(path for path, value in paths.items() if value is not Inner.MAP)


def written(before: Mapping[Path, Any], after: Mapping[Path, Any]) -> Paths:
    """The paths that are new or have another value."""
    return frozenset(path for path, value in after.items() if path not in before or not _alike(before[path], value))


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Inner) or isinstance(other, Inner):
        return isinstance(one, Inner) and isinstance(other, Inner)
    return same(one, other)


def fields_v1(paths: Iterable[Path]) -> Json:
    """The nested `FieldsV1` form."""
    root: Json = {}
    members = set(paths)
    for path in sorted(members):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    for path in members:
        node = root
        for step in path:
            node = node[step]
        if node:
            node["."] = {}
    return root


def from_fields_v1(fields: Json, path: Path = ()) -> set[Path]:
    """The paths of a `FieldsV1` form."""
    found: set[Path] = set()
    for step, below in fields.items():
        if step == ".":
            found.add(path)
        elif below:
            found |= from_fields_v1(below, (*path, step))
        else:
            found.add((*path, step))
    return found


def shown(path: Path) -> str:
    """A path as conflicts name it: `.spec.template.spec.containers[name="app"].image`."""
    text = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "v":
            text += f"[={rest}]"
        else:
            pairs = sorted(json.loads(rest).items())
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in pairs) + "]"
    return text
