"""A Sigstore of the tests' own: its authorities, its logs, and bundles as cosign makes them with it, right and wrong in every way.

Owns these formats once more, written from the specifications. The e2e tests show that cosign takes the same material for valid,
and that real services make what the product takes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from .authorities import DAY, NOW, TimeAuthority, authority_extensions, der, integer, name, seq, usage
from .certificate_log import CertificateLog

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
STATEMENT = "application/vnd.in-toto+json"
ACTIONS = "https://token.actions.githubusercontent.com"
SHOP = "https://github.com/contoso/shop"
WORKFLOW = f"{SHOP}/.github/workflows/release.yml@refs/heads/main"
MINUTE = timedelta(minutes=1)
SHA256 = ec.ECDSA(hashes.SHA256())
ORIGIN = "log.test"
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Who:
    """Whom a certificate is of, as Fulcio writes it; None leaves an extension out."""

    subject: str = WORKFLOW
    issuer: str | None = ACTIONS
    repository: str | None = SHOP
    ref: str | None = "refs/heads/main"

    def extensions(self) -> list[tuple[x509.ExtensionType, bool]]:
        is_uri = "://" in self.subject
        names = [x509.UniformResourceIdentifier(self.subject) if is_uri else x509.RFC822Name(self.subject)]
        told = {"8": self.issuer, "12": self.repository, "14": self.ref}
        return [
            (x509.SubjectAlternativeName(names), True),
            *((_told(number, text), False) for number, text in told.items() if text is not None),
        ]


PERSON = Who(subject="build@contoso.com", issuer="https://login.contoso.com", repository=None, ref=None)


@dataclass
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def raw(self) -> str:
        return _base64(self.certificate.public_bytes(serialization.Encoding.DER))


@dataclass
class Sigstore:
    """One instance with keys of its own."""

    log: CertificateLog = field(default_factory=CertificateLog)
    rekor: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    time: TimeAuthority = field(default_factory=TimeAuthority)
    root: Issued = field(init=False)
    fulcio: Issued = field(init=False)

    def __post_init__(self) -> None:
        self.root = _authority("Root", None)
        self.fulcio = _authority("Fulcio", self.root)

    def trusted_root(self, *, ends: datetime | None = None, logs_end: datetime | None = None, **changes: Any) -> bytes:
        """What clients trust; `ends` is when its authorities did, `logs_end` when its logs did."""
        span = _span(ends)
        times = [self.time.holder.certificate, *self.time.holder.above]
        document = {
            "mediaType": ROOT,
            "tlogs": [_log(self.rekor, logs_end)],
            "ctlogs": [_log(self.log.key, logs_end)],
            "certificateAuthorities": [_named([self.fulcio.certificate, self.root.certificate], span)],
            "timestampAuthorities": [_named(times, _span(None))],
        }
        return json.dumps(document | changes).encode()

    def certificate(
        self,
        who: Who,
        *,
        begins: datetime = NOW - MINUTE,
        ends: datetime = NOW + 9 * MINUTE,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
        promise: CertificateLog | None = None,
    ) -> Issued:
        """A certificate for minutes, with the promise of a certificate log; by default of this instance's."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.fulcio
        builder = x509.CertificateBuilder(
            issuer.certificate.subject, x509.Name([]), key.public_key(), x509.random_serial_number(), begins, ends
        )
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        for extension, critical in [
            (usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([purpose]), False),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (authority, False),
            *who.extensions(),
        ]:
            builder = builder.add_extension(extension, critical)
        poisoned = builder.add_extension(x509.PrecertPoison(), True).sign(issuer.key, hashes.SHA256())
        log, moment = promise or self.log, int(begins.timestamp() * 1000)
        signature = log.add(poisoned.public_bytes(serialization.Encoding.DER), issuer.certificate, moment)
        stamps = x509.UnrecognizedExtension(
            ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS, log.stamp_list(signature, moment)
        )
        return Issued(builder.add_extension(stamps, False).sign(issuer.key, hashes.SHA256()), key)

    def bundle(
        self,
        payload: bytes,
        who: Who | None = None,
        *,
        by: Issued | None = None,
        moment: datetime = NOW,
        kind: str = STATEMENT,
        logged: str = "v2",
        stamped: bool = True,
        **changes: Any,
    ) -> bytes:
        """cosign's bundle over a statement, with its entry in Rekor: of version 2, of version 1 (`v1`), or the first of a log."""
        by = by or self.certificate(who or Who())
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
        signature = by.key.sign(message, SHA256)
        entry = {
            "v2": lambda: self.entry(entry_of(message, signature, by)),
            "first": lambda: self.first_entry(entry_of(message, signature, by)),
            "v1": lambda: self.old_entry(old_entry_of(payload, signature, by), moment),
        }[logged]()
        material: Json = {"certificate": {"rawBytes": by.raw}, "tlogEntries": [entry]}
        if stamped:
            response = seq(seq(integer(0)), self.time.token(signature, moment))
            material["timestampVerificationData"] = {"rfc3161Timestamps": [{"signedTimestamp": _base64(response)}]}
        envelope = {
            "payload": _base64(payload),
            "payloadType": kind,
            "signatures": [{"sig": _base64(signature)}],
        }
        whole = {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}
        return json.dumps(whole | changes).encode()

    def entry(self, body: bytes, *, kind: str = "hashedrekord", version: str = "0.0.2") -> Json:
        """The second entry of a log of two, with its proof."""
        sibling = _leaf(b"another entry")
        proof = {"logIndex": "1", "treeSize": "2", "hashes": [_base64(sibling)]}
        top = hashlib.sha256(b"\1" + sibling + _leaf(body)).digest()
        return self._proven(body, top, proof, kind, version) | {"logIndex": "1"}

    def first_entry(self, body: bytes) -> Json:
        """The only entry of a log, without the zeros, as protobuf writes JSON."""
        return self._proven(body, _leaf(body), {"treeSize": "1"}, "hashedrekord", "0.0.2")

    def old_entry(self, body: bytes, moment: datetime) -> Json:
        """An entry of Rekor 1, which promises the time itself."""
        seconds = int(moment.timestamp())
        promised = {
            "body": _base64(body),
            "integratedTime": seconds,
            "logID": _key_id(self.rekor).hex(),
            "logIndex": 1,
        }
        canonical = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
        promise = {"signedEntryTimestamp": _base64(self.rekor.sign(canonical, SHA256))}
        entry = self.entry(body, kind="dsse", version="0.0.1")
        return entry | {"integratedTime": str(seconds), "inclusionPromise": promise}

    def _proven(self, body: bytes, top: bytes, proof: Json, kind: str, version: str) -> Json:
        tree = " - 4242" if version == "0.0.1" else ""
        note = f"{ORIGIN}{tree}\n{proof['treeSize']}\n{_base64(top)}\n"
        signature = _key_id(self.rekor)[:4] + self.rekor.sign(note.encode(), SHA256)
        checkpoint = {"envelope": f"{note}\n\u2014 {ORIGIN} {_base64(signature)}\n"}
        return {
            "logId": {"keyId": _base64(_key_id(self.rekor))},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": proof | {"rootHash": _base64(top), "checkpoint": checkpoint},
            "canonicalizedBody": _base64(body),
        }


def entry_of(message: bytes, signature: bytes, by: Issued) -> bytes:
    """What Rekor 2 writes down of a signature."""
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": by.raw}}
    record = {
        "data": {"algorithm": "SHA2_256", "digest": _base64(hashlib.sha256(message).digest())},
        "signature": {"content": _base64(signature), "verifier": verifier},
    }
    return _canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}})


def old_entry_of(payload: bytes, signature: bytes, by: Issued) -> bytes:
    """What Rekor 1 writes down of an envelope."""
    pem = by.certificate.public_bytes(serialization.Encoding.PEM)
    spec = {
        "envelopeHash": {"algorithm": "sha256", "value": "00" * 32},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
        "signatures": [{"signature": _base64(signature), "verifier": _base64(pem)}],
    }
    return _canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})


def _authority(common_name: str, above: Issued | None) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = name(O="Sigstore of a test", CN=common_name)
    signing = above.key if above else key
    builder = x509.CertificateBuilder(
        above.certificate.subject if above else subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        NOW - 400 * DAY,
        NOW + 400 * DAY,
    )
    for extension, critical in [
        *authority_extensions(),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]:
        builder = builder.add_extension(extension, critical)
    return Issued(builder.sign(signing, hashes.SHA256()), key)


def _told(number: str, text: str) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}"), der(0x0C, text.encode()))


def _span(ends: datetime | None) -> Json:
    span = {"start": _instant(NOW - 300 * DAY)}
    return span if ends is None else span | {"end": _instant(ends)}


def _named(chain: Sequence[x509.Certificate], span: Json) -> Json:
    certificates = [{"rawBytes": _base64(one.public_bytes(serialization.Encoding.DER))} for one in chain]
    subject = {"organization": "Sigstore of a test", "commonName": "an authority"}
    return {"subject": subject, "uri": "https://a.test", "certChain": {"certificates": certificates}, "validFor": span}


def _log(key: ec.EllipticCurvePrivateKey, ends: datetime | None) -> Json:
    public = {"rawBytes": _base64(_public(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": _span(ends)}
    return {
        "baseUrl": "https://log.test",
        "hashAlgorithm": "SHA2_256",
        "publicKey": public,
        "logId": {"keyId": _base64(_key_id(key))},
    }


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_public(key)).digest()


def _leaf(body: bytes) -> bytes:
    return hashlib.sha256(b"\0" + body).digest()


def _canonical(document: Json) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
