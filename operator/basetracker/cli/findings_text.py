"""What `findings` shows: one look at an image as a document and as a table.

Owns the form of `findings --output json`, whose keys are always there. Decides nothing: what counts is the core's answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from basetracker.api.gate_trivy import TrivyGate
from basetracker.api.names import GateVerdict
from basetracker.cli.output import Branch, Grid, Item, Tone
from basetracker.core.findings import (
    Finding,
    Scans,
    Weighed,
    counts_by_severity,
    distinct,
    fixed_findings,
    new_findings,
)
from basetracker.oci.refs import Digest, ImageRef

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All that was found, and what it comes to; `source` says which digest it is."""

    tracker: str
    downstream: str
    image: ImageRef
    source: str
    edition: str
    gate: TrivyGate
    scans: Scans
    running: dict[Digest, Scans]
    ran_before: bool
    """Whether `running` is what ran before this digest, which runs everywhere by now."""
    weighed: Weighed
    notes: tuple[str, ...]

    @property
    def found(self) -> list[Finding]:
        """Everything, worst first."""
        return distinct(one for scan in self.scans for one in scan.findings)

    @property
    def new(self) -> frozenset[Finding]:
        """What an image that runs hasn't; empty when nothing else runs."""
        return frozenset(new_findings(self.scans, list(self.running.values()))) if self.running else frozenset()

    @property
    def gone(self) -> list[Finding]:
        """What an image that runs has, and this one hasn't."""
        return fixed_findings(self.scans, list(self.running.values()))

    def platforms(self, finding: Finding) -> list[str]:
        """Where it was found."""
        return [str(scan.platform) for scan in self.scans if finding in scan.findings]

    def mark(self, finding: Finding) -> str:
        """What it means for the gate, in a word."""
        if finding in self.weighed.counted:
            return "counts"
        return "waived" if finding in self.weighed.waived else ""


def document_of(look: Look) -> Json:
    """The JSON document."""
    waivers = {waiver.id: waiver for waiver in look.gate.waivers}
    new = look.new

    def row(finding: Finding) -> Json:
        waiver = waivers.get(finding.id)
        return _row(finding) | {
            "platforms": look.platforms(finding),
            "new": finding in new if look.running else None,
            "counts": finding in look.weighed.counted,
            "waiver": {"until": waiver.until.isoformat(), "reason": waiver.reason} if waiver is not None else None,
        }

    return {
        "tracker": look.tracker,
        "downstream": look.downstream,
        "image": str(look.image),
        "digest": str(look.image.digest),
        "source": look.source,
        "database": look.edition,
        "verdict": str(look.weighed.verdict),
        "reason": str(look.weighed.reason),
        "message": look.weighed.message,
        "counts": {str(severity): number for severity, number in counts_by_severity(look.found).items()},
        "platforms": [{"platform": str(scan.platform), "notScanned": scan.blind} for scan in look.scans],
        "findings": [row(one) for one in look.found],
        "comparedWith": [str(one) for one in look.running],
        "ranBefore": look.ran_before and bool(look.running),
        "fixed": [_row(one) for one in look.gone],
        "notes": list(look.notes),
    }


def text_of(look: Look) -> Iterator[Item]:
    """The table, with what it is about before it and what is gone after it."""
    digest = look.image.digest
    assert digest is not None  # noqa: S101  a look is at a digest
    yield Branch(f"{look.downstream} of {look.tracker}: {look.image.repository} {digest.short} ({look.source})")
    yield Branch(f"database: {look.edition or 'unknown'}", tone=Tone.FAINT)
    for scan in look.scans:
        if scan.blind:
            yield Branch(f"{scan.platform} could not be looked at: {scan.blind}", tone=Tone.BAD)
    tone = Tone.GOOD if look.weighed.verdict is GateVerdict.PASS else Tone.BAD
    yield Branch(f"{look.weighed.verdict}: {look.weighed.message}", tone=tone)
    yield from (Branch(note, tone=Tone.WORKING) for note in look.notes)
    found = look.found
    if found:
        yield _table(look, found)
    if look.running:
        beside = ", ".join(one.short for one in look.running)
        gone = look.gone
        below = (_gone(gone),) if gone else ()
        what = "ran before" if look.ran_before else "runs"
        yield Branch(f"against what {what} ({beside}): {len(look.new)} new, {len(gone)} fixed", below)


def _table(look: Look, found: list[Finding]) -> Grid:
    several = len(look.scans) > 1
    columns = ["SEVERITY", "ID", "WHERE", "INSTALLED", "FIXED", "GATE"]
    columns += ["NEW"] if look.running else []
    columns += ["PLATFORMS"] if several else []
    rows, new = [], look.new
    for one in found:
        row = [str(one.severity), one.id, one.package, one.installed, one.fixed, look.mark(one)]
        row += ["new" if one in new else ""] if look.running else []
        row += [", ".join(look.platforms(one))] if several else []
        rows.append(tuple(row))
    tones = tuple(Tone.BAD if look.mark(one) == "counts" else Tone.PLAIN for one in found)
    return Grid(columns=tuple(columns), rows=tuple(rows), tones=tones)


def _gone(gone: list[Finding]) -> Grid:
    rows = tuple((str(one.severity), one.id, one.package, one.installed) for one in gone)
    return Grid(columns=("SEVERITY", "ID", "WHERE", "WAS"), rows=rows)


def _row(finding: Finding) -> Json:
    return {
        "id": finding.id,
        "kind": str(finding.kind),
        "severity": str(finding.severity),
        "package": finding.package,
        "installed": finding.installed,
        "fixedIn": finding.fixed,
        "title": finding.title,
    }
