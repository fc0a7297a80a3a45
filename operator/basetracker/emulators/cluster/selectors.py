"""Label and field selectors: parsing, and whether an object matches.

Owns both query languages. Which fields of a kind can be selected is the `Resource`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from basetracker.emulators.cluster.document import Json, dig, labels_of
from basetracker.emulators.cluster.refusals import bad_request
from basetracker.emulators.cluster.resources import Resource

Matches = Callable[[Json], bool]
_LabelTest = Callable[[Mapping[str, str]], bool]
_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s=!]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s=!]*)$")
_EXISTS = re.compile(r"^(?P<no>!?)\s*(?P<key>[^\s=!,]+)$")


def label_test(selector: str) -> _LabelTest:
    """Whether labels match a selector such as `app=web,tier in (a,b),!old`.

    Raises:
        Refusal: 400, it can't be parsed.
    """
    tests = [_requirement(part.strip()) for part in re.split(r",(?![^(]*\))", selector) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _requirement(text: str) -> _LabelTest:
    if found := _SET.match(text):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: key not in labels or labels[key] not in values
    if found := _EQUAL.match(text):
        key, value = found["key"], found["value"]
        if found["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(text):
        key, wanted = found["key"], not found["no"]
        return lambda labels: (key in labels) is wanted
    raise bad_request(f"unable to parse requirement: {text!r}")


def selects(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """Whether a `LabelSelector` object matches; no selector matches nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression(item, labels) for item in selector.get("matchExpressions") or [])


def _expression(item: Json, labels: Mapping[str, str]) -> bool:
    key, values = item.get("key", ""), item.get("values") or []
    match item.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def field_test(resource: Resource, selector: str) -> Matches:
    """Whether an object matches `metadata.name=x,status.phase!=Failed`.

    Raises:
        Refusal: 400, the field isn't selectable for this kind.
    """
    known = {"metadata.name", "metadata.namespace", *resource.selectable}
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, (piece.strip() for piece in selector.split(","))):
        found = _EQUAL.match(part)
        if found is None:
            raise bad_request(f"invalid selector: {selector!r}; can't understand {part!r}")
        if found["key"] not in known:
            message = f"field label not supported: {found['key']}"
            raise bad_request(f"Unable to find {resource.api_version!r} that match field selector: {message}")
        tests.append((found["key"], found["op"] != "!=", found["value"]))
    return lambda document: all((_field(document, key) == value) is equal for key, equal, value in tests)


def _field(document: Json, path: str) -> str:
    value: Any = dig(document, *path.split("."), default="")
    if path == "source" and isinstance(value, dict):
        value = value.get("component", "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def matcher(resource: Resource, labels: str, fields: str) -> Matches | None:
    """Both selectors in one; None where nothing is selected away."""
    if not labels and not fields:
        return None
    by_label = label_test(labels)
    by_field = field_test(resource, fields)
    return lambda document: by_label(labels_of(document)) and by_field(document)
