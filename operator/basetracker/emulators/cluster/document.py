"""JSON documents as the emulated cluster handles them: copy, walk, compare, tell the time.

Owns the few operations on plain JSON values that every other file of the package needs. Stored documents are
never changed in place: whoever wants another version makes a `clone` first. Knows nothing of kinds or HTTP.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


def clone(value: Any) -> Any:
    """A deep copy of a JSON value; several times faster than `copy.deepcopy`, since JSON has no cycles."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def dig(value: Any, *path: str | int, default: Any = None) -> Any:
    """The value at `path`, or `default` where any step is missing or null."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return default
    return default if value is None else value


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, telling `true` from `1` as JSON does."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def without_nulls(value: Any) -> None:
    """Drop, in place, every member that is null: to a typed kind that is the same as not being there."""
    if isinstance(value, dict):
        for key in [key for key, item in value.items() if item is None]:
            del value[key]
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        without_nulls(item)


def rfc3339(moment: datetime) -> str:
    """A time as Kubernetes writes it: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> datetime:
    """The aware time that an RFC 3339 text names.

    Raises:
        ValueError: the text is no RFC 3339 time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment


def labels_of(document: Json) -> dict[str, str]:
    """The labels of an object; empty when it has none."""
    return dig(document, "metadata", "labels", default={})  # type: ignore[no-any-return]  # JSON


def controller_of(document: Json) -> Json | None:
    """The owner reference marked as controller, if any."""
    references: list[Json] = dig(document, "metadata", "ownerReferences", default=[])
    return next((reference for reference in references if reference.get("controller")), None)


def condition_of(document: Json, kind: str) -> Json | None:
    """The status condition of that type, if any."""
    conditions: list[Json] = dig(document, "status", "conditions", default=[])
    return next((condition for condition in conditions if condition.get("type") == kind), None)
