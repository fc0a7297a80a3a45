"""What Notation signs: an envelope over the digest, with certificates that lead to a trust store.

Owns the order of what has to hold, which is Notary Project's for the level "strict" but for revocation, which isn't looked up,
and for the signing authority's scheme and plug-ins, which are refused. Pure. `gate` uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from basetracker.adapters.gates.signature.certificates import (
    algorithm_of,
    expect_identity,
    expect_trusted,
    read_chain,
)
from basetracker.adapters.gates.signature.documents import RefusedError, inner, read_object
from basetracker.adapters.gates.signature.envelopes import Envelope, read_envelope
from basetracker.adapters.gates.signature.timestamps import stamped_between
from basetracker.oci.refs import Digest

ARTIFACT: Final = "application/vnd.cncf.notary.signature"
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom a gate trusts; without `time_anchors` no time stamp counts."""

    anchors: tuple[x509.Certificate, ...]
    identities: tuple[str, ...]
    time_anchors: tuple[x509.Certificate, ...] = ()


def verify_envelope(content: bytes, media_type: str, trust: Trust, digest: Digest, now: datetime) -> str:
    """The identity, of those that the gate names, that has signed `digest`.

    Raises:
        RefusedError: nobody who counts has.
    """
    envelope = read_envelope(content, media_type)
    chain = read_chain(envelope.chain)
    if envelope.algorithm != algorithm_of(chain[0]):
        raise RefusedError("is made by an algorithm that doesn't fit its certificate")
    _expect_signed(envelope, chain[0])
    target = inner(read_object(envelope.payload, "a payload"), "targetArtifact", "a payload")
    if target.get("digest") != str(digest):
        raise RefusedError("is about another digest")
    for moment in _moments(envelope, trust, now):
        expect_trusted(chain, trust.anchors, moment)
    if envelope.expiry is not None and now >= envelope.expiry:
        raise RefusedError("has expired")
    return expect_identity(chain[0], trust.identities)


def _moments(envelope: Envelope, trust: Trust, now: datetime) -> tuple[datetime, ...]:
    """When the certificates have to be valid: when an authority stamped the signature, else now."""
    if envelope.timestamp is None or not trust.time_anchors:
        return (now,)
    return stamped_between(envelope.timestamp, envelope.signature, trust.time_anchors)


def _expect_signed(envelope: Envelope, leaf: x509.Certificate) -> None:
    key, length = leaf.public_key(), _HASHES[envelope.algorithm[2:]]
    try:
        match key:
            case rsa.RSAPublicKey():
                scheme = padding.PSS(mgf=padding.MGF1(length), salt_length=length.digest_size)
                key.verify(envelope.signature, envelope.signed, scheme, length)
            case ec.EllipticCurvePublicKey():
                key.verify(_der(envelope.signature, key.curve.key_size), envelope.signed, ec.ECDSA(length))
            case _:
                raise RefusedError("has a certificate with a key that isn't used for signing images")
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        raise RefusedError("doesn't match its certificate; it was changed") from None


def _der(signature: bytes, bits: int) -> bytes:
    """JOSE's two numbers, each as long as the curve, in the form that the library takes."""
    size = (bits + 7) // 8
    if len(signature) != 2 * size:
        raise ValueError
    return encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
