"""How an Azure registry is told who asks: Entra token → refresh token → access token for one repository.

Owns the two endpoints `/oauth2/exchange` and `/oauth2/token` as azure-containerregistry's documentation
(AAD-OAuth) describes them. Everything goes to the registry's own host: the realm in a challenge is ignored, since
whoever could name another one would be sent a token. Used by `oci`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from yarl import URL

from basetracker.adapters.http import Answer, Http
from basetracker.adapters.registries.auth import pull_scope
from basetracker.adapters.registries.tokens import Token, TokenKey, Tokens, basic_header, holder, read_token
from basetracker.errors import DeniedError, InvalidError
from basetracker.oci.refs import Repository
from basetracker.ports import Clock, Credential

AZURE_HOSTS: Final = (".azurecr.io", ".azurecr.cn", ".azurecr.us")
ENTRA_SCOPE: Final = "https://containerregistry.azure.net/.default"
"""The only scope that every registry accepts; one for ARM can be switched off per registry."""
_ACCESS_MARGIN: Final = 300.0
_REFRESH_MARGIN: Final = 600.0
_ACCESS_LIFE: Final = 75 * 60.0
_REFRESH_LIFE: Final = 3 * 3600.0
"""Seconds that Azure's tokens live, for the case that they don't tell."""
NO_USER: Final = "00000000-0000-0000-0000-000000000000"
"""The user name that goes with a refresh token where a password is asked for."""
_ROLES: Final = "AcrPull, or Container Registry Repository Reader where the registry uses repository permissions"


def is_one_of(host: str, hosts: Iterable[str]) -> bool:
    """Whether `host` is named; what begins with a dot names all that end so."""
    return any(host.endswith(one) if one.startswith(".") else host == one for one in hosts)


class StrangerError(DeniedError):
    """The registry knows no identity of ours, as one of another tenant."""


class Identity(Protocol):
    """Who the operator is in Azure."""

    async def token(self, scope: str) -> str:
        """An Entra token for `scope`. Raises DeniedError or UnavailableError."""

    async def another_token(self, scope: str, refused: str) -> str | None:
        """One in place of a token that was refused before its end; None when there is no other. Raises as `token`."""


class AcrAuthentication:
    """Tells Azure registries who asks: the pull secret's user, else the operator's identity, else nobody.

    Nobody also where the identity is refused, since a public registry of another tenant knows no identity of ours.
    """

    def __init__(self, http: Http, clock: Clock, identity: Identity | None, hosts: Iterable[str] = ()) -> None:
        """`hosts` are further registry hosts of Azure; one that begins with a dot is a suffix."""
        self._http = http
        self._identity = identity
        self._access = Tokens(clock, margin=_ACCESS_MARGIN)
        self._refresh = Tokens(clock, margin=_REFRESH_MARGIN)
        self._hosts = AZURE_HOSTS + tuple(host.lower() for host in hosts)

    def covers(self, host: str) -> bool:
        """Whether `host` is an Azure registry, so that an Entra token may be sent there."""
        return is_one_of(host, self._hosts)

    async def header(self, repository: Repository, credential: Credential | None) -> str:
        """See `Authentication`; known without a challenge."""
        key = _key(repository, credential)
        return "Bearer " + await self._access.get(key, lambda: self._fetch(repository, credential))

    async def renew(
        self, repository: Repository, credential: Credential | None, challenges: Sequence[str], sent: str | None
    ) -> str:
        """See `Authentication`; the challenges don't matter."""
        key = _key(repository, credential)
        if sent is not None:
            self._access.drop(key, sent.removeprefix("Bearer "))
        return "Bearer " + await self._access.get(key, lambda: self._fetch_again(repository, credential))

    def refusal(self, repository: Repository, credential: Credential | None) -> DeniedError:
        """See `Authentication`."""
        host, path = repository.host, repository.path
        if credential is not None:
            return DeniedError(
                f"{host} refuses the credential of the pull secret for {path}; its user needs pull on this repository"
            )
        if self._identity is None:
            return DeniedError(
                f"{host} lets nobody read {path} without a credential; name a pull secret in pullSecretRef, "
                "or give the operator an Azure identity"
            )
        return DeniedError(
            f"{host} refuses the operator's Azure identity for {path}; the identity needs pull on it: grant {_ROLES}"
        )

    async def login(self, repository: Repository, credential: Credential | None) -> Credential | None:
        """What another program may log in to this host with; None for nobody.

        The operator's identity becomes a refresh token of this one registry, which is of no use elsewhere and lasts for
        some hours. Raises as `header`.
        """
        if credential is not None or self._identity is None:
            return credential
        try:
            refresh = await self._refresh.get(_refresh_key(repository), lambda: self._exchange(repository))
        except StrangerError:
            if await self._anonymous(repository) is None:
                raise
            return None
        return Credential(username=NO_USER, password=refresh)

    async def _fetch(self, repository: Repository, credential: Credential | None) -> Token:
        if credential is not None or self._identity is None:
            return await self._by_password(repository, credential)
        try:
            return await self._by_identity(repository)
        except StrangerError:
            anonymous = await self._anonymous(repository)
            if anonymous is None:
                raise
            return anonymous

    async def _fetch_again(self, repository: Repository, credential: Credential | None) -> Token:
        """After a refused token: where the identity's own was, nobody's may do, in a registry with anonymous pull."""
        may_be_nobody = credential is None and self._identity is not None
        anonymous = await self._anonymous(repository) if may_be_nobody else None
        return anonymous or await self._fetch(repository, credential)

    async def _anonymous(self, repository: Repository) -> Token | None:
        """A token that anybody may have; None where the registry gives none."""
        try:
            return await self._by_password(repository, None)
        except (DeniedError, InvalidError):
            return None

    async def _by_identity(self, repository: Repository) -> Token:
        key = _refresh_key(repository)
        for last in (False, True):
            refresh = await self._refresh.get(key, lambda: self._exchange(repository))
            form = {"grant_type": "refresh_token", "service": repository.host, "refresh_token": refresh}
            url = _url(repository.host, "token")
            answer = await self._http.request("POST", url, form=form | {"scope": pull_scope(repository)})
            if answer.status not in {401, 403} or last:
                break
            self._refresh.drop(key, refresh)  # it may have been withdrawn before its end
        return self._read(answer, repository, None)

    async def _by_password(self, repository: Repository, credential: Credential | None) -> Token:
        url = _url(repository.host, "token").with_query(service=repository.host, scope=pull_scope(repository))
        headers = {"Authorization": basic_header(credential)} if credential is not None else {}
        answer = await self._http.request("GET", url, headers=headers)
        return self._read(answer, repository, credential)

    async def _exchange(self, repository: Repository) -> Token:
        host = repository.host
        if self._identity is None:
            raise self.refusal(repository, None)
        entra = await self._identity.token(ENTRA_SCOPE)
        form = {"grant_type": "access_token", "service": host}
        answer = await self._http.request("POST", _url(host, "exchange"), form=form | {"access_token": entra})
        if answer.status == 401 and (other := await self._identity.another_token(ENTRA_SCOPE, entra)) is not None:
            answer = await self._http.request("POST", _url(host, "exchange"), form=form | {"access_token": other})
        if answer.status in {401, 403}:
            raise StrangerError(f"{host} doesn't accept the operator's Azure identity; grant it {_ROLES}")
        _expect_success(answer, host)
        return read_token(answer.body, host, "refresh_token", otherwise=_REFRESH_LIFE)

    def _read(self, answer: Answer, repository: Repository, credential: Credential | None) -> Token:
        if answer.status in {401, 403}:
            raise self.refusal(repository, credential)
        _expect_success(answer, repository.host)
        return read_token(answer.body, repository.host, "access_token", otherwise=_ACCESS_LIFE)


def _expect_success(answer: Answer, host: str) -> None:
    if answer.status != 200:
        raise InvalidError(
            f"the token service of {host} answers with status {answer.status}; see whether it is an Azure registry"
        )


def _url(host: str, endpoint: str) -> URL:
    return URL(f"https://{host}/oauth2/{endpoint}")


def _refresh_key(repository: Repository) -> TokenKey:
    return TokenKey(repository.host, "refresh", "")


def _key(repository: Repository, credential: Credential | None) -> TokenKey:
    return TokenKey(repository.host, pull_scope(repository), holder(credential))
