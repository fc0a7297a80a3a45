"""Registry tokens kept until shortly before they end.

Owns the cache, how long a token is used and how a token service's answer is read. Doesn't know how a token is got.
Used by both ways to authenticate, `auth` and `acr`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from basetracker.adapters.flights import Flights
from basetracker.errors import InvalidError
from basetracker.ports import Clock, Credential

_TOKENS_KEPT: Final = 5_000
_SALT: Final = secrets.token_bytes(16)


@dataclass(frozen=True, slots=True, order=True)
class TokenKey:
    """What a token is for: `scope` as in `repository:a/b:pull`; `holder` tells credentials apart without showing them."""

    host: str
    scope: str
    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token and how many seconds it lives from now."""

    value: str = field(repr=False)
    lifetime: float


class Tokens:
    """The tokens in use; at most some thousands, those used longest ago go first."""

    def __init__(self, clock: Clock, *, margin: float) -> None:
        """A token is no longer used `margin` seconds (a tenth of its life, if that is less) before its end."""
        self._clock = clock
        self._margin = margin
        self._kept: OrderedDict[TokenKey, tuple[str, float]] = OrderedDict()
        self._flights: Flights[str] = Flights()

    async def get(self, key: TokenKey, fetch: Callable[[], Awaitable[Token]]) -> str:
        """The token for `key`; got by `fetch`, once for all who wait, when there is none that lasts."""
        value, until = self._kept.get(key, ("", 0.0))
        if value and self._clock.monotonic() < until:
            self._kept.move_to_end(key)
            return value
        return await self._flights.join(key, lambda: self._fetch(key, fetch))

    def drop(self, key: TokenKey, value: str) -> None:
        """Forget the token for `key` if it still is `value`: it was refused."""
        if self._kept.get(key, ("", 0.0))[0] == value:
            del self._kept[key]

    async def _fetch(self, key: TokenKey, fetch: Callable[[], Awaitable[Token]]) -> str:
        asked_at = self._clock.monotonic()
        token = await fetch()
        until = asked_at + token.lifetime - min(self._margin, token.lifetime / 10)
        self._kept[key] = (token.value, until)
        self._kept.move_to_end(key)
        if len(self._kept) > _TOKENS_KEPT:
            self._kept.popitem(last=False)
        return token.value


def holder(credential: Credential | None) -> str:
    """A name for the credential that doesn't give it away; empty for none."""
    if credential is None:
        return ""
    secret = f"{credential.username}\0{credential.password}".encode()
    return hashlib.blake2b(secret, key=_SALT, digest_size=16).hexdigest()


def basic_header(credential: Credential) -> str:
    """The value of an Authorization header with this user name and password."""
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode("ascii")


def read_token(body: bytes, host: str, *names: str, otherwise: float) -> Token:
    """The token in a token service's answer, under the first of `names` that is there.

    Its life is `expires_in`, else what the token itself says when it is a JWT, else `otherwise`, in seconds.

    Raises:
        InvalidError: there is no token in it.
    """
    document = _object(body)
    value = next((document[name] for name in names if isinstance(document.get(name), str) and document[name]), None)
    if value is None or not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidError(f"{host} answers without a usable token; see whether it is a registry's token service")
    lifetime = document.get("expires_in")
    if isinstance(lifetime, int | float) and lifetime > 0:
        return Token(value=value, lifetime=float(lifetime))
    return Token(value=value, lifetime=_jwt_lifetime(value) or otherwise)


def _jwt_lifetime(token: str) -> float | None:
    """From `iat` to `exp`, so that a clock that is off doesn't matter."""
    payload = token.split(".")[1:2]
    claims = _object(_decoded(payload[0])) if payload else {}
    issued, expires = claims.get("iat"), claims.get("exp")
    if isinstance(issued, int | float) and isinstance(expires, int | float) and expires > issued:
        return float(expires - issued)
    return None


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
