"""What strangers write: whatever it is, it never counts, and it never breaks anything but itself."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basetracker.adapters.gates.signature.cosign import read_key, verify_bundle, verify_payload
from basetracker.adapters.gates.signature.documents import RefusedError
from basetracker.adapters.gates.signature.keyless import KeylessTrust, read_root, verify_keyless
from basetracker.adapters.gates.signature.notation import Trust, verify_envelope
from basetracker.adapters.gates.signature.timestamps import stamped_between
from basetracker.api.gate_signature import KeylessIdentity
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest

from .authorities import DAY, NOW, TimeAuthority, ec_key, root
from .signers import COSE, JWS, bundle, cose, cosign_signature, jws, public_pem, simple_payload, statement, target
from .sigstores import ACTIONS, WORKFLOW, Sigstore

DIGEST = Digest.of(b"checkout")
ROOT, TIME = root(), TimeAuthority()
SIGNER = ROOT.signer(key=ec_key())
KEY = read_key(public_pem(ec_key(256, 3)), "the key")
TRUST = Trust(anchors=(ROOT.certificate,), identities=("CN=build",), time_anchors=(TIME.root.certificate,))
SIGSTORE = Sigstore()
KEYLESS = KeylessTrust(
    root=read_root(SIGSTORE.trusted_root(), "the root"), identities=[KeylessIdentity(issuer=ACTIONS, subject=WORKFLOW)]
)
GOOD_JWS = jws(SIGNER, target(str(DIGEST)), expiry=NOW + DAY, stamp=TIME.token)
GOOD_COSE = cose(SIGNER, target(str(DIGEST)), expiry=NOW + DAY, stamp=TIME.token)
GOOD_BUNDLE = bundle(ec_key(256, 3), statement(str(DIGEST)))
GOOD_TOKEN = TIME.token(b"message")

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(["", "AAAA", "e30"])
)
KNOWN = st.sampled_from(
    [
        "a",
        "b",
        "c",
        "payload",
        "verificationMaterial",
        "tlogEntries",
        "certificate",
        "protected",
        "header",
        "signature",
        "x5c",
        "alg",
        "crit",
        "cty",
        "dsseEnvelope",
        "payloadType",
        "signatures",
        "sig",
        "mediaType",
        "critical",
        "image",
        "type",
        "targetArtifact",
        "digest",
        "subject",
    ]
)
JSON = st.recursive(
    LEAVES,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(KNOWN, below, max_size=5)),
    max_leaves=12,
)
CBOR = st.recursive(
    st.one_of(LEAVES, st.binary(max_size=20)),
    lambda below: st.one_of(
        st.lists(below, max_size=4),
        st.dictionaries(st.one_of(st.integers(-3, 40), KNOWN), below, max_size=5),
        st.builds(cbor2.CBORTag, st.integers(0, 300), below),
    ),
    max_leaves=12,
)


def refused(read: Any) -> None:
    with pytest.raises(RefusedError):
        read()


def every_reader_refuses(content: bytes) -> None:
    refused(lambda: verify_envelope(content, JWS, TRUST, DIGEST, NOW))
    refused(lambda: verify_envelope(content, COSE, TRUST, DIGEST, NOW))
    refused(lambda: verify_bundle(content, KEY, DIGEST))
    refused(lambda: verify_keyless(content, KEYLESS, DIGEST))
    with pytest.raises(InvalidError):
        read_root(content, "the root")
    refused(lambda: verify_payload(content, "AAAA", KEY, DIGEST))
    refused(lambda: stamped_between(content, b"message", TRUST.time_anchors))


def test_the_good_ones_count() -> None:
    assert verify_envelope(GOOD_JWS, JWS, TRUST, DIGEST, NOW) == "CN=build"
    assert verify_envelope(GOOD_COSE, COSE, TRUST, DIGEST, NOW) == "CN=build"
    verify_bundle(GOOD_BUNDLE, KEY, DIGEST)
    assert verify_keyless(SIGSTORE.bundle(statement(str(DIGEST))), KEYLESS, DIGEST).startswith(WORKFLOW)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_bytes_are_refused(content: bytes) -> None:
    every_reader_refuses(content)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_documents_are_refused(document: Any) -> None:
    every_reader_refuses(json.dumps(document).encode())


@given(CBOR, CBOR, CBOR, st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_cbor_is_refused(first: Any, second: Any, third: Any, payload: bytes) -> None:
    every_reader_refuses(cbor2.dumps(first))
    every_reader_refuses(cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps(first), second, payload, third])))
    every_reader_refuses(cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps(first), {33: third}, payload, payload])))


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_signed_documents_about_nothing_are_refused(document: Any) -> None:
    """What the trusted key itself has signed, but isn't about this digest."""
    content = json.dumps(document).encode()
    refused(lambda: verify_payload(content, cosign_signature(ec_key(256, 3), content), KEY, DIGEST))
    refused(lambda: verify_bundle(bundle(ec_key(256, 3), content), KEY, DIGEST))
    refused(lambda: verify_envelope(cose(SIGNER, content), COSE, TRUST, DIGEST, NOW))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_changed_anywhere_never_says_something_else(data: st.DataObject) -> None:
    kind, good = data.draw(
        st.sampled_from([(JWS, GOOD_JWS), (COSE, GOOD_COSE), ("bundle", GOOD_BUNDLE), ("token", GOOD_TOKEN)])
    )
    start = data.draw(st.integers(0, len(good) - 1))
    length = data.draw(st.integers(0, 4))
    content = good[:start] + data.draw(st.binary(max_size=4)) + good[start + length :]
    other = Digest.of(b"cart")
    match kind:
        case "bundle":
            refused(lambda: verify_bundle(content, KEY, other))
        case "token":
            refused(lambda: stamped_between(content, b"another", TRUST.time_anchors))
        case _:
            refused(lambda: verify_envelope(content, kind, TRUST, other, NOW))
            # Changes of what isn't signed, such as the agent's name, may leave a good signature of this very digest.
            with suppress(RefusedError):
                assert verify_envelope(content, kind, TRUST, DIGEST, NOW) == "CN=build"


def test_deep_nesting_and_many_names_are_refused() -> None:
    for content in (b"[" * 100_000, b'{"a":' * 50_000, b"\x81" * 100_000, b"\xd2" * 100_000, b"\xbb" + b"\xff" * 8):
        every_reader_refuses(content)


def test_a_simple_signing_payload_counts_only_with_its_own_signature() -> None:
    payload = simple_payload(str(DIGEST))
    good = cosign_signature(ec_key(256, 3), payload)
    verify_payload(payload, good, KEY, DIGEST)
    refused(lambda: verify_payload(payload + b" ", good, KEY, DIGEST))
