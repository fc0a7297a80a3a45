"""What a structural schema does to an object before it is stored: drop unknown fields, fill in defaults.

Owns pruning, defaulting and the text form of quantities. Judging values is `validation.py`'s. Both kinds of schema pass through here: a
CRD's, and those read from the client's models.
"""

from __future__ import annotations

from typing import Any

from basetracker.emulators.cluster.document import Json, clone, dig

_ROOT_ONLY = ("apiVersion", "kind", "metadata")


def preserves(schema: Json) -> bool:
    """Whether unknown fields of this object are kept."""
    return bool(schema.get("x-kubernetes-preserve-unknown-fields")) or not schema


def prune(schema: Json, value: Any, path: str = "", *, root: bool = True) -> list[str]:
    """Drop from `value`, in place, every field that the schema doesn't know; answers their paths."""
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, dict):
            return []
        return [gone for i, item in enumerate(value) for gone in prune(items, item, f"{path}[{i}]", root=False)]
    if not isinstance(value, dict):
        return []
    return _prune_object(schema, value, path, root=root or bool(schema.get("x-kubernetes-embedded-resource")))


def _prune_object(schema: Json, value: Json, path: str, *, root: bool) -> list[str]:
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    gone: list[str] = []
    for key in list(value):
        below = f"{path}.{key}" if path else key
        if root and key in _ROOT_ONLY and "uid" not in dig(properties, key, "properties", default={}):
            continue  # a CRD says little or nothing of metadata: it is never pruned by that
        if key in properties:
            gone += prune(properties[key], value[key], below, root=False)
        elif isinstance(others, dict):
            gone += prune(others, value[key], below, root=False)
        elif others is not True and not preserves(schema):
            del value[key]
            gone.append(below)
    return gone


def apply_defaults(schema: Json, value: Any) -> None:
    """Fill in, in place, the defaults of every object that is there; nulls of fields with a default are replaced."""
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                apply_defaults(items, item)
    elif isinstance(value, dict):
        _default_properties(schema, value)
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            for key, item in value.items():
                if key not in (schema.get("properties") or {}):
                    apply_defaults(others, item)


def _default_properties(schema: Json, value: Json) -> None:
    for key, part in (schema.get("properties") or {}).items():
        missing = key not in value or (value[key] is None and not part.get("nullable"))
        if missing and "default" in part:
            value[key] = clone(part["default"])
        elif missing and key in value and not preserves(part):
            del value[key]
        if key in value:
            apply_defaults(part, value[key])


def quantities_as_text(schema: Json, value: Any) -> Any:
    """The value with its quantities (`cpu: 1`) as the texts that the API server makes of them; changes it in place."""
    if isinstance(value, dict):
        properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
        for key, item in value.items():
            part = properties.get(key, others)
            if isinstance(part, dict):
                value[key] = quantities_as_text(part, item)
    elif isinstance(value, list):
        items = schema.get("items")
        return [quantities_as_text(items, item) for item in value] if isinstance(items, dict) else value
    elif schema.get("format") == "quantity" and isinstance(value, (int, float)):
        return str(value) if float(value).is_integer() else f"{round(value * 1000)}m"
    return value
