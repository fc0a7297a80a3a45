"""Notation's two envelopes, JWS and COSE, read into one shape.

Owns their syntax and the rules for headers that both share. Verifies nothing: `notation` does. Certificates stay bytes here.

Sources: Notary Project's signature envelope specifications for JWS and COSE; RFC 7515, RFC 9052, RFC 9360.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import cbor2

from basetracker.adapters.gates.signature.documents import (
    ENVELOPE_LIMIT,
    RefusedError,
    from_base64,
    from_base64url,
    inner,
    items,
    read_object,
)

JWS: Final = "application/jose+json"
COSE: Final = "application/cose"
_PAYLOAD: Final = "application/vnd.cncf.notary.payload.v1+json"
_SCHEME: Final = "io.cncf.notary.signingScheme"
_EXPIRY: Final = "io.cncf.notary.expiry"
_TIMESTAMP: Final = "io.cncf.notary.timestampSignature"
_X509: Final = "notary.x509"
_AUTHORITY: Final = "notary.x509.signingAuthority"
_KNOWN: Final = frozenset({_SCHEME, _EXPIRY})
_MOST_CERTIFICATES: Final = 10
_DEPTH: Final = 8
_COSE_SIGN1: Final = 18
_ALG, _CRIT, _CONTENT_TYPE, _X5CHAIN = 1, 2, 3, 33
_COSE_ALGORITHMS: Final = {
    -7: "ES256",
    -35: "ES384",
    -36: "ES512",
    -37: "PS256",
    -38: "PS384",
    -39: "PS512",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A signature of Notation before anything of it is verified, but that its headers are understood."""

    payload: bytes
    signed: bytes
    """The bytes that the signature is over."""
    signature: bytes
    algorithm: str
    """As JWS names it, whatever the envelope."""
    chain: tuple[bytes, ...]
    """Certificates in DER, the signer's first."""
    expiry: datetime | None
    timestamp: bytes | None
    """An RFC 3161 token over `signature`."""


def read_envelope(content: bytes, media_type: str) -> Envelope:
    """The envelope in `content`.

    Raises:
        RefusedError: it can't be read, or asks for something that isn't understood here.
    """
    if len(content) > ENVELOPE_LIMIT:
        raise RefusedError("is larger than a signature ever is")
    match media_type:
        case "application/jose+json":
            return _jws(content)
        case "application/cose":
            return _cose(content)
    raise RefusedError("has an envelope that is neither JWS nor COSE")


def _jws(content: bytes) -> Envelope:
    what = "a JWS envelope"
    document = read_object(content, what)
    protected, payload = document.get("protected"), document.get("payload")
    headers = read_object(from_base64url(protected, "a protected header"), "a protected header")
    unprotected = inner(document, "header", what)
    _understand(headers.get("crit"), headers.get("cty"), headers)
    timestamp = unprotected.get(_TIMESTAMP)
    algorithm = headers.get("alg")
    return Envelope(
        payload=from_base64url(payload, "a payload"),
        signed=f"{protected}.{payload}".encode(),
        signature=from_base64url(document.get("signature"), "a value"),
        algorithm=algorithm if isinstance(algorithm, str) else "",
        chain=tuple(
            from_base64(one, "a certificate") for one in items(unprotected, "x5c", what, most=_MOST_CERTIFICATES)
        ),
        expiry=_instant(headers[_EXPIRY]) if _EXPIRY in headers else None,
        timestamp=None if timestamp is None else from_base64(timestamp, "a time stamp"),
    )


def _cose(content: bytes) -> Envelope:
    outer = _decoded(content)
    parts = outer.value if isinstance(outer, cbor2.CBORTag) and outer.tag == _COSE_SIGN1 else None
    if not isinstance(parts, list | tuple) or len(parts) != 4:
        raise RefusedError("has a COSE envelope that isn't one of a single signer")
    protected, unprotected, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise RefusedError("has a COSE envelope that can't be read")
    headers = _decoded(protected)
    if not isinstance(headers, Mapping) or not isinstance(unprotected, Mapping):
        raise RefusedError("has a COSE envelope that can't be read")
    _understand(headers.get(_CRIT), headers.get(_CONTENT_TYPE), headers)
    chain, timestamp, number = unprotected.get(_X5CHAIN), unprotected.get(_TIMESTAMP), headers.get(_ALG)
    chain = [chain] if isinstance(chain, bytes) else chain
    if not isinstance(chain, list | tuple) or not 0 < len(chain) <= _MOST_CERTIFICATES:
        raise RefusedError("has a COSE envelope without usable certificates")
    if not all(isinstance(one, bytes) for one in chain) or not isinstance(timestamp, bytes | None):
        raise RefusedError("has a COSE envelope without usable certificates")
    return Envelope(
        payload=payload,
        signed=cbor2.dumps(["Signature1", protected, b"", payload]),
        signature=signature,
        algorithm=_COSE_ALGORITHMS.get(number, "") if isinstance(number, int) else "",
        chain=tuple(chain),
        expiry=_instant(headers[_EXPIRY]) if _EXPIRY in headers else None,
        timestamp=timestamp,
    )


def _decoded(content: bytes) -> Any:
    try:
        return cbor2.loads(content, max_depth=_DEPTH, allow_indefinite=False, allow_duplicate_keys=False)
    except Exception:  # what its decoders of dates, numbers and the like may raise isn't told
        raise RefusedError("has a COSE envelope that can't be read") from None


def _understand(critical: object, kind: object, headers: Mapping[Any, Any]) -> None:
    """Refuse whatever must be understood and isn't, and what would have to be marked so and isn't."""
    marked = critical if isinstance(critical, list | tuple) else ()
    if not all(isinstance(name, str) for name in marked) or not set(marked) <= _KNOWN:
        if headers.get(_SCHEME) == _AUTHORITY:
            raise RefusedError(f"has the signing scheme {_AUTHORITY}, which isn't supported")
        raise RefusedError("has a critical header that isn't known here")
    if any(name not in headers for name in marked) or _SCHEME not in marked:
        raise RefusedError("has critical headers that don't fit")
    if _EXPIRY in headers and _EXPIRY not in marked:
        raise RefusedError("has critical headers that don't fit")
    if headers.get(_SCHEME) == _AUTHORITY:
        raise RefusedError(f"has the signing scheme {_AUTHORITY}, which isn't supported")
    if headers.get(_SCHEME) != _X509:
        raise RefusedError("has a signing scheme that isn't known here")
    if kind != _PAYLOAD:
        raise RefusedError("has a payload of another kind")


def _instant(value: object) -> datetime:
    """A time with its zone, as text in JWS and read already in COSE."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise RefusedError("has an expiry that can't be read")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise RefusedError("has an expiry that can't be read") from None
