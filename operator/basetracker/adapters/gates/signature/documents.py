"""Strict reading of what strangers wrote: JSON, base64, and the error that says why a signature counts for nothing.

Owns the bounds of one signature. Whatever can't be read in exactly one way is refused. Used by the whole package.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

ENVELOPE_LIMIT: Final = 256 * 1024
"""Bytes of one signature; real ones have 1 to 10 KiB."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")


class RefusedError(Exception):
    """A signature that counts for nothing; the text completes the sentence "a signature …"."""


def read_object(content: bytes, what: str) -> Mapping[str, Any]:
    """The JSON object in `content`, without a name that stands in it twice."""
    try:
        document = json.loads(content, object_pairs_hook=_once, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise RefusedError(f"has {what} that can't be read") from None
    if not isinstance(document, dict):
        raise RefusedError(f"has {what} that can't be read")
    return document


def inner(document: Mapping[str, Any], name: str, what: str) -> Mapping[str, Any]:
    """The object `name` of an object."""
    found = document.get(name)
    if not isinstance(found, dict):
        raise RefusedError(f"has {what} without {name}")
    return found


def items(document: Mapping[str, Any], name: str, what: str, *, most: int) -> Sequence[Any]:
    """The list `name` of an object, of 1 to `most` entries."""
    found = document.get(name)
    if not isinstance(found, list) or not 0 < len(found) <= most:
        raise RefusedError(f"has {what} without a usable {name}")
    return found


def from_base64(value: object, what: str) -> bytes:
    """What standard base64 stands for."""
    if not isinstance(value, str) or not _BASE64.fullmatch(value):
        raise RefusedError(f"has {what} that isn't base64")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise RefusedError(f"has {what} that isn't base64") from None


def from_base64url(value: object, what: str) -> bytes:
    """What base64url without padding stands for, as JWS has it."""
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        raise RefusedError(f"has {what} that isn't base64url")
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        raise RefusedError(f"has {what} that isn't base64url") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refused(_: str) -> NoReturn:
    raise ValueError
