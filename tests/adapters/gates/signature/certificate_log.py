"""A log of certificates, as far as Fulcio needs one: it takes a precertificate and answers with its promise, an SCT (RFC 6962).

This part of a private Sigstore is imitated: it keeps no tree, and nobody looks into it. Fulcio, cosign and the product hold its
signatures against its key. Used by the private Sigstore of the e2e tests, and by `sigstores.py`.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .authorities import der, oid

_POISON = oid(x509.PrecertPoison().oid.dotted_string)
_PRECERTIFICATE = 1
_SHA256, _ECDSA = 4, 3


class CertificateLog:
    """A log with a key of its own."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public_der = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.id = hashlib.sha256(self.public_der).digest()

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def add(self, precertificate: bytes, issuer: x509.Certificate, milliseconds: int) -> bytes:
        """The signature of an SCT for a precertificate in DER, as TLS writes it."""
        key = issuer.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        content = without_poison(precertificate)
        signed = (
            struct.pack("!BBQH", 0, 0, milliseconds, _PRECERTIFICATE)
            + hashlib.sha256(key).digest()
            + len(content).to_bytes(3, "big")
            + content
            + b"\0\0"
        )
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return struct.pack("!BBH", _SHA256, _ECDSA, len(signature)) + signature

    def answer(self, request: dict[str, Any], milliseconds: int) -> dict[str, Any]:
        """What the log answers to `add-pre-chain`."""
        chain = [base64.b64decode(one) for one in request["chain"]]
        signature = self.add(chain[0], x509.load_der_x509_certificate(chain[1]), milliseconds)
        return {
            "sct_version": 0,
            "id": base64.b64encode(self.id).decode(),
            "timestamp": milliseconds,
            "extensions": "",
            "signature": base64.b64encode(signature).decode(),
        }

    def stamp_list(self, signature: bytes, milliseconds: int) -> bytes:
        """The content of a certificate's extension that carries the one SCT."""
        stamp = struct.pack("!B32sQH", 0, self.id, milliseconds, 0) + signature
        inner = struct.pack("!H", len(stamp)) + stamp
        return der(0x04, struct.pack("!H", len(inner)) + inner)


def without_poison(precertificate: bytes) -> bytes:
    """What a log signs of a precertificate: the inner certificate without the extension that spoils it."""
    whole = x509.load_der_x509_certificate(precertificate).tbs_certificate_bytes
    parts = list(_elements(_content(whole)))
    extensions = [one for one in _elements(_content(_content(parts[-1]))) if _POISON not in one]
    parts[-1] = der(0xA3, der(0x30, b"".join(extensions)))
    return der(0x30, b"".join(parts))


def _content(element: bytes) -> bytes:
    return element[_head(element) :]


def _head(element: bytes) -> int:
    return 2 + (element[1] & 0x7F if element[1] & 0x80 else 0)


def _elements(content: bytes) -> Iterator[bytes]:
    while content:
        head = _head(content)
        size = int.from_bytes(content[2:head], "big") if head > 2 else content[1]
        yield content[: head + size]
        content = content[head + size :]
