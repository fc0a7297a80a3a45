"""Findings as SARIF 2.1.0, which code hosts and editors read.

Owns that form alone. Used by `findings`.
"""

from __future__ import annotations

from typing import Any, Final

from basetracker import __version__
from basetracker.api.severity import Severity
from basetracker.cli.findings_text import Look
from basetracker.core.findings import Finding

Json = dict[str, Any]
_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Final = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.UNKNOWN: "note",
}
_SCORES: Final = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
    Severity.UNKNOWN: "0.0",
}
"""What code hosts sort by: a number in the range that CVSS gives to the word."""


def sarif_of(look: Look) -> Json:
    """The log: one run, a rule for each id, a result for each finding; waived ones are suppressed results."""
    found = look.found
    rules = {one.id: one for one in reversed(found)}
    order = {name: place for place, name in enumerate(sorted(rules))}
    driver = {
        "name": "basetracker findings",
        "version": __version__,
        "rules": [_rule(rules[name]) for name in sorted(rules)],
    }
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "results": [_result(look, one, order[one.id]) for one in found],
                "properties": {"image": str(look.image), "verdict": str(look.weighed.verdict)},
            }
        ],
    }


def _rule(finding: Finding) -> Json:
    return {
        "id": finding.id,
        "shortDescription": {"text": finding.title or finding.id},
        "defaultConfiguration": {"level": _LEVELS[finding.severity]},
        "properties": {"security-severity": _SCORES[finding.severity], "tags": [str(finding.kind)]},
    }


def _result(look: Look, finding: Finding, rule: int) -> Json:
    text = f"{finding.id} ({finding.severity}) in {finding.package} {finding.installed}".rstrip()
    if finding.fixed:
        text += f", fixed in {finding.fixed}"
    result: Json = {
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": look.image.repository.path}},
                "logicalLocations": [{"fullyQualifiedName": f"{look.image}/{finding.package}"}],
            }
        ],
        "partialFingerprints": {"finding/v1": "/".join(finding.identity)},
        "properties": {"platforms": look.platforms(finding)},
    }
    if look.running:
        result["baselineState"] = "new" if finding in look.new else "unchanged"
    waiver = next((one for one in look.gate.waivers if one.id == finding.id), None)
    if waiver is not None and finding in look.weighed.waived:
        words = f"{waiver.reason} (until {waiver.until})"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": words}]
    return result
