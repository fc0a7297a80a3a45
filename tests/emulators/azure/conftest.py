"""A small emulated Azure, and sessions that find it by the real host names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import WorkloadIdentityCredential
from azure.mgmt.containerregistrytasks.aio import ContainerRegistryTasksMgmtClient

from basetracker.emulators import samples
from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.cloud import SUBSCRIPTION, Cloud
from basetracker.emulators.identities import Identity
from basetracker.emulators.tasks.definition import Task
from basetracker.emulators.timeline import ManualClock, utcnow

BASE = "contoso.azurecr.io/base/python:3.12"
GROUP = "registries"


@dataclass
class Answer:
    """An answer, read to the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def expect(self, status: int) -> Answer:
        """Itself, if the status is this."""
        assert self.status == status, self.body
        return self


def bearer(token: str, **others: str) -> dict[str, str]:
    """Headers with a bearer token."""
    return {"Authorization": f"Bearer {token}", **others}


def basic(user: str, password: str) -> dict[str, str]:
    """Headers with user name and password."""
    return {"Authorization": aiohttp.encode_basic_auth(user, password)}


@dataclass
class World:
    """The emulated Azure of a test and what it holds."""

    cloud: Cloud
    clock: ManualClock
    contoso: AzureRegistry
    operator: Identity
    task: Task
    session: aiohttp.ClientSession
    directory: Path

    def transport(self) -> AioHttpTransport:
        """A transport for an Azure SDK client that shares the session."""
        return AioHttpTransport(session=self.session, session_owner=False)

    def credential(self, identity: Identity | None = None) -> WorkloadIdentityCredential:
        """The real credential of an identity."""
        variables = self.cloud.environment(self.directory, identity or self.operator)
        return WorkloadIdentityCredential(
            client_id=variables["AZURE_CLIENT_ID"],
            tenant_id=variables["AZURE_TENANT_ID"],
            token_file_path=variables["AZURE_FEDERATED_TOKEN_FILE"],
            authority=variables["AZURE_AUTHORITY_HOST"],
            transport=self.transport(),
        )

    async def ask(self, method: str, url: str, **settings: Any) -> Answer:
        """One request, redirects not followed, read to the end."""
        async with self.session.request(method, url, allow_redirects=False, **settings) as response:
            return Answer(response.status, response.headers, await response.read())

    async def acr_token(self, *scopes: str, host: str = "contoso.azurecr.io") -> str:
        """An access token of the operator by the whole flow; `scopes` like `repository:x:pull`."""
        async with self.credential() as credential:
            entra = await credential.get_token("https://containerregistry.azure.net/.default")
        form = {"grant_type": "access_token", "service": host, "access_token": entra.token}
        answer = await self.ask("POST", f"https://{host}/oauth2/exchange", data=form)
        return await self.acr_access(answer.json()["refresh_token"], *scopes, host=host)

    async def acr_access(self, refresh: str, *scopes: str, host: str = "contoso.azurecr.io") -> str:
        """An access token for a refresh token."""
        form = {"grant_type": "refresh_token", "service": host, "refresh_token": refresh}
        fields = [*form.items(), *(("scope", one) for one in scopes)]
        answer = await self.ask("POST", f"https://{host}/oauth2/token", data=fields)
        answer.expect(200)
        return str(answer.json()["access_token"])

    def tasks_client(self, identity: Identity | None = None, **settings: Any) -> ContainerRegistryTasksMgmtClient:
        """The real tasks SDK client."""
        settings.setdefault("retry_total", 0)
        return ContainerRegistryTasksMgmtClient(
            self.credential(identity), SUBSCRIPTION, transport=self.transport(), **settings
        )


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """One registry `contoso` with a base, a task `build-checkout`, and an identity that may run it."""
    clock = ManualClock(utcnow())  # real SDKs judge a token's end by the real time
    cloud = Cloud(clock=clock, queue_seconds=5, start_seconds=5, run_seconds=20)
    contoso = cloud.add_azure_registry("contoso", resource_group=GROUP)
    cloud.push(BASE, samples.python_index())
    task = cloud.tasks.add("build-checkout", contoso, image="shop/checkout:main", base=BASE)
    operator = cloud.add_identity("operator", subject="system:serviceaccount:basetracker:operator")
    operator.assign("AcrPull", contoso.id)
    operator.assign("basetracker operator", contoso.id)
    await cloud.start()
    for name, value in cloud.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    connector = aiohttp.TCPConnector(ssl=cloud.authority.client_context())
    async with aiohttp.ClientSession(
        connector=connector, trust_env=True, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as session:
        yield World(cloud, clock, contoso, operator, task, session, tmp_path)
    await cloud.stop()
