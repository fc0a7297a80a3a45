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
ONE_WAY: Final = "name exactly one of publicKey and keyless; where both have to sign, list a signature gate for each"
ONE_SUBJECT: Final = "name exactly one of subject and subjectPattern"
NOT_AN_ISSUER: Final = (
    "not an issuer; write the URL of who issues the identity tokens, like https://token.actions.githubusercontent.com"
)
NOT_A_SUBJECT: Final = (
    "not a subject; write the whole name in the certificate, like build@contoso.com or "
    "https://github.com/contoso/shop/.github/workflows/release.yml@refs/heads/main; a name with '*' is a subjectPattern"
)
NOT_A_PATTERN: Final = (
    "not a pattern; it has a '*', which stands for one or more characters other than '/' and '@' and can't be part of a "
    "host or domain, like https://github.com/contoso/*/.github/workflows/release.yml@refs/tags/v*"
)
NOT_A_SOURCE: Final = "not a repository; write its URL, like https://github.com/contoso/shop"
NOT_A_REF: Final = "not a ref; write all of it, like refs/heads/main"
NOT_AN_IDENTITY: Final = (
    "not an identity; write what the certificate's subject must hold, like CN=build or x509.subject: C=US, O=Contoso"
)
_LONGEST_IDENTITY: Final = 512
_LONGEST_SUBJECT: Final = 1024
_NO_STAR: Final = "[!-)+-~]"
"""All that is printable in ASCII, but for the space and `*`."""
_HOST: Final = "[!-)+-.0-?A-~]"
"""As above, without `/` and `@` too."""
_PATTERN: Final = rf"([a-z][a-z0-9+.-]*://{_HOST}+/[!-~]*|[!-.0-?A-~]+@{_HOST}+)"
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


def _printable(pattern: str, longest: int, words: str) -> AfterValidator:
    whole = re.compile(pattern)

    def valid(text: str) -> str:
        if len(text) > longest:
            raise ValueError(f"longer than {longest} characters")
        if not whole.fullmatch(text):
            raise ValueError(words)
        return text

    return AfterValidator(valid)


def _with_a_star(text: str) -> str:
    if "*" not in text or "**" in text:
        raise ValueError(NOT_A_PATTERN)
    return text


Identity = Annotated[str, AfterValidator(_identity)]
Issuer = Annotated[str, _printable(rf"https://{_NO_STAR}+", _LONGEST_IDENTITY, NOT_AN_ISSUER)]
Subject = Annotated[str, _printable(rf"{_NO_STAR}+", _LONGEST_SUBJECT, NOT_A_SUBJECT)]
SubjectPattern = Annotated[str, _printable(_PATTERN, _LONGEST_SUBJECT, NOT_A_PATTERN), AfterValidator(_with_a_star)]
SourceRepository = Annotated[str, _printable(rf"https://{_NO_STAR}+", _LONGEST_IDENTITY, NOT_A_SOURCE)]
SourceRef = Annotated[str, _printable(rf"refs/{_NO_STAR}+", _LONGEST_IDENTITY, NOT_A_REF)]


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


class OneEntry(Document):
    """One entry of a ConfigMap or of a Secret."""

    config_map_ref: ConfigMapKey | None = None
    secret_ref: SecretKey | None = None

    @model_validator(mode="before")
    @classmethod
    def _lies_in_one_place(cls, value: object) -> object:
        return _exactly_one(value, ONE_SOURCE, "configMapRef", "secretRef", "config_map_ref", "secret_ref")


class PublicKey(OneEntry):
    """Where a public key lies, in PEM."""


class TrustStore(Document):
    """Where the certificates lie that a chain has to end in, in PEM."""

    config_map_ref: WholeConfigMap | None = None
    secret_ref: WholeSecret | None = None

    @model_validator(mode="before")
    @classmethod
    def _lies_in_one_place(cls, value: object) -> object:
        return _exactly_one(value, ONE_SOURCE, "configMapRef", "secretRef", "config_map_ref", "secret_ref")


class TrustedRoot(OneEntry):
    """Where the trusted root of a Sigstore lies: its authorities and logs, as `cosign trusted-root create` writes them."""


class KeylessIdentity(Document):
    """Who may have signed: a subject that an issuer vouched for; of a workflow also where it ran."""

    issuer: Issuer
    subject: Subject | None = None
    subject_pattern: SubjectPattern | None = None
    source_repository: SourceRepository | None = None
    source_ref: SourceRef | None = None

    @model_validator(mode="before")
    @classmethod
    def _names_one_subject(cls, value: object) -> object:
        return _exactly_one(value, ONE_SUBJECT, "subject", "subjectPattern", "subject_pattern")


class Keyless(Document):
    """Signatures by certificates that live for minutes; one of `identities` has to be the signer's."""

    identities: Annotated[tuple[KeylessIdentity, ...], Field(min_length=1, max_length=16)]
    trusted_root: TrustedRoot


class Cosign(Document):
    """Signatures that `cosign sign` makes, with a key or without one."""

    public_key: PublicKey | None = None
    keyless: Keyless | None = None

    @model_validator(mode="before")
    @classmethod
    def _signs_in_one_way(cls, value: object) -> object:
        return _exactly_one(value, ONE_WAY, "publicKey", "keyless", "public_key")


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
