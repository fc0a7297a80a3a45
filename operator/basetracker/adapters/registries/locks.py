"""Locks against deletion on manifests in Azure Container Registry, as the `Locks` port.

Owns the one attribute `deleteEnabled` of a digest; tags and all other attributes are left alone. Uses Azure's own client, for
a short time each: it takes four requests for one, and forgets its tokens, which doesn't matter here. Knows nothing of which
digests are worth a lock, nor whose lock one is. Made by the wiring.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from basetracker.adapters.azure_identity import NO_IDENTITY, AzureIdentity
from basetracker.adapters.fence import May, always, only_while
from basetracker.adapters.http import Http, refusal
from basetracker.adapters.registries.acr import AZURE_HOSTS, ENTRA_SCOPE, is_one_of
from basetracker.errors import BasetrackerError, DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import ImageRef

if TYPE_CHECKING:
    from azure.containerregistry import ArtifactManifestProperties
    from azure.containerregistry.aio import ContainerRegistryClient
    from azure.core.exceptions import HttpResponseError

    _Call = Callable[[ContainerRegistryClient, str, str], Awaitable[ArtifactManifestProperties]]

ROLES: Final = "AcrPush, or Container Registry Repository Writer where the registry uses repository permissions"
_AUDIENCE: Final = ENTRA_SCOPE.removesuffix("/.default")


class AcrLocks:
    """See `ports.Locks`; as the operator's Azure identity."""

    def __init__(
        self, http: Http, identity: AzureIdentity | None, *, azure_hosts: Iterable[str] = (), may: May = always
    ) -> None:
        """`azure_hosts` are further hosts of Azure registries (a suffix when one begins with a dot).

        Locks are set and taken back only while `may`.
        """
        self._http = http
        self._identity = identity
        self._hosts = AZURE_HOSTS + tuple(host.lower() for host in azure_hosts)
        self._may = may

    async def is_locked(self, image: ImageRef) -> bool:
        """See `ports.Locks`; a lock against writing protects from deletion as well, and counts."""
        found = await self._ask(image, lambda client, path, digest: client.get_manifest_properties(path, digest))
        if not isinstance(found.can_delete, bool) or not isinstance(found.can_write, bool):
            raise InvalidError(f"{image.host} doesn't tell whether {image.repository.path} is locked")
        return not (found.can_delete and found.can_write)

    async def lock(self, image: ImageRef) -> None:
        """See `ports.Locks`."""
        await self._set(image, can_delete=False)

    async def unlock(self, image: ImageRef) -> None:
        """See `ports.Locks`."""
        try:
            await self._set(image, can_delete=True)
        except MissingError:
            return

    async def _set(self, image: ImageRef, *, can_delete: bool) -> None:
        with only_while(self._may):
            found = await self._ask(
                image,
                lambda client, path, digest: client.update_manifest_properties(path, digest, can_delete=can_delete),
            )
        if found.can_delete is not can_delete:
            raise InvalidError(f"{image.host} has not changed the lock of {image.repository.path}, and doesn't say why")

    async def _ask(self, image: ImageRef, call: _Call) -> ArtifactManifestProperties:
        """The manifest's properties as the registry answers the call; asked once more with another token after a 401."""
        from azure.core.exceptions import ClientAuthenticationError

        identity, digest = self._expect(image)
        refused = await identity.token(ENTRA_SCOPE)
        with self._told(image):
            try:
                found = await self._once(image, identity, call)
            except ClientAuthenticationError:
                if await identity.another_token(ENTRA_SCOPE, refused) is None:
                    raise
                found = await self._once(image, identity, call)
        if found.digest != digest:
            raise _unreadable(image)
        return found

    async def _once(self, image: ImageRef, identity: AzureIdentity, call: _Call) -> ArtifactManifestProperties:
        # Loaded here because it takes a moment, which a tracker without `protect` needn't wait for.
        from azure.containerregistry.aio import ContainerRegistryClient

        from basetracker.adapters.azure_transport import SharedTransport

        settings: dict[str, Any] = {
            "audience": _AUDIENCE,
            "transport": SharedTransport(self._http),
            "retry_total": 0,
            "permit_redirects": False,
        }
        async with ContainerRegistryClient(f"https://{image.host}", identity, **settings) as client:
            return await call(client, image.repository.path, str(image.digest))

    def _expect(self, image: ImageRef) -> tuple[AzureIdentity, str]:
        if image.digest is None:
            raise InvalidError(f"{image} names no digest, and only a digest is locked")
        if not is_one_of(image.host, self._hosts):
            raise InvalidError(f"{image.host} has no locks; only Azure Container Registry has")
        if self._identity is None:
            raise DeniedError(f"nothing can be locked: {NO_IDENTITY}")
        return self._identity, str(image.digest)

    @contextmanager
    def _told(self, image: ImageRef) -> Iterator[None]:
        """Raise this project's errors for what Azure's client raises within."""
        from azure.core.exceptions import AzureError, HttpResponseError

        from basetracker.adapters.azure_transport import transport_failure

        try:
            yield
        except HttpResponseError as error:
            raise self._meaning(image, error) from error
        except AzureError as error:
            raise transport_failure(image.host, error) from error
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise _unreadable(image) from error

    def _meaning(self, image: ImageRef, error: HttpResponseError) -> BasetrackerError:
        """This project's error for an error answer of the registry."""
        host, path, status = image.host, image.repository.path, error.status_code or 0
        match status:
            case 401 | 403 | 405:
                return DeniedError(
                    f"{host} doesn't let the operator's identity set or see locks in {path}; grant it {ROLES}"
                )
            case 404:
                return MissingError(f"{host} has no {path} at {image.digest.short if image.digest else ''}")
            case 409:
                return UnavailableError(f"{host} is changing {path} just now")
            case _ if status == 429 or status >= 500:
                return refusal(host, status, self._http.limits.held(host) or None)
            case _ if status < 400:  # a broken body under a good status
                return UnavailableError(f"{host} answers about {path} with something incomplete")
            case _:
                return InvalidError(f"{host} answers with status {status} when asked for the lock of {path}")


def _unreadable(image: ImageRef) -> InvalidError:
    return InvalidError(f"{image.host} answers about {image.repository.path} with something that can't be read")
