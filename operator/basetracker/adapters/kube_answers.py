"""What an answer of the Kubernetes API server means: bounded reading, and the project's own errors for refusals.

Owns the translation from HTTP status and `Status` object to `errors.py`; must not know which resources exist.
Used by `kube.py` alone; others import only `ExpiredError` to start a list anew.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import aiohttp

from basetracker.errors import (
    BasetrackerError,
    ConflictError,
    DeniedError,
    InvalidError,
    MissingError,
    UnavailableError,
)

Json = dict[str, Any]

LARGEST_ANSWER: Final = 64 << 20
"""Bytes; a page of 500 large objects is far below."""
LARGEST_LINE: Final = 8 << 20
"""Bytes of one watch event; an object is at most 3 MiB in etcd terms."""
LARGEST_REFUSAL: Final = 64 << 10
LONGEST_TEXT: Final = 300
# What the API server says when an operation of a JSON patch can't be carried out, a failed `test` first of all.
_PATCH_FAILED: Final = "the server rejected our request due to an error in our request"


class ExpiredError(UnavailableError):
    """The version or the page asked for is no longer kept (410): everything has to be listed anew."""


def translate(
    status: int, document: object, *, retry_after: str | None = None, tested: bool = False, method: str = "GET"
) -> BasetrackerError:
    """The error for a refused request; `tested` makes a failed JSON patch a conflict.

    `document` is the parsed body, ideally a `Status`; its message is kept, shortened to one line.
    """
    body: Mapping[str, Any] = document if isinstance(document, Mapping) else {}
    text = one_line(body.get("message")) or f"HTTP {status}"
    match status:
        case 401:
            return DeniedError(f"the Kubernetes API server doesn't accept the operator's credentials: {text}")
        case 403 if method == "GET" or is_authorizer(text):
            return DeniedError(f"the Kubernetes API server denies access: {text}")
        case 404:
            return MissingError(f"the Kubernetes API server doesn't have it: {text}")
        case 409:
            return ConflictError(f"the object has changed meanwhile: {text}")
        case 410:
            return ExpiredError(f"the Kubernetes API server no longer keeps this version: {text}")
        case 422 if tested and text.startswith(_PATCH_FAILED):
            return ConflictError("the object isn't what it was when it was read")
        case _ if 400 <= status < 500 and status not in {408, 429}:
            return InvalidError(f"the Kubernetes API server refuses the request: {text}")
        case _:
            seconds = _seconds(retry_after, body)
            return UnavailableError(f"the Kubernetes API server can't answer now: {text}", retry_after=seconds)


def is_authorizer(text: str) -> bool:
    """Whether a 403 comes from missing rights; otherwise it is admission or a quota that refuses."""
    return 'User "' in text and " cannot " in text


def unreachable(error: BaseException) -> UnavailableError:
    """The error for a request that got no whole answer; the text is stable, without ports or times."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = one_line(error.certificate_error)
            return UnavailableError(f"the Kubernetes API server's certificate isn't trusted: {why}")
        case aiohttp.ClientConnectorDNSError():
            return UnavailableError(f"the host name of the Kubernetes API server can't be resolved: {error.host}")
        case aiohttp.ClientConnectorError():
            why = error.os_error.strerror or type(error.os_error).__name__
            return UnavailableError(f"the Kubernetes API server can't be reached: {one_line(why)}")
        case TimeoutError():
            return UnavailableError("the Kubernetes API server doesn't answer in time")
        case _:
            return UnavailableError(f"the connection to the Kubernetes API server broke ({type(error).__name__})")


def one_line(text: object) -> str:
    """The text without line breaks, at most `LONGEST_TEXT` characters; empty for None."""
    line = " ".join(str(text if text is not None else "").split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def _seconds(header: str | None, body: Mapping[str, Any]) -> float | None:
    details = body.get("details")
    value = header or (details.get("retryAfterSeconds") if isinstance(details, Mapping) else None)
    try:
        return max(0.0, float(value)) if value is not None else None
    except (TypeError, ValueError):
        return None


async def read_json(response: aiohttp.ClientResponse, largest: int = LARGEST_ANSWER) -> Any:
    """The body as JSON; None when it isn't JSON.

    Raises:
        UnavailableError: it is larger than `largest` bytes.
    """
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > largest:
            response.close()
            raise UnavailableError(f"an answer of the Kubernetes API server is larger than {largest >> 20} MiB")
        pieces.append(piece)
    return as_json(b"".join(pieces))


async def read_refusal(response: aiohttp.ClientResponse) -> Any:
    """The beginning of a refusal's body as JSON; None when it isn't JSON or too large to matter."""
    return as_json(await response.content.read(LARGEST_REFUSAL))


async def read_text(response: aiohttp.ClientResponse, largest: int) -> str:
    """The first `largest` bytes of the body as text; what isn't UTF-8 is replaced."""
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) >= largest:
            break
    return bytes(content[:largest]).decode(errors="replace")


async def read_lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """The lines of a stream as they come; a last line without its end is a broken one and left out.

    Raises:
        UnavailableError: a line is larger than `LARGEST_LINE` bytes.
    """
    rest = bytearray()
    async for piece in response.content.iter_any():
        rest += piece
        if b"\n" in piece:
            *lines, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in lines:
                if line.strip():
                    yield line
        if len(rest) > LARGEST_LINE:
            raise UnavailableError(f"a watch event is larger than {LARGEST_LINE >> 20} MiB")


def as_json(content: bytes) -> Any:
    """The parsed content; None when it isn't JSON."""
    try:
        return json.loads(content)
    except ValueError:
        return None
