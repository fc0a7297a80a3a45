"""Who the operator is in Azure: tokens from Entra for registries and for ARM.

Owns which credential is used and how Entra's refusals are told. Knows no registry and no ARM call. Made once by the
wiring; the ACR adapter and the builders share it, and Azure's package keeps the tokens until shortly before they end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from basetracker.adapters.http import Http
from basetracker.errors import BasetrackerError, DeniedError, UnavailableError
from basetracker.ports import Clock

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AccessTokenInfo
    from azure.core.exceptions import AzureError
    from azure.identity.aio import ClientAssertionCredential, ClientSecretCredential

    _Credential = ClientSecretCredential | ClientAssertionCredential

PUBLIC_AUTHORITY: Final = "https://login.microsoftonline.com"
NO_IDENTITY: Final = (
    "the operator has no Azure identity; label its Pod azure.workload.identity/use=true and annotate its "
    "ServiceAccount with azure.workload.identity/client-id"
)
_FRESH_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """The usual AZURE_* settings; `token_file` goes before `client_secret`."""

    tenant_id: str = ""
    client_id: str = ""
    token_file: str = ""
    client_secret: str = field(default="", repr=False)
    authority_host: str = PUBLIC_AUTHORITY

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """What AKS's webhook (or a person) has put into the environment."""
        return cls(
            tenant_id=environment.get("AZURE_TENANT_ID", ""),
            client_id=environment.get("AZURE_CLIENT_ID", ""),
            token_file=environment.get("AZURE_FEDERATED_TOKEN_FILE", ""),
            client_secret=environment.get("AZURE_CLIENT_SECRET", ""),
            authority_host=environment.get("AZURE_AUTHORITY_HOST") or PUBLIC_AUTHORITY,
        )

    @property
    def is_complete(self) -> bool:
        """Whether there is enough to ask Entra for a token."""
        return bool(self.tenant_id and self.client_id and (self.token_file or self.client_secret))


class AzureIdentity:
    """A credential of Azure's package that raises this project's errors; Azure's clients take it as theirs."""

    def __init__(self, make: Callable[[], _Credential], settings: AzureSettings, clock: Clock) -> None:
        """`make` gives a credential that has no tokens yet."""
        self._make = make
        self._credential = make()
        self._made_at = clock.monotonic()
        self._settings = settings
        self._clock = clock

    async def token(self, scope: str) -> str:
        """A bearer token for `scope`, e.g. `https://management.azure.com/.default`.

        Raises:
            DeniedError: Entra refuses; the message says why.
            UnavailableError: Entra can't be asked now.
        """
        return (await self.get_token(scope)).token

    async def another_token(self, scope: str, refused: str) -> str | None:
        """A token for `scope` in place of one that a service refused before its end; None when there is no other.

        Azure's package keeps a token until shortly before its end, but Entra or the service may have withdrawn it, or
        see another time than this machine. Tokens that are hardly older than the refusal are kept: not they are the reason.

        Raises:
            DeniedError, UnavailableError: as `token`.
        """
        found = await self.token(scope)
        if found == refused and self._clock.monotonic() - self._made_at >= _FRESH_SECONDS:
            # The old one may still be asking; it holds nothing that has to be closed.
            self._credential, self._made_at = self._make(), self._clock.monotonic()
            found = await self.token(scope)
        return None if found == refused else found

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """As Azure's clients ask. Raises: as `token`."""
        from azure.core.exceptions import AzureError

        try:
            return await self._credential.get_token(*scopes, **options)
        except AzureError as error:
            raise self._told(error) from error
        except OSError as error:
            raise self._unreadable() from error

    async def get_token_info(self, *scopes: str, **options: Any) -> AccessTokenInfo:
        """As Azure's newer clients ask. Raises: as `token`."""
        from azure.core.exceptions import AzureError

        try:
            return await self._credential.get_token_info(*scopes, **options)
        except AzureError as error:
            raise self._told(error) from error
        except OSError as error:
            raise self._unreadable() from error

    async def close(self) -> None:
        """Nothing is asked after this."""
        await self._credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _told(self, error: AzureError) -> BasetrackerError:
        from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

        from basetracker.adapters.azure_transport import transport_failure

        host = self._settings.authority_host.removeprefix("https://").strip("/")
        status = (error.status_code or 0) if isinstance(error, HttpResponseError) else 0
        if status >= 500:
            return UnavailableError(f"{host} can't answer now (status {status})")
        if status == 429:
            return UnavailableError(f"{host} asks for fewer requests (status 429)", retry_after=30.0)
        if isinstance(error, ClientAuthenticationError):
            return DeniedError(
                f"Entra gives no token to client {self._settings.client_id}: {_reason(error)}; "
                "see its federated credential"
            )
        return transport_failure(host, error)

    def _unreadable(self) -> DeniedError:
        return DeniedError(
            f"the file {self._settings.token_file} of the operator's Azure identity can't be read; "
            "see AZURE_FEDERATED_TOKEN_FILE"
        )


def azure_identity(settings: AzureSettings, http: Http) -> AzureIdentity | None:
    """The identity that the settings describe; None when they describe none, and registries are read anonymously.

    Needs a running loop. Entra is asked through `http`, each request once: whoever needs the token tries again later.
    """
    if not settings.is_complete:
        return None
    # Loaded here because it takes half a second, which a tracker without Azure needn't wait for.
    from azure.identity.aio import ClientAssertionCredential, ClientSecretCredential

    from basetracker.adapters.azure_transport import SharedTransport

    shared: dict[str, Any] = {
        "authority": settings.authority_host,
        "transport": SharedTransport(http),
        "retry_total": 0,
    }

    def credential() -> _Credential:
        if not settings.token_file:
            return ClientSecretCredential(settings.tenant_id, settings.client_id, settings.client_secret, **shared)
        # The package's own credential for such files reads them at most every ten minutes, though a new token is there.
        file = Path(settings.token_file)

        def assertion() -> str:
            return file.read_text(encoding="utf-8", errors="replace")

        return ClientAssertionCredential(settings.tenant_id, settings.client_id, assertion, **shared)

    return AzureIdentity(credential, settings, http.clock)


def _reason(error: BaseException) -> str:
    """Entra's first sentence with its code, without the trace ids and times that differ each time."""
    found = re.search(r"AADSTS\d+:.*?(?=\s*(?:Trace ID|Correlation ID|Timestamp|$))", str(error), re.DOTALL)
    text = found.group(0) if found else "it refuses the request"
    return " ".join(text.split())[:300].rstrip(". ")
