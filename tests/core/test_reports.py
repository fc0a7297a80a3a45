"""What follows from reports: a failure fails, silence and errors hold, and the order of evidence says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetracker.api.gate_reports import OnMissing, ReportSource
from basetracker.api.names import GateVerdict
from basetracker.api.severity import Severity
from basetracker.core.reports import LONGEST_NAME, Evidence, Outcome, Result, clean_name, has_judged, weigh

USUAL = (Severity.CRITICAL, Severity.HIGH)
TRIVY, POLICY, BENCH = ReportSource.TRIVY_OPERATOR, ReportSource.POLICY_REPORT, ReportSource.KUBE_BENCH


def result(
    outcome: Outcome,
    severity: Severity | None = None,
    *,
    source: ReportSource = TRIVY,
    policy: str = "P",
    rule: str = "",
) -> Result:
    return Result(source=source, policy=policy, rule=rule, outcome=outcome, severity=severity)


def said(*results: Result, source: ReportSource = TRIVY) -> Evidence:
    return Evidence(source=source, results=results, is_there=True)


CLEAN = said(result(Outcome.PASS, Severity.CRITICAL), result(Outcome.FAIL, Severity.LOW))
BAD = said(result(Outcome.FAIL, Severity.HIGH, policy="CVE-1", rule="openssl"))
ERROR = said(result(Outcome.ERROR, policy="scan"), source=POLICY)
SILENT = Evidence(source=BENCH, missing="nothing is known")
SPEECHLESS = Evidence(source=POLICY)


@pytest.mark.parametrize(
    ("evidence", "on_missing", "verdict", "reason", "message"),
    [
        (
            [CLEAN],
            OnMissing.HOLD,
            GateVerdict.PASS,
            "ReportsClean",
            "nothing CRITICAL or HIGH in the reports of trivy-operator",
        ),
        (
            [CLEAN, BAD],
            OnMissing.PASS,
            GateVerdict.FAIL,
            "ReportsFail",
            "trivy-operator: 1 result fails: HIGH CVE-1 (openssl)",
        ),
        (
            [SILENT, ERROR, BAD],
            OnMissing.HOLD,
            GateVerdict.FAIL,
            "ReportsFail",
            "trivy-operator: 1 result fails: HIGH CVE-1 (openssl)",
        ),
        ([CLEAN, ERROR], OnMissing.PASS, GateVerdict.PENDING, "ReportsUnclear", "not clear by policy-report: scan"),
        (
            [CLEAN, SILENT],
            OnMissing.HOLD,
            GateVerdict.PENDING,
            "ReportsMissing",
            "no evidence yet: kube-bench: nothing is known",
        ),
        (
            [CLEAN, SPEECHLESS],
            OnMissing.HOLD,
            GateVerdict.PENDING,
            "ReportsMissing",
            "no evidence yet: policy-report: there is no report",
        ),
        (
            [CLEAN, SILENT],
            OnMissing.PASS,
            GateVerdict.PASS,
            "ReportsMissing",
            "nothing CRITICAL or HIGH in the reports of trivy-operator; passed over, since onMissing is Pass: kube-bench: "
            "nothing is known",
        ),
        (
            [SILENT],
            OnMissing.PASS,
            GateVerdict.PASS,
            "ReportsMissing",
            "no report speaks against it; passed over, since onMissing is Pass: kube-bench: nothing is known",
        ),
        ([], OnMissing.PASS, GateVerdict.PENDING, "ReportsMissing", "no evidence yet: no source is asked"),
    ],
)
def test_what_follows(
    evidence: list[Evidence], on_missing: OnMissing, verdict: GateVerdict, reason: str, message: str
) -> None:
    found = weigh(evidence, USUAL, on_missing)
    assert (found.verdict, found.reason, found.message) == (verdict, reason, message)


def test_many_failures_are_counted_and_the_worst_named() -> None:
    many = [result(Outcome.FAIL, Severity.HIGH, policy=f"H{number}") for number in range(7)]
    unrated = result(Outcome.FAIL, source=BENCH, policy="1.2.1")
    found = weigh(
        [said(*many, result(Outcome.FAIL, Severity.CRITICAL, policy="C")), said(unrated)], USUAL, OnMissing.HOLD
    )
    assert found.message == (
        "kube-bench: 1 result fails: 1.2.1; trivy-operator: 8 results fail: CRITICAL C, HIGH H0, HIGH H1, HIGH H2, HIGH H3 "
        "and 3 more"
    )


def test_many_errors_are_bounded() -> None:
    errors = said(
        *(result(Outcome.ERROR, policy=f"e{number}") for number in range(7)), result(Outcome.ERROR, policy="")
    )
    assert (
        weigh([errors], USUAL, OnMissing.HOLD).message == "not clear by trivy-operator: e0, e1, e2, e3, e4 and 3 more"
    )
    unnamed = said(result(Outcome.FAIL, policy=""))
    assert weigh([unnamed], USUAL, OnMissing.HOLD).message == "trivy-operator: 1 result fails: unnamed"


def test_one_severity_reads_well() -> None:
    assert weigh([said()], (Severity.LOW,), OnMissing.HOLD).message.startswith("nothing LOW in the reports of")
    three = (Severity.LOW, Severity.CRITICAL, Severity.HIGH)
    assert weigh([said()], three, OnMissing.HOLD).message.startswith("nothing CRITICAL, HIGH or LOW in")


def test_skipping_is_no_judgement() -> None:
    assert not has_judged([result(Outcome.SKIP), result(Outcome.ERROR)])
    assert has_judged([result(Outcome.SKIP), result(Outcome.WARN)])


@pytest.mark.parametrize(
    ("name", "clean"),
    [(None, ""), (7, "7"), (" a\n\tb\x00c ", "a b c"), ("x" * 200, "x" * (LONGEST_NAME - 1) + "…"), ({}, "")],
)
def test_names_are_one_bounded_line(name: object, clean: str) -> None:
    assert clean_name(name) == clean


_RESULTS = st.builds(
    Result,
    source=st.sampled_from(ReportSource),
    policy=st.sampled_from(["a", "b", ""]),
    rule=st.sampled_from(["", "r"]),
    outcome=st.sampled_from(Outcome),
    severity=st.none() | st.sampled_from(Severity),
)
_EVIDENCE = st.lists(
    st.builds(
        Evidence,
        source=st.sampled_from(ReportSource),
        results=st.lists(_RESULTS, max_size=6).map(tuple),
        is_there=st.booleans(),
        missing=st.sampled_from(["", "why"]),
    ),
    max_size=4,
    unique_by=lambda one: one.source,
)


@given(_EVIDENCE, st.sets(st.sampled_from(Severity), min_size=1), st.sampled_from(OnMissing))
def test_only_clean_and_present_evidence_passes(
    evidence: list[Evidence], severities: set[Severity], on_missing: OnMissing
) -> None:
    found = weigh(evidence, severities, on_missing)
    turned = [replace(one, results=one.results[::-1]) for one in reversed(evidence)]
    assert weigh(turned, severities, on_missing) == found
    assert len(found.message) <= 4 * 1000
    if found.verdict is GateVerdict.PASS:
        results = [one for item in evidence for one in item.results]
        assert not any(one.outcome is Outcome.ERROR for one in results)
        failed = {one.severity for one in results if one.outcome is Outcome.FAIL}
        assert failed.isdisjoint({None, *severities})
        assert evidence
        assert on_missing is OnMissing.PASS or all(one.is_there for one in evidence)
