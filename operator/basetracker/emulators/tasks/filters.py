"""The `$filter` of a run list: the part of OData that ACR takes.

Owns reading it and judging a run by it. Used by `arm.py` alone.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from basetracker.emulators.tasks.run import Run

Test = Callable[[Run], bool]
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
FIELDS: dict[str, Callable[[Run], Any]] = {
    "taskname": lambda run: run.task.name,
    "status": lambda run: run.shown_status,
    "runid": lambda run: run.id,
    "runtype": lambda run: run.kind,
    "createtime": lambda run: run.created,
    "finishtime": lambda run: run.finished,
    "isarchiveenabled": lambda run: run.is_archived,
}
CLAUSE = re.compile(r"\s*(\w+)\s+(eq|ne|gt|ge|lt|le)\s+('[^']*'|\S+)\s*", re.IGNORECASE)
CONTAINS = re.compile(r"\s*contains\(\s*OutputImageManifests\s*,\s*'([^']*)'\s*\)\s*", re.IGNORECASE)


def parse_filter(text: str) -> Test:
    """The test a filter stands for; an empty one passes every run. Raises ValueError for what it can't read."""
    clauses = re.split(r"\s+and\s+", text, flags=re.IGNORECASE) if text.strip() else []
    tests = [_clause(one) for one in clauses]
    return lambda run: all(test(run) for test in tests)


def _clause(text: str) -> Test:
    contains = CONTAINS.fullmatch(text)
    if contains:
        return lambda run: _has_output(run, contains[1])
    match = CLAUSE.fullmatch(text)
    if match is None or match[1].lower() not in FIELDS:
        raise ValueError(f"unsupported filter clause: {text}")
    field, compare = FIELDS[match[1].lower()], COMPARED[match[2].lower()]
    wanted: Any = match[3].strip("'")
    if match[1].lower().endswith("time"):
        wanted = datetime.fromisoformat(wanted)
    elif wanted in {"true", "false"}:
        wanted = wanted == "true"
    return lambda run: _holds(compare, field(run), wanted)


def _holds(compare: Callable[[Any, Any], bool], value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        value, wanted = value.lower(), wanted.lower()
    return value is not None and compare(value, wanted)


def _has_output(run: Run, text: str) -> bool:
    return any(text in f"{one['registry']}/{one['repository']}@{one['digest']}" for one in run.outputs)
