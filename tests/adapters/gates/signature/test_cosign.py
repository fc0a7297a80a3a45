"""Signatures of cosign: what the key has signed about the digest counts, and nothing else does."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519

from basetracker.adapters.gates.signature.cosign import read_key, verify_bundle, verify_payload
from basetracker.adapters.gates.signature.documents import RefusedError
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest

from .authorities import ec_key, rsa_key
from .signers import CosignKey, bundle, cosign_signature, public_pem, simple_payload, statement

DIGEST = Digest.of(b"checkout")
OTHER = Digest.of(b"cart")
ED25519 = ed25519.Ed25519PrivateKey.generate()
KEYS: list[tuple[CosignKey, hashes.HashAlgorithm]] = [
    (ec_key(256), hashes.SHA256()),
    (ec_key(384), hashes.SHA256()),
    (ec_key(384), hashes.SHA384()),
    (ec_key(521), hashes.SHA512()),
    (rsa_key(2048), hashes.SHA256()),
    (rsa_key(3072), hashes.SHA256()),
    (ED25519, hashes.SHA256()),
    (ED25519, hashes.SHA512()),
]
IDS = ["p256", "p384-sha256", "p384", "p521", "rsa2048", "rsa3072", "ed25519", "ed25519ph"]


def public(key: CosignKey) -> Any:
    return read_key(public_pem(key), "the key")


@pytest.mark.parametrize(("key", "hashed"), KEYS, ids=IDS)
def test_what_the_key_has_signed_counts(key: CosignKey, hashed: hashes.HashAlgorithm) -> None:
    payload = simple_payload(str(DIGEST))
    verify_payload(payload, cosign_signature(key, payload, hashed), public(key), DIGEST)
    verify_bundle(bundle(key, statement(str(DIGEST)), hashed=hashed), public(key), DIGEST)


@pytest.mark.parametrize(("key", "hashed"), KEYS, ids=IDS)
def test_what_another_key_has_signed_does_not(key: CosignKey, hashed: hashes.HashAlgorithm) -> None:
    payload = simple_payload(str(DIGEST))
    for stranger in (ec_key(256, 1), ec_key(384, 1), rsa_key(2048, 1), ed25519.Ed25519PrivateKey.generate()):
        with pytest.raises(RefusedError, match="isn't made with this key"):
            verify_payload(payload, cosign_signature(stranger, payload, hashed), public(key), DIGEST)
        with pytest.raises(RefusedError, match="isn't made with this key"):
            verify_bundle(bundle(stranger, statement(str(DIGEST)), hashed=hashed), public(key), DIGEST)


@pytest.mark.parametrize(("key", "hashed"), KEYS, ids=IDS)
def test_a_signature_of_another_digest_counts_for_nothing(key: CosignKey, hashed: hashes.HashAlgorithm) -> None:
    payload = simple_payload(str(OTHER))
    with pytest.raises(RefusedError, match="is about another digest"):
        verify_payload(payload, cosign_signature(key, payload, hashed), public(key), DIGEST)
    with pytest.raises(RefusedError, match="is about another digest"):
        verify_bundle(bundle(key, statement(str(OTHER)), hashed=hashed), public(key), DIGEST)


def test_a_payload_that_was_changed_is_refused() -> None:
    signature = cosign_signature(ec_key(), simple_payload(str(OTHER)))
    with pytest.raises(RefusedError, match="isn't made with this key"):
        verify_payload(simple_payload(str(DIGEST)), signature, public(ec_key()), DIGEST)
    whole = json.loads(bundle(ec_key(), statement(str(OTHER))))
    whole["dsseEnvelope"]["payload"] = base64.b64encode(statement(str(DIGEST))).decode()
    with pytest.raises(RefusedError, match="isn't made with this key"):
        verify_bundle(json.dumps(whole).encode(), public(ec_key()), DIGEST)


@pytest.mark.parametrize("signature", [None, 7, "", "%%", "AAAA", ["AAAA"]])
def test_what_is_no_signature_is_refused(signature: object) -> None:
    with pytest.raises(RefusedError):
        verify_payload(simple_payload(str(DIGEST)), signature, public(ec_key()), DIGEST)


SIGNED_BUT_WRONG = [
    (b"", "can't be read"),
    (b"[]", "can't be read"),
    (b"{}", "without critical"),
    (b'{"critical": {}}', "something else"),
    (simple_payload(str(DIGEST), type="atomic container signature"), "something else"),
    (simple_payload(str(DIGEST), image={}), "another digest"),
    (simple_payload(str(DIGEST), image=[str(DIGEST)]), "without image"),
    (simple_payload(str(DIGEST), image={"docker-manifest-digest": [str(DIGEST)]}), "another digest"),
    (simple_payload(str(DIGEST)).replace(b'"optional"', b'"critical": {}, "critical"'), "can't be read"),
]


@pytest.mark.parametrize(("payload", "words"), SIGNED_BUT_WRONG)
def test_a_signed_payload_that_says_something_else_is_refused(payload: bytes, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        verify_payload(payload, cosign_signature(ec_key(), payload), public(ec_key()), DIGEST)


STATED_BUT_WRONG = [
    (statement(str(DIGEST), predicateType="https://slsa.dev/provenance/v1"), "states something else"),
    (statement(str(DIGEST), _type="https://in-toto.io/Statement/v9"), "states something else"),
    (statement(str(DIGEST), subject=[]), "without a usable subject"),
    (statement(str(DIGEST), subject={"digest": {}}), "without a usable subject"),
    (statement(str(DIGEST), subject=["x", {"digest": 1}, {}]), "another digest"),
    (statement(str(DIGEST), subject=[{"digest": {"sha512": str(DIGEST)[7:]}}]), "another digest"),
    (b"\xff", "can't be read"),
]


@pytest.mark.parametrize(("payload", "words"), STATED_BUT_WRONG)
def test_a_signed_statement_of_something_else_is_refused(payload: bytes, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        verify_bundle(bundle(ec_key(), payload), public(ec_key()), DIGEST)


def test_a_bundle_of_another_shape_is_refused() -> None:
    good = statement(str(DIGEST))
    for content, words in (
        (bundle(ec_key(), good, mediaType="application/vnd.dev.sigstore.bundle.v0.1+json"), "another version"),
        (bundle(ec_key(), good, kind="text/plain"), "without an in-toto statement"),
        (bundle(ec_key(), good, dsseEnvelope=None, messageSignature={}), "without dsseEnvelope"),
        (bundle(ec_key(), good, dsseEnvelope={"payloadType": "application/vnd.in-toto+json"}), "isn't base64"),
    ):
        with pytest.raises(RefusedError, match=words):
            verify_bundle(content, public(ec_key()), DIGEST)


def test_one_of_several_signatures_in_a_bundle_is_enough() -> None:
    whole = json.loads(bundle(ec_key(), statement(str(DIGEST))))
    whole["dsseEnvelope"]["signatures"] = [{"sig": "AAAA"}, "x", *whole["dsseEnvelope"]["signatures"]]
    verify_bundle(json.dumps(whole).encode(), public(ec_key()), DIGEST)
    whole["dsseEnvelope"]["signatures"].pop()
    with pytest.raises(RefusedError):
        verify_bundle(json.dumps(whole).encode(), public(ec_key()), DIGEST)


def _pem(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (b"", "no public key"),
        (b"\xff\x00", "no public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n", "a private key"),
        (_pem(ec.generate_private_key(ec.SECP256K1()).public_key()), "isn't used here"),
        (_pem(rsa.generate_private_key(65537, 1024).public_key()), "isn't used here"),
        (_pem(dsa.generate_private_key(2048).public_key()), "isn't used here"),
        (_pem(x25519.X25519PrivateKey.generate().public_key()), "isn't used here"),
    ],
)
def test_a_key_that_can_not_be_used_is_a_matter_for_a_person(pem: bytes, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        read_key(pem, "the entry cosign.pub of the ConfigMap shop/keys")
