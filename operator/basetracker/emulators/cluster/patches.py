"""JSON merge patch (RFC 7396) and JSON patch (RFC 6902), refused as the API server refuses them.

Owns the two patch formats that need no schema; both answer a new document and leave the old one alone.
Strategic merge is `strategic.py`'s, server-side apply `applying.py`'s.
"""

from __future__ import annotations

from typing import Any

from basetracker.emulators.cluster.document import Json, clone, same
from basetracker.emulators.cluster.refusals import Refusal, bad_request, unprocessable

_REJECTED = "the server rejected our request due to an error in our request"


def merge_patch(document: Any, patch: Any) -> Any:
    """The document with the merge patch applied: null removes, lists are replaced whole."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(document: Json, operations: Any) -> Json:
    """The document with the operations applied in their order.

    Raises:
        Refusal: 400 where the patch is malformed, 422 where an operation fails (a `test` too).
    """
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    holder: Json = {"": clone(document)}
    for operation in operations:
        _step(holder, operation)
    patched = holder[""]
    if not isinstance(patched, dict):
        raise unprocessable(_REJECTED)
    return patched


def _step(holder: Json, operation: Any) -> None:
    if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
        raise bad_request("error decoding patch: an operation needs op and path")
    path = _tokens(operation["path"])
    match operation.get("op"):
        case "add":
            _add(holder, path, clone(operation.get("value")))
        case "remove":
            _remove(holder, path)
        case "replace":
            _replace(holder, path, clone(operation.get("value")))
        case "move":
            _add(holder, path, _remove(holder, _tokens(operation.get("from"))))
        case "copy":
            _add(holder, path, clone(_read(holder, _tokens(operation.get("from")))))
        case "test":
            _test(holder, path, operation.get("value"))
        case other:
            raise bad_request(f"error decoding patch: unexpected op: {other}")


def _tokens(pointer: Any) -> list[str]:
    """The steps of a JSON pointer below the holder, whose only member has the empty name."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise _rejected()
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]


def _rejected() -> Refusal:
    return unprocessable(_REJECTED)


def _child(parent: Any, token: str) -> Any:
    if isinstance(parent, dict) and token in parent:
        return parent[token]
    if isinstance(parent, list):
        return parent[_index(parent, token, len(parent) - 1)]
    raise _rejected()


def _index(items: list[Any], token: str, most: int) -> int:
    if not token.isdigit() or int(token) > most:
        raise _rejected()
    return int(token)


def _read(holder: Json, path: list[str]) -> Any:
    value: Any = holder
    for token in path:
        value = _child(value, token)
    return value


def _add(holder: Json, path: list[str], value: Any) -> None:
    parent = _read(holder, path[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else _index(parent, path[-1], len(parent)), value)
    else:
        raise _rejected()


def _remove(holder: Json, path: list[str]) -> Any:
    parent = _read(holder, path[:-1])
    value = _child(parent, path[-1])
    if isinstance(parent, dict):
        del parent[path[-1]]
    else:
        del parent[int(path[-1])]
    return value


def _replace(holder: Json, path: list[str], value: Any) -> None:
    parent = _read(holder, path[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = value  # also where there is none: the API server's library lets that pass
    else:
        _child(parent, path[-1])
        parent[int(path[-1])] = value


def _test(holder: Json, path: list[str], value: Any) -> None:
    parent = _read(holder, path[:-1])
    if isinstance(parent, dict) and path[-1] not in parent:
        if value is not None:  # a missing member counts as null
            raise _rejected()
        return
    if not same(_child(parent, path[-1]), value):
        raise _rejected()
