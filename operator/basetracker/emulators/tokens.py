"""Tokens of the emulated world: JWTs, and the ledger of who may be shown which secret.

The ledger knows every secret the emulators have handed out and the hosts that may see it, so a test can
state that no credential ever went anywhere else. Used by Entra, the registries and the request record.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Claims = dict[str, Any]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_unverified(token: str) -> Claims | None:
    """The claims of a JWT, whoever signed it; None when it isn't one."""
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(_decode(payload))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


class Signer:
    """Makes JWTs and knows its own again."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know no token again that was made so far."""
        self._key = secrets.token_bytes(32)

    def mint(self, claims: Mapping[str, Any]) -> str:
        """A signed JWT with these claims; equal claims give different tokens, as a `jti` is added."""
        header = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        payload = _encode(json.dumps({"jti": secrets.token_hex(8), **claims}).encode())
        return f"{header}.{payload}.{self._sign(f'{header}.{payload}')}"

    def read(self, token: str) -> Claims | None:
        """The claims of a token that this signer made; None for any other. Expiry is the caller's."""
        head, _, signature = token.rpartition(".")
        if not head or not hmac.compare_digest(self._sign(head), signature):
            return None
        return read_unverified(token)

    def _sign(self, text: str) -> str:
        return _encode(hmac.new(self._key, text.encode(), hashlib.sha256).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A secret that exists: what it is, and the hosts that may see it."""

    kind: str
    fingerprint: str
    hosts: frozenset[str]


@dataclass(slots=True)
class Ledger:
    """Every secret that was handed out, by its value."""

    _issued: dict[str, Issued] = field(default_factory=dict)

    def issue(self, secret: str, kind: str, hosts: Iterable[str]) -> str:
        """Note the secret and its rightful hosts, and give it back. Noting it again adds hosts."""
        known = self._issued.get(secret)
        allowed = frozenset(hosts) | (known.hosts if known else frozenset())
        self._issued[secret] = Issued(kind=kind, fingerprint=fingerprint(secret), hosts=allowed)
        return secret

    def find(self, secret: str) -> Issued | None:
        """What is known of this value."""
        return self._issued.get(secret)


def fingerprint(secret: str) -> str:
    """Twelve hex digits that tell secrets apart without showing them."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]
