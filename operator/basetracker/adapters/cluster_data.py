"""The entries of named ConfigMaps and Secrets: public keys and certificates that a tracker names.

Owns reading one named object and decoding its entries. Nothing of a Secret's content is ever logged or part of an
error. Must not know what the entries mean. Gates ask.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Literal

from basetracker.adapters.kube import Json, Kube, path_of
from basetracker.errors import DeniedError, InvalidError, MissingError
from basetracker.ports import Clock

Kind = Literal["ConfigMap", "Secret"]
KEPT_SECONDS: Final = 60.0
DENIED_SECONDS: Final = 10.0
KEPT: Final = 200
_PLURALS: Final = {"ConfigMap": "configmaps", "Secret": "secrets"}

Entries = Mapping[str, bytes]


class ClusterData:
    """Reads ConfigMaps and Secrets by name, each at most once a minute."""

    def __init__(self, kube: Kube, *, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock
        self._kept: OrderedDict[tuple[Kind, str, str], tuple[float, Entries | DeniedError]] = OrderedDict()

    async def read(self, kind: Kind, namespace: str, name: str) -> Entries:
        """The entries by their names.

        Raises:
            MissingError: there is no such object.
            InvalidError: it can't be read.
            DeniedError: the operator may not read it; the message names the Role to add.
            UnavailableError: the API server can't answer now.
        """
        key, now = (kind, namespace, name), self._clock.monotonic()
        until, kept = self._kept.get(key, (now, None))
        if kept is not None and now < until:
            if isinstance(kept, DeniedError):
                raise DeniedError(str(kept)) from kept
            return kept
        self._kept.pop(key, None)
        try:
            entries = read_entries(kind, await self._get(kind, namespace, name), f"the {kind} {namespace}/{name}")
        except DeniedError as error:
            self._keep(key, now + DENIED_SECONDS, error)
            raise
        self._keep(key, now + KEPT_SECONDS, entries)
        return entries

    def _keep(self, key: tuple[Kind, str, str], until: float, answer: Entries | DeniedError) -> None:
        self._kept[key] = (until, answer)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    async def _get(self, kind: Kind, namespace: str, name: str) -> Json:
        plural = _PLURALS[kind]
        try:
            document = await self._kube.get(path_of("v1", plural, namespace, name))
        except DeniedError as error:
            raise DeniedError(
                f"the operator may not read the {kind} {namespace}/{name}; bind it to a Role in the namespace "
                f'{namespace} that allows get on {plural} with resourceNames ["{name}"]'
            ) from error
        if document is None:
            raise MissingError(f"there is no {kind} {namespace}/{name}")
        return document


def read_entries(kind: Kind, document: Json, name: str) -> Entries:
    """The entries of a ConfigMap (text, and what isn't text in base64) or a Secret (base64); `name` is for the errors.

    Raises:
        InvalidError: they can't be read.
    """
    data, binary = document.get("data") or {}, document.get("binaryData") or {}
    try:
        if kind == "Secret":
            return {key: base64.b64decode(value, validate=True) for key, value in data.items()}
        plain = {key: value.encode() for key, value in data.items()}
        return plain | {key: base64.b64decode(value, validate=True) for key, value in binary.items()}
    except (AttributeError, TypeError, ValueError):
        raise InvalidError(f"{name} has entries that can't be read") from None  # the cause may quote the content
