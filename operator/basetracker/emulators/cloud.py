"""The emulated Azure and the registries beside it, tied together: one world on loopback.

`Cloud` makes the private CA, the proxy, Entra, ARM, tasks and registries, and keeps them on one clock, one
fault list and one request record. It is what the demo, the tests and nobody else start. Product code is
given `environment()` and finds the real host names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web

from basetracker.emulators import arm, entra
from basetracker.emulators.acr.access import BasicAccess, OpenAccess, TokenService
from basetracker.emulators.acr.azure_access import AzureAccess
from basetracker.emulators.acr.blobs import BlobStore
from basetracker.emulators.acr.registry import AzureRegistry, Registry
from basetracker.emulators.authority import Authority
from basetracker.emulators.faults import Faults
from basetracker.emulators.identities import Identity
from basetracker.emulators.images import Image, Index
from basetracker.emulators.proxy import Proxy
from basetracker.emulators.references import parse
from basetracker.emulators.resource_graph import ResourceGraph
from basetracker.emulators.server import Site
from basetracker.emulators.tasks import logs
from basetracker.emulators.tasks.api import TasksApi
from basetracker.emulators.tasks.builder import Builder
from basetracker.emulators.tasks.service import Tasks
from basetracker.emulators.timeline import Clock, utcnow
from basetracker.emulators.tokens import Ledger, Signer

SUBSCRIPTION = "5b1f0c5e-3f0a-4d7b-9c31-6a1f3f3b2a10"
TENANT = "72f988bf-0000-41af-91ab-2d7cd011db47"
BLOB_HOST = "weumanaged17.blob.core.windows.net"
ISSUER = "https://oidc.emulated.example/"
TICK_SECONDS = 0.05
R = TypeVar("R", bound=Registry[Any])


class Cloud:
    """One emulated world. Set it up before or after `start`; hosts are served from their first use."""

    def __init__(
        self,
        *,
        authority: Authority | None = None,
        clock: Clock = utcnow,
        queue_seconds: float = 0.05,
        start_seconds: float = 0.05,
        run_seconds: float = 0.2,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        """A run spends these seconds, by `clock`, in Queued, Started and Running.

        Each request sees all that is due; without one, time has its effects every `tick_seconds`.
        """
        self.authority = authority or Authority()
        self.clock = clock
        self.subscription = SUBSCRIPTION
        self.faults = Faults()
        self.ledger = Ledger()
        self.proxy = Proxy(self._port)
        self.registries: dict[str, Registry[Any]] = {}
        """By host name."""
        self.blob_store = BlobStore(BLOB_HOST)
        self._signer = Signer()
        self.entra = entra.Entra(clock, self._signer, self.ledger, tenant_id=TENANT)
        self.tasks = Tasks(
            Builder(self.fetch, self._push),
            clock,
            queue_seconds=queue_seconds,
            start_seconds=start_seconds,
            run_seconds=run_seconds,
        )
        self.arm = arm.ResourceManager(SUBSCRIPTION, self._azure_registries, self.entra)
        self.graph = ResourceGraph(SUBSCRIPTION, clock, self.arm)
        run_logs = logs.Logs(clock, self.ledger)
        TasksApi(self.tasks, run_logs, self.arm)
        self._tick_seconds = tick_seconds
        self._sites: dict[str, Site] = {}
        self._ticking: asyncio.Task[None] | None = None
        self.add_host(entra.HOST, self.entra.routes())
        self.add_host(arm.HOST, self.arm.routes())
        self.add_host(logs.HOST, run_logs.routes())
        self.add_host(BLOB_HOST, self.blob_store.routes())

    async def start(self) -> None:
        """Open the proxy and let time have its effects."""
        await self.proxy.start()
        self._ticking = asyncio.create_task(self._tick(), name="emulated Azure")

    async def stop(self) -> None:
        """Close everything."""
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
        await self.proxy.stop()
        for site in self._sites.values():
            await site.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def settle(self) -> None:
        """Let everything happen that is due by the clock."""
        await self.tasks.advance()

    # -- setting up ------------------------------------------------------------------------------------

    def add_host(self, host: str, routes: Sequence[web.RouteDef]) -> None:
        """Let a host name exist and answer so; with no routes it answers 404 and is only recorded.

        Raises ValueError for a host that exists already.
        """
        if f"{host}:443" in self._sites:
            raise ValueError(f"there is a {host} already")
        self._sites[f"{host}:443"] = Site(
            host,
            routes,
            authority=self.authority,
            faults=self.faults,
            ledger=self.ledger,
            before=self.settle,
        )

    def add_azure_registry(
        self,
        name: str,
        *,
        resource_group: str = "registries",
        sku: str = "Premium",
        location: str = "westeurope",
        host: str | None = None,
    ) -> AzureRegistry:
        """A registry `<name>.azurecr.io` with an ARM id; `host` gives it another login server."""
        login_server = host or f"{name}.azurecr.io"
        group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{resource_group}"
        registry_id = f"{group}/providers/Microsoft.ContainerRegistry/registries/{name}"
        access = AzureAccess(login_server, registry_id, entra=self.entra, clock=self.clock, ledger=self.ledger)
        registry = AzureRegistry(name, group, access, self.clock, sku=sku, location=location)
        self.entra.audiences[entra.ACR].add(login_server)
        self._add(registry)
        return registry

    def add_open_registry(self, host: str) -> Registry[OpenAccess]:
        """A registry without any guard."""
        return self._add(Registry(host, OpenAccess(), self.clock))

    def add_basic_registry(self, host: str, accounts: Mapping[str, str]) -> Registry[BasicAccess]:
        """A registry with user names and passwords."""
        for password in accounts.values():
            self.ledger.issue(password, f"password of {host}", {host})
        return self._add(Registry(host, BasicAccess(accounts), self.clock))

    def add_token_registry(self, host: str, realm_host: str, accounts: Mapping[str, str]) -> Registry[TokenService]:
        """A registry whose tokens another host gives for user names and passwords."""
        for password in accounts.values():
            self.ledger.issue(password, f"password of {host}", {host, realm_host})
        access = TokenService(host, realm_host, accounts, self.clock, self.ledger)
        self.add_host(realm_host, access.realm_routes())
        return self._add(Registry(host, access, self.clock))

    def add_identity(self, name: str, *, subject: str | None = None, issuer: str | None = None) -> Identity:
        """A managed identity; `subject` is `system:serviceaccount:<namespace>:<name>`, None trusts any."""
        return self.entra.add(Identity(name=name, subject=subject, issuer=issuer))

    def expire_tokens(self) -> None:
        """Let every token of Entra and of the Azure registries end now, whatever its own time says."""
        self._signer.forget()
        for registry in self._azure_registries():
            registry.access.expire_tokens()

    def federated_token(
        self,
        subject: str,
        *,
        path: Path | None = None,
        issuer: str = ISSUER,
        audience: str = entra.EXCHANGE_AUDIENCE,
        seconds: float = 3600,
    ) -> str:
        """A ServiceAccount's JWT as a cluster projects it; also written to `path` when given."""
        now = self.clock()
        claims = {
            "aud": [audience],
            "iss": issuer,
            "sub": subject,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=seconds)).timestamp()),
        }
        token = self.ledger.issue(Signer().mint(claims), "ServiceAccount token", {entra.HOST})
        if path is not None:
            path.write_text(token)
        return token

    # -- looking in ------------------------------------------------------------------------------------

    @property
    def proxy_url(self) -> str:
        """What belongs into `HTTPS_PROXY`. Only while started."""
        return self.proxy.url

    def registry(self, name: str) -> Registry[Any]:
        """A registry by its host name or an Azure registry's name. Raises KeyError."""
        return self.registries.get(name) or self.registries[f"{name}.azurecr.io"]

    def push(self, reference: str, image: Image | Index) -> str:
        """Push past all guards to `host/repository:tag`; answers the digest. Raises KeyError, LockedError."""
        named = parse(reference)
        tag = None if named.digest else named.tag
        return self.registries[named.host].push(named.repository, tag, image)

    async def fetch(self, reference: str) -> Image | Index | None:
        """The image behind a full reference in any registry of this world."""
        named = parse(reference)
        registry = self.registries.get(named.host)
        return registry.storage.pull(named.repository, named.manifest) if registry else None

    async def resolve_image(self, reference: str) -> str | None:
        """The digest a node would run for this reference; None where it could pull nothing."""
        await self.settle()
        named = parse(reference)
        registry = self.registries.get(named.host)
        manifest = registry.storage.find(named.repository, named.manifest) if registry else None
        if registry is None or manifest is None or registry.storage.hidden(manifest):
            return None
        return manifest.digest

    def environment(self, directory: Path, identity: Identity | None = None) -> dict[str, str]:
        """Variables for a child process: proxy, CA file and, for an identity, workload identity.

        Writes `ca.pem` and `token` into `directory`. Only while started.
        """
        local = "127.0.0.1,localhost"
        variables = {
            "HTTPS_PROXY": self.proxy_url,
            "https_proxy": self.proxy_url,  # some clients read only this, and prefer it
            "NO_PROXY": local,
            "no_proxy": local,
            "SSL_CERT_FILE": str(self.authority.write(directory / "ca.pem")),
        }
        if identity is None:
            return variables
        token = directory / "token"
        subject = identity.subject or f"system:serviceaccount:any:{identity.name}"
        self.federated_token(subject, path=token, issuer=identity.issuer or ISSUER)
        return variables | {
            "AZURE_CLIENT_ID": identity.client_id,
            "AZURE_TENANT_ID": self.entra.tenant_id,
            "AZURE_FEDERATED_TOKEN_FILE": str(token),
            "AZURE_AUTHORITY_HOST": f"https://{entra.HOST}/",
        }

    # -- inside ----------------------------------------------------------------------------------------

    def _add(self, registry: R) -> R:
        registry.storage.listeners.append(self.tasks.on_push)
        self.registries[registry.host] = registry
        self.add_host(registry.host, registry.routes())
        return registry

    def _azure_registries(self) -> list[AzureRegistry]:
        found = [one for one in self.registries.values() if isinstance(one, AzureRegistry)]
        return sorted(found, key=lambda one: one.id.lower())

    async def _push(self, reference: str, image: Image | Index) -> str:
        return self.push(reference, image)

    async def _port(self, target: str) -> int | None:
        site = self._sites.get(target)
        return await site.port() if site else None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._tick_seconds)
            await self.settle()
