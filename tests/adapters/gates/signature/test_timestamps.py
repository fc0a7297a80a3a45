"""Time stamps: with one that counts, a short-lived certificate may have ended; no other time stamp moves anything."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from basetracker.adapters.gates.signature.documents import RefusedError
from basetracker.adapters.gates.signature.notation import Trust, verify_envelope
from basetracker.adapters.gates.signature.timestamps import stamped_between
from basetracker.oci.refs import Digest

from .authorities import DAY, NOW, TimeAuthority, root
from .signers import COSE, JWS, envelope, target

DIGEST = Digest.of(b"checkout")
ROOT = root()
TIME, STRANGER = TimeAuthority(), TimeAuthority(number=30)
SHORT = ROOT.signer(begins=NOW - DAY, ends=NOW + DAY)
LATER = NOW + 90 * DAY
SECOND = timedelta(seconds=1)
BOTH = pytest.mark.parametrize("kind", [JWS, COSE], ids=["jws", "cose"])


def verify(kind: str, now: datetime, *times: TimeAuthority, **options: Any) -> str:
    content = envelope(kind, SHORT, target(str(DIGEST)), **options)
    trust = Trust(
        anchors=(ROOT.certificate,),
        identities=("CN=build",),
        time_anchors=tuple(one.root.certificate for one in times),
    )
    return verify_envelope(content, kind, trust, DIGEST, now)


def broken(token: bytes) -> bytes:
    """The token with a bit of its signature turned."""
    return token[:-1] + bytes([token[-1] ^ 1])


@BOTH
def test_a_stamped_signature_outlives_its_certificate(kind: str) -> None:
    assert verify(kind, LATER, TIME, stamp=TIME.token) == "CN=build"
    assert verify(kind, LATER, STRANGER, TIME, stamp=TIME.token) == "CN=build"
    with pytest.raises(RefusedError, match="isn't valid"):
        verify(kind, LATER, TIME)


@BOTH
def test_without_a_trust_store_for_time_the_certificate_is_valid_now(kind: str) -> None:
    assert verify(kind, NOW, stamp=TIME.token) == "CN=build"
    with pytest.raises(RefusedError, match="isn't valid"):
        verify(kind, LATER, stamp=TIME.token)


@BOTH
@pytest.mark.parametrize("when", [NOW - DAY - SECOND, NOW + DAY + SECOND, NOW + DAY])
def test_a_stamp_outside_the_certificates_life_is_refused(kind: str, when: datetime) -> None:
    with pytest.raises(RefusedError, match="isn't valid"):
        verify(kind, NOW, TIME, stamp=lambda signature: TIME.token(signature, when))


@BOTH
def test_a_stamp_that_does_not_count_is_refused(kind: str) -> None:
    short = TimeAuthority(number=40, purpose=ExtendedKeyUsageOID.CODE_SIGNING)
    for times, stamp in (
        ((TIME,), STRANGER.token),
        ((TIME,), lambda _: TIME.token(b"something else")),
        ((TIME,), lambda signature: TIME.token(signature)[:-1]),
        ((TIME,), lambda signature: broken(TIME.token(signature))),
        ((TIME,), lambda signature: TIME.token(signature, NOW + 400 * DAY)),
        ((short,), short.token),
        ((TIME,), lambda _: b""),
        ((TIME,), lambda _: b"\x30" * (64 * 1024 + 1)),
    ):
        for now in (NOW, LATER):
            with pytest.raises(RefusedError, match="time stamp"):
                verify(kind, now, *times, stamp=stamp)


def test_a_token_is_as_exact_as_it_says() -> None:
    anchors = [TIME.root.certificate]
    for accuracy, margin in ((None, 1), (1, 1), (60, 60)):
        token = TIME.token(b"message", accuracy=accuracy)
        span = timedelta(seconds=margin)
        assert stamped_between(token, b"message", anchors) == (NOW - span, NOW + span)


def test_the_order_of_a_tokens_certificates_does_not_matter() -> None:
    hashed = hashlib.sha256(b"message").digest()
    orders = [TIME.token_of(hashed, upside_down=turned) for turned in (False, True)]
    assert orders[0] != orders[1]
    found = {stamped_between(token, b"message", [TIME.root.certificate]) for token in orders}
    assert found == {(NOW - SECOND, NOW + SECOND)}


def test_a_token_changed_anywhere_is_never_taken_for_another_time() -> None:
    token = TIME.token(b"message")
    said = (NOW - SECOND, NOW + SECOND)
    for place in range(0, len(token), 3):
        changed = bytearray(token)
        changed[place] ^= 1
        try:
            found = stamped_between(bytes(changed), b"message", [TIME.root.certificate])
        except RefusedError:
            continue
        assert found == said, place
