"""How an Azure registry is guarded: Entra token → refresh token → access token.

Owns `/oauth2/exchange` and `/oauth2/token`, the lifetimes and the roles' effect on what a token may do.
Knows no storage. A right that the identity lacks is left out of the token, as Azure does it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from aiohttp import web

from basetracker.emulators.acr.access import (
    Caller,
    Need,
    basic_credentials,
    bearer_token,
    granted,
    parse_scopes,
    registry_error,
)
from basetracker.emulators.entra import ACR, ARM, Entra
from basetracker.emulators.identities import ALL, READ, Identity
from basetracker.emulators.server import RefusedError
from basetracker.emulators.timeline import Clock
from basetracker.emulators.tokens import Claims, Ledger, Signer

NO_USER = "00000000-0000-0000-0000-000000000000"
VISIT = "authentication required, visit https://aka.ms/acr/authorization for more information."


class AzureAccess:
    """The guard of one `*.azurecr.io`."""

    def __init__(self, host: str, registry_id: str, *, entra: Entra, clock: Clock, ledger: Ledger) -> None:
        self.host = host
        self.registry_id = registry_id
        self.anonymous_pull = False
        self.abac = False
        """Role assignment mode: whether repository roles count instead of AcrPull and its like."""
        self.accepts_arm_tokens = False
        """The registry's `azureADAuthenticationAsArmPolicy`."""
        self.accounts: dict[str, str] = {}
        """The admin user and tokens with passwords: name to password; each may do everything."""
        self.refresh_seconds = 3 * 3600.0
        self.access_seconds = 75 * 60.0
        self.calls_left = "166.65"
        self._entra = entra
        self._clock = clock
        self._ledger = ledger
        self._signer = Signer()

    def add_account(self, name: str, password: str) -> None:
        """Let a user name and password in, as the admin user or an ACR token."""
        self.accounts[name] = self._ledger.issue(password, f"password of {self.host}", {self.host})

    def expire_tokens(self) -> None:
        """Take no refresh or access token that was given so far."""
        self._signer.forget()

    def admit(self, request: web.Request, need: Need | None) -> Caller:
        """The token's identity, if the token covers the need; an anonymous token is `anonymous`."""
        claims = self._live(bearer_token(request), "access_token")
        if claims is not None and (need is None or granted(claims, need)):
            actions = {action for one in claims["access"] for action in one["actions"]}
            return Caller(str(claims["sub"]), sees_quarantined="quarantine" in actions)
        raise self._challenge(need, "insufficient_scope" if claims else "invalid_token")

    def routes(self) -> list[web.RouteDef]:
        """Azure's token endpoints."""
        return [
            web.post("/oauth2/exchange", self._exchange),
            web.post("/oauth2/token", self._post_token),
            web.get("/oauth2/token", self._get_token),
        ]

    def _challenge(self, need: Need | None, fault: str) -> RefusedError:
        value = f'Bearer realm="https://{self.host}/oauth2/token",service="{self.host}"'
        value += f',scope="{need.scope}",error="{fault}"' if need else ""
        detail = [{"Type": need.kind, "Name": need.name, "Action": need.any_of[0]}] if need else None
        headers = {"Www-Authenticate": value, "Strict-Transport-Security": "max-age=31536000"}
        return registry_error(401, "UNAUTHORIZED", VISIT, detail=detail, headers=headers)

    async def _exchange(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self._expect_service(form.get("service", ""))
        if form.get("grant_type") not in {"access_token", "access_token_refresh_token"}:
            raise registry_error(400, "UNSUPPORTED", "The grant type is not supported.")
        identity = self._entra.identify(form.get("access_token", ""), ACR)
        if identity is None and self.accepts_arm_tokens:
            identity = self._entra.identify(form.get("access_token", ""), ARM)
        if identity is None:
            raise registry_error(401, "UNAUTHORIZED", VISIT)
        claims = {"grant_type": "refresh_token", "sub": identity.client_id}
        return self._answer("refresh_token", self._mint(claims, self.refresh_seconds))

    async def _post_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        self._expect_service(str(form.get("service", "")))
        scopes = [str(value) for value in form.getall("scope", [])]
        if form.get("grant_type") == "refresh_token":
            return self._token_for_refresh(str(form.get("refresh_token", "")), scopes)
        user, password = str(form.get("username", "")), str(form.get("password", ""))
        return self._token_for_account((user, password) if user else None, scopes)

    async def _get_token(self, request: web.Request) -> web.Response:
        self._expect_service(request.query.get("service", ""))
        scopes = request.query.getall("scope", [])
        credentials = basic_credentials(request)
        if credentials is not None and credentials[0] == NO_USER:
            return self._token_for_refresh(credentials[1], scopes)
        return self._token_for_account(credentials, scopes)

    def _token_for_refresh(self, token: str, scopes: Iterable[str]) -> web.Response:
        claims = self._live(token, "refresh_token")
        identity = self._entra.identities.get(str(claims["sub"])) if claims else None
        if identity is None:
            raise registry_error(401, "UNAUTHORIZED", VISIT)
        return self._access_token(identity.client_id, identity, scopes)

    def _token_for_account(self, credentials: tuple[str, str] | None, scopes: Iterable[str]) -> web.Response:
        if credentials is None and self.anonymous_pull:
            return self._access_token("anonymous", None, scopes)
        if credentials is None or self.accounts.get(credentials[0]) != credentials[1]:
            raise registry_error(401, "UNAUTHORIZED", VISIT)
        return self._access_token(credentials[0], None, scopes)

    def _access_token(self, name: str, identity: Identity | None, scopes: Iterable[str]) -> web.Response:
        access = []
        for need in parse_scopes(scopes):
            rights = self._rights(name, identity, need)
            asked = rights if "*" in need.any_of else rights.intersection(need.any_of)
            asked |= rights & {"quarantine"}  # rides along: clients ask for it by no name
            actions = ["*"] if asked and need.kind == "registry" else sorted(asked)
            access.append({"type": need.kind, "name": need.name, "actions": actions})
        claims = {"grant_type": "access_token", "sub": name, "access": access}
        return self._answer("access_token", self._mint(claims, self.access_seconds))

    def _rights(self, name: str, identity: Identity | None, need: Need) -> frozenset[str]:
        if identity is not None:
            rights = identity.rights(self.registry_id, need.name, abac=self.abac)
        else:
            rights = READ if name == "anonymous" else ALL
        if need.kind == "registry":
            return rights & {"catalog"} if self.abac or identity is None else rights & {"metadata_read"}
        return rights

    def _mint(self, claims: Claims, seconds: float) -> str:
        now = self._clock()
        token = self._signer.mint(
            {
                "nbf": int(now.timestamp()),
                "iat": int(now.timestamp()),
                "exp": int((now + timedelta(seconds=seconds)).timestamp()),
                "iss": "Azure Container Registry",
                "aud": self.host,
                "version": "1.0",
                **claims,
            }
        )
        return self._ledger.issue(token, f"{claims['grant_type']} of {self.host}", {self.host})

    def _live(self, token: str | None, kind: str) -> Claims | None:
        claims = self._signer.read(token) if token else None
        if claims is None or claims["grant_type"] != kind or claims["exp"] <= self._clock().timestamp():
            return None
        return claims

    def _expect_service(self, service: str) -> None:
        if service.lower() != self.host:
            raise registry_error(400, "UNSUPPORTED", f"The service '{service}' is not this registry.")

    def _answer(self, name: str, token: str) -> web.Response:
        headers = {"X-Ms-Ratelimit-Remaining-Calls-Per-Second": self.calls_left}
        return web.json_response({name: token}, headers=headers)
