"""Who asks: bearer tokens of an emulated cluster.

Owns the admin's token and those of ServiceAccounts: JWT-shaped, signed by a key made at start, with audience and
expiry by the cluster's clock. What somebody may do is `access.py`'s.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from basetracker.emulators.cluster.document import Json
from basetracker.emulators.cluster.refusals import unauthorized

ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class User:
    """A name and its groups, as the authorizer sees them."""

    name: str
    groups: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return "system:masters" in self.groups


ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))


def service_account_user(namespace: str, name: str) -> User:
    """The user that a ServiceAccount acts as."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


def named_user(name: str, groups: Sequence[str] = ()) -> User:
    """The user of that name, as impersonation asks for it; a ServiceAccount's name brings its groups along."""
    match name.split(":"):
        case ["system", "serviceaccount", namespace, account] if not groups:
            return service_account_user(namespace, account)
    return User(name, (*groups, "system:authenticated"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """Issues tokens and knows them again.

    `exists(namespace, name, uid)` tells whether that very ServiceAccount is still there: its tokens die with it.
    """

    def __init__(self, clock: Callable[[], datetime], exists: Callable[[str, str, str], bool]) -> None:
        self._clock = clock
        self._exists = exists
        self._key = secrets.token_bytes(32)
        self._static: dict[str, User] = {}
        self.admin = self.user_token(ADMIN)

    def user_token(self, user: User) -> str:
        """A new token of this user that never expires."""
        token = secrets.token_urlsafe(32)
        self._static[token] = user
        return token

    def issue(self, account: Json, *, seconds: int, audiences: Sequence[str] = ()) -> str:
        """A token of this ServiceAccount object, valid for so many seconds from now by the cluster's clock."""
        metadata, now = account["metadata"], int(self._clock().timestamp())
        claims = {
            "aud": list(audiences) or [ISSUER],
            "exp": now + seconds,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "jti": secrets.token_hex(16),
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
            "kubernetes.io": {
                "namespace": metadata["namespace"],
                "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
            },
        }
        header = {"alg": "HS256", "typ": "JWT", "kid": "emulated-cluster"}
        signed = ".".join(_encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
        return f"{signed}.{self._signature(signed)}"

    def _signature(self, signed: str) -> str:
        return _encode(hmac.new(self._key, signed.encode(), hashlib.sha256).digest())

    def user_of(self, authorization: str | None, *, audience: str = ISSUER) -> User:
        """The user that an `Authorization` header stands for.

        Raises:
            Refusal: 401 for no token, an unknown, expired or foreign one, or one for another audience.
        """
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise unauthorized()
        if user := self._static.get(token.strip()):
            return user
        claims = self._claims(token.strip())
        account: Any = claims.get("kubernetes.io", {})
        namespace, named = account.get("namespace", ""), account.get("serviceaccount", {})
        live = self._exists(namespace, named.get("name", ""), named.get("uid", ""))
        if audience not in claims.get("aud", []) or claims.get("exp", 0) <= self._clock().timestamp() or not live:
            raise unauthorized()
        return service_account_user(namespace, named["name"])

    def _claims(self, token: str) -> Json:
        signed, _, signature = token.rpartition(".")
        if not signed or not hmac.compare_digest(signature, self._signature(signed)):
            raise unauthorized()
        claims: Json = json.loads(_decode(signed.split(".")[1]))
        return claims
