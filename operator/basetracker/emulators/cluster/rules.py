"""CEL rules of a CRD (`x-kubernetes-validations`): compile them once, evaluate them on values.

Owns the bridge to the CEL library: which functions it copes with, how JSON values become CEL values by their
schema, what a rule answers. A rule that can't be evaluated here is refused when the CRD is created, never
skipped. Knows nothing of paths or of how a violation is reported (`validation.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cel
from cel import stdlib

from basetracker.emulators.cluster.document import Json

_NATIVE = set(
    re.findall(
        r"\w+",
        """
        size contains startsWith endsWith matches has string int uint double bytes dyn type duration
        timestamp of none ofNonZeroValue hasValue value or orValue getFullYear getMonth getDate
        getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds all exists
        exists_one map filter
        """,
    )
)
_RESERVED = set(
    re.findall(
        r"\w+",
        """
        true false null in as break const continue else for function if import let loop package namespace
        return var void while
        """,
    )
)
_NAMESPACES = {"math", "sets", "base64", "lists", "strings", "optional"}
_WORD = re.compile(r"[A-Za-z_]\w*")


def _index_of(value: Any, wanted: Any, *start: int) -> int:
    if isinstance(value, list):
        return value.index(wanted) if wanted in value else -1
    return int(value.find(wanted, *start))


def _last_index_of(value: Any, wanted: Any) -> int:
    if isinstance(value, list):
        return next((i for i in range(len(value) - 1, -1, -1) if value[i] == wanted), -1)
    return int(value.rfind(wanted))


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found.group(0) if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match.group(0) for match in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]


def _is_sorted(items: list[Any]) -> bool:
    return all(a <= b for a, b in pairwise(items))


# What Kubernetes adds to CEL and the library lacks.
_ADDED = {
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "find": _find,
    "findAll": _find_all,
    "isSorted": _is_sorted,
}


class UnsupportedRuleError(ValueError):
    """The rule is wrong, or beyond what can be evaluated here; the text says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule says of a value: it holds, or `error` tells why it couldn't be evaluated."""

    holds: bool
    error: str = ""


@lru_cache(maxsize=2048)
def compiled(expression: str) -> cel.Program:
    """The compiled expression.

    Raises:
        UnsupportedRuleError: a syntax error, or a function that the library doesn't have.
    """
    try:
        program = cel.compile(expression)
    except ValueError as error:
        raise UnsupportedRuleError(f"compilation failed: {error}") from error
    known = _NATIVE | set(_ADDED) | {name.rsplit(".", 1)[-1] for name in _extended()}
    words = {name for name in program.functions() if _WORD.fullmatch(name)}
    if unknown := sorted(words - known):
        raise UnsupportedRuleError(
            f"compilation failed: the emulated cluster can't evaluate the function(s) {', '.join(unknown)}"
        )
    return program


def require_known_variables(expression: str, allowed: set[str]) -> None:
    """Refuse names that are neither given nor bound by a macro.

    Raises:
        UnsupportedRuleError: the expression names something undeclared.
    """
    bound = set(re.findall(r"\.(?:all|exists|exists_one|existsOne|map|filter)\(\s*([A-Za-z_]\w*)\s*,", expression))
    types = {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"}
    unknown = sorted(set(compiled(expression).variables()) - allowed - bound - _NAMESPACES - types)
    if unknown:
        raise UnsupportedRuleError(f"compilation failed: undeclared reference to {', '.join(unknown)}")


@lru_cache(maxsize=1)
def _extended() -> dict[str, Any]:
    context = cel.Context()
    stdlib.add_stdlib_to_context(context)
    return dict(context.functions)


def _functions(expression: str) -> dict[str, Any]:
    # Only what the expression uses is registered: a context with everything costs more than the rule.
    names = set(compiled(expression).functions())
    wanted = {n: f for n, f in _extended().items() if n.rsplit(".", 1)[-1] in names and n not in ("contains",)}
    return wanted | {name: function for name, function in _ADDED.items() if name in names}


def evaluate(expression: str, variables: dict[str, Any]) -> Any:
    """The value of the expression.

    Raises:
        UnsupportedRuleError: it can't be compiled.
        RuntimeError, TypeError, ValueError, KeyError, ZeroDivisionError, IndexError: it fails on these values.
    """
    program = compiled(expression)
    return program.execute(cel.Context(variables=variables, functions=_functions(expression)))


def judge(expression: str, variables: dict[str, Any]) -> Answer:
    """Whether the rule holds; a rule that fails on the value doesn't hold."""
    try:
        value = evaluate(expression, variables)
    except KeyError as error:
        return Answer(False, f"no such key: {error.args[0] if error.args else error}")
    except (RuntimeError, TypeError, ValueError, ZeroDivisionError, IndexError) as error:
        return Answer(False, str(error))
    return Answer(value is True, "" if isinstance(value, bool) else "the rule's answer isn't a bool")


def optional(value: Any, *, present: bool) -> Any:
    """`oldSelf` of a rule with `optionalOldSelf`."""
    return cel.OptionalValue.of(value) if present else cel.OptionalValue.none()


def escaped(name: str) -> str:
    """A property's name as CEL writes it: `__namespace__`, `x__dash__y`."""
    if name in _RESERVED:
        return f"__{name}__"
    replaced = name.replace("__", "__underscores__") if "__" in name else name
    return replaced.replace(".", "__dot__").replace("-", "__dash__").replace("/", "__slash__")


def cel_value(schema: Json, value: Any) -> Any:
    """A JSON value as CEL sees it: times and durations by their format, properties under their escaped names."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        others = schema.get("additionalProperties")
        rest = others if isinstance(others, dict) else {}
        return {
            (escaped(key) if key in properties else key): cel_value(properties.get(key, rest), item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        items = schema.get("items")
        return [cel_value(items if isinstance(items, dict) else {}, item) for item in value]
    return _cel_scalar(schema, value)


def _cel_scalar(schema: Json, value: Any) -> Any:
    if isinstance(value, str) and schema.get("format") == "date-time":
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, str) and schema.get("format") == "duration":
        seconds = _duration(value)
        return value if seconds is None else timedelta(seconds=seconds)
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


def _duration(text: str) -> float | None:
    """Seconds of a Go duration, or None where the text is none."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if body == "0":
        return 0.0
    if not body or _PART.sub("", body):
        return None
    return sign * sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(body))


def is_duration(text: str) -> bool:
    """Whether the text is a Go duration."""
    return _duration(text) is not None
