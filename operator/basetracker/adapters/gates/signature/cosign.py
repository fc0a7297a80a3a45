"""What cosign signs with a key: the payload of its old layout, and the bundle of the new one.

Owns both formats and what has to hold for each; `keyless` shares the statement. A transparency log isn't asked: the key alone is
trusted. Knows neither registries nor where the key came from. `gate` uses it.

Sources: cosign's signature specification (simple signing), DSSE 1.0, in-toto statement 1, sigstore bundle 0.3, RFC 8032.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from nacl.bindings import (
    crypto_sign_BYTES,
    crypto_sign_ed25519ph_final_verify,
    crypto_sign_ed25519ph_state,
    crypto_sign_ed25519ph_update,
)
from nacl.exceptions import BadSignatureError

from basetracker.adapters.gates.signature.documents import RefusedError, from_base64, inner, items, read_object
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest

BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
_SIGNED_IMAGE: Final = "cosign container image signature"
_STATEMENT: Final = "application/vnd.in-toto+json"
_STATEMENTS: Final = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_SIGN: Final = "https://sigstore.dev/cosign/sign/v1"
_MOST: Final = 32
_LEAST_RSA: Final = 2048

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
_HASHES: Final[dict[str, tuple[hashes.HashAlgorithm, ...]]] = {
    "secp256r1": (hashes.SHA256(),),
    "secp384r1": (hashes.SHA384(), hashes.SHA256()),
    "secp521r1": (hashes.SHA512(), hashes.SHA256()),
}
"""By curve, what cosign hashes with: the newer versions as long as the curve, the older always SHA-256."""


def read_key(pem: bytes, where: str) -> PublicKey:
    """The public key in PEM; `where` is for the errors.

    Raises:
        InvalidError: it can't be read, is a private key, or of a kind or size that isn't used.
    """
    if b"PRIVATE KEY" in pem:
        raise InvalidError(f"{where} holds a private key; only the public one belongs there; make a new pair")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidError(f"{where} holds no public key in PEM") from None
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _HASHES:
            return key
        case rsa.RSAPublicKey() if key.key_size >= _LEAST_RSA:
            return key
        case ed25519.Ed25519PublicKey():
            return key
    raise InvalidError(f"{where} holds a key that isn't used here; use ECDSA, RSA with 2048 bits or more, or Ed25519")


def verify_payload(payload: bytes, signature: object, key: PublicKey, digest: Digest) -> None:
    """Return when `signature` (base64) over a simple signing payload is the key's and about `digest`.

    Raises:
        RefusedError: it isn't.
    """
    _verify(key, from_base64(signature, "a value"), payload)
    critical = inner(read_object(payload, "a payload"), "critical", "a payload")
    if critical.get("type") != _SIGNED_IMAGE:
        raise RefusedError("is about something else than a container image")
    if inner(critical, "image", "a payload").get("docker-manifest-digest") != str(digest):
        raise RefusedError("is about another digest")


def verify_bundle(content: bytes, key: PublicKey, digest: Digest) -> None:
    """Return when a sigstore bundle holds a statement that is signed by the key and about `digest`.

    Raises:
        RefusedError: it doesn't.
    """
    bundle = read_object(content, "a bundle")
    if bundle.get("mediaType") != BUNDLE:
        raise RefusedError("has a bundle of another version")
    envelope = inner(bundle, "dsseEnvelope", "a bundle")
    kind, payload = envelope.get("payloadType"), from_base64(envelope.get("payload"), "a payload")
    if kind != _STATEMENT:
        raise RefusedError("has a bundle without an in-toto statement")
    _verify_one_of(key, items(envelope, "signatures", "a bundle", most=_MOST), _authenticated(_STATEMENT, payload))
    expect_statement(kind, payload, digest)


def expect_statement(kind: object, payload: bytes, digest: Digest) -> None:
    """Return when a payload of this type, whose signature is verified, says that the image of `digest` is signed.

    Raises:
        RefusedError: it says something else.
    """
    if kind != _STATEMENT:
        raise RefusedError("has a bundle without an in-toto statement")
    statement = read_object(payload, "a statement")
    if statement.get("_type") not in _STATEMENTS or statement.get("predicateType") != _SIGN:
        raise RefusedError("states something else than that an image is signed")
    subjects = items(statement, "subject", "a statement", most=_MOST)
    algorithm, _, hexadecimal = str(digest).partition(":")
    if not any(_names(subject, algorithm, hexadecimal) for subject in subjects):
        raise RefusedError("is about another digest")


def _names(subject: Any, algorithm: str, hexadecimal: str) -> bool:
    digests = subject.get("digest") if isinstance(subject, dict) else None
    return isinstance(digests, dict) and digests.get(algorithm) == hexadecimal


def _authenticated(kind: str, payload: bytes) -> bytes:
    """What DSSE signs: type and payload with their lengths."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def _verify_one_of(key: PublicKey, signatures: Sequence[Any], message: bytes) -> None:
    for one in signatures:
        try:
            _verify(key, from_base64(one.get("sig") if isinstance(one, dict) else None, "a value"), message)
        except RefusedError as error:
            refused = error
        else:
            return
    raise refused


def _verify(key: PublicKey, signature: bytes, message: bytes) -> None:
    for trial in _trials(key):
        try:
            match key:
                case ec.EllipticCurvePublicKey():
                    key.verify(signature, message, ec.ECDSA(trial))
                case rsa.RSAPublicKey():
                    key.verify(signature, message, padding.PKCS1v15(), trial)
                case ed25519.Ed25519PublicKey():
                    _verify_ed25519(key, signature, message)
        except (InvalidSignature, ValueError):
            continue
        return
    raise RefusedError("isn't made with this key")


def _verify_ed25519(key: ed25519.Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    """Return when either form of RFC 8032 holds: cosign 3 signs bundles with Ed25519ph, and all else with Ed25519.

    One can't be taken for the other. `cryptography` has no Ed25519ph, so that is libsodium's.
    """
    try:
        key.verify(signature, message)
    except InvalidSignature:
        if len(signature) != crypto_sign_BYTES:
            raise
    else:
        return
    state = crypto_sign_ed25519ph_state()
    crypto_sign_ed25519ph_update(state, message)
    try:
        crypto_sign_ed25519ph_final_verify(state, signature, key.public_bytes_raw())
    except BadSignatureError:
        raise InvalidSignature from None


def _trials(key: PublicKey) -> tuple[hashes.HashAlgorithm, ...]:
    return _HASHES[key.curve.name] if isinstance(key, ec.EllipticCurvePublicKey) else (hashes.SHA256(),)
