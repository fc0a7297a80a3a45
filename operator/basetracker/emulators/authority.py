"""The private certificate authority of an emulated world.

Owns one CA, made when the world starts and gone with it, and the server certificates it issues. Knows
nothing of registries or clusters. Every emulated server takes its TLS context from here; whoever talks to
one trusts `Authority.pem`, so product code needs no branch for plain HTTP.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """A certificate authority that lives in memory."""

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="basetracker emulators")
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}

    @property
    def pem(self) -> bytes:
        """The CA certificate, PEM: what a client has to trust."""
        return self._ca.cert_pem.bytes()

    def server_context(self, *hosts: str) -> ssl.SSLContext:
        """A TLS server context with a certificate for these host names or addresses (at least one)."""
        if hosts not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._ca.issue_cert(*hosts).configure_cert(context)
            self._contexts[hosts] = context
        return self._contexts[hosts]

    def client_context(self) -> ssl.SSLContext:
        """A TLS client context that trusts this authority and nobody else."""
        return ssl.create_default_context(cadata=self.pem.decode("ascii"))

    def issue(self, *hosts: str) -> tuple[bytes, bytes]:
        """Certificate chain and private key, both PEM, for a server that wants files."""
        leaf = self._ca.issue_cert(*hosts)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return chain, leaf.private_key_pem.bytes()

    def write(self, path: str | Path) -> Path:
        """Write the CA certificate to `path`, for `SSL_CERT_FILE` and the like; returns the path."""
        target = Path(path)
        target.write_bytes(self.pem)
        return target
