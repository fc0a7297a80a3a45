"""Judging an object by a structural schema and its CEL rules, in the API server's own words.

Owns `violations`: every way in which an object breaks a CRD version's schema. It needs no cluster, so whoever has
a schema and an object can ask. Changing the object (pruning, defaults) is `schema.py`'s; CEL is `rules.py`'s.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from basetracker.emulators.cluster import rules
from basetracker.emulators.cluster.document import Json, same
from basetracker.emulators.cluster.refusals import Cause

_ABSENT = object()
_BLOCKING = {"FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to "
    "complete validation"
)
_WORDS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueTypeInvalid": "Invalid value",
    "FieldValueRequired": "Required value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule: where, of what kind (`FieldValueInvalid` and the like), and the server's words for it."""

    path: str
    reason: str
    message: str

    @property
    def cause(self) -> Cause:
        """As a cause of a refusal."""
        return Cause(reason=self.reason, message=self.message, field=self.path)


def violation(path: str, reason: str, value: Any = _ABSENT, detail: str = "") -> Violation:
    """A violation in the API server's words; without `value` the words name none."""
    text = _WORDS[reason]
    if value is not _ABSENT:
        text += f": {_quoted(value)}"
    return Violation(path=path, reason=reason, message=f"{text}: {detail}" if detail else text)


def _quoted(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def violations(schema: Json, value: Json, old: Json | None = None) -> list[Violation]:
    """Every way in which `value` breaks `schema` (an `openAPIV3Schema`); empty when there is none.

    With `old`, the stored object, transition rules (`oldSelf`) are asked, and what was already wrong and
    hasn't changed is let through, as the API server does.
    """
    before = _ABSENT if old is None else old
    found = list(_structural(schema, value, before, ""))
    if any(item.reason in _BLOCKING for item in found):
        if _has_rules(schema):
            found.append(violation("<nil>", "FieldValueInvalid", "null", _UNCHECKED))
        return found
    return found + list(_ruled(schema, value, before, ""))


def _has_rules(schema: Any) -> bool:
    if isinstance(schema, dict):
        return bool(schema.get("x-kubernetes-validations")) or any(_has_rules(item) for item in schema.values())
    return isinstance(schema, list) and any(_has_rules(item) for item in schema)


def type_name(value: Any) -> str:
    """The JSON type's name as the server writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


# ---------------------------------------------------------------------------------------------- structure


def _structural(schema: Json, value: Any, old: Any, path: str) -> Iterator[Violation]:
    if old is not _ABSENT and same(old, value):
        return
    if value is None and schema.get("nullable"):
        return
    if wrong := _wrong_type(schema, value, path):
        yield wrong
        return
    yield from _allowed(schema, value, path)
    if isinstance(value, str):
        yield from _string(schema, value, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number(schema, value, path)
    elif isinstance(value, list):
        yield from _list(schema, value, old, path)
    elif isinstance(value, dict):
        yield from _object(schema, value, old, path)
    yield from _combined(schema, value, path)


def _wrong_type(schema: Json, value: Any, path: str) -> Violation | None:
    got, wanted = type_name(value), schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        wanted_text, right = "integer,string", got in {"integer", "string"}
    elif not wanted:
        return None
    else:
        wanted_text = wanted
        right = got == wanted or (wanted == "number" and got == "integer")
        right = right or (wanted == "integer" and isinstance(value, float) and value.is_integer())
    if right:
        return None
    detail = f'{path} in body must be of type {wanted_text}: "{got}"'
    return violation(path, "FieldValueTypeInvalid", got, detail)


def _allowed(schema: Json, value: Any, path: str) -> Iterator[Violation]:
    allowed = schema.get("enum")
    if allowed is not None and not any(same(value, item) for item in allowed):
        shown = ", ".join(_quoted(item) for item in allowed)
        yield violation(path, "FieldValueNotSupported", value, f"supported values: {shown}")


def _string(schema: Json, value: str, path: str) -> Iterator[Violation]:
    if (most := schema.get("maxLength")) is not None and len(value) > most:
        yield violation(path, "FieldValueTooLong", detail=f"may not be more than {most} bytes")
    if (least := schema.get("minLength")) is not None and len(value) < least:
        detail = f"{path} in body should be at least {least} chars long"
        yield violation(path, "FieldValueInvalid", value, detail)
    if (pattern := schema.get("pattern")) and not re.search(_go_pattern(pattern), value):
        yield violation(path, "FieldValueInvalid", value, f"{path} in body should match '{pattern}'")
    form = schema.get("format")
    if form in _FORMATS and not _FORMATS[form](value):
        detail = f'{path} in body must be of type {form}: "{value}"'
        yield violation(path, "FieldValueInvalid", value, detail)


def _go_pattern(pattern: str) -> str:
    # In RE2 a `$` without (?m) is the very end of the text; Python's would let a last newline pass.
    return re.sub(r"(?<!\\)\$$", r"\\Z", pattern)


def _number(schema: Json, value: float, path: str) -> Iterator[Violation]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and (value < least or (schema.get("exclusiveMinimum") and value == least)):
        words = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield violation(path, "FieldValueInvalid", value, f"{path} in body should be {words} {least}")
    if most is not None and (value > most or (schema.get("exclusiveMaximum") and value == most)):
        words = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield violation(path, "FieldValueInvalid", value, f"{path} in body should be {words} {most}")
    if (step := schema.get("multipleOf")) and value % step:
        yield violation(path, "FieldValueInvalid", value, f"{path} in body should be a multiple of {step}")


def _list(schema: Json, value: list[Any], old: Any, path: str) -> Iterator[Violation]:
    if (most := schema.get("maxItems")) is not None and len(value) > most:
        yield violation(path, "FieldValueTooMany", len(value), f"must have at most {most} items")
    if (least := schema.get("minItems")) is not None and len(value) < least:
        detail = f"{path} in body should have at least {least} items"
        yield violation(path, "FieldValueInvalid", len(value), detail)
    yield from _unique(schema, value, path)
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            yield from _structural(items, item, _old_item(schema, item, old), f"{path}[{index}]")


def _unique(schema: Json, value: list[Any], path: str) -> Iterator[Violation]:
    kind, seen = schema.get("x-kubernetes-list-type"), set()
    keys = schema.get("x-kubernetes-list-map-keys") or []
    for index, item in enumerate(value):
        if kind == "map" and isinstance(item, dict):
            shown: Any = {key: item[key] for key in keys if key in item}
        elif kind == "set" or schema.get("uniqueItems"):
            shown = item
        else:
            return
        mark = json.dumps(shown, sort_keys=True)
        if mark in seen:
            yield violation(f"{path}[{index}]", "FieldValueDuplicate", shown)
        seen.add(mark)


def _old_item(schema: Json, item: Any, old: Any) -> Any:
    """The stored item that this one replaces: only lists of type map tell which."""
    keys = schema.get("x-kubernetes-list-map-keys") or []
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list) or not isinstance(item, dict):
        return _ABSENT
    for other in old:
        if isinstance(other, dict) and all(other.get(key) == item.get(key) for key in keys):
            return other
    return _ABSENT


def _object(schema: Json, value: Json, old: Any, path: str) -> Iterator[Violation]:
    for name in schema.get("required") or []:
        if name not in value:
            yield violation(_below(path, name), "FieldValueRequired")
    if (most := schema.get("maxProperties")) is not None and len(value) > most:
        yield violation(path, "FieldValueTooMany", len(value), f"must have at most {most} items")
    if (least := schema.get("minProperties")) is not None and len(value) < least:
        detail = f"{path} in body should have at least {least} properties"
        yield violation(path, "FieldValueInvalid", len(value), detail)
    for part, item, before, below in _members(schema, value, old, path):
        yield from _structural(part, item, before, below)


def _members(schema: Json, value: Json, old: Any, path: str) -> Iterator[tuple[Json, Any, Any, str]]:
    """Each known member: its schema, value, stored value, path."""
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, item in value.items():
        part = properties.get(key, others if isinstance(others, dict) else None)
        if part is None:
            continue
        before = old.get(key, _ABSENT) if isinstance(old, dict) else _ABSENT
        known = key in properties
        yield part, item, before, _below(path, key) if known else f"{path}[{key}]" if path else key


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _combined(schema: Json, value: Any, path: str) -> Iterator[Violation]:
    def passes(part: Json) -> bool:
        return not any(_structural(part, value, _ABSENT, path))

    for part in schema.get("allOf") or []:
        yield from _structural(part, value, _ABSENT, path)
    if (options := schema.get("anyOf")) and not any(passes(part) for part in options):
        detail = f"{path} in body must validate at least one schema (anyOf)"
        yield violation(path, "FieldValueInvalid", "", detail)
    if (options := schema.get("oneOf")) and sum(passes(part) for part in options) != 1:
        detail = f"{path} in body must validate one and only one schema (oneOf)"
        yield violation(path, "FieldValueInvalid", "", detail)
    if (banned := schema.get("not")) is not None and passes(banned):
        yield violation(path, "FieldValueInvalid", "", f"{path} in body must not validate the schema (not)")


# ---------------------------------------------------------------------------------------------- CEL rules


def _ruled(schema: Json, value: Any, old: Any, path: str) -> Iterator[Violation]:
    if value is None:
        return
    for rule in schema.get("x-kubernetes-validations") or []:
        yield from _rule(schema, rule, value, old, path)
    if isinstance(value, dict):
        for part, item, before, below in _members(schema, value, old, path):
            yield from _ruled(part, item, before, below)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from _ruled(items, item, _old_item(schema, item, old), f"{path}[{index}]")


def _rule(schema: Json, rule: Json, value: Any, old: Any, path: str) -> Iterator[Violation]:
    expression: str = rule["rule"]
    transition = "oldSelf" in rules.compiled(expression).variables()
    known = old is not _ABSENT
    if transition and not known and not rule.get("optionalOldSelf"):
        return
    if not transition and known and same(old, value):
        return
    variables = {"self": rules.cel_value(schema, value)}
    if transition:
        before = rules.cel_value(schema, old) if known else None
        variables["oldSelf"] = rules.optional(before, present=known) if rule.get("optionalOldSelf") else before
    answer = rules.judge(expression, variables)
    if answer.holds:
        return
    where = path + rule.get("fieldPath", "")
    where = where.removeprefix(".") if not path else where
    reason = rule.get("reason") or "FieldValueInvalid"
    # The server shows scalars only: an object would fill the screen.
    hidden = isinstance(value, (dict, list)) or reason in {"FieldValueForbidden", "FieldValueRequired"}
    shown = _ABSENT if hidden else value
    yield violation(where, reason, shown, _message(rule, variables, answer))


def _message(rule: Json, variables: dict[str, Any], answer: rules.Answer) -> str:
    if answer.error:
        return f"rule evaluation error: {answer.error} evaluating rule: {rule.get('message') or rule['rule']}"
    if expression := rule.get("messageExpression"):
        try:
            text = rules.evaluate(expression, variables)
        except (RuntimeError, TypeError, ValueError, KeyError, ZeroDivisionError, IndexError):
            text = None
        if isinstance(text, str) and text.strip() and "\n" not in text:
            return text
    return str(rule.get("message") or f"failed rule: {rule['rule'].strip()}")


# ---------------------------------------------------------------------------------------------- formats


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def answer(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return answer


def _date_time(text: str) -> None:
    if not re.match(r"\d{4}-\d\d-\d\d[Tt]", text) or datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(text)


def _uri(text: str) -> None:
    if not urlsplit(text).scheme and not text.startswith("/"):
        raise ValueError(text)


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _parses(_date_time),
    "date": _parses(lambda text: datetime.strptime(text, "%Y-%m-%d")),  # noqa: DTZ007  # only the shape is asked
    "duration": rules.is_duration,
    "byte": _parses(lambda text: base64.b64decode(text, validate=True)),
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "cidr": _parses(lambda text: ipaddress.ip_network(text, strict=False)),
    "uuid": _parses(UUID),
    "uri": _parses(_uri),
    "email": _parses(lambda text: text.index("@")),
    "hostname": lambda text: bool(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", text)),
}
