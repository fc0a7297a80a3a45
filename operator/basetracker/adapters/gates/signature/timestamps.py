"""Time stamps (RFC 3161): when, at the latest, a signature was there.

Owns the token and what it has to be about. `rfc3161_client` verifies it, with the authority's chain at the token's own time.
`notation` uses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from rfc3161_client import TimeStampResponse, VerifierBuilder, decode_timestamp_response

from basetracker.adapters.gates.signature.documents import RefusedError

_TOKEN_LIMIT: Final = 64 * 1024
_GRANTED: Final = bytes.fromhex("3003020100")
"""PKIStatusInfo in DER: granted. Notation stores the token alone, without the response that it came in."""
_ACCURACY: Final = timedelta(seconds=1)
"""Where the token names none."""
_HASHES: Final = {
    "2.16.840.1.101.3.4.2.1": hashlib.sha256,
    "2.16.840.1.101.3.4.2.2": hashlib.sha384,
    "2.16.840.1.101.3.4.2.3": hashlib.sha512,
}


def stamped_between(token: bytes, message: bytes, anchors: Sequence[x509.Certificate]) -> tuple[datetime, datetime]:
    """The earliest and the latest moment at which an authority that `anchors` vouch for has stamped `message`.

    Raises:
        RefusedError: the token can't be read, is about something else, or isn't such an authority's.
    """
    if len(token) > _TOKEN_LIMIT:
        raise RefusedError("has a time stamp that is larger than one ever is")
    try:
        return _verified(token, message, anchors)
    except RefusedError:
        raise
    except BaseException as error:
        # The library is written in Rust, and what it doesn't foresee comes as a panic, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise RefusedError("has a time stamp that isn't one of the authorities that are trusted for time") from None


def _verified(token: bytes, message: bytes, anchors: Sequence[x509.Certificate]) -> tuple[datetime, datetime]:
    response = decode_timestamp_response(_response(token))
    info = response.tst_info
    hashed = _HASHES.get(info.message_imprint.hash_algorithm.dotted_string)
    if hashed is None:
        raise RefusedError("has a time stamp that is made with an old algorithm")
    if not VerifierBuilder(roots=list(anchors)).build().verify(response, hashed(message).digest()):
        raise RefusedError("has a time stamp that isn't one of the authorities that are trusted for time")
    moment = info.gen_time
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    accuracy = _accuracy(response)
    return moment - accuracy, moment + accuracy


def _accuracy(response: TimeStampResponse) -> timedelta:
    told = response.tst_info.accuracy
    if told is None:
        return _ACCURACY
    return timedelta(seconds=told.seconds or 0, milliseconds=told.millis or 0, microseconds=told.micros or 0)


def _response(token: bytes) -> bytes:
    """The response in DER that the token might have come in."""
    content = _GRANTED + token
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    head = length if len(content) < 0x80 else bytes([0x80 | len(length)]) + length
    return b"\x30" + head + content
