"""Registry credentials from pull Secrets: `ports.Credentials`.

Owns reading one named Secret and finding a host in it as the kubelet does. Nothing of its content is ever logged or
part of an error. Must not know what the credential is used for. The engine asks.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from basetracker.adapters.kube import Json, Kube, path_of
from basetracker.errors import DeniedError, InvalidError, MissingError
from basetracker.oci.refs import DOCKER_HUB
from basetracker.ports import Clock, Credential

TYPE: Final = "kubernetes.io/dockerconfigjson"
OLD_TYPE: Final = "kubernetes.io/dockercfg"
FIELD: Final = ".dockerconfigjson"
KEPT_SECONDS: Final = 60.0
DENIED_SECONDS: Final = 10.0
"""How long a refusal is kept: the images of a tracker ask at once, and a Role doesn't come between them."""
KEPT: Final = 500
_HUB_NAMES: Final = {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
_VERSIONS: Final = {"", "v1", "v2"}

Entries = Mapping[str, Any]


class SecretCredentials:
    """Reads pull Secrets, each at most once a minute."""

    def __init__(self, kube: Kube, *, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, Entries | DeniedError]] = OrderedDict()

    async def find(self, namespace: str, secret: str, host: str) -> Credential:
        """The credential for `host` in the kubernetes.io/dockerconfigjson Secret `namespace/secret`.

        Raises:
            MissingError: no such Secret, or nothing in it for this host.
            InvalidError: it is of another type or can't be read.
            DeniedError: the operator may not read it.
        """
        entries = await self._entries(namespace, secret)
        key = best_key(entries, host)
        if key is None:
            raise MissingError(f"the Secret {namespace}/{secret} has no entry for the registry {host}")
        return _credential(entries[key], f"the entry for {host} in the Secret {namespace}/{secret}")

    async def _entries(self, namespace: str, secret: str) -> Entries:
        now = self._clock.monotonic()
        until, kept = self._kept.get((namespace, secret), (now, None))
        if kept is not None and now < until:
            if isinstance(kept, DeniedError):
                raise DeniedError(str(kept)) from kept
            return kept
        self._kept.pop((namespace, secret), None)
        try:
            entries = read_entries(await self._read(namespace, secret), f"the Secret {namespace}/{secret}")
        except DeniedError as error:
            self._keep(namespace, secret, now + DENIED_SECONDS, error)
            raise
        self._keep(namespace, secret, now + KEPT_SECONDS, entries)
        return entries

    def _keep(self, namespace: str, secret: str, until: float, answer: Entries | DeniedError) -> None:
        self._kept[namespace, secret] = (until, answer)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    async def _read(self, namespace: str, secret: str) -> Json:
        try:
            document = await self._kube.get(path_of("v1", "secrets", namespace, secret))
        except DeniedError as error:
            raise DeniedError(
                f"the operator may not read the Secret {namespace}/{secret}; bind it to a Role in the namespace "
                f'{namespace} that allows get on secrets with resourceNames ["{secret}"]'
            ) from error
        if document is None:
            raise MissingError(f"there is no Secret {namespace}/{secret}")
        return document


def read_entries(secret: Json, name: str) -> Entries:
    """The `auths` of a pull Secret by their keys; `name` is for the errors.

    Raises:
        InvalidError: it is of another type, or not what the type promises.
    """
    kind = secret.get("type")
    if kind == OLD_TYPE:
        raise InvalidError(f"{name} is of the old type {kind}; make it anew by kubectl create secret docker-registry")
    if kind != TYPE:
        raise InvalidError(f"{name} is of type {kind}; a pull Secret is of type {TYPE}")
    try:
        document = json.loads(base64.b64decode((secret.get("data") or {})[FIELD]))
        auths = document["auths"]
    except (KeyError, TypeError, ValueError):
        raise InvalidError(f"{name} has no readable {FIELD} with auths") from None  # the cause may quote the content
    if not isinstance(auths, dict):
        raise InvalidError(f"{name} has no readable {FIELD} with auths")
    return auths


def best_key(keys: Mapping[str, object], host: str) -> str | None:
    """The key that stands for `host`: as it is, before one with a path, before a pattern; None if there is none."""
    named, _ = _host_and_path(host)
    ranked = sorted((rank, len(key), key) for key in keys for rank in _ranks(key, named))
    return ranked[0][2] if ranked else None


def _ranks(key: str, host: str) -> Iterator[int]:
    named, path = _host_and_path(key)
    exact = named == host
    if exact and path in _VERSIONS:
        yield 0
    elif exact:
        yield 1
    elif path in _VERSIONS and _matches(named, host):
        yield 2


def _host_and_path(key: str) -> tuple[str, str]:
    """`https://Index.Docker.io/v1/` is `docker.io` and `v1`."""
    rest = key.split("://", 1)[-1].lower()
    host, _, path = rest.partition("/")
    return (DOCKER_HUB if host in _HUB_NAMES else host), path.strip("/")


def _matches(pattern: str, host: str) -> bool:
    """As the kubelet: label by label, so that `*.azurecr.io` isn't `a.b.azurecr.io`; the port is part of the last."""
    wanted, given = pattern.split("."), host.split(".")
    return len(wanted) == len(given) and all(map(fnmatchcase, given, wanted))


def _credential(entry: object, name: str) -> Credential:
    if not isinstance(entry, dict):
        raise InvalidError(f"{name} isn't a JSON object")
    username, password = entry.get("username"), entry.get("password")
    if entry.get("auth"):
        username, password = _decoded(entry["auth"], name)
    if not isinstance(username, str) or not isinstance(password, str) or not username or not password:
        hint = "; an identity token can't be used" if entry.get("identitytoken") else ""
        raise InvalidError(f"{name} has no user name with a password{hint}")
    return Credential(username=username, password=password)


def _decoded(auth: object, name: str) -> tuple[str, str]:
    try:
        username, colon, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise InvalidError(f"{name} has an auth that isn't the base64 form of user:password")
    return username, password.rstrip("\0")
