"""Reports as the API server stores them, in the model of `core/reports.py`. Pure.

Owns what each kind of report looks like, and what is wrong with them in the wild: times that are no times (never read), a
missing `result`, words that their own schema doesn't know, reports that name another digest or none. Must not know how
reports are fetched. Used by `gate.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from basetracker.adapters.gates.walk import below, objects_in, text_below
from basetracker.adapters.kube import Json
from basetracker.api.gate_reports import ReportSource
from basetracker.api.severity import Severity
from basetracker.core.reports import Outcome, Result, clean_name
from basetracker.oci.refs import ImageRef

# kube-bench's own adapter writes `info`, which the kinds don't have.
_OUTCOMES: Final = {str(outcome): outcome for outcome in Outcome} | {"info": Outcome.SKIP}
_SEVERITIES: Final = {str(severity).lower(): severity for severity in Severity}
_NOTES: Final = {"none", "info", "negligible"}
"""Severities below the lowest: nothing that any gate asks for."""
_COUNTS: Final = {
    Severity.CRITICAL: "criticalCount",
    Severity.HIGH: "highCount",
    Severity.MEDIUM: "mediumCount",
    Severity.LOW: "lowCount",
    Severity.UNKNOWN: "unknownCount",
}
# Where the results of an image scan name the image, in the adapters that are known.
_DIGESTS: Final = ("artifact.digest", "image.digest", "imageDigest", "container.image.digest", "digest")
_REPOSITORIES: Final = ("artifact.repository", "container.image.repository")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Subject:
    """An object that runs the image: what reports can be about."""

    kind: str
    name: str
    uid: str
    is_pinned: bool
    """Whether its template names the wanted digest, rather than a tag only."""
    containers: tuple[str, ...] = ()
    images: tuple[tuple[str, str], ...] = ()
    """All its containers with their images, sorted."""
    selector: str = ""
    """How its Pods are listed."""

    @property
    def may_change(self) -> bool:
        """Whether it runs one digest after the other, so that a report about it may be about an earlier one.

        A Deployment keeps its name and uid when its image changes; a ReplicaSet is one template's, and its Pods are as well.
        """
        return self.kind == "Deployment"


def vulnerabilities(report: Json, image: ImageRef) -> list[Result] | None:
    """The results of trivy-operator's VulnerabilityReport; None when it isn't about the image's digest."""
    body = report.get("report")
    if below(body, "artifact", "digest") != str(image.digest):
        return None
    source = ReportSource.TRIVY_OPERATOR
    listed, summary = below(body, "vulnerabilities"), below(body, "summary")
    name = text_below(report, "metadata", "name")
    if listed is None and isinstance(summary, dict) and not any(summary.get(count) for count in _COUNTS.values()):
        listed = []  # how Go writes an empty list, at times
    if not isinstance(listed, list) or not isinstance(summary, dict):
        return [Result(source=source, policy=clean_name(name), outcome=Outcome.ERROR)]
    results = [_vulnerability(item) for item in listed]
    for severity, field in _COUNTS.items():
        told = summary.get(field, 0)
        found = sum(one.severity is severity for one in results)
        if not isinstance(told, int):
            results.append(Result(source=source, policy=clean_name(name), outcome=Outcome.ERROR))
        elif told > found:  # the list was cut
            more = f"{told - found} that the report counts but doesn't list"
            results.append(Result(source=source, policy=more, outcome=Outcome.FAIL, severity=severity))
    return results


def _vulnerability(item: object) -> Result:
    severity = below(item, "severity")
    is_mere_note = isinstance(severity, str) and severity.lower() in _NOTES
    return Result(
        source=ReportSource.TRIVY_OPERATOR,
        policy=clean_name(below(item, "vulnerabilityID")),
        rule=clean_name(below(item, "resource")),
        outcome=Outcome.WARN if is_mere_note else Outcome.FAIL,
        severity=_severity(severity),
    )


def _severity(word: object) -> Severity | None:
    return _SEVERITIES.get(word.lower()) if isinstance(word, str) else None


def policy_results(report: Json, source: ReportSource, subject: Subject, image: ImageRef) -> list[Result]:
    """The results of a PolicyReport or Report that are about the subject and not about another image of it."""
    listed = _results(report)
    about = [item for item in listed if _is_about(report, item, subject)]
    found = [_policy_result(item, source) for item in about if not _is_of_another_image(item, image)]
    if (about or _is_about(report, {}, subject)) and _counts_more(report, listed):
        kept_back = "results that the report counts but doesn't list"
        found.append(Result(source=source, policy=kept_back, outcome=Outcome.ERROR))
    return found


def _counts_more(report: Json, listed: list[Json]) -> bool:
    """Whether the summary speaks of failures that aren't listed: a report may be cut, or leave some kinds of results out.

    That it counts more of those that are listed says nothing by itself: Trivy's adapter counts one for each place, and lists
    it once.
    """
    is_limited = below(report, "configuration", "limits") is not None
    for word in (Outcome.FAIL, Outcome.ERROR):
        told = below(report, "summary", word)
        if told is None:
            continue
        found = sum(text_below(item, "result").lower() == word for item in listed)
        if not isinstance(told, int) or (told > found and (is_limited or not found)):
            return True
    return False


def bench_results(report: Json) -> list[Result]:
    """The results of kube-bench in a cluster-wide report; those that it doesn't score stop nothing."""
    found = []
    for item in _results(report):
        if "kube bench" not in text_below(item, "source").lower().replace("-", " "):
            continue
        result = _policy_result(item, ReportSource.KUBE_BENCH)
        if result.outcome is Outcome.FAIL and below(item, "scored") in (None, False):
            result = Result(
                source=result.source,
                policy=result.policy,
                rule=result.rule,
                outcome=Outcome.WARN,
                severity=result.severity,
            )
        found.append(result)
    return found


def _policy_result(item: Json, source: ReportSource) -> Result:
    severity = below(item, "severity")
    outcome = _outcome(item, severity)
    index = text_below(item, "properties", "index")  # kube-bench's number of the check
    policy, rule = text_below(item, "policy"), text_below(item, "rule")
    if source is ReportSource.KUBE_BENCH and index:
        policy, rule = index, text_below(item, "message") or rule  # its text
    return Result(
        source=source,
        policy=clean_name(policy),
        rule=clean_name(rule),
        outcome=outcome,
        severity=_severity(severity),
    )


def _outcome(item: Json, severity: object) -> Outcome:
    """What the result says; without a word a severity means that something was found."""
    said = item.get("result")
    if said in (None, ""):
        return Outcome.FAIL if isinstance(severity, str) and severity else Outcome.ERROR
    outcome = _OUTCOMES.get(said.lower(), Outcome.ERROR) if isinstance(said, str) else Outcome.ERROR
    is_mere_note = outcome is Outcome.FAIL and isinstance(severity, str) and severity.lower() in _NOTES
    return Outcome.WARN if is_mere_note else outcome


def _is_about(report: Json, item: Json, subject: Subject) -> bool:
    """Whether the result names the subject; one that names nothing is about what the whole report names."""
    named = objects_in(item.get("resources"))
    if not named:
        scope = report.get("scope")
        named = [scope] if isinstance(scope, dict) else objects_in(below(report, "metadata", "ownerReferences"))
    return any(_names(one, subject) for one in named)


def _names(reference: Json, subject: Subject) -> bool:
    uid = reference.get("uid")
    if uid:
        return bool(uid == subject.uid)
    return (reference.get("kind"), reference.get("name")) == (subject.kind, subject.name)


def _is_of_another_image(item: Json, image: ImageRef) -> bool:
    properties = item.get("properties")
    if not isinstance(properties, dict):
        return False
    digests = [properties[key] for key in _DIGESTS if properties.get(key)]
    if digests:
        return not any(str(digest).endswith(str(image.digest)) for digest in digests)
    repositories = [str(properties[key]) for key in _REPOSITORIES if properties.get(key)]
    path = image.repository.path
    return bool(repositories) and not any(one == path or one.endswith(f"/{path}") for one in repositories)


def _results(report: Json) -> list[Json]:
    """The results; a list that is none is one that says nothing clear."""
    listed = report.get("results")
    if listed is None:
        return []
    if not isinstance(listed, list):
        return [{"policy": text_below(report, "metadata", "name"), "result": "unreadable"}]
    return [item if isinstance(item, dict) else {"result": "unreadable"} for item in listed]
