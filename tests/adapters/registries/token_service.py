"""A token service for Debian's docker-registry: a user's password against a signed token, over TLS.

Owns the key that signs, the certificate that the registry trusts (`rootcertbundle`), and the record of what was asked.
The tokens are those of the distribution project's JWT specification, with the certificate in the header (`x5c`).
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import BasicAuth, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from basetracker.ports import Credential

ISSUER, SERVICE = "tests' token service", "tests' registry"
LIFE_SECONDS = 3600
Access = Sequence[tuple[str, Sequence[str]]]


class TokenService:
    """Gives a token to everybody with a password, and to everybody at all where `anonymous` is set.

    `asked` are the scopes, in order; `shown` the schemes of all Authorization headers. `readable` are the repositories
    that may be pulled. The next `stale` tokens have run out already, whatever the answer says.
    """

    def __init__(self, user: Credential, certificate: bytes, key: bytes, tls: ssl.SSLContext | None) -> None:
        """`certificate` (with its chain) and `key` are PEM and sign the tokens; without `tls` it speaks plain HTTP."""
        loaded = serialization.load_pem_private_key(key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._key = loaded
        self._chain = [
            base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode()
            for one in x509.load_pem_x509_certificates(certificate)
        ]
        self._user = user
        self._tls = tls
        self.anonymous = False
        self.readable = {"base/python", "none"}
        self.stale = 0
        self.asked: list[str] = []
        self.shown: list[str] = []

    async def start(self) -> None:
        """Listen on a free port of `localhost`."""
        app = web.Application()
        app.add_routes([web.get("/token", self._token)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "localhost", 0, ssl_context=self._tls).start()

    async def stop(self) -> None:
        """End it."""
        await self._runner.cleanup()

    @property
    def realm(self) -> str:
        """Its address, as the registry's challenge names it."""
        return f"{'https' if self._tls else 'http'}://localhost:{self._runner.addresses[0][1]}/token"

    def mint(self, user: str, access: Access, *, seconds: int = LIFE_SECONDS) -> str:
        """A signed token with these actions on these repositories."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "exp": now + seconds,
            "nbf": now - LIFE_SECONDS,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": [{"type": "repository", "name": name, "actions": list(actions)} for name, actions in access],
        }
        head = _part({"typ": "JWT", "alg": "ES256", "x5c": self._chain}) + "." + _part(claims)
        signature = decode_dss_signature(self._key.sign(head.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{head}.{_encoded(b''.join(number.to_bytes(32, 'big') for number in signature))}"

    async def _token(self, request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization")
        if sent is not None:
            self.shown.append(sent.partition(" ")[0])
        self.asked += request.query.getall("scope", [])
        user = self._known(sent)
        if user is None or request.query.get("service") != SERVICE:
            return web.json_response({"details": "incorrect username or password"}, status=401)
        access = []
        for scope in request.query.getall("scope", []):
            _, name, actions = scope.split(":")
            access += [(name, actions.split(","))] if name in self.readable else []
        # The registry forgives a minute.
        seconds = -120 if self.stale > 0 else LIFE_SECONDS
        self.stale -= 1
        return web.json_response({"token": self.mint(user, access, seconds=seconds), "expires_in": LIFE_SECONDS})

    def _known(self, sent: str | None) -> str | None:
        if sent is None:
            return "" if self.anonymous else None
        try:
            given = BasicAuth.decode(sent)
        except ValueError:
            return None
        right = (given.login, given.password) == (self._user.username, self._user.password)
        return given.login if right else None


def _part(document: dict[str, Any]) -> str:
    return _encoded(json.dumps(document).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
