"""Signatures of Notation: each thing that has to hold, taken away one at a time."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from basetracker.adapters.gates.signature.certificates import read_store
from basetracker.adapters.gates.signature.documents import RefusedError
from basetracker.adapters.gates.signature.notation import Trust, verify_envelope
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest

from .authorities import (
    DAY,
    NOW,
    Holder,
    Key,
    authority_extensions,
    ec_key,
    name,
    root,
    rsa_key,
    self_signed,
    signing_extensions,
    usage,
)
from .signers import COSE, JWS, envelope, target

DIGEST = Digest.of(b"checkout")
OTHER = Digest.of(b"cart")
ROOT = root()
STRANGE_ROOT = root(11)
ISSUING = ROOT.authority()
SIGNER = ISSUING.signer()
CN = "CN=build"
BOTH = pytest.mark.parametrize("kind", [JWS, COSE], ids=["jws", "cose"])


def trust(*anchors: Holder, identities: tuple[str, ...] = (CN,)) -> Trust:
    return Trust(anchors=tuple(one.certificate for one in anchors or (ROOT,)), identities=identities)


def verify(kind: str, content: bytes, trusted: Trust | None = None, **options: Any) -> str:
    return verify_envelope(content, kind, trusted or trust(), options.get("digest", DIGEST), options.get("now", NOW))


def signed(kind: str, holder: Holder = SIGNER, **options: Any) -> bytes:
    return envelope(kind, holder, target(str(options.pop("digest", DIGEST))), **options)


def refuse(kind: str, content: bytes, words: str, trusted: Trust | None = None, **options: Any) -> None:
    with pytest.raises(RefusedError, match=words):
        verify(kind, content, trusted, **options)


@BOTH
def test_a_trusted_signature_counts(kind: str) -> None:
    assert verify(kind, signed(kind)) == CN
    assert verify(kind, signed(kind, expiry=NOW + DAY)) == CN


@BOTH
@pytest.mark.parametrize(
    "key", [rsa_key(3072), rsa_key(4096), ec_key(256), ec_key(384), ec_key(521)], ids=["ps384", "ps512", *"257"]
)
def test_every_algorithm_of_notary_project_counts(kind: str, key: Key) -> None:
    holder = ROOT.signer(key=key)
    assert verify(kind, signed(kind, holder)) == CN
    broken = bytearray(signed(kind, holder))
    broken[-8] ^= 1
    with pytest.raises(RefusedError):
        verify(kind, bytes(broken))


@BOTH
def test_another_digest_counts_for_nothing(kind: str) -> None:
    refuse(kind, signed(kind, digest=OTHER), "is about another digest")
    refuse(kind, signed(kind), "is about another digest", digest=OTHER)


def test_a_payload_that_was_changed_is_refused() -> None:
    whole = json.loads(signed(JWS, digest=OTHER))
    whole["payload"] = base64.urlsafe_b64encode(target(str(DIGEST))).decode().rstrip("=")
    refuse(JWS, json.dumps(whole).encode(), "doesn't match its certificate")
    head, beside, _, signature = cbor2.loads(signed(COSE, digest=OTHER)).value
    changed = cbor2.CBORTag(18, [head, beside, target(str(DIGEST)), signature])
    refuse(COSE, cbor2.dumps(changed), "doesn't match its certificate")


@BOTH
def test_another_kind_of_payload_is_refused(kind: str) -> None:
    for payload, words in (
        (b"", "can't be read"),
        (b"[]", "can't be read"),
        (b"{}", "without targetArtifact"),
        (b'{"targetArtifact": []}', "without targetArtifact"),
        (target(""), "another digest"),
        (b'{"targetArtifact": {"digest": ["%s"]}}' % str(DIGEST).encode(), "another digest"),
        (target(str(OTHER))[:-1] + b',"targetArtifact":' + target(str(DIGEST))[18:], "can't be read"),
    ):
        refuse(kind, envelope(kind, SIGNER, payload), words)


@BOTH
def test_the_trust_store_decides(kind: str) -> None:
    refuse(kind, signed(kind), "leads to none in the trust store", trust(STRANGE_ROOT))
    assert verify(kind, signed(kind), trust(STRANGE_ROOT, ROOT)) == CN
    assert verify(kind, signed(kind), trust(ISSUING)) == CN, "an authority in between can be the anchor"
    stranger = STRANGE_ROOT.authority().signer()
    refuse(kind, signed(kind, stranger), "leads to none in the trust store")
    refuse(
        kind,
        signed(kind, stranger, chain=(*stranger.chain[:2], ROOT.certificate)),
        "leads to none in the trust store",
    )
    refuse(kind, signed(kind, chain=(SIGNER.certificate,)), "leads to none in the trust store")


@BOTH
def test_the_certificate_has_to_be_the_signers(kind: str) -> None:
    stranger = ISSUING.signer(key=rsa_key(number=5))
    refuse(kind, signed(kind, stranger, chain=SIGNER.chain), "doesn't match its certificate")


@BOTH
def test_a_signer_that_vouches_for_itself_has_to_be_in_the_trust_store(kind: str) -> None:
    own = self_signed()
    named = ("x509.subject: C=US, ST=WA, O=Notary, CN=wabbit",)
    assert verify(kind, signed(kind, own), trust(own, identities=named)) == named[0]
    refuse(kind, signed(kind, own), "leads to none in the trust store", trust(identities=named))
    refuse(kind, signed(kind, own), "isn't valid", trust(own, identities=named), now=NOW + 2 * DAY)
    refuse(kind, signed(kind), "where its authority's belongs", trust(SIGNER))


@BOTH
def test_certificates_are_valid_now(kind: str) -> None:
    short = ISSUING.signer(begins=NOW - DAY, ends=NOW + DAY)
    assert verify(kind, signed(kind, short)) == CN
    for now in (NOW + DAY + timedelta(seconds=1), NOW - DAY - timedelta(seconds=1)):
        refuse(kind, signed(kind, short), "isn't valid", now=now)
    old = ROOT.issue(name(CN="Old"), rsa_key(number=7), *authority_extensions(), ends=NOW + DAY)
    refuse(kind, signed(kind, old.signer()), "isn't valid", now=NOW + 2 * DAY)


@BOTH
def test_an_expired_signature_is_refused(kind: str) -> None:
    content = signed(kind, expiry=NOW)
    refuse(kind, content, "has expired")
    assert verify(kind, content, now=NOW - timedelta(seconds=1)) == CN


BAD_SIGNERS: list[tuple[str, list[tuple[x509.ExtensionType, bool]]]] = [
    ("no extensions", []),
    ("no purposes", [(usage("digital_signature"), True)]),
    ("no usage", [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)]),
    ("for servers", signing_extensions(ExtendedKeyUsageOID.SERVER_AUTH)),
    ("for servers too", signing_extensions(ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH)),
    (
        "for anything",
        signing_extensions(ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
    ),
    ("for time", signing_extensions(ExtendedKeyUsageOID.TIME_STAMPING)),
    ("not for signatures", signing_extensions(usages=("key_encipherment",))),
    ("for certificates", signing_extensions(usages=("digital_signature", "key_cert_sign"))),
    ("an authority", [*signing_extensions(), (x509.BasicConstraints(ca=True, path_length=None), True)]),
    (
        "with a critical extension that nobody knows",
        [*signing_extensions(), (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.2"), b"x"), True)],
    ),
]


@BOTH
@pytest.mark.parametrize(("why", "extensions"), BAD_SIGNERS, ids=[why for why, _ in BAD_SIGNERS])
def test_a_certificate_that_is_not_for_code_is_refused(
    kind: str, why: str, extensions: list[tuple[x509.ExtensionType, bool]]
) -> None:
    holder = ROOT.issue(name(CN="build"), rsa_key(), *extensions)
    refuse(kind, signed(kind, holder), "for signing code|leads to none")


BAD_AUTHORITIES: list[tuple[str, list[tuple[x509.ExtensionType, bool]]]] = [
    ("no authority", signing_extensions()),
    ("no constraints", [(usage("key_cert_sign"), True)]),
    ("constraints that say no", [(x509.BasicConstraints(False, None), True), (usage("key_cert_sign"), True)]),
    (
        "constraints that need not be heeded",
        [(x509.BasicConstraints(True, None), False), (usage("key_cert_sign"), True)],
    ),
    ("no usage", [(x509.BasicConstraints(True, None), True)]),
    ("a usage that says no", [(x509.BasicConstraints(True, None), True), (usage("crl_sign"), True)]),
    (
        "names that it may not vouch for",
        [
            *authority_extensions(),
            (x509.NameConstraints([x509.DirectoryName(name(O="Fabrikam"))], None), True),
        ],
    ),
    (
        "a critical extension that nobody knows",
        [
            *authority_extensions(),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.2"), b"x"), True),
        ],
    ),
]


@BOTH
@pytest.mark.parametrize(("why", "extensions"), BAD_AUTHORITIES, ids=[why for why, _ in BAD_AUTHORITIES])
def test_whoever_may_not_issue_certificates_does_not(
    kind: str, why: str, extensions: list[tuple[x509.ExtensionType, bool]]
) -> None:
    between = ROOT.issue(name(CN="Issuing"), rsa_key(number=8), *extensions)
    refuse(kind, signed(kind, between.signer()), "leads to none in the trust store")


@BOTH
def test_the_length_of_a_path_is_heeded(kind: str) -> None:
    short = root(12, length=0)
    assert verify(kind, signed(kind, short.signer()), trust(short)) == CN
    refuse(kind, signed(kind, short.authority().signer()), "leads to none in the trust store", trust(short))
    deep = ROOT
    for number in range(12):
        deep = deep.authority(number)
    refuse(kind, signed(kind, deep.signer()), "usable (x5c|certificates)")


@BOTH
@pytest.mark.parametrize(
    ("identities", "who"),
    [
        (("CN=build",), 0),
        (("x509.subject: C=US, ST=WA, O=Contoso, CN=build",), 0),
        (("x509.subject:CN=build,C=US",), 0),
        (("CN=nobody", "O=Contoso"), 1),
        (("CN=builder",), None),
        (("CN=Build",), None),
        (("CN=buil",), None),
        (("CN=build, O=Fabrikam",), None),
        (("CN=build, OU=Platform",), None),
        (("O=build",), None),
        ((), None),
    ],
)
def test_the_subject_holds_every_attribute_named(kind: str, identities: tuple[str, ...], who: int | None) -> None:
    if who is None:
        refuse(kind, signed(kind), "somebody who isn't among the identities", trust(identities=identities))
    else:
        assert verify(kind, signed(kind), trust(identities=identities)) == identities[who]


@BOTH
def test_a_second_value_is_not_hidden_behind_the_first(kind: str) -> None:
    twice = ISSUING.signer(name(O="Contoso", CN="evil|build"))
    refuse(kind, signed(kind, twice), "somebody who isn't among the identities")
    assert verify(kind, signed(kind, twice), trust(identities=("CN=build, CN=evil",))) == "CN=build, CN=evil"
    comma = ISSUING.signer(name(O="Contoso, CN=build", CN="evil"))
    refuse(kind, signed(kind, comma), "somebody who isn't among the identities")
    escaped = ("O=Contoso\\, CN\\=build",)
    assert verify(kind, signed(kind, comma), trust(identities=escaped)) == escaped[0]


SCHEME = "io.cncf.notary.signingScheme"
AUTHORITY = "notary.x509.signingAuthority"
HEADERS: list[tuple[str, dict[str, Any], str]] = [
    (
        "unknown critical",
        {"crit": [SCHEME, "com.example.rule"], "com.example.rule": 1},
        "critical header that isn't known",
    ),
    ("plugin", {"crit": [SCHEME, "io.cncf.notary.verificationPlugin"]}, "critical header that isn't known"),
    ("critical but absent", {"crit": [SCHEME, "io.cncf.notary.expiry"]}, "critical headers that don't fit"),
    ("nothing critical", {"crit": None}, "critical headers that don't fit"),
    ("no list", {"crit": SCHEME}, "critical headers that don't fit"),
    ("no names", {"crit": [SCHEME, 7]}, "critical header that isn't known"),
    ("nested", {"crit": [[SCHEME]]}, "critical header that isn't known"),
    ("scheme unknown", {SCHEME: "notary.x510"}, "signing scheme that isn't known"),
    ("scheme absent", {SCHEME: None}, "critical headers that don't fit"),
    ("authority", {SCHEME: AUTHORITY}, "signingAuthority, which isn't supported"),
    (
        "authority with its time",
        {SCHEME: AUTHORITY, "crit": [SCHEME, "io.cncf.notary.authenticSigningTime"]},
        "signingAuthority, which isn't supported",
    ),
    ("expiry not critical", {"io.cncf.notary.expiry": "2030-01-01T00:00:00Z"}, "critical headers that don't fit"),
    (
        "expiry unreadable",
        {"crit": [SCHEME, "io.cncf.notary.expiry"], "io.cncf.notary.expiry": "soon"},
        "expiry that can't be read",
    ),
    (
        "expiry without a zone",
        {"crit": [SCHEME, "io.cncf.notary.expiry"], "io.cncf.notary.expiry": "2030-01-01T00:00:00"},
        "expiry that can't be read",
    ),
    (
        "expiry before all time",
        {"crit": [SCHEME, "io.cncf.notary.expiry"], "io.cncf.notary.expiry": "0001-01-01T00:00:00+09:00"},
        "expiry that can't be read",
    ),
    ("other content", {"cty": "text/plain"}, "payload of another kind"),
    ("no content type", {"cty": None}, "payload of another kind"),
    ("no algorithm", {"alg": None}, "algorithm that doesn't fit"),
    ("weaker padding", {"alg": "RS256"}, "algorithm that doesn't fit"),
    ("none", {"alg": "none"}, "algorithm that doesn't fit"),
    ("a list", {"alg": ["PS256"]}, "algorithm that doesn't fit"),
]


@BOTH
@pytest.mark.parametrize(("why", "headers", "words"), HEADERS, ids=[why for why, _, _ in HEADERS])
def test_headers_that_are_not_understood_are_refused(kind: str, why: str, headers: dict[str, Any], words: str) -> None:
    refuse(kind, signed(kind, protected=headers), words)


@BOTH
def test_the_algorithm_is_the_keys(kind: str) -> None:
    refuse(kind, signed(kind, algorithm="PS512"), "algorithm that doesn't fit")
    odd = ROOT.signer(key=rsa_key(2560))
    refuse(kind, signed(kind, odd, algorithm="PS256"), "key that isn't used")
    curve = ROOT.signer(key=ec.generate_private_key(ec.SECP256K1()))
    refuse(kind, signed(kind, curve, algorithm="ES256"), "key that isn't used")


def test_an_envelope_of_another_kind_is_refused() -> None:
    refuse("application/octet-stream", signed(JWS), "neither JWS nor COSE")
    refuse(JWS, signed(COSE), "can't be read")
    refuse(COSE, signed(JWS), "single signer|can't be read")
    refuse(JWS, b" " * (256 * 1024 + 1), "larger than")


def test_a_trust_store_holds_certificates_and_nothing_else() -> None:
    both = read_store({"b.crt": ISSUING.pem, "a.crt": ROOT.pem + STRANGE_ROOT.pem}, "the ConfigMap shop/ca")
    assert both == (ROOT.certificate, STRANGE_ROOT.certificate, ISSUING.certificate)
    binary = ROOT.certificate.public_bytes(serialization.Encoding.DER)
    assert read_store({"a.crt": binary}, "the ConfigMap shop/ca") == (ROOT.certificate,)
    for entries, words in (
        ({"a.crt": binary[:-1]}, "no certificate in PEM or DER in a.crt"),
        ({}, "holds 0 certificates"),
        ({"a.crt": b""}, "no certificate in PEM or DER in a.crt"),
        ({"a.crt": ROOT.pem, "note": b"hello"}, "no certificate in PEM or DER in note"),
        ({"a.crt": ROOT.pem.replace(b"MII", b"AAA", 1)}, "no certificate in PEM or DER in a.crt"),
        ({"tls.crt": ROOT.pem, "tls.key": ROOT.key_pem}, "a private key in tls.key"),
        ({"a.crt": ROOT.pem * 201}, "holds 201 certificates"),
    ):
        with pytest.raises(InvalidError, match=words):
            read_store(entries, "the ConfigMap shop/ca")
