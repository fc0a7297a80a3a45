"""Strategic merge patch: lists of built-in kinds are merged item by item, by the keys that the schema names.

Owns the directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…` and the merging; `$setElementOrder/…`
is accepted and ignored, so new items come last. Only built-in kinds can be patched so.
"""

from __future__ import annotations

from typing import Any

from basetracker.emulators.cluster.document import Json, clone
from basetracker.emulators.cluster.refusals import bad_request

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def strategic_merge(schema: Json, document: Any, patch: Any) -> Any:
    """The document with the patch applied.

    Raises:
        Refusal: 400 for a directive that isn't known, or a list item without its merge key.
    """
    if not isinstance(patch, dict):
        return clone(patch)
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: clone(value) for key, value in patch.items() if not key.startswith("$")}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type found: {directive}")
    merged = dict(document) if isinstance(document, dict) else {}
    if isinstance(kept := patch.get("$retainKeys"), list):
        merged = {key: value for key, value in merged.items() if key in kept}
    for key, value in patch.items():
        _member(schema, merged, key, value)
    return merged


def _member(schema: Json, merged: Json, key: str, value: Any) -> None:
    if key in ("$patch", "$retainKeys") or key.startswith(_ORDER):
        return
    if key.startswith(_DELETE):
        name = key.removeprefix(_DELETE)
        merged[name] = [item for item in merged.get(name) or [] if item not in value]
    elif value is None:
        merged.pop(key, None)
    else:
        part = _part(schema, key)
        old = merged.get(key)
        merge = isinstance(value, list) and part.get("x-kubernetes-patch-strategy") == "merge"
        merged[key] = _merged_list(part, old or [], value) if merge else strategic_merge(part, old, value)


def _part(schema: Json, key: str) -> Json:
    others = schema.get("additionalProperties")
    found: Json = (schema.get("properties") or {}).get(key, others if isinstance(others, dict) else {})
    return found


def _merged_list(schema: Json, old: list[Any], patch: list[Any]) -> list[Any]:
    name = schema.get("x-kubernetes-patch-merge-key")
    if name is None:
        return [*old, *(clone(item) for item in patch if item not in old)]
    items: Json = schema.get("items") or {}
    merged = [] if {"$patch": "replace"} in patch else list(old)
    for item in patch:
        if item == {"$patch": "replace"}:
            continue
        if not isinstance(item, dict) or name not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {name}")
        place = next((i for i, other in enumerate(merged) if other.get(name) == item[name]), None)
        if item.get("$patch") == "delete":
            merged = [other for other in merged if other.get(name) != item[name]]
        elif place is None:
            merged.append(strategic_merge(items, {}, item))
        else:
            merged[place] = strategic_merge(items, merged[place], item)
    return merged
