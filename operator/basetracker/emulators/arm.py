"""The emulated Azure Resource Manager: who may call what on which resource, and the shapes of its answers.

Owns authentication, api-version, role checks, paging and errors common to all resources; `tasks/api.py` and
`registries` below say what a resource answers. Ids and paths compare without case, as in Azure.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.entra import ACR, ARM, Entra
from basetracker.emulators.identities import ROLES, RP, Assignment, Identity
from basetracker.emulators.server import RefusedError

HOST = "management.azure.com"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that has been admitted: the registry, the names in its path (`task`, `run`) and the request."""

    registry: AzureRegistry
    names: dict[str, str]
    request: web.Request

    async def body(self) -> Json:
        """See `read_body`."""
        return await read_body(self.request)


Operation = Callable[[Call], Awaitable[web.Response]]
Provider = Callable[[Identity, web.Request], Awaitable[web.Response]]
"""An operation outside of all registries; it judges the caller's rights itself."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation on something below a registry; `path` like `tasks/{task}`, `action` below its type."""

    method: str
    path: str
    action: str
    operation: Operation

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The names in the path, if it is this endpoint's."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        found = re.fullmatch(pattern, path, re.IGNORECASE) if method == self.method else None
        return found.groupdict() if found else None


async def read_body(request: web.Request) -> Json:
    """The JSON body; an empty one is `{}`. Raises RefusedError (400) for anything else."""
    text = await request.text()
    try:
        document = await request.json() if text else {}
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise arm_error(400, "InvalidRequestContent", "The request content was invalid.")
    return document


def arm_error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> RefusedError:
    """An error as ARM answers it."""
    document = {"error": {"code": code, "message": message}}
    return RefusedError(web.json_response(document, status=status, headers=headers))


class ResourceManager:
    """ARM for the registries of one subscription."""

    def __init__(self, subscription: str, registries: Callable[[], Sequence[AzureRegistry]], entra: Entra) -> None:
        self.page_size = 100
        """Items a list answers at once; the rest follows by `nextLink`."""
        self._subscription = subscription
        self._registries = registries
        self._entra = entra
        self._endpoints = [Endpoint("GET", "", "read", self._get_registry)]
        self._providers: dict[tuple[str, str], Provider] = {}
        self._writes_left = 800

    def serve(self, endpoints: Sequence[Endpoint]) -> None:
        """Add operations."""
        self._endpoints += endpoints

    def provide(self, method: str, path: str, operation: Provider) -> None:
        """Add an operation of the whole of Azure, such as a query."""
        self._providers[method, path.lower()] = operation

    def routes(self) -> list[web.RouteDef]:
        """Everything: ARM's paths don't compare by case, so they are matched here."""
        return [web.route("*", "/{path:.*}", self._dispatch)]

    def page(self, items: Sequence[Json], request: web.Request, size: int | None = None) -> web.Response:
        """The part of a list that `$skiptoken` asks for, and the link to the next one."""
        start = int(request.query.get("$skiptoken", 0))
        end = start + (size or self.page_size)
        document: Json = {"value": items[start:end], "nextLink": None}
        if end < len(items):
            query = request.rel_url.query.copy()
            query["$skiptoken"] = str(end)
            document["nextLink"] = f"https://{HOST}{request.rel_url.with_query(query)}"
        return web.json_response(document)

    async def _dispatch(self, request: web.Request) -> web.Response:
        identity = self._authenticate(request)
        if not request.query.get("api-version"):
            message = "The api-version query parameter (?api-version=) is required for all requests."
            raise arm_error(400, "MissingApiVersionParameter", message)
        response = await self._answer(identity, request)
        self._writes_left -= request.method not in {"GET", "HEAD"}
        response.headers["x-ms-operation-identifier"] = f"tenantId={self._entra.tenant_id}"
        response.headers["x-ms-correlation-request-id"] = str(uuid.uuid4())
        name = "reads" if request.method == "GET" else "writes"
        left = 16_499 if name == "reads" else max(self._writes_left, 1)
        response.headers[f"x-ms-ratelimit-remaining-subscription-global-{name}"] = str(left)
        return response

    def _authenticate(self, request: web.Request) -> Identity:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        headers = {"WWW-Authenticate": 'Bearer authorization_uri="https://login.microsoftonline.com/"'}
        if scheme.lower() != "bearer":
            message = "Authentication failed. The 'Authorization' header is missing."
            raise arm_error(401, "AuthenticationFailed", message, headers)
        identity = self._entra.identify(token, ARM)
        if identity is None and self._entra.identify(token, ACR):
            message = f"The access token has been obtained for wrong audience or resource '{ACR}'."
            raise arm_error(401, "InvalidAuthenticationTokenAudience", message, headers)
        if identity is None:
            message = "The access token is invalid or has expired."
            raise arm_error(401, "ExpiredAuthenticationToken", message, headers)
        return identity

    async def _answer(self, identity: Identity, request: web.Request) -> web.Response:
        path = request.path.rstrip("/")
        if path.lower() == "/subscriptions" and request.method == "GET":
            return self._list_subscriptions(identity, request)
        provider = self._providers.get((request.method, path.lower()))
        if provider is not None:
            return await provider(identity, request)
        collection = re.fullmatch(
            rf"/subscriptions/([^/]+)(/resourceGroups/[^/]+)?/providers/{RP}", path, re.IGNORECASE
        )
        if collection and request.method == "GET":
            return self._list_registries(identity, request, collection[1], collection[2] or "")
        inner = re.fullmatch(
            rf"(/subscriptions/[^/]+/resourceGroups/[^/]+/providers/{RP}/([^/]+))(?:/(.+))?", path, re.IGNORECASE
        )
        for endpoint in self._endpoints if inner else ():
            names = endpoint.match(request.method, inner[3] or "") if inner else None
            if inner and names is not None:
                authorize(identity, f"{RP}/{endpoint.action}", _scope(inner[1], endpoint.action, names))
                registry = self._find(inner[1], inner[2])
                return await endpoint.operation(Call(registry, names, request))
        raise arm_error(404, "InvalidResourceType", f"The resource type could not be found for '{path}'.")

    def _list_subscriptions(self, identity: Identity, request: web.Request) -> web.Response:
        """Like ARM: those in which the caller has a role anywhere."""
        resource_id = f"/subscriptions/{self._subscription}"
        whole = Assignment(ROLES["Reader"], resource_id)
        seen = any(one.covers(resource_id) or whole.covers(one.scope) for one in identity.assignments)
        shown = {
            "id": resource_id,
            "subscriptionId": self._subscription,
            "tenantId": self._entra.tenant_id,
            "displayName": "Emulated",
            "state": "Enabled",
        }
        return self.page([shown] if seen else [], request)

    def _list_registries(self, identity: Identity, request: web.Request, subscription: str, group: str) -> web.Response:
        """Like ARM: shows those that the caller may read, and refuses nobody."""
        if subscription.lower() != self._subscription.lower():
            message = f"The subscription '{subscription}' could not be found."
            raise arm_error(404, "SubscriptionNotFound", message)
        prefix = f"/subscriptions/{subscription}{group}/".lower()
        shown = [
            one.resource()
            for one in self._registries()
            if one.id.lower().startswith(prefix) and identity.may(f"{RP}/read", one.id)
        ]
        return self.page(shown, request)

    def _find(self, resource_id: str, name: str) -> AzureRegistry:
        for registry in self._registries():
            if registry.id.lower() == resource_id.lower():
                return registry
        group = resource_id.split("/")[4]
        message = (
            f"The Resource '{RP}/{name}' under resource group '{group}' was not found. "
            "For more details please go to https://aka.ms/ARMResourceNotFoundFix"
        )
        raise arm_error(404, "ResourceNotFound", message)

    async def _get_registry(self, call: Call) -> web.Response:
        return web.json_response(call.registry.resource())


def authorize(identity: Identity, action: str, resource: str) -> None:
    """Let pass whoever has the action on the resource. Raises RefusedError (403) with ARM's words."""
    if identity.may(action, resource):
        return
    message = (
        f"The client '{identity.client_id}' with object id '{identity.object_id}' does not have authorization "
        f"to perform action '{action}' over scope '{resource}' or the scope is invalid. "
        "If access was recently granted, please refresh your credentials."
    )
    raise arm_error(403, "AuthorizationFailed", message)


def _scope(registry_id: str, action: str, names: dict[str, str]) -> str:
    """The resource an action is judged on: a task has an id of its own that may carry a role."""
    if action.startswith("tasks/") and "task" in names:
        return f"{registry_id}/tasks/{names['task']}"
    return registry_id
