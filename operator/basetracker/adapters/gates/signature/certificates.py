"""Certificates: trust stores, the path from a signer to one of its anchors, and whose certificate it is.

Owns what a code-signing certificate must be by Notary Project's certificate requirements. Path building, path lengths,
name constraints and validity are judged by `cryptography.x509.verification`. Revocation isn't looked up. `notation` uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from basetracker.adapters.gates.signature.documents import RefusedError
from basetracker.api.gate_signature import subject_parts
from basetracker.errors import InvalidError

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = b"\x30\x82"
"""How a certificate in DER begins; no text does."""
_MOST_ANCHORS: Final = 200
_FORBIDDEN: Final = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.TIME_STAMPING,
        ExtendedKeyUsageOID.OCSP_SIGNING,
    }
)
_NAMES: Final = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "POSTALCODE": NameOID.POSTAL_CODE,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
}
_ALGORITHMS: Final = {2048: "PS256", 3072: "PS384", 4096: "PS512"}
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def read_store(entries: Mapping[str, bytes], where: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a trust store, from every entry; `where` is for the errors.

    Raises:
        InvalidError: there are none or too many, or an entry holds something else.
    """
    found: list[x509.Certificate] = []
    for name, content in sorted(entries.items()):
        if b"PRIVATE KEY" in content:
            raise InvalidError(f"{where} holds a private key in {name}; a trust store holds certificates alone")
        certificates = _certificates(content)
        if not certificates:
            raise InvalidError(f"{where} holds no certificate in PEM or DER in {name}")
        found += certificates
    if not 0 < len(found) <= _MOST_ANCHORS:
        raise InvalidError(f"{where} holds {len(found)} certificates; a trust store holds 1 to {_MOST_ANCHORS}")
    return tuple(found)


def _certificates(content: bytes) -> list[x509.Certificate]:
    """Those in PEM, or the one in DER; none when one of them can't be read."""
    blocks = _CERTIFICATE.findall(content)
    try:
        if content.startswith(_SEQUENCE):
            return [x509.load_der_x509_certificate(content)]
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except (ValueError, UnsupportedAlgorithm):
        return []


def read_chain(chain: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """The certificates in DER.

    Raises:
        RefusedError: one can't be read.
    """
    try:
        return tuple(x509.load_der_x509_certificate(one) for one in chain)
    except (ValueError, UnsupportedAlgorithm):
        raise RefusedError("has a certificate that can't be read") from None


def algorithm_of(certificate: x509.Certificate) -> str:
    """The one signature algorithm, by its JWS name, that Notary Project has for this key.

    Raises:
        RefusedError: it has none for a key of this kind or size.
    """
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise RefusedError("has a certificate with a key that isn't used for signing images") from None
    found = None
    if isinstance(key, rsa.RSAPublicKey):
        found = _ALGORITHMS.get(key.key_size)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        found = _CURVES.get(key.curve.name)
    if found is None:
        raise RefusedError("has a certificate with a key that isn't used for signing images")
    return found


def expect_trusted(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], moment: datetime) -> None:
    """Return when the first certificate may sign code and leads to an anchor, all of them valid at `moment`.

    Raises:
        RefusedError: it doesn't.
    """
    leaf, *others = chain
    _expect_signer(leaf)
    if not all(_is_valid(one, moment) for one in chain):
        raise RefusedError("has a certificate that isn't valid now, or wasn't at the time of its time stamp")
    if leaf in anchors:
        _expect_self_signed(leaf)
        return
    try:
        _path_policy(anchors, moment).verify(leaf, others)
    except (VerificationError, ValueError, TypeError, UnsupportedAlgorithm):
        raise RefusedError("has a certificate that leads to none in the trust store") from None


def expect_identity(leaf: x509.Certificate, identities: Sequence[str]) -> str:
    """The first of the identities that is the certificate's: its subject holds every attribute named, and no other value.

    Raises:
        RefusedError: none is.
    """
    try:
        subject = {name: _values(leaf, oid) for name, oid in _NAMES.items()}
    except ValueError:
        raise RefusedError("has a certificate that can't be read") from None
    for identity in identities:
        wanted: dict[str, list[str]] = {}
        for name, value in subject_parts(identity):
            wanted.setdefault(name, []).append(value)
        if wanted and all(subject[name] == sorted(values) for name, values in wanted.items()):
            return identity
    raise RefusedError("is by somebody who isn't among the identities")


def _values(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    found = (one.value for one in certificate.subject.get_attributes_for_oid(oid))
    return sorted(one if isinstance(one, str) else one.hex() for one in found)


def _path_policy(anchors: Sequence[x509.Certificate], moment: datetime) -> x509.verification.ClientVerifier:
    """A verifier with the CA rules of the web's PKI, which are stricter than Notary Project's, and our own for signers."""
    signer = ExtensionPolicy.permit_all().require_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)
    builder = PolicyBuilder().store(Store(list(anchors))).time(moment)
    return builder.extension_policies(
        ca_policy=_authority_policy(),
        ee_policy=signer,
    ).build_client_verifier()


def _authority_policy() -> ExtensionPolicy:
    """What a CA must be: basicConstraints and keyUsage there, critical, and allowing it."""

    def may_sign(_policy: x509.verification.Policy, _certificate: x509.Certificate, usage: x509.KeyUsage) -> None:
        if not usage.key_cert_sign:
            raise ValueError("keyUsage without keyCertSign")

    def is_authority(
        _policy: x509.verification.Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints
    ) -> None:
        if not constraints.ca:
            raise ValueError("basicConstraints without CA")

    policy = ExtensionPolicy.permit_all()
    policy = policy.require_present(x509.BasicConstraints, Criticality.CRITICAL, is_authority)
    return policy.require_present(x509.KeyUsage, Criticality.AGNOSTIC, may_sign)


def _expect_signer(leaf: x509.Certificate) -> None:
    """Refuse a certificate that isn't one for signing code."""
    try:
        extensions = leaf.extensions
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        constraints = [one.value for one in extensions if isinstance(one.value, x509.BasicConstraints)]
    except (ValueError, x509.DuplicateExtension, x509.ExtensionNotFound, UnsupportedAlgorithm):
        raise RefusedError("has a certificate that isn't one for signing code") from None
    named = set(purposes)
    if ExtendedKeyUsageOID.CODE_SIGNING not in named or named & _FORBIDDEN:
        raise RefusedError("has a certificate that isn't one for signing code")
    if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign or any(one.ca for one in constraints):
        raise RefusedError("has a certificate that isn't one for signing code")


def _expect_self_signed(leaf: x509.Certificate) -> None:
    """A signer's own certificate in the trust store is one that no other has issued, as `notation cert generate-test` makes."""
    try:
        if not isinstance(leaf.signature_hash_algorithm, _HASHES):
            raise RefusedError("has a certificate that is signed by an old algorithm")
        leaf.verify_directly_issued_by(leaf)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise RefusedError(
            "has a certificate of somebody's in the trust store, where its authority's belongs"
        ) from None


def _is_valid(certificate: x509.Certificate, moment: datetime) -> bool:
    try:
        return certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc
    except ValueError:
        return False
