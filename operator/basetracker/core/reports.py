"""What scanners of the cluster have reported, in one form, and what follows from it for a digest. Pure.

Owns the one model of all kinds of reports and the verdict. Knows no Kubernetes object and reads no time: the times in
reports are wrong too often to rest anything on. Used by the reports gate, whose adapter translates each kind of report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from basetracker.api.gate_reports import OnMissing, ReportSource
from basetracker.api.names import GateVerdict
from basetracker.api.severity import Severity
from basetracker.core.one_line import one_line

SHOWN: Final = 5
"""How many failing results a message names."""
LONGEST_NAME: Final = 100


class Outcome(StrEnum):
    """What a report says of one check."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    """Not right, and not meant to stop anything."""
    SKIP = "skip"
    """Not looked at."""
    ERROR = "error"
    """Looked at without an answer, or said in a way that can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One check of a report: `policy` and `rule` name it, such as a vulnerability and the package that has it."""

    source: ReportSource
    policy: str
    rule: str = ""
    outcome: Outcome
    severity: Severity | None = None
    """None is what the report doesn't say; such a failure always counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that one source says of the digest, or of the cluster.

    `is_there` is whether a report could be found that names what is asked about and says something: a report of a scan that
    found nothing is there, without results. `missing` is why there is none; results may still object.
    """

    source: ReportSource
    results: tuple[Result, ...] = ()
    is_there: bool = False
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The verdict with its reason and one sentence, which is the same for the same evidence in whatever order."""

    verdict: GateVerdict
    reason: str
    message: str


def weigh(evidence: Sequence[Evidence], severities: Collection[Severity], on_missing: OnMissing) -> Finding:
    """The verdict: a failure of any source fails, an error holds, and a source that is silent is what `on_missing` says."""
    said = sorted(evidence, key=lambda one: one.source)
    failing = {result for one in said for result in one.results if counts(result, severities)}
    if failing:
        return Finding(verdict=GateVerdict.FAIL, reason="ReportsFail", message=_failures(failing))
    if broken := [one for one in said if any(result.outcome is Outcome.ERROR for result in one.results)]:
        names = "; ".join(f"{one.source}: {_errors(one)}" for one in broken)
        return Finding(verdict=GateVerdict.PENDING, reason="ReportsUnclear", message=f"not clear by {names}")
    absent = [one for one in said if not one.is_there]
    gaps = "; ".join(f"{one.source}: {one.missing or 'there is no report'}" for one in absent)
    if not said or (absent and on_missing is not OnMissing.PASS):
        message = f"no evidence yet: {gaps or 'no source is asked'}"
        return Finding(verdict=GateVerdict.PENDING, reason="ReportsMissing", message=message)
    names = ", ".join(one.source for one in said if one.is_there)
    clean = f"nothing {_listed(severities)} in the reports of {names}" if names else "no report speaks against it"
    if absent:
        message = f"{clean}; passed over, since onMissing is Pass: {gaps}"
        return Finding(verdict=GateVerdict.PASS, reason="ReportsMissing", message=message)
    return Finding(verdict=GateVerdict.PASS, reason="ReportsClean", message=clean)


def counts(result: Result, severities: Collection[Severity]) -> bool:
    """Whether the result fails a gate of these severities; a failure that nobody has rated does."""
    return result.outcome is Outcome.FAIL and (result.severity is None or result.severity in severities)


def has_judged(results: Iterable[Result]) -> bool:
    """Whether any check was really made."""
    return any(result.outcome not in {Outcome.SKIP, Outcome.ERROR} for result in results)


def clean_name(text: object) -> str:
    """A name from a report, as it may stand in a message."""
    return one_line(str(text or ""), LONGEST_NAME)


def _failures(failing: Collection[Result]) -> str:
    parts = []
    for source in sorted({result.source for result in failing}):
        ranked = sorted({(_rank(one), one.policy, one.rule) for one in failing if one.source is source})
        names = [_name(rank, policy, rule) for rank, policy, rule in ranked[:SHOWN]]
        more = f" and {len(ranked) - SHOWN} more" if len(ranked) > SHOWN else ""
        what = "result fails" if len(ranked) == 1 else "results fail"
        parts.append(f"{source}: {len(ranked)} {what}: {', '.join(names)}{more}")
    return "; ".join(parts)


def _rank(result: Result) -> int:
    return result.severity.rank if result.severity is not None else -1


def _name(rank: int, policy: str, rule: str) -> str:
    severity = "" if rank < 0 else f"{list(Severity)[rank]} "
    inside = f" ({rule})" if rule else ""
    return f"{severity}{policy or 'unnamed'}{inside}"


def _errors(one: Evidence) -> str:
    names = sorted({result.policy or "unnamed" for result in one.results if result.outcome is Outcome.ERROR})
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _listed(severities: Collection[Severity]) -> str:
    names = sorted(set(severities), key=lambda one: one.rank)
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
