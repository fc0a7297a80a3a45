"""Trivy's JSON report, read: what was found, and whether it is about the image that was asked about.

Owns the form of the report (schema version 2) and when a report means that nothing could be looked at. Whatever can't be
read is an error, never a report without findings. Pure; used by `scanning`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from basetracker.api.gate_trivy import Scanner
from basetracker.api.severity import Severity
from basetracker.core.findings import END_OF_LIFE_ID, Finding, FindingKind, Scan
from basetracker.errors import InvalidError
from basetracker.oci.lineage import PlatformImage
from basetracker.oci.refs import Digest

Json = dict[str, Any]
_MOST_FINDINGS: Final = 50_000
_LONGEST_TEXT: Final = 512
OF_CONFIGURATION: Final = "the image's configuration"
"""What a finding is about that isn't about a file or a package."""
UNKNOWN_RELEASE: Final = "is not on the EOL list"
"""What Trivy logs about a release that it has never heard of, and so has no data about."""
_NO_OS: Final = "none"
"""The family that Trivy gives to packages of an operating system that it can't name."""


@dataclass(frozen=True, slots=True)
class System:
    """An operating system as Trivy names it."""

    family: str
    name: str

    def __str__(self) -> str:
        return f"{self.family} {self.name}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What it tells: the scan, and the system whose packages were to be judged, if there is one."""

    scan: Scan
    system: System | None


def unknown(system: System) -> str:
    """Why a scan of this system is blind."""
    return f"this version of Trivy knows nothing of {system}"


def read_report(content: bytes, complaint: str, image: PlatformImage, scanners: frozenset[Scanner]) -> Report:
    """The scan that the report tells of; `complaint` is what Trivy logged beside it.

    Raises:
        InvalidError: it isn't a report about this image's digest and layers, or not one that can be read whole.
    """
    document = _parsed(content)
    metadata = _object(document, "Metadata")
    _expect_image(document, metadata, image)
    results = _objects(document, "Results")
    findings = frozenset(_findings(document, metadata, results))
    if len(findings) > _MOST_FINDINGS:
        raise InvalidError(f"Trivy reports more than {_MOST_FINDINGS} findings, which isn't read")
    blind = _blind(metadata, results, scanners, complaint)
    scan = Scan(platform=image.platform, findings=findings, blind=blind)
    return Report(scan=scan, system=_system(metadata) if _wants_packages(scanners) else None)


def _parsed(content: bytes) -> Json:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _unreadable("it is no JSON") from error
    if not isinstance(document, dict) or document.get("SchemaVersion") != 2:
        raise _unreadable("it isn't of schema version 2")
    return document


def _expect_image(document: Json, metadata: Json, image: PlatformImage) -> None:
    """The report names the digest that was asked about, and has read the layers that this image has."""
    named = metadata.get("RepoDigests")
    digests = {_digest_in(one) for one in named} if isinstance(named, list) else set()
    layers = metadata.get("DiffIDs") or []
    if document.get("ArtifactType") != "container_image" or digests != {image.digest}:
        raise InvalidError("Trivy's report is about another image than it was asked about")
    if not isinstance(layers, list) or [str(one) for one in layers] != [str(one) for one in image.diff_ids]:
        raise InvalidError("Trivy's report is about other layers than the image has")


def _digest_in(reference: object) -> Digest | None:
    try:
        return Digest(str(reference).rpartition("@")[2])
    except InvalidError:
        return None


def _blind(metadata: Json, results: list[Json], scanners: frozenset[Scanner], complaint: str) -> str:
    """Why something that was to be looked at wasn't; empty when all was."""
    if Scanner.MISCONFIG in scanners and not any(one.get("Class") == "config" for one in results):
        return "its history tells no Dockerfile whose settings could be judged"
    if not _wants_packages(scanners):
        return ""
    system = _system(metadata)
    if system is None:
        is_empty = not _has_packages(results, "lang-pkgs")
        return "neither an operating system nor a list of packages was found" if is_empty else ""
    if system.family == _NO_OS:
        return "it holds packages of an operating system that Trivy doesn't know"
    if not _has_packages(results, "os-pkgs"):
        return f"no list of installed packages was found, although it is made of {system}"
    if UNKNOWN_RELEASE in complaint:
        return unknown(system)
    return ""


def _wants_packages(scanners: frozenset[Scanner]) -> bool:
    return not scanners.isdisjoint({Scanner.VULN, Scanner.LICENSE})


def _system(metadata: Json) -> System | None:
    told = _object(metadata, "OS")
    family = _text(told, "Family")
    return System(family, _text(told, "Name")) if family else None


def _has_packages(results: list[Json], kind: str) -> bool:
    return any(one.get("Class") == kind and _objects(one, "Packages") for one in results)


def _findings(document: Json, metadata: Json, results: list[Json]) -> Iterator[Finding]:
    system = _object(metadata, "OS")
    if system.get("EOSL"):
        name = f"{_text(system, 'Family')} {_text(system, 'Name')}"
        yield Finding(
            id=END_OF_LIFE_ID,
            package=name,
            severity=Severity.CRITICAL,
            kind=FindingKind.END_OF_LIFE,
            title="this release gets no more security updates, so that Trivy can't know what is wrong with it",
        )
    artifact = _text(document, "ArtifactName")
    for result in results:
        target = _text(result, "Target")
        if artifact and target.startswith(artifact):  # its digest would make each image's finding another one
            target = OF_CONFIGURATION
        for row in _objects(result, "Vulnerabilities"):
            yield _vulnerability(row)
        for row in _objects(result, "Secrets"):
            yield _finding(row, "RuleID", target, FindingKind.SECRET)
        for row in _objects(result, "Misconfigurations"):
            if row.get("Status") != "PASS":
                yield _finding(row, "ID", target, FindingKind.MISCONFIGURATION)
        for row in _objects(result, "Licenses"):
            package = _text(row, "PkgName") or _text(row, "FilePath") or target
            yield _finding(row, "Name", package, FindingKind.LICENCE)


def _vulnerability(row: Json) -> Finding:
    package = _needed(row, "PkgName")
    return _finding(
        row,
        "VulnerabilityID",
        package,
        FindingKind.VULNERABILITY,
        installed=_text(row, "InstalledVersion"),
        fixed=_text(row, "FixedVersion"),
    )


def _finding(row: Json, key: str, package: str, kind: FindingKind, *, installed: str = "", fixed: str = "") -> Finding:
    return Finding(
        id=_needed(row, key),
        package=package,
        installed=installed,
        fixed=fixed,
        severity=_severity(row),
        kind=kind,
        title=_text(row, "Title"),
    )


def _severity(row: Json) -> Severity:
    word = _text(row, "Severity") or str(Severity.UNKNOWN)
    try:
        return Severity(word)
    except ValueError as error:
        raise _unreadable("a finding has a severity that isn't known") from error


def _needed(row: Json, key: str) -> str:
    text = _text(row, key)
    if not text:
        raise _unreadable(f"a finding has no {key}")
    return text


def _object(document: Mapping[str, Any], key: str) -> Json:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _unreadable(f"{key} isn't what it should be")
    return value


def _objects(document: Mapping[str, Any], key: str) -> list[Json]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise _unreadable(f"{key} isn't what it should be")
    return value


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _unreadable(f"{key} isn't what it should be")
    return value[:_LONGEST_TEXT]


def _unreadable(why: str) -> InvalidError:
    return InvalidError(f"Trivy's report can't be read: {why}; see whether BASETRACKER_TRIVY names Trivy 0.76 or later")
