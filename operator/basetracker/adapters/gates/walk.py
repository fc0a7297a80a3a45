"""Ways into JSON that others wrote, where any part may be missing or something else. Pure.

Owns nothing but the way. Used by the gates that read what a cluster stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basetracker.adapters.kube import Json


def below(document: Any, *path: str) -> Any:
    """What stands at the path; None where a step of it is missing or is no object."""
    for step in path:
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def text_below(document: Any, *path: str) -> str:
    """The text that stands at the path; empty where there is none."""
    value = below(document, *path)
    return value if isinstance(value, str) else ""


def objects_in(value: object) -> list[Json]:
    """The objects of a list; empty when it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
