"""The protobuf bodies that kubectl sends for kinds it knows: `create namespace`, `auth can-i`, `create token` …

Owns the decoding of those few kinds into the JSON form. Whatever isn't in the tables is refused rather than lost; all
answers are JSON, which every client accepts.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from basetracker.emulators.cluster.document import Json, rfc3339
from basetracker.emulators.cluster.refusals import Refusal, unsupported_media

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"


@dataclass(frozen=True, slots=True)
class _Field:
    """A field: its JSON name, how a value is read, and whether there are many of them, in a list or a map."""

    name: str
    read: Callable[[Any], Any]
    many: str = ""


def _text(value: Any) -> str:
    return bytes(value).decode()


def _bytes(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode()


def _number(value: Any) -> int:
    number = int(value)
    return number - (1 << 64) if number >> 63 else number


def _nonzero(value: Any) -> int | None:
    """A number that has no pointer in Go: it is always sent, and zero means that it isn't set."""
    return _number(value) or None


def _flag(value: Any) -> bool:
    return bool(value)


def _one(name: str, read: Callable[[Any], Any] = _text) -> _Field:
    return _Field(name, read)


def _list(name: str, read: Callable[[Any], Any] = _text) -> _Field:
    return _Field(name, read, "list")


def _map(name: str, read: Callable[[Any], Any] = _text) -> _Field:
    return _Field(name, read, "map")


def _message(**fields: _Field) -> Callable[[Any], Json]:
    """A reader of a message whose fields are given by number, as `f1=…`."""
    by_number = {int(key[1:]): field for key, field in fields.items()}
    return lambda value: _decode(bytes(value), by_number)


def _time(value: Any) -> str | None:
    seconds = next((number for field, number in _fields(bytes(value)) if field == 1), 0)
    return rfc3339(datetime.fromtimestamp(int(seconds), UTC)) if seconds else None


_NAME = _message(f1=_one("name"))
_META = _message(
    f1=_one("name"),
    f2=_one("generateName"),
    f3=_one("namespace"),
    f5=_one("uid"),
    f6=_one("resourceVersion"),
    f7=_one("generation", _nonzero),
    f8=_one("creationTimestamp", _time),
    f11=_map("labels"),
    f12=_map("annotations"),
    f14=_list("finalizers"),
)
_SELECTOR = _message(f1=_map("matchLabels"))
_PORT = _message(
    f1=_one("name"),
    f2=_one("hostPort", _nonzero),
    f3=_one("containerPort", _number),
    f4=_one("protocol"),
    f5=_one("hostIP"),
)
_ENV = _message(f1=_one("name"), f2=_one("value"))
_CONTAINER = _message(
    f1=_one("name"),
    f2=_one("image"),
    f3=_list("command"),
    f4=_list("args"),
    f5=_one("workingDir"),
    f6=_list("ports", _PORT),
    f7=_list("env", _ENV),
)
_POD = _message(f2=_list("containers", _CONTAINER), f3=_one("restartPolicy"), f8=_one("serviceAccountName"))
_TEMPLATE = _message(f1=_one("metadata", _META), f2=_one("spec", _POD))
_DEPLOYMENT = _message(f1=_one("replicas", _number), f2=_one("selector", _SELECTOR), f3=_one("template", _TEMPLATE))
_ACCESS = _message(
    f1=_one("namespace"),
    f2=_one("verb"),
    f3=_one("group"),
    f4=_one("version"),
    f5=_one("resource"),
    f6=_one("subresource"),
    f7=_one("name"),
)
_PATH = _message(f1=_one("path"), f2=_one("verb"))
_BOUND = _message(f1=_one("kind"), f2=_one("apiVersion"), f3=_one("name"), f4=_one("uid"))
_RULE = _message(
    f1=_list("verbs"),
    f2=_list("apiGroups"),
    f3=_list("resources"),
    f4=_list("resourceNames"),
    f5=_list("nonResourceURLs"),
)
_SUBJECT = _message(f1=_one("kind"), f2=_one("apiGroup"), f3=_one("name"), f4=_one("namespace"))
_ROLE_REF = _message(f1=_one("apiGroup"), f2=_one("kind"), f3=_one("name"))
_ROLE = _message(f1=_one("metadata", _META), f2=_list("rules", _RULE))
_BINDING = _message(f1=_one("metadata", _META), f2=_list("subjects", _SUBJECT), f3=_one("roleRef", _ROLE_REF))
_TOKEN = _message(f1=_list("audiences"), f3=_one("boundObjectRef", _BOUND), f4=_one("expirationSeconds", _number))
_RBAC = "rbac.authorization.k8s.io/v1"


def _with_spec(spec: Callable[[Any], Json]) -> Callable[[Any], Json]:
    return _message(f1=_one("metadata", _META), f2=_one("spec", spec))


_KINDS: dict[tuple[str, str], Callable[[Any], Json]] = {
    ("v1", "Namespace"): _message(f1=_one("metadata", _META)),
    ("v1", "ServiceAccount"): _message(f1=_one("metadata", _META), f3=_list("imagePullSecrets", _NAME)),
    ("v1", "ConfigMap"): _message(
        f1=_one("metadata", _META), f2=_map("data"), f3=_map("binaryData", _bytes), f4=_one("immutable", _flag)
    ),
    ("v1", "Secret"): _message(
        f1=_one("metadata", _META),
        f2=_map("data", _bytes),
        f3=_one("type"),
        f4=_map("stringData"),
        f5=_one("immutable", _flag),
    ),
    ("apps/v1", "Deployment"): _with_spec(_DEPLOYMENT),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): _with_spec(
        _message(f1=_one("resourceAttributes", _ACCESS), f2=_one("nonResourceAttributes", _PATH))
    ),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): _with_spec(_message(f1=_one("namespace"))),
    ("authentication.k8s.io/v1", "SelfSubjectReview"): _message(f1=_one("metadata", _META)),
    ("authentication.k8s.io/v1", "TokenRequest"): _with_spec(_TOKEN),
    (_RBAC, "Role"): _ROLE,
    (_RBAC, "ClusterRole"): _ROLE,
    (_RBAC, "RoleBinding"): _BINDING,
    (_RBAC, "ClusterRoleBinding"): _BINDING,
}


def decode(body: bytes) -> Json:
    """The object in a protobuf body.

    Raises:
        Refusal: 415 for a kind, or a field of one, that isn't read here.
    """
    try:
        return _object(body)
    except (ValueError, IndexError) as error:
        raise _refused(str(error)) from error


def _refused(why: str) -> Refusal:
    return unsupported_media(f"{MEDIA_TYPE}, {why}", ["application/json", "application/yaml"])


def _object(body: bytes) -> Json:
    if not body.startswith(_MAGIC):
        raise _refused("which doesn't begin as one")
    envelope = _decode(
        body[len(_MAGIC) :],
        {
            1: _one("type", _message(f1=_one("apiVersion"), f2=_one("kind"))),
            2: _one("raw", bytes),
            3: _one("contentEncoding"),
            4: _one("contentType"),
        },
    )
    kind = envelope.get("type") or {}
    reader = _KINDS.get((kind.get("apiVersion", ""), kind.get("kind", "")))
    if reader is None:
        raise _refused(f"of a {kind.get('kind')}, which is only read as JSON here")
    document: Json = kind | reader(envelope.get("raw", b""))
    return document


def _decode(data: bytes, known: dict[int, _Field]) -> Json:
    document: Json = {}
    for number, value in _fields(data):
        field = known.get(number)
        if field is None:
            if _is_empty(value):
                continue  # the encoder writes empty strings, zeros and empty messages too
            raise ValueError(f"with field {number}, which is only read as JSON here")
        if field.many == "map":
            pair = dict(_fields(value))
            document.setdefault(field.name, {})[_text(pair.get(1, b""))] = field.read(pair.get(2, b""))
        elif field.many == "list":
            document.setdefault(field.name, []).append(field.read(value))
        elif (found := field.read(value)) not in ("", None, {}):
            document[field.name] = found
    return document


def _is_empty(value: Any) -> bool:
    """Whether a value is zero, or a message of nothing but zeros."""
    if isinstance(value, int):
        return value == 0
    try:
        return all(_is_empty(inner) for _, inner in _fields(value))
    except (ValueError, IndexError):
        return False


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values: integers, or bytes for everything that has a length."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        match key & 7:
            case 0:
                value, place = _varint(data, place)
                yield key >> 3, value
            case 2:
                length, place = _varint(data, place)
                if place + length > len(data):
                    raise ValueError("which is torn")
                yield key >> 3, data[place : place + length]
                place += length
            case 1 | 5 as kind:
                width = 8 if kind == 1 else 4
                yield key >> 3, int.from_bytes(data[place : place + width], "little")
                place += width
            case other:
                raise ValueError(f"with wire type {other}")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if not byte & 128:
            return value, place
        shift += 7
