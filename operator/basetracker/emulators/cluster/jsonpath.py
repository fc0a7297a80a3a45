"""The part of kubectl's JSONPath that printer columns and selectable fields use.

Owns parsing (`.a.b`, `['a.b']`, `[0]`, `[*]`, `[?(@.type=="Ready")]`) and evaluation.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>(?:\\.|[^.\[\\])+)            # .name, dots escaped by a backslash
      | \[\?\(\s*@\.(?P<key>[\w.]+)\s*==\s*(?P<quote>["'])(?P<value>.*?)(?P=quote)\s*\)\]
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]
      | \[(?P<mark>["'])(?P<quoted>.*?)(?P=mark)\]
    """,
    re.VERBOSE,
)
_Step = tuple[str, str, str]


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[_Step, ...]:
    text = path.strip().removeprefix("{").removesuffix("}")
    text = text if text.startswith((".", "[")) else f".{text}"
    steps: list[_Step] = []
    place = 0
    while place < len(text):
        found = _STEP.match(text, place)
        if found is None:
            raise ValueError(f"can't read the JSONPath {path!r} from {text[place:]!r}")
        place = found.end()
        if (name := found["name"] or found["quoted"]) is not None:
            steps.append(("name", re.sub(r"\\(.)", r"\1", name), ""))
        elif found["key"]:
            steps.append(("where", found["key"], found["value"]))
        else:
            steps.append(("all", "", "") if found["all"] else ("index", found["index"], ""))
    return tuple(steps)


def require_readable(path: str) -> None:
    """Let a path pass that can be read here.

    Raises:
        ValueError: it can't.
    """
    _steps(path)


def matches(path: str, document: Any) -> list[Any]:
    """Every value at `path`, nulls left out; empty when there is none."""
    values = [document]
    for step in _steps(path):
        values = [found for value in values for found in _follow(step, value)]
    return [value for value in values if value is not None]


def _follow(step: _Step, value: Any) -> list[Any]:
    kind, key, wanted = step
    match kind:
        case "name":
            return [value[key]] if isinstance(value, dict) and key in value else []
        case "all":
            return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not isinstance(value, list):
        return []
    if kind == "where":
        return [item for item in value if _inner(item, key) == wanted]
    place = int(key)
    return [value[place]] if -len(value) <= place < len(value) else []


def _inner(item: Any, key: str) -> Any:
    for part in key.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item
