"""Whose certificate it is: the identities of a keyless gate as a policy of the sigstore library.

Owns what `*` in a subject stands for, and the words for a stranger. The library asks the policy when a trusted authority has
vouched for the certificate, so what stands in it may be told. Knows neither bundles nor logs. `keyless` uses it.

Source: Fulcio's certificate specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from cryptography.hazmat import asn1
from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    ObjectIdentifier,
    RFC822Name,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    UnrecognizedExtension,
)
from sigstore.errors import VerificationError
from sigstore.verify import policy

from basetracker.api.gate_signature import KeylessIdentity

_ISSUER: Final = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_REPOSITORY: Final = ObjectIdentifier("1.3.6.1.4.1.57264.1.12")
_REF: Final = ObjectIdentifier("1.3.6.1.4.1.57264.1.14")
_LONGEST_NAME: Final = 200
_DELIMITERS: Final = re.compile("([/@])")
_PRINTABLE: Final = re.compile("[^!-~]")


class StrangerError(VerificationError):
    """The certificate is of nobody who is named; the text completes "a signature …"."""


class NamedIdentities:
    """A `policy.VerificationPolicy`: one of these identities, in all that it names."""

    def __init__(self, identities: Sequence[KeylessIdentity]) -> None:
        self._policies = [_policy(one) for one in identities]

    def verify(self, cert: Certificate) -> None:
        """Raise StrangerError when the certificate is nobody's of these."""
        for one in self._policies:
            try:
                one.verify(cert)
            except VerificationError:
                continue
            return
        raise StrangerError(f"is by {name_of(cert)}{_where(cert)}, which is none of the identities")


class SubjectMatches:
    """A `policy.VerificationPolicy`: the certificate's subject is one that the pattern stands for."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def verify(self, cert: Certificate) -> None:
        """Raise VerificationError when it isn't."""
        if not any(stands_for(self._pattern, subject) for subject in _subjects(cert)):
            raise VerificationError("another subject")


def name_of(certificate: Certificate) -> str:
    """Who the certificate is of: its subject, and who vouched for that; for a message."""
    subject = next(_subjects(certificate), "somebody without a name")
    return f"{_shown(subject)} of {_shown(_told(certificate, _ISSUER) or 'nobody')}"


def stands_for(pattern: str, subject: str) -> bool:
    """Whether `*` in the pattern can be filled in so that it is the subject: by characters other than `/` and `@`, one at least.

    Takes time in proportion to both, whatever they are.
    """
    parts, found = _DELIMITERS.split(pattern), _DELIMITERS.split(subject)
    return len(parts) == len(found) and all(map(_fills, parts, found))


def _fills(part: str, text: str) -> bool:
    """Whether one part, which has no delimiter, stands for this text."""
    first, *others = part.split("*")
    if not others:
        return part == text
    *between, last = others
    place, end = len(first), len(text) - len(last)
    if not text.startswith(first) or not text.endswith(last):
        return False
    for literal in between:
        found = text.find(literal, place + 1, end)
        if found < 0:
            return False
        place = found + len(literal)
    return place + 1 <= end


def _policy(identity: KeylessIdentity) -> policy.VerificationPolicy:
    wanted: list[policy.VerificationPolicy] = [policy.OIDCIssuerV2(identity.issuer)]
    if identity.subject is not None:
        wanted.append(policy.Identity(identity=identity.subject))
    elif identity.subject_pattern is not None:
        wanted.append(SubjectMatches(identity.subject_pattern))
    else:
        raise ValueError("an identity without a subject")
    if identity.source_repository is not None:
        wanted.append(policy.OIDCSourceRepositoryURI(identity.source_repository))
    if identity.source_ref is not None:
        wanted.append(policy.OIDCSourceRepositoryRef(identity.source_ref))
    return policy.AllOf(wanted)


def _subjects(certificate: Certificate) -> Iterator[str]:
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    yield from names.get_values_for_type(UniformResourceIdentifier)
    yield from names.get_values_for_type(RFC822Name)


def _where(certificate: Certificate) -> str:
    """Where a workflow ran that has signed; empty for all others."""
    repository, ref = _told(certificate, _REPOSITORY), _told(certificate, _REF)
    return f" in {_shown(repository)} at {_shown(ref)}" if repository else ""


def _told(certificate: Certificate, oid: ObjectIdentifier) -> str:
    """The text of one of Fulcio's extensions; empty without it."""
    try:
        found = certificate.extensions.get_extension_for_oid(oid).value
    except ExtensionNotFound:
        return ""
    return asn1.decode_der(str, found.value) if isinstance(found, UnrecognizedExtension) else ""


def _shown(text: str) -> str:
    text = _PRINTABLE.sub("?", text)
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
