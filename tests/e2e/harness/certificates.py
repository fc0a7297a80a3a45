"""Keys and certificates of one control plane.

Owns the cluster's CA, its server certificate, the client certificates of those who act on it, and the key
that signs ServiceAccount tokens. A client certificate's common name is the user, its organization the group.
Used by `controlplane.py` alone; everything lies in one directory that is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """Paths of a PEM certificate chain and its private key."""

    certificate: Path
    key: Path


class ClusterCertificates:
    """The PKI in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._authority = trustme.CA(organization_name="basetracker e2e cluster")
        self.authority = directory / "ca.crt"
        self._authority.cert_pem.write_to_path(str(self.authority))

    def server(self, *hosts: str) -> KeyPair:
        """A server certificate for these names and addresses."""
        return self._write("apiserver", self._authority.issue_cert(*hosts))

    def client(self, user: str, group: str | None = None) -> KeyPair:
        """A client certificate for a user, in one group or none."""
        # The library gives no certificate without a host name; the API server doesn't read it from a client's.
        leaf = self._authority.issue_cert("client.invalid", common_name=user, organization_name=group)
        return self._write(user.replace(":", "-"), leaf)

    def token_key(self) -> Path:
        """The private key, PEM, that signs and verifies ServiceAccount tokens."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path = self._directory / "service-accounts.key"
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return path

    def _write(self, name: str, leaf: trustme.LeafCert) -> KeyPair:
        pair = KeyPair(certificate=self._directory / f"{name}.crt", key=self._directory / f"{name}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        pair.key.touch(mode=0o600)
        leaf.private_key_pem.write_to_path(str(pair.key))
        return pair
