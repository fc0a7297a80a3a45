"""Keyless signatures of cosign: what one of the named identities has signed counts, with all evidence, and nothing else does."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from basetracker.adapters.gates.signature.documents import RefusedError
from basetracker.adapters.gates.signature.keyless import KeylessTrust, read_root, verify_keyless
from basetracker.api.gate_signature import KeylessIdentity
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest

from .authorities import DAY, NOW, TimeAuthority, ec_key
from .certificate_log import CertificateLog
from .signers import bundle, statement
from .sigstores import (
    ACTIONS,
    MINUTE,
    PERSON,
    SHOP,
    WORKFLOW,
    Sigstore,
    Who,
    entry_of,
)

DIGEST, OTHER = Digest.of(b"checkout"), Digest.of(b"cart")
GOOD, WRONG = statement(str(DIGEST)), statement(str(OTHER))
OURS, THEIRS = Sigstore(), Sigstore(time=TimeAuthority(number=30))
EXACT: dict[str, Any] = {"issuer": ACTIONS, "subject": WORKFLOW}
Json = dict[str, Any]


def trusting(*identities: Json, root: bytes | None = None) -> KeylessTrust:
    named = [KeylessIdentity.model_validate(one) for one in identities or [EXACT]]
    return KeylessTrust(root=read_root(root or OURS.trusted_root(), "the entry"), identities=named)


TRUST = trusting()


def refusal(content: bytes, trust: KeylessTrust = TRUST, digest: Digest = DIGEST) -> str:
    """Why a bundle counts for nothing."""
    with pytest.raises(RefusedError) as caught:
        verify_keyless(content, trust, digest)
    return str(caught.value)


def changed(content: bytes, *path: Any, to: Any) -> bytes:
    """A bundle with something else at this place."""
    document = json.loads(content)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return json.dumps(document).encode()


ENTRY = ("verificationMaterial", "tlogEntries", 0)


@pytest.mark.parametrize(("logged", "stamped"), [("v2", True), ("first", True), ("v1", False), ("v1", True)], ids=str)
def test_what_a_named_identity_has_signed_counts(logged: str, stamped: bool) -> None:
    said = verify_keyless(OURS.bundle(GOOD, logged=logged, stamped=stamped), TRUST, DIGEST)
    assert said == f"{WORKFLOW} of {ACTIONS}"


@pytest.mark.parametrize(
    ("who", "identity"),
    [
        (PERSON, {"issuer": PERSON.issuer, "subject": PERSON.subject}),
        (PERSON, {"issuer": PERSON.issuer, "subjectPattern": "*@contoso.com"}),
        (Who(), {"issuer": ACTIONS, "subjectPattern": f"{SHOP}/.github/workflows/*@refs/heads/main"}),
        (Who(), EXACT | {"sourceRepository": SHOP, "sourceRef": "refs/heads/main"}),
        (Who(repository=None, ref=None), EXACT),
    ],
)
def test_every_way_to_name_an_identity(who: Who, identity: Json) -> None:
    content = OURS.bundle(GOOD, who)
    assert verify_keyless(content, trusting(identity), DIGEST).startswith(who.subject)
    stranger = {"issuer": ACTIONS, "subject": "https://github.com/contoso/other"}
    assert verify_keyless(content, trusting(stranger, identity), DIGEST).startswith(who.subject)


@pytest.mark.parametrize(
    ("who", "identity"),
    [
        (Who(subject=WORKFLOW.replace("main", "next")), EXACT),
        (Who(subject=WORKFLOW + "x"), EXACT),
        (Who(subject=WORKFLOW.upper()), EXACT),
        (Who(issuer="https://token.actions.githubusercontent.com.evil.test"), EXACT),
        (Who(issuer=ACTIONS + "/"), EXACT),
        (Who(issuer=None), EXACT),
        (PERSON, {"issuer": ACTIONS, "subject": PERSON.subject}),
        (PERSON, {"issuer": PERSON.issuer, "subjectPattern": "*@contoso.co"}),
        (Who(), {"issuer": ACTIONS, "subjectPattern": "https://github.com/contoso/*"}),
        (Who(), EXACT | {"sourceRepository": SHOP + "2"}),
        (Who(), EXACT | {"sourceRepository": SHOP, "sourceRef": "refs/heads/next"}),
        (Who(repository=None, ref=None), EXACT | {"sourceRepository": SHOP}),
        (Who(ref=None), EXACT | {"sourceRepository": SHOP, "sourceRef": "refs/heads/main"}),
    ],
)
def test_a_stranger_is_none_of_them_and_is_told(who: Who, identity: Json) -> None:
    words = refusal(OURS.bundle(GOOD, who), trusting(identity))
    assert words.startswith(f"is by {who.subject} of {who.issuer or 'nobody'}")
    assert words.endswith("which is none of the identities")


def test_where_a_stranger_ran_is_told() -> None:
    words = refusal(
        OURS.bundle(GOOD, Who(repository="https://github.com/evil/fork")), trusting(EXACT | {"sourceRepository": SHOP})
    )
    assert " in https://github.com/evil/fork at refs/heads/main, which is none" in words


def test_what_a_stranger_is_called_is_bounded_and_plain() -> None:
    words = refusal(OURS.bundle(GOOD, Who(subject="https://evil.test/" + "a" * 5000, issuer="x\n\u202ey")))
    assert len(words) < 700
    assert re.fullmatch("[ -~…]+", words)


def lost_proof() -> bytes:
    document = json.loads(OURS.bundle(GOOD))
    del document["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    return json.dumps(document).encode()


def another_entry() -> bytes:
    """A bundle with a good entry of the log, of another signature by the same identity."""
    by = OURS.certificate(Who())
    other = json.loads(OURS.bundle(WRONG, by=by))["verificationMaterial"]["tlogEntries"][0]
    return changed(OURS.bundle(GOOD, by=by), *ENTRY, to=other)


def own_log() -> bytes:
    """An entry of a log that isn't trusted, under the id of the one that is."""
    entry = json.loads(THEIRS.bundle(GOOD, by=OURS.certificate(Who())))["verificationMaterial"]["tlogEntries"][0]
    mine = json.loads(OURS.bundle(GOOD))["verificationMaterial"]["tlogEntries"][0]["logId"]
    return changed(OURS.bundle(GOOD), *ENTRY, to=entry | {"logId": mine})


def twice_signed() -> bytes:
    document = json.loads(OURS.bundle(GOOD))
    document["dsseEnvelope"]["signatures"] *= 2
    return json.dumps(document).encode()


def twice_logged() -> bytes:
    document = json.loads(OURS.bundle(GOOD))
    document["verificationMaterial"]["tlogEntries"] *= 2
    return json.dumps(document).encode()


EVIDENCE = "has a certificate that isn't of a trusted authority, or wasn't valid when it was made"
NO_LOG = "isn't in a trusted transparency log"
NO_TIME = "has no time that a trusted authority or log vouches for"
UNREADABLE = "has a bundle without a log entry, a proof or a certificate that can be read"
OTHER_ENTRY = "has the log entry of something else"

WRONG_ONES: dict[str, tuple[Callable[[], bytes], str]] = {
    "another digest": (lambda: OURS.bundle(WRONG), "is about another digest"),
    "another payload": (
        lambda: changed(OURS.bundle(WRONG), "dsseEnvelope", "payload", to=base64.b64encode(GOOD).decode()),
        "isn't made with the key of its certificate",
    ),
    "an attestation": (
        lambda: OURS.bundle(statement(str(DIGEST), predicateType="https://slsa.dev/provenance/v1")),
        "states something else",
    ),
    "another type of payload": (lambda: OURS.bundle(GOOD, kind="text/plain"), "without an in-toto statement"),
    "another Sigstore": (lambda: THEIRS.bundle(GOOD), "has no time that"),
    "another authority": (lambda: OURS.bundle(GOOD, by=THEIRS.certificate(Who(), promise=OURS.log)), EVIDENCE),
    "no certificate log that is trusted": (
        lambda: OURS.bundle(GOOD, by=OURS.certificate(Who(), promise=CertificateLog())),
        "has a certificate that no trusted certificate log has seen",
    ),
    "a certificate for servers": (
        lambda: OURS.bundle(GOOD, by=OURS.certificate(Who(), purpose=ExtendedKeyUsageOID.SERVER_AUTH)),
        "has a bundle that can't be verified",
    ),
    "stamped after the certificate's end": (lambda: OURS.bundle(GOOD, moment=NOW + 10 * MINUTE), EVIDENCE),
    "stamped before the certificate": (lambda: OURS.bundle(GOOD, moment=NOW - 2 * MINUTE), EVIDENCE),
    "logged after the certificate's end": (
        lambda: OURS.bundle(GOOD, moment=NOW + 10 * MINUTE, logged="v1", stamped=False),
        EVIDENCE,
    ),
    "no time at all": (lambda: OURS.bundle(GOOD, stamped=False), UNREADABLE),
    "the time stamp of a stranger": (
        lambda: changed(
            OURS.bundle(GOOD),
            "verificationMaterial",
            "timestampVerificationData",
            to=json.loads(THEIRS.bundle(GOOD))["verificationMaterial"]["timestampVerificationData"],
        ),
        NO_TIME,
    ),
    "the time stamp of another signature": (
        lambda: changed(
            OURS.bundle(GOOD),
            "verificationMaterial",
            "timestampVerificationData",
            to=json.loads(OURS.bundle(GOOD))["verificationMaterial"]["timestampVerificationData"],
        ),
        NO_TIME,
    ),
    "a promise of time that was changed": (
        lambda: changed(
            OURS.bundle(GOOD, logged="v1", stamped=False),
            *ENTRY,
            "integratedTime",
            to=str(int((NOW + MINUTE).timestamp())),
        ),
        NO_LOG,
    ),
    "no log entry": (lambda: changed(OURS.bundle(GOOD), "verificationMaterial", "tlogEntries", to=[]), "tlogEntries"),
    "two log entries": (twice_logged, UNREADABLE),
    "no proof": (lost_proof, "inclusionProof"),
    "a proof of another place": (
        lambda: changed(OURS.bundle(GOOD), *ENTRY, "inclusionProof", "logIndex", to="0"),
        NO_LOG,
    ),
    "the log entry of another signature": (another_entry, OTHER_ENTRY),
    "a log that isn't trusted": (own_log, NO_LOG),
    "two signatures in one envelope": (twice_signed, "has a bundle that can't be verified"),
    "a signature with a key": (lambda: bundle(ec_key(), GOOD), "is made with a key"),
    "another version": (
        lambda: OURS.bundle(GOOD, mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"),
        "another version",
    ),
    "no envelope": (lambda: OURS.bundle(GOOD, dsseEnvelope=None, messageSignature={}), "without dsseEnvelope"),
    "a name twice": (
        lambda: OURS.bundle(GOOD).replace(b'"dsseEnvelope"', b'"dsseEnvelope": {}, "dsseEnvelope"'),
        "can't be read",
    ),
    "nothing": (lambda: b"", "can't be read"),
    "an empty object": (lambda: b"{}", "another version"),
}


@pytest.mark.parametrize(("make", "words"), WRONG_ONES.values(), ids=WRONG_ONES)
def test_what_lacks_anything_is_refused_with_the_reason(make: Callable[[], bytes], words: str) -> None:
    assert words in refusal(make())


def test_the_log_has_to_know_this_certificate() -> None:
    """An entry that names the same signature, but as another's."""
    by, other = OURS.certificate(Who()), OURS.certificate(PERSON)
    content = json.loads(OURS.bundle(GOOD, by=by))
    kind, signature = "application/vnd.in-toto+json", base64.b64decode(content["dsseEnvelope"]["signatures"][0]["sig"])
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(GOOD), GOOD)
    right = changed(json.dumps(content).encode(), *ENTRY, to=OURS.entry(entry_of(message, signature, by)))
    assert verify_keyless(right, TRUST, DIGEST)
    assert OTHER_ENTRY in refusal(changed(right, *ENTRY, to=OURS.entry(entry_of(message, signature, other))))


@pytest.mark.parametrize("logged", ["v1", "v2"])
def test_what_was_trusted_once_counts_for_its_time_and_for_no_other(logged: str) -> None:
    old = OURS.certificate(Who(), begins=NOW - 30 * DAY, ends=NOW - 30 * DAY + 10 * MINUTE)
    then = OURS.bundle(GOOD, by=old, moment=NOW - 30 * DAY + MINUTE, logged=logged)
    now = OURS.bundle(GOOD, logged=logged)
    lasting = OURS.certificate(Who(), begins=NOW - 30 * DAY, ends=NOW + DAY)
    assert verify_keyless(then, TRUST, DIGEST)
    for root in (OURS.trusted_root(ends=NOW - 20 * DAY), OURS.trusted_root(logs_end=NOW - 20 * DAY)):
        retired = trusting(root=root)
        assert verify_keyless(then, retired, DIGEST)
        refusal(now, retired)
    refusal(OURS.bundle(GOOD, by=lasting, logged=logged), trusting(root=OURS.trusted_root(ends=NOW - 20 * DAY)))


def test_a_root_without_an_authority_for_time_takes_the_time_of_the_log_alone() -> None:
    trust = trusting(root=OURS.trusted_root(timestampAuthorities=[]))
    assert verify_keyless(OURS.bundle(GOOD, logged="v1", stamped=False), trust, DIGEST)
    assert "names no authority for time" in refusal(OURS.bundle(GOOD), trust)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        OURS.trusted_root(mediaType="application/vnd.dev.sigstore.trustedroot+json;version=9"),
        OURS.trusted_root(tlogs=[]),
        OURS.trusted_root(ctlogs=[]),
        OURS.trusted_root(certificateAuthorities=[]),
        OURS.trusted_root(certificateAuthorities=[{"subject": {"organization": "x", "commonName": "y"}}]),
        OURS.trusted_root(timestampAuthorities="x"),
        OURS.trusted_root(unknown=1),
    ],
)
def test_a_root_that_can_not_be_used_is_a_matter_for_a_person(content: bytes) -> None:
    with pytest.raises(InvalidError, match="holds no trusted root of a Sigstore"):
        read_root(content, "the entry")


def test_a_root_has_bounds() -> None:
    with pytest.raises(InvalidError, match="is larger than a trusted root ever is"):
        read_root(b" " * (512 * 1024 + 1), "the entry")


BUNDLES = [OURS.bundle(GOOD), OURS.bundle(GOOD, logged="v1", stamped=False)]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_changed_anywhere_never_says_something_else(data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(BUNDLES))
    start, length = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 4))
    content = good[:start] + data.draw(st.binary(max_size=4)) + good[start + length :]
    refusal(content, digest=OTHER)
    refusal(content, trusting(EXACT | {"subject": "https://github.com/contoso/other"}))
    with suppress(RefusedError):
        assert verify_keyless(content, TRUST, DIGEST) == f"{WORKFLOW} of {ACTIONS}"


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from(["AAAA", "1", "MAA="]))
VALUES = st.recursive(
    LEAVES,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "rawBytes",
                    "tlogEntries",
                    "inclusionProof",
                    "checkpoint",
                    "envelope",
                    "hashes",
                    "logId",
                    "keyId",
                    "sig",
                ]
            ),
            below,
            max_size=4,
        ),
    ),
    max_leaves=10,
)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_stands_at_any_place_is_refused_or_harmless(data: st.DataObject) -> None:
    document = json.loads(data.draw(st.sampled_from(BUNDLES)))
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(VALUES)
    refusal(json.dumps(document).encode(), digest=OTHER)
    with suppress(RefusedError):
        verify_keyless(json.dumps(document).encode(), TRUST, DIGEST)
