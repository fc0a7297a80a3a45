"""How any registry but Azure's is told who asks: Basic, or a Bearer token from the service that its challenge names.

Owns challenges and what was learned of each host, so that after the first request no challenge is needed. Sends a
password to the registry itself (Basic) or to the token service of that registry's own challenge, by https only, and
nothing else to anybody. Used by `oci`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from yarl import URL

from basetracker.adapters.http import Http, host_of
from basetracker.adapters.registries.tokens import Token, TokenKey, Tokens, basic_header, holder, read_token
from basetracker.errors import DeniedError, InvalidError
from basetracker.oci.refs import Repository
from basetracker.ports import Clock, Credential

_SHORT_LIFE: Final = 60.0
"""Seconds that a token without `expires_in` lives, as Docker's token specification says."""
_MARGIN: Final = 300.0
_HOSTS_KEPT: Final = 1_000
_PARAMETER: Final = re.compile(r'\s*([A-Za-z0-9_.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))\s*(?:,|$)')
_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)(?:\s+|$)(?!=)")


class Authentication(Protocol):
    """A way to tell a registry who asks; `oci` uses one for each host."""

    async def header(self, repository: Repository, credential: Credential | None) -> str | None:
        """The Authorization header to send at once; None for none, or when it isn't known yet what is wanted."""

    async def renew(
        self, repository: Repository, credential: Credential | None, challenges: Sequence[str], sent: str | None
    ) -> str:
        """The header to send after a 401 with these WWW-Authenticate headers; `sent` was refused.

        Raises:
            DeniedError: there is nothing (else) that could be sent.
        """

    def refusal(self, repository: Repository, credential: Credential | None) -> DeniedError:
        """The error when a fresh header is refused too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; `scheme` in lower case."""

    scheme: str
    realm: str
    service: str = ""


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """All challenges in the headers; what can't be read ends the reading of its header."""
    found = []
    for value in values:
        rest = value
        while (scheme := _SCHEME.match(rest)) is not None:
            rest = rest[scheme.end() :]
            parameters: dict[str, str] = {}
            while (parameter := _PARAMETER.match(rest)) is not None:
                name, quoted, plain = parameter.groups()
                text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
                parameters.setdefault(name.lower(), text)
                rest = rest[parameter.end() :]
            found.append(
                Challenge(
                    scheme=scheme[1].lower(),
                    realm=parameters.get("realm", ""),
                    service=parameters.get("service", ""),
                )
            )
    return tuple(found)


def pull_scope(repository: Repository) -> str:
    """The scope that reading needs; never what a challenge asks for, which might be more."""
    return f"repository:{repository.path}:pull"


class ChallengeAuthentication:
    """Answers the challenges of any registry."""

    def __init__(self, http: Http, clock: Clock) -> None:
        self._http = http
        self._tokens = Tokens(clock, margin=_MARGIN)
        self._learned: dict[str, Challenge] = {}

    async def header(self, repository: Repository, credential: Credential | None) -> str | None:
        """See `Authentication`; None until the host has challenged once."""
        learned = self._learned.get(repository.host)
        if learned is None:
            return None
        if learned.scheme == "basic":
            return basic_header(credential) if credential is not None else None
        return "Bearer " + await self._token(repository, credential, learned)

    async def renew(
        self, repository: Repository, credential: Credential | None, challenges: Sequence[str], sent: str | None
    ) -> str:
        """See `Authentication`."""
        challenge = self._choose(repository, challenges)
        if len(self._learned) >= _HOSTS_KEPT:
            self._learned.clear()  # each host is asked for its challenge once more
        self._learned[repository.host] = challenge
        if challenge.scheme == "basic":
            if credential is None or sent == basic_header(credential):
                raise self.refusal(repository, credential)
            return basic_header(credential)
        if sent is not None:
            self._tokens.drop(_key(repository, credential), sent.removeprefix("Bearer "))
        return "Bearer " + await self._token(repository, credential, challenge)

    def refusal(self, repository: Repository, credential: Credential | None) -> DeniedError:
        """See `Authentication`."""
        if credential is None:
            return DeniedError(
                f"{repository.host} lets nobody read {repository.path} without a credential, or it doesn't exist; "
                "name a pull secret in pullSecretRef"
            )
        return DeniedError(
            f"{repository.host} refuses the credential of the pull secret for {repository.path}; "
            "its user needs pull on this repository, or the repository doesn't exist"
        )

    def _choose(self, repository: Repository, values: Sequence[str]) -> Challenge:
        challenges = parse_challenges(values)
        for scheme in ("bearer", "basic"):
            for challenge in challenges:
                if challenge.scheme == scheme and (scheme == "basic" or challenge.realm):
                    return challenge
        raise DeniedError(
            f"{repository.host} asks for a kind of authentication that isn't known; Bearer and Basic are supported"
        )

    async def _token(self, repository: Repository, credential: Credential | None, challenge: Challenge) -> str:
        key = _key(repository, credential)
        return await self._tokens.get(key, lambda: self._fetch(repository, credential, challenge))

    async def _fetch(self, repository: Repository, credential: Credential | None, challenge: Challenge) -> Token:
        realm = _realm(repository, challenge)
        query = {"service": challenge.service} if challenge.service else {}
        url = realm.extend_query(query | {"scope": pull_scope(repository)})
        headers = {"Authorization": basic_header(credential)} if credential is not None else {}
        answer = await self._http.request("GET", url, headers=headers)
        if answer.status in {401, 403}:
            raise self.refusal(repository, credential)
        if answer.status != 200:
            raise InvalidError(
                f"{host_of(realm)}, the token service of {repository.host}, answers with status {answer.status}"
            )
        return read_token(answer.body, host_of(realm), "token", "access_token", otherwise=_SHORT_LIFE)


def _realm(repository: Repository, challenge: Challenge) -> URL:
    """The address of the token service, if it is one to which a password may go."""
    try:
        realm = URL(challenge.realm)
    except ValueError:
        realm = URL()
    if realm.scheme != "https" or not realm.host or realm.user is not None:
        raise DeniedError(
            f"{repository.host} names a token service that isn't reached by https, so nothing is sent there; "
            "the registry's realm must be an https address"
        )
    return realm


def _key(repository: Repository, credential: Credential | None) -> TokenKey:
    return TokenKey(repository.host, pull_scope(repository), holder(credential))
