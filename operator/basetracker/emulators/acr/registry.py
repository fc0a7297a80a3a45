"""One emulated registry, put together: what it keeps, how it is guarded, what it serves.

`Registry` is any OCI registry, `AzureRegistry` one with an ARM id, a SKU and `/acr/v1`. Knows nothing of
tasks. Made by `cloud.py`; tests and the demo reach into it by name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from aiohttp import web

from basetracker.emulators.acr.access import Access
from basetracker.emulators.acr.azure_access import AzureAccess
from basetracker.emulators.acr.blobs import Blobs
from basetracker.emulators.acr.distribution import Distribution
from basetracker.emulators.acr.limits import BUDGETS, Limits
from basetracker.emulators.acr.metadata import Metadata
from basetracker.emulators.acr.storage import Storage
from basetracker.emulators.images import Image, Index
from basetracker.emulators.timeline import Clock, arm_time

A = TypeVar("A", bound=Access)


class Registry(Generic[A]):
    """A registry at a host name. `storage`, `access`, `limits` and `api` are there to be set up."""

    def __init__(self, host: str, access: A, clock: Clock, limits: Limits | None = None) -> None:
        self.host = host
        self.access = access
        self.storage = Storage(host, clock)
        self.limits = limits or Limits(clock, {})
        self.api = Distribution(self.storage, access, self.limits)
        self.blobs = Blobs(self.storage, access, self.limits)

    def routes(self) -> list[web.RouteDef]:
        """Everything its host serves."""
        return [*self.access.routes(), *self.blobs.routes(), *self.api.routes()]

    def push(self, repository: str, tag: str | None, image: Image | Index) -> str:
        """Push past all guards; answers the digest. Raises `storage.LockedError`."""
        return self.storage.push(repository, tag, image)

    def digest(self, repository: str, reference: str) -> str | None:
        """The digest a tag points to, or the digest itself where the manifest is there."""
        manifest = self.storage.find(repository, reference)
        return manifest.digest if manifest else None


class AzureRegistry(Registry[AzureAccess]):
    """A container registry in a resource group."""

    def __init__(
        self, name: str, resource_group_id: str, access: AzureAccess, clock: Clock, *, sku: str, location: str
    ) -> None:
        super().__init__(access.host, access, clock, Limits(clock, BUDGETS[sku]))
        self.name = name
        self.id = f"{resource_group_id}/providers/Microsoft.ContainerRegistry/registries/{name}"
        self.sku = sku
        self.location = location
        self.metadata = Metadata(self.storage, access, self.limits, clock)
        self.created: datetime = clock()

    def routes(self) -> list[web.RouteDef]:
        """The distribution API and Azure's own."""
        return [*super().routes(), *self.metadata.routes()]

    def resource(self) -> dict[str, Any]:
        """As ARM shows it."""
        mode = "AbacRepositoryPermissions" if self.access.abac else "LegacyRegistryPermissions"
        return {
            "type": "Microsoft.ContainerRegistry/registries",
            "id": self.id,
            "name": self.name,
            "location": self.location,
            "tags": {},
            "sku": {"name": self.sku, "tier": self.sku},
            "properties": {
                "loginServer": self.host,
                "creationDate": arm_time(self.created),
                "provisioningState": "Succeeded",
                "adminUserEnabled": bool(self.access.accounts),
                "anonymousPullEnabled": self.access.anonymous_pull,
                "publicNetworkAccess": "Enabled",
                "roleAssignmentMode": mode,
                "policies": {
                    "quarantinePolicy": {"status": "enabled" if self.storage.quarantine else "disabled"},
                    "azureADAuthenticationAsArmPolicy": {
                        "status": "enabled" if self.access.accepts_arm_tokens else "disabled"
                    },
                },
            },
        }
