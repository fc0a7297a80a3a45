"""The emulated Entra: tokens for workload identities.

Owns the tenant's identities and the token endpoint: it judges a ServiceAccount's JWT as the federated
credential says and gives a token for exactly one resource. Knows nothing of what a token opens; ARM and the
registries ask `identify`.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from aiohttp import web

from basetracker.emulators.identities import Identity
from basetracker.emulators.server import RefusedError
from basetracker.emulators.timeline import Clock
from basetracker.emulators.tokens import Claims, Ledger, Signer, read_unverified

HOST = "login.microsoftonline.com"
ARM = "https://management.azure.com"
ACR = "https://containerregistry.azure.net"
EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Entra:
    """One tenant."""

    def __init__(self, clock: Clock, signer: Signer, ledger: Ledger, *, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.token_seconds = 86_399.0
        """How long a token lives."""
        self.identities: dict[str, Identity] = {}
        """By client id."""
        self.audiences: dict[str, set[str]] = {ARM: {"management.azure.com"}, ACR: set()}
        """The hosts that may see a token, by the resource it is for."""
        self.issued = 0
        self._clock = clock
        self._signer = signer
        self._ledger = ledger

    def add(self, identity: Identity) -> Identity:
        """Make the identity known to the tenant."""
        self.identities[identity.client_id] = identity
        return identity

    def token(self, identity: Identity, resource: str) -> str:
        """A token of this identity for `ARM` or `ACR`, as the token endpoint gives it."""
        now = self._clock()
        claims: Claims = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{self.tenant_id}/",
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=self.token_seconds)).timestamp()),
            "appid": identity.client_id,
            "oid": identity.object_id,
            "sub": identity.object_id,
            "tid": self.tenant_id,
        }
        self.issued += 1
        return self._ledger.issue(
            self._signer.mint(claims), f"Entra token of {identity.name} for {resource}", self.audiences[resource]
        )

    def identify(self, token: str, resource: str) -> Identity | None:
        """Whose token this is; None when it is not ours, is for another resource or has expired."""
        claims = self._signer.read(token)
        if claims is None or claims.get("aud") != resource:
            return None
        if claims.get("exp", 0) <= self._clock().timestamp():
            return None
        return self.identities.get(str(claims.get("appid")))

    def routes(self) -> list[web.RouteDef]:
        """The endpoints of the authority host."""
        return [
            web.post("/{tenant}/oauth2/v2.0/token", self._token),
            web.get("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration),
            web.get("/common/discovery/instance", self._instance),
        ]

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if request.match_info["tenant"] != self.tenant_id:
            tenant = request.match_info["tenant"]
            raise self._refusal("invalid_request", 90002, f"Tenant '{tenant}' not found.", status=400)
        if form.get("grant_type") != "client_credentials":
            raise self._refusal("unsupported_grant_type", 70003, "The grant type is not supported.", status=400)
        identity = self.identities.get(form.get("client_id", ""))
        if identity is None:
            message = f"Application with identifier '{form.get('client_id')}' was not found in the directory."
            raise self._refusal("unauthorized_client", 700016, message, status=400)
        self._judge(identity, form)
        resource = form.get("scope", "").removesuffix("/.default")
        if resource not in self.audiences:
            message = f"The scope '{form.get('scope')}' is not valid."
            raise self._refusal("invalid_scope", 70011, message, status=400)
        lifetime = int(self.token_seconds)
        token = self.token(identity, resource)
        return web.json_response(
            {"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token}
        )

    def _judge(self, identity: Identity, form: dict[str, str]) -> None:
        claims = read_unverified(form.get("client_assertion", ""))
        if form.get("client_assertion_type") != ASSERTION or claims is None:
            message = "Malformed token. The 'client_assertion' is not a valid JWT."
            raise self._refusal("invalid_client", 50027, message)
        audience = claims.get("aud")
        if EXCHANGE_AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
            message = f"No matching federated identity record found for presented assertion audience '{audience}'."
            raise self._refusal("invalid_client", 700212, message)
        if identity.issuer is not None and claims.get("iss") != identity.issuer:
            message = (
                f"No matching federated identity record found for presented assertion issuer '{claims.get('iss')}'."
            )
            raise self._refusal("invalid_client", 700211, message)
        if identity.subject is not None and claims.get("sub") != identity.subject:
            message = (
                f"No matching federated identity record found for presented assertion subject '{claims.get('sub')}'."
            )
            raise self._refusal("invalid_client", 700213, message)
        if claims.get("exp", 0) <= self._clock().timestamp():
            message = "Client assertion is not within its valid time range."
            raise self._refusal("invalid_client", 700024, message)

    def _refusal(self, error: str, number: int, message: str, *, status: int = 401) -> RefusedError:
        now = self._clock()
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        document = {
            "error": error,
            "error_description": f"AADSTS{number}: {message} Trace ID: {trace} Correlation ID: {correlation} "
            f"Timestamp: {now:%Y-%m-%d %H:%M:%SZ}",
            "error_codes": [number],
            "timestamp": f"{now:%Y-%m-%d %H:%M:%SZ}",
            "trace_id": trace,
            "correlation_id": correlation,
        }
        return RefusedError(web.json_response(document, status=status))

    async def _configuration(self, request: web.Request) -> web.Response:
        base = f"https://{HOST}/{request.match_info['tenant']}"
        return web.json_response(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "issuer": f"{base}/v2.0",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
            }
        )

    async def _instance(self, _: web.Request) -> web.Response:
        endpoint = f"https://{HOST}/{self.tenant_id}/v2.0/.well-known/openid-configuration"
        return web.json_response({"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": []})
