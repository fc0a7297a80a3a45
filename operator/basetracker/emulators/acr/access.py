"""Who may do what at a registry, and how a client proves it: the ways registries are guarded in the wild.

Owns the challenge and its check for anonymous, Basic and token-service registries; `azure_access.py` adds
Azure's own. Knows no storage. The distribution and metadata APIs ask `admit` before they do anything.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from aiohttp import web

from basetracker.emulators.server import RefusedError
from basetracker.emulators.timeline import Clock
from basetracker.emulators.tokens import Claims, Ledger, Signer


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs: one of these actions on a repository, or on the registry's catalog."""

    kind: str
    name: str
    any_of: tuple[str, ...]

    @property
    def scope(self) -> str:
        """As a challenge names it: `repository:shop/checkout:pull`."""
        return f"{self.kind}:{self.name}:{self.any_of[0]}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who was admitted; `name` is what rate limits count by."""

    name: str
    sees_quarantined: bool = False


class Access(Protocol):
    """How one registry is guarded."""

    def admit(self, request: web.Request, need: Need | None) -> Caller:
        """Who asks, if they may (`need` None: any valid proof). Raises RefusedError with the challenge."""

    def routes(self) -> list[web.RouteDef]:
        """Endpoints that the registry's own host serves for it."""


def registry_error(
    status: int, code: str, message: str, *, detail: Any = None, headers: Mapping[str, str] | None = None
) -> RefusedError:
    """The error answer of the distribution API."""
    document = {"errors": [{"code": code, "message": message, "detail": detail}]}
    response = web.json_response(document, status=status, headers=headers)
    response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
    return RefusedError(response)


def unauthorized(challenge: str, need: Need | None) -> RefusedError:
    """401 with this `WWW-Authenticate`."""
    detail = [{"Type": need.kind, "Name": need.name, "Action": need.any_of[0]}] if need else None
    return registry_error(
        401, "UNAUTHORIZED", "authentication required", detail=detail, headers={"Www-Authenticate": challenge}
    )


def basic_credentials(request: web.Request) -> tuple[str, str] | None:
    """User and password of a Basic header; None when there is none."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


def bearer_token(request: web.Request) -> str | None:
    """The token of a Bearer header; None when there is none."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" and value else None


def granted(claims: Claims, need: Need) -> bool:
    """Whether a registry token's `access` covers the need."""
    return any(
        one["type"] == need.kind
        and one["name"] == need.name
        and ("*" in one["actions"] or not set(need.any_of).isdisjoint(one["actions"]))
        for one in claims.get("access", [])
    )


def parse_scopes(texts: Iterable[str]) -> list[Need]:
    """What a client asks a token for; scopes may come one by one or separated by blanks."""
    needs = []
    for text in " ".join(texts).split():
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        needs.append(Need(kind, name, tuple(actions.split(","))))
    return needs


class OpenAccess:
    """A registry that lets everybody read and write."""

    def admit(self, request: web.Request, need: Need | None) -> Caller:
        """Everybody."""
        return Caller("anonymous")

    def routes(self) -> list[web.RouteDef]:
        """None."""
        return []


class BasicAccess:
    """A registry with user names and passwords on every request."""

    def __init__(self, accounts: Mapping[str, str]) -> None:
        self.accounts = dict(accounts)

    def admit(self, request: web.Request, need: Need | None) -> Caller:
        """The user whose password it is."""
        credentials = basic_credentials(request)
        if credentials is None or self.accounts.get(credentials[0]) != credentials[1]:
            raise unauthorized('Basic realm="Registry Realm"', need)
        return Caller(credentials[0])

    def routes(self) -> list[web.RouteDef]:
        """None."""
        return []


class TokenService:
    """A registry whose tokens come from another host, as Docker Hub's and GHCR's do."""

    def __init__(
        self, service: str, realm_host: str, accounts: Mapping[str, str], clock: Clock, ledger: Ledger
    ) -> None:
        self.service = service
        self.realm_host = realm_host
        self.accounts = dict(accounts)
        self.anonymous_pull = False
        """Whether a token without credentials may pull."""
        self.token_seconds = 300
        self._clock = clock
        self._signer = Signer()
        self._ledger = ledger

    def admit(self, request: web.Request, need: Need | None) -> Caller:
        """The token's subject, if the token covers the need."""
        token = bearer_token(request)
        claims = self._signer.read(token) if token else None
        fault = "invalid_token" if token else ""
        if claims is not None and claims["exp"] > self._clock().timestamp():
            if need is None or granted(claims, need):
                return Caller(str(claims["sub"]))
            fault = "insufficient_scope"
        challenge = f'Bearer realm="https://{self.realm_host}/token",service="{self.service}"'
        challenge += f',scope="{need.scope}"' if need else ""
        raise unauthorized(challenge + (f',error="{fault}"' if fault else ""), need)

    def routes(self) -> list[web.RouteDef]:
        """None on the registry's host."""
        return []

    def realm_routes(self) -> list[web.RouteDef]:
        """What the realm host serves."""
        return [web.get("/token", self._token)]

    async def _token(self, request: web.Request) -> web.Response:
        credentials = basic_credentials(request)
        if credentials is not None and self.accounts.get(credentials[0]) != credentials[1]:
            raise registry_error(401, "UNAUTHORIZED", "incorrect username or password")
        readers = {"pull"} if self.anonymous_pull else set()
        rights = {"pull", "push", "delete", "*"} if credentials else readers
        now = self._clock()
        access = [
            {"type": need.kind, "name": need.name, "actions": sorted(rights.intersection(need.any_of))}
            for need in parse_scopes(request.query.getall("scope", []))
        ]
        token = self._signer.mint(
            {
                "sub": credentials[0] if credentials else "anonymous",
                "exp": int((now + timedelta(seconds=self.token_seconds)).timestamp()),
                "access": access,
            }
        )
        self._ledger.issue(token, f"token for {self.service}", {self.service})
        return web.json_response({"token": token, "access_token": token, "expires_in": self.token_seconds})
