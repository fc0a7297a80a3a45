"""Which columns Defender's findings stand in: the one query, and how its rows are read.

Everything that depends on Microsoft's field names is here. For container images those names aren't documented, so whatever
looks otherwise than expected is a `ShapeError`, and never an image without findings. Pure. Used by `asking`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from basetracker.api.severity import Severity
from basetracker.core.one_line import one_line
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest, ImageRef

SEVERITIES: Final = {
    "Critical": Severity.CRITICAL,
    "High": Severity.HIGH,
    "Medium": Severity.MEDIUM,
    "Low": Severity.LOW,
    "Unknown": Severity.UNKNOWN,
}
"""Defender's words."""
# CvesDetails is taken whole: `mv-expand` would keep a bounded number of entries of each row and leave out empty ones.
_QUERY: Final = """securityresources
| where type == "microsoft.security/assessments"
| where properties.metadata.recommendationCategory == "SoftwareUpdate"
| where properties.resourceDetails.ResourceType == ".containerimage"
| where properties.resourceDetails.Source == "Azure"
| extend image = parse_json(tostring(properties.resourceAdditionalData))
| where tostring(image.Digest) in ({digests})
| project id, digest = tostring(image.Digest), repository = image.RepositoryDetails, \
code = tostring(properties.status.code), cause = tostring(properties.status.cause), \
software = tostring(properties.additionalData.SoftwareName), fixed = tostring(properties.additionalData.FixedVersion), \
cves = properties.additionalData.CvesDetails
| order by id asc"""
_REGISTRY_NAMES: Final = ("RegistryHost", "RegistryLoginServer", "RegistryName")
_QUERIED: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_WORD: Final = 100


class ShapeError(ValueError):
    """A row isn't as it is expected; the text says what about it, for the log."""


class Code(StrEnum):
    """What an assessment says of its package."""

    UNHEALTHY = "Unhealthy"
    HEALTHY = "Healthy"
    EXEMPT = "Exempt"
    """A person has exempted the finding."""
    NOT_APPLICABLE = "NotApplicable"
    """Not assessed, for another reason."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One vulnerability in one package; `fixed` is empty where no version is known that mends it."""

    id: str
    package: str
    fixed: str
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One assessment: of one package in one image; registry and repository are None where it doesn't say them."""

    digest: Digest
    registry: str | None
    repository: str | None
    code: Code
    findings: tuple[Finding, ...]

    def is_about(self, image: ImageRef) -> bool:
        """Whether it is about the image in just this place, as far as it says."""
        host, path = image.repository.host.lower(), image.repository.path.lower()
        if self.repository is not None and self.repository.lower() != path:
            return False
        return self.registry is None or self.registry.lower() in {host, host.partition(".")[0]}


def is_asked_about(digest: Digest) -> bool:
    """Whether Defender can be asked about the digest."""
    return _QUERIED.fullmatch(str(digest)) is not None


def query(digests: Iterable[Digest]) -> str:
    """The query for all assessments of these images. Raises InvalidError for a digest that may not stand in a query."""
    listed = sorted({str(digest) for digest in digests})
    if not listed or not all(_QUERIED.fullmatch(one) for one in listed):
        raise InvalidError("Defender for Cloud is asked by sha256 digests only")
    return _QUERY.replace("{digests}", ", ".join(f'"{one}"' for one in listed))


def read_row(document: object) -> Row:
    """The row. Raises ShapeError for anything unexpected in it."""
    if not isinstance(document, Mapping):
        raise ShapeError("a row is no object")
    try:
        digest = Digest(_text(document, "digest"))
    except InvalidError:
        raise ShapeError("a row names no digest") from None
    registry, repository = _place(document.get("repository"))
    code = _code(_text(document, "code"), document.get("cause"))
    findings = tuple(_findings(document)) if code is Code.UNHEALTHY else ()
    if code is Code.UNHEALTHY and not findings:
        raise ShapeError("an unhealthy package names no vulnerability")
    return Row(digest=digest, registry=registry, repository=repository, code=code, findings=findings)


def _code(code: str, cause: object) -> Code:
    if code == "NotApplicable":
        return Code.EXEMPT if cause == "Exempt" else Code.NOT_APPLICABLE
    if code in {"Healthy", "Unhealthy"}:
        return Code(code)
    raise ShapeError("a row has an unknown status")


def _place(details: object) -> tuple[str | None, str | None]:
    """Registry and repository, each None where nothing is said of it."""
    found = _decoded(details)
    if found is None or found == "":
        return None, None
    if not isinstance(found, Mapping):
        raise ShapeError("a row's repository can't be read")
    registry = next((found[name] for name in _REGISTRY_NAMES if found.get(name)), None)
    repository = found.get("RepositoryName") or None
    for one in (registry, repository):
        if one is not None and not isinstance(one, str):
            raise ShapeError("a row's repository can't be read")
    return registry, repository


def _findings(document: Mapping[str, Any]) -> Iterable[Finding]:
    cves = _decoded(document.get("cves"))
    if not isinstance(cves, list):
        raise ShapeError("a row's vulnerabilities are no list")
    package, fixed = _word(_text(document, "software")), _word(str(document.get("fixed") or ""))
    for cve in cves:
        if not isinstance(cve, Mapping):
            raise ShapeError("a vulnerability is no object")
        severity = SEVERITIES.get(_text(cve, "Severity"))
        if severity is None:
            raise ShapeError("a vulnerability has an unknown severity")
        yield Finding(id=_word(_text(cve, "CveId")), package=package, fixed=fixed, severity=severity)


def _text(document: Mapping[Any, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ShapeError(f"{name} is missing")
    return value


def _word(text: str) -> str:
    return one_line(text, _LONGEST_WORD)


def _decoded(value: object) -> object:
    """What a column holds, which may be JSON in a string."""
    if not isinstance(value, str) or not value:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ShapeError("a column holds text where JSON is expected") from None
