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
_INTEGER, _OID, _SEQUENCE, _SET, _TAGGED = b"\x02", b"\x06", b"\x30", b"\x31", b"\xa0"
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
    response = decode_timestamp_response(_response(_in_order(token)))
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


def _in_order(token: bytes) -> bytes:
    """The token with its certificates in the order that DER wants of a set, which the library insists on.

    Well-known authorities don't keep to it. Nothing is signed over these places, and which certificate counts doesn't depend
    on the order.

    Raises:
        ValueError: it isn't a token in DER.
    """
    place = _inside(token, _inside(token, 0, _SEQUENCE)[0], _OID)[1]
    signed_data = _inside(token, _inside(token, place, _TAGGED)[0], _SEQUENCE)[0]
    for kind in (_INTEGER, _SET, _SEQUENCE):  # version, digest algorithms, what is stamped
        signed_data = _inside(token, signed_data, kind)[1]
    if token[signed_data : signed_data + 1] != _TAGGED:
        return token
    start, end = _inside(token, signed_data, _TAGGED)
    certificates = []
    place = start
    while place < end:
        _, following = _inside(token, place, _SEQUENCE)
        certificates.append(token[place:following])
        place = following
    return token[:start] + b"".join(sorted(certificates)) + token[end:]


def _inside(content: bytes, place: int, kind: bytes) -> tuple[int, int]:
    """Where the content of the element at `place` begins and ends. Raises ValueError when it isn't of this kind."""
    head = content[place : place + 2]
    if len(head) < 2 or head[:1] != kind:
        raise ValueError("another element")
    start, size = place + 2, head[1]
    if size & 0x80:
        more = size & 0x7F
        size, start = int.from_bytes(content[start : start + more], "big"), start + more
        if not 0 < more <= 4:
            raise ValueError("a length that isn't used")
    if start + size > len(content):
        raise ValueError("cut off")
    return start, start + size
