"""Findings of a scanner: which of them count against an image, and in what words that is told. Pure.

Owns what a waiver does, what `compare: NoWorse` means and that an image in which nothing could be looked at never passes.
Knows no scanner; `adapters/gates/trivy` makes the findings, and `basetracker findings` shows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from basetracker.api.gate_trivy import Compare, TrivyGate, Waiver
from basetracker.api.names import GateVerdict
from basetracker.api.severity import Severity
from basetracker.oci.platform import Platform

END_OF_LIFE_ID: Final = "EOSL"
ENDS_SOON: Final = timedelta(days=14)
_SHOWN: Final = 5
_LONGEST: Final = 1000
_LONGEST_WORD: Final = 60


class FindingKind(StrEnum):
    """What kind of thing was found."""

    VULNERABILITY = "vulnerability"
    SECRET = "secret"
    MISCONFIGURATION = "misconfiguration"
    LICENCE = "licence"
    END_OF_LIFE = "end of life"
    """The operating system's release gets no more security updates, so that what isn't found says little."""


class FindingsReason(StrEnum):
    """Why the gate answers as it does."""

    NO_FINDINGS = "NoFindings"
    WAIVED = "FindingsWaived"
    NO_WORSE = "NoWorse"
    FINDINGS = "FindingsPresent"
    WAIVER_EXPIRED = "WaiverExpired"
    NOTHING_SCANNED = "NothingScanned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found; `package` is a file or the image itself where it isn't about a package."""

    id: str
    package: str
    installed: str = ""
    fixed: str = ""
    """The versions that mend it; empty when there is none yet."""
    severity: Severity
    kind: FindingKind = FindingKind.VULNERABILITY
    title: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes it the same finding in two images: kind, id and package, not the version."""
        return (str(self.kind), self.id, self.package)

    @property
    def order(self) -> tuple[int, str, str, str]:
        """Worst first."""
        return (self.severity.rank, self.id, self.package, self.installed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What was found in the image of one platform; `blind` says why nothing could be looked at, if so."""

    platform: Platform
    findings: frozenset[Finding] = frozenset()
    blind: str = ""


Scans = Sequence[Scan]
"""One image's scans, one for each platform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What the findings come to: those that count, those that are waived, and the verdict in words."""

    verdict: GateVerdict
    reason: FindingsReason
    message: str
    counted: tuple[Finding, ...] = ()
    waived: tuple[Finding, ...] = ()


def weigh(gate: TrivyGate, image: Scans, running: Sequence[Scans], today: date) -> Weighed:
    """The verdict about an image; `running` are the images that run now, empty scans for one that is gone.

    With NoWorse a finding counts unless each running image has it, on the same platform: what one of them lacks is new there.
    """
    blind = sorted({f"{scan.platform}: {scan.blind}" for scan in image if scan.blind})
    if blind or not image:
        what = "; ".join(blind) or "the image is for no platform"
        return Weighed(
            verdict=GateVerdict.FAIL,
            reason=FindingsReason.NOTHING_SCANNED,
            message=_bounded(f"Trivy could not look at all of it, which is no clean bill: {what}"),
        )
    severe = distinct(one for scan in image for one in scan.findings if _is_severe(gate, one))
    compares = gate.compare is Compare.NO_WORSE
    new = new_findings(image, running) if compares else severe
    open_ones = [one for one in severe if one in set(new)]
    waivers = {waiver.id: waiver for waiver in gate.waivers}
    waived = tuple(one for one in open_ones if one.id in waivers and waivers[one.id].until >= today)
    counted = tuple(one for one in open_ones if one not in set(waived))
    expired = sorted({one.id for one in counted if one.id in waivers})
    notes = [
        *_expired_notes(waivers, expired),
        *_waived_notes(waivers, waived, today),
        *(["nothing runs that it could be compared with"] if compares and counted and not any(running) else []),
    ]
    if counted:
        all_expired = all(one.id in waivers for one in counted)
        reason = FindingsReason.WAIVER_EXPIRED if all_expired else FindingsReason.FINDINGS
        beside = " that what runs doesn't have" if compares and any(running) else ""
        text = f"{_counts(counted)}{beside}: {_worst(counted)}"
        return _weighed(GateVerdict.FAIL, reason, [text, *notes], counted, waived)
    passed = FindingsReason.WAIVED if waived else FindingsReason.NO_WORSE if severe else FindingsReason.NO_FINDINGS
    return _weighed(GateVerdict.PASS, passed, [_clean(gate, image, severe, waived), *notes], (), waived)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Whether a rebuild on the same base may mend what counts against an image, in words."""

    mends: bool
    message: str


def remedy_of(weighed: Weighed, base: Scans) -> Remedy:
    """What a rebuild would do about the findings: it installs what is new by now, and gets from the base what that has.

    So it may help where each of them has a fix and the base, on all of its platforms, has none of them.
    """
    blind = not base or any(scan.blind for scan in base)
    if not weighed.counted or blind:
        return Remedy(mends=False, message="what a rebuild would mend can't be told")
    there = {one.identity for scan in base for one in scan.findings}
    inherited = [one for one in weighed.counted if one.identity in there]
    if inherited:
        return Remedy(mends=False, message=f"a rebuild would not mend it: the base has {_worst(inherited)} as well")
    lasting = [one for one in weighed.counted if one.kind is not FindingKind.VULNERABILITY or not one.fixed]
    if lasting:
        return Remedy(mends=False, message=f"a rebuild would not mend it: nothing newer mends {_worst(lasting)}")
    return Remedy(mends=True, message="a rebuild may mend it: the base has none of it, and there is a fix for all")


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once, worst first; one that several platforms have in different versions stays several."""
    return sorted(set(findings), key=lambda one: one.order)


def new_findings(image: Scans, running: Sequence[Scans]) -> list[Finding]:
    """What a running image lacks, on some platform: all of it where nothing runs or where that platform doesn't."""
    found = []
    for scan in image:
        known = _known(scan.platform, running)
        found += [one for one in scan.findings if one.identity not in known]
    return distinct(found)


def fixed_findings(image: Scans, running: Sequence[Scans]) -> list[Finding]:
    """What a running image has and this one hasn't any more, on any platform."""
    there = {one.identity for scan in image for one in scan.findings}
    return distinct(one for scans in running for scan in scans for one in scan.findings if one.identity not in there)


def counts_by_severity(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many findings there are of each severity, worst first; those of several platforms count once."""
    counts = Counter({one.identity: one.severity for one in findings}.values())
    return {severity: counts[severity] for severity in Severity if counts[severity]}


def _known(platform: Platform, running: Sequence[Scans]) -> set[tuple[str, str, str]]:
    """What every running image has on this platform."""
    each = []
    for scans in running:
        same = [scan for scan in scans if scan.platform.matches(platform) and not scan.blind]
        each.append({one.identity for one in same[0].findings} if same else set())
    return set.intersection(*each) if each else set()


def _is_severe(gate: TrivyGate, finding: Finding) -> bool:
    if finding.kind is FindingKind.END_OF_LIFE:
        return True  # what isn't found in such an image may be of any severity
    unfixed = finding.kind is FindingKind.VULNERABILITY and not finding.fixed
    return finding.severity in gate.severity and not (gate.ignore_unfixed and unfixed)


def _expired_notes(waivers: dict[str, Waiver], ids: Sequence[str]) -> list[str]:
    named = [f"the waiver of {one} ended on {waivers[one].until}" for one in ids[:_SHOWN]]
    return named + ([f"{len(ids) - _SHOWN} more waivers have ended"] if len(ids) > _SHOWN else [])


def _waived_notes(waivers: dict[str, Waiver], waived: Sequence[Finding], today: date) -> list[str]:
    """How many are waived, and which waivers end soon, by their day: a number of days left would change daily."""
    ids = sorted({one.id for one in waived}, key=lambda one: (waivers[one].until, one))
    soon = [one for one in ids if waivers[one].until - today <= ENDS_SOON]
    notes = [f"{len(ids)} waived"] if ids else []
    notes += [f"the waiver of {one} ends on {waivers[one].until}" for one in soon[:_SHOWN]]
    return notes + ([f"{len(soon) - _SHOWN} more waivers end soon"] if len(soon) > _SHOWN else [])


def _clean(gate: TrivyGate, image: Scans, severe: Sequence[Finding], waived: Sequence[Finding]) -> str:
    wanted = " or ".join(str(one) for one in Severity if one in gate.severity)
    if severe and not waived:
        return f"{_counts(severe)}, all of which what runs has as well"
    everything = _counts(one for scan in image for one in scan.findings)
    return f"no {wanted} that counts; found: {everything}"


def _counts(findings: Iterable[Finding]) -> str:
    counts = counts_by_severity(findings)
    return ", ".join(f"{number} {severity}" for severity, number in counts.items()) or "nothing"


def _worst(findings: Sequence[Finding]) -> str:
    told: dict[tuple[str, str, str], str] = {}
    for one in findings:
        told.setdefault(one.identity, _told(one))
    words = list(told.values())
    return ", ".join(words[:_SHOWN]) + (f", and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")


def _told(finding: Finding) -> str:
    text = f"{_word(finding.id)} in {_word(finding.package)}"
    if finding.installed:
        text += f" {_word(finding.installed)}"
    if finding.kind is FindingKind.VULNERABILITY:
        text += f" (fixed in {_word(finding.fixed)})" if finding.fixed else " (no fix yet)"
    return text


def _word(text: str) -> str:
    return text if len(text) <= _LONGEST_WORD else text[: _LONGEST_WORD - 1] + "…"


def _weighed(
    verdict: GateVerdict,
    reason: FindingsReason,
    parts: Sequence[str],
    counted: tuple[Finding, ...],
    waived: tuple[Finding, ...],
) -> Weighed:
    message = _bounded("; ".join(parts))
    return Weighed(verdict=verdict, reason=reason, message=message, counted=counted, waived=waived)


def _bounded(text: str) -> str:
    """One line of harmless letters: names and versions come from the image."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= _LONGEST else clean[: _LONGEST - 1] + "…"
