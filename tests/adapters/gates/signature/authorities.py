"""Certificate authorities of the tests: for code signing, and for time.

Owns certificates of every shape that a verifier has to take or refuse, and RFC 3161 tokens in DER. Used by `signers.py`, the
tests here, and those with the real tools.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
NAMES = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}
CODE_SIGNING = (ExtendedKeyUsageOID.CODE_SIGNING,)


@cache
def rsa_key(size: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """An RSA key; the same one for the same arguments, since making one takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


@cache
def ec_key(bits: int = 256, number: int = 0) -> ec.EllipticCurvePrivateKey:
    """An ECDSA key; the same one for the same arguments."""
    return ec.generate_private_key({256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}[bits])


def name(**parts: str) -> x509.Name:
    """A subject of these attributes, in this order; a value with `|` stands for the attribute twice."""
    return x509.Name(
        [x509.NameAttribute(NAMES[key], value) for key, values in parts.items() for value in values.split("|")]
    )


def usage(*names: str) -> x509.KeyUsage:
    """Key usage with just these."""
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{one: one in names for one in every})


@dataclass(frozen=True)
class Holder:
    """A certificate with its key, and those above it."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        return (self.certificate, *self.above)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def issue(
        self,
        subject: x509.Name,
        key: Key,
        *extensions: tuple[x509.ExtensionType, bool],
        begins: datetime = NOW - DAY,
        ends: datetime = NOW + 365 * DAY,
    ) -> Holder:
        """A certificate below this one."""
        made = _certificate(subject, key, self.certificate.subject, self.key, extensions, begins, ends)
        return Holder(made, key, self.chain)

    def signer(
        self,
        subject: x509.Name | None = None,
        key: Key | None = None,
        *,
        begins: datetime = NOW - DAY,
        ends: datetime = NOW + 365 * DAY,
    ) -> Holder:
        """A certificate for signing code."""
        return self.issue(
            subject or name(C="US", ST="WA", O="Contoso", CN="build"),
            key or rsa_key(),
            *signing_extensions(),
            begins=begins,
            ends=ends,
        )

    def authority(self, number: int = 1, *, length: int | None = None, **more: x509.ExtensionType) -> Holder:
        """An authority below this one."""
        extensions = [*authority_extensions(length), *((one, True) for one in more.values())]
        return self.issue(name(O="Contoso", CN=f"Issuing {number}"), rsa_key(number=number), *extensions)


def signing_extensions(
    *purposes: x509.ObjectIdentifier, usages: Sequence[str] = ("digital_signature",)
) -> list[tuple[x509.ExtensionType, bool]]:
    """What a certificate for signing code has."""
    return [(usage(*usages), True), (x509.ExtendedKeyUsage(purposes or CODE_SIGNING), False)]


def authority_extensions(length: int | None = None) -> list[tuple[x509.ExtensionType, bool]]:
    """What an authority has."""
    return [
        (x509.BasicConstraints(ca=True, path_length=length), True),
        (usage("key_cert_sign", "crl_sign"), True),
    ]


def root(number: int = 10, *, common_name: str = "Root", length: int | None = None) -> Holder:
    """A root authority; another number has another key."""
    subject, key = name(O="Contoso", CN=common_name), rsa_key(number=number)
    made = _certificate(subject, key, subject, key, authority_extensions(length), NOW - 30 * DAY, NOW + 3650 * DAY)
    return Holder(made, key)


def self_signed(
    subject: x509.Name | None = None, *, begins: datetime = NOW - DAY, ends: datetime = NOW + DAY
) -> Holder:
    """A signer that vouches for itself, as `notation cert generate-test` makes one."""
    subject, key = subject or name(C="US", ST="WA", O="Notary", CN="wabbit"), rsa_key()
    return Holder(_certificate(subject, key, subject, key, signing_extensions(), begins, ends), key)


def _certificate(
    subject: x509.Name,
    key: Key,
    issuer: x509.Name,
    issuing: Key,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    begins: datetime,
    ends: datetime,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), begins, ends)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.public_key()), False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return builder.sign(issuing, hashes.SHA256())


class TimeAuthority:
    """An authority for time with a root of its own."""

    def __init__(self, *, number: int = 20, purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.TIME_STAMPING) -> None:
        self.root = root(number, common_name="Time Root")
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([purpose]), True),
        ]
        self.holder = self.root.issue(
            name(O="Contoso", CN="Time"), rsa_key(number=number + 1), *extensions, begins=NOW - 30 * DAY
        )

    def token(
        self, message: bytes, moment: datetime = NOW, *, accuracy: int | None = 1, nonce: int | None = None
    ) -> bytes:
        """An RFC 3161 token over `message`, in DER."""
        return self.token_of(hashlib.sha256(message).digest(), moment, accuracy=accuracy, nonce=nonce)

    def token_of(
        self,
        hashed: bytes,
        moment: datetime = NOW,
        *,
        accuracy: int | None = 1,
        nonce: int | None = None,
        upside_down: bool = False,
    ) -> bytes:
        """A token over a message of which only the SHA-256 is known; `upside_down` its certificates aren't as DER wants."""
        info = seq(
            integer(1),
            oid("1.3.6.1.4.1.99999.1"),
            seq(_SHA256, der(0x04, hashed)),
            integer(42),
            der(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode()),
            b"" if accuracy is None else seq(integer(accuracy)),
            b"" if nonce is None else integer(nonce),
        )
        certificate = self.holder.certificate
        encoded = certificate.public_bytes(serialization.Encoding.DER)
        attributes = sorted(
            [
                _attribute("1.2.840.113549.1.9.3", oid(_TST_INFO)),
                _attribute("1.2.840.113549.1.9.4", der(0x04, hashlib.sha256(info).digest())),
                _attribute("1.2.840.113549.1.9.16.2.47", seq(seq(seq(der(0x04, hashlib.sha256(encoded).digest()))))),
            ]
        )
        key = self.holder.key
        assert isinstance(key, rsa.RSAPrivateKey)
        signature = key.sign(der(0x31, b"".join(attributes)), padding.PKCS1v15(), hashes.SHA256())
        signer = seq(
            integer(1),
            seq(certificate.issuer.public_bytes(), integer(certificate.serial_number)),
            _SHA256,
            der(0xA0, b"".join(attributes)),
            seq(oid("1.2.840.113549.1.1.1"), b"\x05\x00"),
            der(0x04, signature),
        )
        above = [one.public_bytes(serialization.Encoding.DER) for one in self.holder.above]
        signed = seq(
            integer(3),
            der(0x31, _SHA256),
            seq(oid(_TST_INFO), der(0xA0, der(0x04, info))),
            der(0xA0, b"".join(sorted([encoded, *above], reverse=upside_down))),
            der(0x31, signer),
        )
        return seq(oid("1.2.840.113549.1.7.2"), der(0xA0, signed))


def der(tag: int, content: bytes) -> bytes:
    """One element in DER."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def seq(*parts: bytes) -> bytes:
    """A SEQUENCE."""
    return der(0x30, b"".join(parts))


def integer(number: int) -> bytes:
    """An INTEGER that isn't negative."""
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER."""
    first, second, *others = (int(part) for part in dotted.split("."))
    content = bytearray([40 * first + second])
    for part in others:
        groups = [part & 0x7F]
        while part := part >> 7:
            groups.append(0x80 | (part & 0x7F))
        content += bytes(reversed(groups))
    return der(0x06, bytes(content))


_TST_INFO = "1.2.840.113549.1.9.16.1.4"
_SHA256 = seq(oid("2.16.840.1.101.3.4.2.1"), b"\x05\x00")


def _attribute(kind: str, value: bytes) -> bytes:
    return seq(oid(kind), der(0x31, value))
