"""What the API server says when it refuses: `Status` objects with the real server's reasons and texts.

Owns the error type of the package and one constructor per kind of refusal. Used by every part that can say no;
`server.py` turns a `Refusal` into an HTTP answer, the in-process calls of `Cluster` raise it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from basetracker.emulators.cluster.document import Json

if TYPE_CHECKING:
    from basetracker.emulators.cluster.resources import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason of several: `field` is a path such as `spec.base.image`, `reason` a CamelCase word."""

    reason: str
    message: str
    field: str = ""

    def document(self) -> Json:
        """As it appears in `status.details.causes`."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


class Refusal(Exception):  # noqa: N818  # it is an answer, not a failure of the emulator
    """A request that is refused with a `Status`; `code` is the HTTP status."""

    def __init__(self, code: int, reason: str, message: str, *, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Json:
        """The `Status` object of the answer."""
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details is not None:
            status["details"] = self.details
        return status


def _details(resource: Resource, name: str, causes: Sequence[Cause] = ()) -> Json:
    details: Json = {"name": name, "kind": resource.plural}
    if resource.group:
        details["group"] = resource.group
    if causes:
        details["causes"] = [cause.document() for cause in causes]
    return details


def not_found(resource: Resource, name: str) -> Refusal:
    """404: no object of that name."""
    return Refusal(404, "NotFound", f'{resource.qualified} "{name}" not found', details=_details(resource, name))


def no_such_path() -> Refusal:
    """404: no such API at all, as for a kind whose CRD isn't there."""
    return Refusal(404, "NotFound", "the server could not find the requested resource", details={})


def already_exists(resource: Resource, name: str) -> Refusal:
    """409: create of something that is there."""
    message = f'{resource.qualified} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, details=_details(resource, name))


def conflict(resource: Resource, name: str, why: str | None = None) -> Refusal:
    """409: the object has moved since it was read, or a precondition doesn't hold."""
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return Refusal(409, "Conflict", message, details=_details(resource, name))


def field_conflict(causes: Sequence[Cause], text: str) -> Refusal:
    """409: server-side apply met fields that somebody else owns."""
    return Refusal(409, "Conflict", text, details={"causes": [cause.document() for cause in causes]})


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> Refusal:
    """422: the object breaks its schema or a rule. At least one cause."""
    lines = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    why = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = _details(resource, name, causes) | {"kind": resource.kind}
    return Refusal(422, "Invalid", f'{kind} "{name}" is invalid: {why}', details=details)


def unprocessable(message: str) -> Refusal:
    """422: a patch that can't be carried out."""
    return Refusal(422, "Invalid", message, details={})


def bad_request(message: str) -> Refusal:
    """400: the request makes no sense."""
    return Refusal(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str) -> Refusal:
    """403: admission refuses."""
    message = f'{resource.qualified} "{name}" is forbidden: {why}'
    return Refusal(403, "Forbidden", message, details=_details(resource, name))


def denied(message: str, details: Json) -> Refusal:
    """403: the authorizer refuses; `message` is the whole text."""
    return Refusal(403, "Forbidden", message, details=details)


def unauthorized() -> Refusal:
    """401: no credentials, or wrong or expired ones."""
    return Refusal(401, "Unauthorized", "Unauthorized")


def expired(message: str) -> Refusal:
    """410: the resourceVersion or the continue token is too old."""
    return Refusal(410, "Expired", message)


def method_not_allowed() -> Refusal:
    """405: this path can't be used so."""
    return Refusal(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", details={}
    )


def unsupported_media(got: str, accepted: Sequence[str]) -> Refusal:
    """415: a body in a format that isn't read here."""
    message = f"the body of the request was in an unknown format ({got}) - accepted media types include: "
    return Refusal(415, "UnsupportedMediaType", message + ", ".join(accepted), details={})


def too_old(requested: int, oldest: int) -> Refusal:
    """410: a watch wants to go on from a version that is forgotten."""
    return expired(f"too old resource version: {requested} ({oldest})")
