"""Signatures as cosign and Notation make them, and every way in which one can be wrong.

Owns the formats once more, written from the specifications and not from the product's readers. `test_real_tools.py` measures
both by the tools themselves.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from nacl.bindings import (
    crypto_sign_ed25519ph_final_create,
    crypto_sign_ed25519ph_state,
    crypto_sign_ed25519ph_update,
)

from .authorities import NOW, Holder

JWS = "application/jose+json"
COSE = "application/cose"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.cncf.notary.payload.v1+json"
SCHEME = "io.cncf.notary.signingScheme"
SIGNING_TIME = "io.cncf.notary.signingTime"
EXPIRY = "io.cncf.notary.expiry"
TIMESTAMP = "io.cncf.notary.timestampSignature"
NUMBERS = {"ES256": -7, "ES384": -35, "ES512": -36, "PS256": -37, "PS384": -38, "PS512": -39}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}

CosignKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Json = dict[str, Any]


def public_pem(key: CosignKey) -> bytes:
    """The public half, as `cosign.pub` holds it."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def cosign_signature(key: CosignKey, message: bytes, hashed: hashes.HashAlgorithm | None = None) -> str:
    """What cosign signs with a key, in base64; an Ed25519 key with SHA-512 signs as cosign 3 does in bundles, hashed first."""
    hashed = hashed or hashes.SHA256()
    match key:
        case ec.EllipticCurvePrivateKey():
            value = key.sign(message, ec.ECDSA(hashed))
        case rsa.RSAPrivateKey():
            value = key.sign(message, padding.PKCS1v15(), hashed)
        case _ if isinstance(hashed, hashes.SHA512):
            state = crypto_sign_ed25519ph_state()
            crypto_sign_ed25519ph_update(state, message)
            secret = key.private_bytes_raw() + key.public_key().public_bytes_raw()
            value = crypto_sign_ed25519ph_final_create(state, secret)
        case _:
            value = key.sign(message)
    return base64.b64encode(value).decode()


def simple_payload(digest: str, **changes: Any) -> bytes:
    """The payload of cosign's old layout."""
    critical = {
        "identity": {"docker-reference": "contoso.azurecr.io/shop/checkout"},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical | changes, "optional": None}).encode()


def statement(digest: str, **changes: Any) -> bytes:
    """The in-toto statement of cosign's bundle."""
    algorithm, _, hexadecimal = digest.partition(":")
    whole = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {algorithm: hexadecimal}, "annotations": {}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    }
    return json.dumps(whole | changes).encode()


def bundle(
    key: CosignKey,
    payload: bytes,
    *,
    kind: str = "application/vnd.in-toto+json",
    hashed: hashes.HashAlgorithm | None = None,
    **changes: Any,
) -> bytes:
    """cosign's bundle over a statement."""
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [{"sig": cosign_signature(key, message, hashed)}],
    }
    whole = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "a hint"}},
        "dsseEnvelope": envelope,
    }
    return json.dumps(whole | changes).encode()


def target(digest: str) -> bytes:
    """Notation's payload."""
    artifact = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": 1607}
    return json.dumps({"targetArtifact": artifact}).encode()


def algorithm_for(holder: Holder) -> str:
    """The algorithm that Notary Project has for a key."""
    if isinstance(holder.key, rsa.RSAPrivateKey):
        return {2048: "PS256", 3072: "PS384", 4096: "PS512"}[holder.key.key_size]
    return {256: "ES256", 384: "ES384", 521: "ES512"}[holder.key.curve.key_size]


def raw_signature(holder: Holder, message: bytes, algorithm: str) -> bytes:
    """A signature as JOSE and COSE have it."""
    hashed = HASHES[algorithm[2:]]
    if isinstance(holder.key, rsa.RSAPrivateKey):
        scheme = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
        return holder.key.sign(message, scheme, hashed)
    size = (holder.key.curve.key_size + 7) // 8
    first, second = decode_dss_signature(holder.key.sign(message, ec.ECDSA(hashed)))
    return first.to_bytes(size, "big") + second.to_bytes(size, "big")


def jws(
    holder: Holder,
    payload: bytes,
    *,
    algorithm: str = "",
    expiry: datetime | None = None,
    protected: Mapping[str, Any] | None = None,
    chain: Sequence[x509.Certificate] | None = None,
    stamp: Any = None,
) -> bytes:
    """A JWS envelope; `protected` is laid over its protected header, None there takes a header out.

    `stamp` answers the time stamp's token for a signature.
    """
    algorithm = algorithm or algorithm_for(holder)
    headers = _headers(expiry, None if expiry is None else expiry.strftime("%Y-%m-%dT%H:%M:%SZ"))
    headers |= {"alg": algorithm, "cty": PAYLOAD, SIGNING_TIME: NOW.strftime("%Y-%m-%dT%H:%M:%SZ")}
    head = _url64(json.dumps(_changed(headers, protected)).encode())
    body = _url64(payload)
    signature = raw_signature(holder, f"{head}.{body}".encode(), algorithm)
    unprotected: Json = {
        "x5c": [base64.b64encode(one).decode() for one in _encoded(holder, chain)],
        "io.cncf.notary.signingAgent": "tests",
    }
    if stamp is not None:
        unprotected[TIMESTAMP] = base64.b64encode(stamp(signature)).decode()
    whole = {"payload": body, "protected": head, "header": unprotected, "signature": _url64(signature)}
    return json.dumps(whole).encode()


def cose(
    holder: Holder,
    payload: bytes,
    *,
    algorithm: str = "",
    expiry: datetime | None = None,
    protected: Mapping[Any, Any] | None = None,
    chain: Sequence[x509.Certificate] | None = None,
    stamp: Any = None,
) -> bytes:
    """A COSE envelope; as `jws`."""
    algorithm = algorithm or algorithm_for(holder)
    headers: dict[Any, Any] = _headers(expiry, None if expiry is None else cbor2.CBORTag(1, int(expiry.timestamp())))
    headers[2] = headers.pop("crit")
    headers |= {1: NUMBERS[algorithm], 3: PAYLOAD, SIGNING_TIME: cbor2.CBORTag(1, int(NOW.timestamp()))}
    head = cbor2.dumps(_changed(headers, protected))
    signature = raw_signature(holder, cbor2.dumps(["Signature1", head, b"", payload]), algorithm)
    unprotected: dict[Any, Any] = {33: _encoded(holder, chain), "io.cncf.notary.signingAgent": "tests"}
    if stamp is not None:
        unprotected[TIMESTAMP] = stamp(signature)
    return cbor2.dumps(cbor2.CBORTag(18, [head, unprotected, payload, signature]))


def envelope(media_type: str, holder: Holder, payload: bytes, **options: Any) -> bytes:
    """An envelope of either kind; `crit` and `alg` in `protected` are put where the kind has them."""
    if media_type == JWS:
        return jws(holder, payload, **options)
    labels = {"alg": 1, "crit": 2, "cty": 3}
    if options.get("protected"):
        options["protected"] = {labels.get(key, key): value for key, value in options["protected"].items()}
    return cose(holder, payload, **options)


def _headers(expiry: datetime | None, written: Any) -> Json:
    headers: Json = {"crit": [SCHEME], SCHEME: "notary.x509"}
    if expiry is not None:
        headers |= {"crit": [SCHEME, EXPIRY], EXPIRY: written}
    return headers


def _changed(headers: Mapping[Any, Any], changes: Mapping[Any, Any] | None) -> dict[Any, Any]:
    return {key: value for key, value in {**headers, **(changes or {})}.items() if value is not None}


def _encoded(holder: Holder, chain: Sequence[x509.Certificate] | None) -> list[bytes]:
    certificates = holder.chain if chain is None else chain
    return [one.public_bytes(serialization.Encoding.DER) for one in certificates]


def _url64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
