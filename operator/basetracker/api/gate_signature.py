"""The signature gate as a user declares it: whose signatures count, by which keys, certificates and names.

Knows no signature format and no cryptography: `adapters/gates/signature` finds signatures and verifies them. `gates.py`
puts the kind into the list of gates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from basetracker.api.document import Document
from basetracker.api.duration import parse_duration
from basetracker.api.fields import ConfigMapName, DataKey, SecretName, Timeout

ONE_SIGNER: Final = "name exactly one of cosign and notation; where both have to sign, list a signature gate for each"
ONE_SOURCE: Final = "name exactly one of configMapRef and secretRef"
NOT_AN_IDENTITY: Final = (
    "not an identity; write what the certificate's subject must hold, like CN=build or x509.subject: C=US, O=Contoso"
)
_LONGEST_IDENTITY: Final = 512
_VALUE: Final = r'([^ ,+"\\<>;=]|\\[,+"\\<>;=])([^,+"\\<>;=]|\\[,+"\\<>;=])*'
_PART: Final = rf"(C|ST|L|O|OU|CN|STREET|POSTALCODE|SERIALNUMBER|DC|UID)={_VALUE}"
_IDENTITY: Final = re.compile(rf"(x509[.]subject: *)?{_PART}(, *{_PART})*")
_ONE_PART: Final = re.compile(r'([A-Z]+)=((?:[^,+"\\<>;=]|\\[,+"\\<>;=])+)')


def _identity(text: str) -> str:
    if len(text) > _LONGEST_IDENTITY:
        raise ValueError(f"longer than {_LONGEST_IDENTITY} characters")
    if not _IDENTITY.fullmatch(text):
        raise ValueError(NOT_AN_IDENTITY)
    return text


Identity = Annotated[str, AfterValidator(_identity)]


def subject_parts(identity: str) -> frozenset[tuple[str, str]]:
    """The attributes that an identity names, as (short name, value); spaces around a value don't count."""
    found = _ONE_PART.finditer(identity.removeprefix("x509.subject:"))
    return frozenset((part[1], re.sub(r"\\(.)", r"\1", part[2].strip())) for part in found)


def _exactly_one(value: object, words: str, *names: str) -> object:
    """`value` when one of its fields `names` is there; names are as in JSON and as in Python alike."""
    if isinstance(value, Mapping) and sum(value.get(name) is not None for name in names) != 1:
        raise ValueError(words)
    return value


class SecretKey(Document):
    """One entry of a Secret in the tracker's namespace."""

    name: SecretName
    key: DataKey


class ConfigMapKey(Document):
    """One entry of a ConfigMap in the tracker's namespace."""

    name: ConfigMapName
    key: DataKey


class WholeSecret(Document):
    """A Secret in the tracker's namespace, every entry of it."""

    name: SecretName


class WholeConfigMap(Document):
    """A ConfigMap in the tracker's namespace, every entry of it."""

    name: ConfigMapName


class PublicKey(Document):
    """Where a public key lies, in PEM."""

    config_map_ref: ConfigMapKey | None = None
    secret_ref: SecretKey | None = None

    @model_validator(mode="before")
    @classmethod
    def _lies_in_one_place(cls, value: object) -> object:
        return _exactly_one(value, ONE_SOURCE, "configMapRef", "secretRef", "config_map_ref", "secret_ref")


class TrustStore(Document):
    """Where the certificates lie that a chain has to end in, in PEM."""

    config_map_ref: WholeConfigMap | None = None
    secret_ref: WholeSecret | None = None

    @model_validator(mode="before")
    @classmethod
    def _lies_in_one_place(cls, value: object) -> object:
        return _exactly_one(value, ONE_SOURCE, "configMapRef", "secretRef", "config_map_ref", "secret_ref")


class Cosign(Document):
    """Signatures that `cosign sign --key` makes."""

    public_key: PublicKey


class Notation(Document):
    """Signatures that `notation sign` makes; one of `identities` has to be the signer's."""

    trust_store: TrustStore
    identities: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=16)]
    timestamp_trust_store: TrustStore | None = None


class SignatureGate(Document):
    """Whether somebody who is trusted has signed the digest; `timeout` is how long a signature may come late."""

    cosign: Cosign | None = None
    notation: Notation | None = None
    timeout: Timeout = parse_duration("30m")

    @model_validator(mode="before")
    @classmethod
    def _names_one_signer(cls, value: object) -> object:
        return _exactly_one(value, ONE_SIGNER, "cosign", "notation")
