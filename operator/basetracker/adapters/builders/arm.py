"""Azure Resource Manager: the clients for registries, tasks and Resource Graph, and what their errors mean.

Owns how the clients are made (each request is sent once, through the shared session and limits) and how ARM's
refusals are told. Knows nothing of builds or findings. Used by `acr_tasks` and by the Defender gate.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from yarl import URL

from basetracker.adapters.azure_identity import NO_IDENTITY, AzureIdentity
from basetracker.adapters.builders.arm_ids import RegistryId
from basetracker.adapters.http import Http, host_of, refusal
from basetracker.errors import BasetrackerError, DeniedError, InvalidError, MissingError, UnavailableError

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient
    from azure.mgmt.containerregistrytasks.aio import ContainerRegistryTasksMgmtClient
    from azure.mgmt.resourcegraph.aio import ResourceGraphClient

PUBLIC_ENDPOINT: Final = "https://management.azure.com"
PROVIDER: Final = "Microsoft.ContainerRegistry/registries"
_NO_SUBSCRIPTION: Final = "00000000-0000-0000-0000-000000000000"
_SUBSCRIPTIONS_VERSION: Final = "2022-12-01"
_TEXT_LIMIT: Final = 300


@dataclass(frozen=True, slots=True)
class _Clients:
    tasks: ContainerRegistryTasksMgmtClient
    registries: ContainerRegistryManagementClient


class Arm:
    """ARM as seen by one identity; needs a running loop when a client is first asked for."""

    def __init__(
        self, http: Http, identity: AzureIdentity | None, *, endpoint: str = PUBLIC_ENDPOINT, api_version: str = ""
    ) -> None:
        """`endpoint` is that of the cloud, e.g. `https://management.chinacloudapi.cn`.

        `api_version` is that of tasks and runs; empty for the one that the SDK was made for.
        """
        self._http = http
        self._identity = identity
        self._endpoint = endpoint.rstrip("/")
        self._api_version = api_version
        self._clients: dict[str, _Clients] = {}
        self._graph: ResourceGraphClient | None = None

    @property
    def http(self) -> Http:
        """What the requests are sent through."""
        return self._http

    @property
    def host(self) -> str:
        """ARM's host name."""
        return host_of(URL(self._endpoint))

    def tasks(self, subscription: str) -> ContainerRegistryTasksMgmtClient:
        """The client for tasks and runs. Raises DeniedError when there is no Azure identity."""
        return self._for(subscription).tasks

    def registries(self, subscription: str) -> ContainerRegistryManagementClient:
        """The client for registries. Raises DeniedError when there is no Azure identity."""
        return self._for(subscription).registries

    def graph(self) -> ResourceGraphClient:
        """The client for queries over all subscriptions. Raises DeniedError when there is no Azure identity."""
        identity = self._required("Azure Resource Graph")
        if self._graph is None:
            from azure.mgmt.resourcegraph.aio import ResourceGraphClient

            self._graph = ResourceGraphClient(identity, **self._settings(identity))
        return self._graph

    async def subscriptions(self) -> AsyncIterator[str]:
        """The subscriptions that the identity can see, by id."""
        from azure.core.rest import HttpRequest

        client = self.tasks(_NO_SUBSCRIPTION)
        link: str | None = f"{self._endpoint}/subscriptions?api-version={_SUBSCRIPTIONS_VERSION}"
        while link is not None and link.startswith(f"{self._endpoint}/"):
            with self.told("Microsoft.Resources/subscriptions/read", "the subscriptions"):
                answer = await client.send_request(HttpRequest("GET", link))
                answer.raise_for_status()
                document = answer.json()
            for item in document.get("value") or ():
                if str(item.get("state", "Enabled")).lower() != "disabled" and item.get("subscriptionId"):
                    yield str(item["subscriptionId"]).lower()
            link = document.get("nextLink")

    @contextmanager
    def told(self, action: str, resource: str) -> Iterator[None]:
        """Raise this project's errors for what an Azure client raises within.

        `action` is the permission that is needed, `resource` what on, for people.
        """
        from azure.core.exceptions import AzureError, HttpResponseError

        from basetracker.adapters.azure_transport import transport_failure

        try:
            yield
        except HttpResponseError as error:
            if (error.status_code or 0) < 400:  # a broken body under a good status
                raise UnavailableError(f"{self.host} answers for {resource} with something incomplete") from error
            raise self.meaning(error, action, resource) from error
        except AzureError as error:
            raise transport_failure(self.host, error) from error
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise InvalidError(f"{self.host} answers for {resource} with something that can't be read") from error

    def meaning(self, error: HttpResponseError, action: str, resource: str) -> BasetrackerError:
        """This project's error for an error answer of ARM."""
        status = error.status_code or 0
        match status:
            case 401 | 403:
                return DeniedError(
                    f"Azure doesn't let the operator's identity use {resource}; grant it a role with the action {action}"
                )
            case 404:
                return MissingError(f"Azure has no {resource} that the operator's identity can see")
            case 429 | 500 | 502 | 503 | 504:
                return refusal(self.host, status, self._http.limits.held(self.host) or None)
            case _ if status >= 500:
                return refusal(self.host, status, None)
            case _:
                return InvalidError(f"Azure refuses the request for {resource}: {_reason(error)}")

    async def close(self) -> None:
        """Close the clients; the session stays open, since it belongs to others as well."""
        for clients in self._clients.values():
            await clients.tasks.close()
            await clients.registries.close()
        self._clients.clear()
        if self._graph is not None:
            await self._graph.close()
            self._graph = None

    @property
    def _scope(self) -> str:
        return f"{self._endpoint}/.default"

    def _required(self, asked: str) -> AzureIdentity:
        if self._identity is None:
            raise DeniedError(f"{asked} can't be asked: {NO_IDENTITY}")
        return self._identity

    def _settings(self, identity: AzureIdentity) -> dict[str, Any]:
        from basetracker.adapters.azure_transport import SharedTransport
        from basetracker.adapters.builders.arm_login import ArmLogin

        return {
            "base_url": self._endpoint,
            "authentication_policy": ArmLogin(identity, self._scope),
            "transport": SharedTransport(self._http),
            # A second POST would be a second run, whatever the SDK takes the first answer for.
            "retry_total": 0,
            "permit_redirects": False,
        }

    def _for(self, subscription: str) -> _Clients:
        identity = self._required("ACR Tasks")
        found = self._clients.get(subscription)
        if found is None:
            # Loaded here because both take half a second, which a tracker without builds needn't wait for.
            from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient
            from azure.mgmt.containerregistrytasks.aio import ContainerRegistryTasksMgmtClient

            settings = self._settings(identity)
            versioned: dict[str, Any] = {"api_version": self._api_version} if self._api_version else {}
            found = _Clients(
                ContainerRegistryTasksMgmtClient(identity, subscription, **settings, **versioned),
                ContainerRegistryManagementClient(identity, subscription, **settings),
            )
            self._clients[subscription] = found
        return found


def describe(registry: RegistryId, *parts: str) -> str:
    """A registry, or something in it, in words: `registry contoso`, `run cf1 of registry contoso`."""
    return " of ".join([*parts, f"registry {registry.name}"])


def readable(text: str, limit: int) -> str:
    """One line of at most `limit` characters without query strings, which may hold signatures, and without ids that
    differ each time."""
    text = re.sub(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]*", r"\1", " ".join(text.split()))
    text = re.sub(r"(?i)\b(?:correlation|tracking|request|trace|activity)[ -]?id\b[:=' ]*[\w-]+'?", "", text)
    return text.strip()[:limit]


def _reason(error: HttpResponseError) -> str:
    told = error.error
    code, message = (told.code or "", told.message or "") if told is not None else ("", "")
    text = readable(f"{code}: {message}" if code else message, _TEXT_LIMIT).rstrip(". ")
    return text or f"status {error.status_code}"
