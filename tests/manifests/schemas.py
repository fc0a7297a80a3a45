"""The CRD as the tests read it: its one version, and any schema as a flat table of fields.

Owns the way from a nested schema (the CRD's, or the one that pydantic tells of a model) to rows that can be
compared and that read well in a failed test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
CRD_FILE = ROOT / "crds" / "baseimagetrackers.basetracker.dev.yaml"


def crd() -> Json:
    """The CustomResourceDefinition."""
    document: Json = yaml.safe_load(CRD_FILE.read_text(encoding="utf-8"))
    return document


def version() -> Json:
    """Its one version."""
    (only,) = crd()["spec"]["versions"]
    return dict(only)


def object_schema() -> Json:
    """The schema of a whole tracker."""
    return dict(version()["schema"]["openAPIV3Schema"])


def part(name: str) -> Json:
    """The schema of `spec` or `status`."""
    return dict(object_schema()["properties"][name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a schema: what can be said of it in the CRD and in the types alike."""

    type: str
    required: bool
    default: Any = None
    enum: frozenset[str] = frozenset()
    bounds: tuple[int | None, ...] = (None, None, None, None)


def fields(schema: Json) -> dict[str, Field]:
    """Every field below `schema` by its path, like `downstream[].build.timeout`."""
    return dict(_walk(schema, schema.get("$defs", {}), ""))


def every(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every schema below this one of the CRD, itself included, with its path."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from every(below, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from every(schema["items"], f"{path}[]")


def _walk(schema: Json, named: Json, path: str) -> Iterator[tuple[str, Field]]:
    for name, raw in schema.get("properties", {}).items():
        below = _resolved(raw, named)
        here = f"{path}.{name}" if path else name
        yield here, _field(below, required=name in schema.get("required", []))
        yield from _walk(below, named, here)
        if "items" in below:
            yield from _walk(_resolved(below["items"], named), named, f"{here}[]")


def _resolved(schema: Json, named: Json) -> Json:
    """The schema without `$ref`, and without pydantic's way to say that it may be absent."""
    beside = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
    if "anyOf" in schema:
        (schema,) = (choice for choice in schema["anyOf"] if choice.get("type") != "null")
    if "$ref" in schema:
        schema = _resolved(named[schema["$ref"].rpartition("/")[2]], named)
    return {**schema, **beside}


def _field(schema: Json, *, required: bool) -> Field:
    words = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    # Absent, and empty where nothing was said, are one thing to a reader of the stored object.
    default = _without_absent(schema.get("default"))
    return Field(
        type=schema["type"],
        required=required,
        default=None if default in ("", [], {}) else default,
        enum=frozenset(words),
        bounds=tuple(schema.get(key) for key in ("minItems", "maxItems", "minimum", "maximum")),
    )


def _without_absent(default: Any) -> Any:
    """A default without the fields that pydantic names although they aren't there."""
    if isinstance(default, list):
        return [_without_absent(item) for item in default]
    if isinstance(default, dict):
        return {key: _without_absent(value) for key, value in default.items() if value is not None}
    return default
