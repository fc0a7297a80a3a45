"""The gate that reads reports of the cluster, as a user declares it. `gates.py` puts it beside the others."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from basetracker.api.document import Document
from basetracker.api.severity import Severity


class ReportSource(StrEnum):
    """Where reports come from."""

    TRIVY_OPERATOR = "trivy-operator"
    """VulnerabilityReports (aquasecurity.github.io)."""
    POLICY_REPORT = "policy-report"
    """PolicyReports (wgpolicyk8s.io)."""
    OPENREPORTS = "openreports"
    """Reports (openreports.io)."""
    KUBE_BENCH = "kube-bench"
    """ClusterPolicyReports and ClusterReports of kube-bench; about the cluster, not about an image."""


class OnMissing(StrEnum):
    """What becomes of an image about which a source says nothing."""

    HOLD = "Hold"
    PASS = "Pass"


def _each_once(sources: tuple[ReportSource, ...]) -> tuple[ReportSource, ...]:
    if len(set(sources)) != len(sources):
        raise ValueError("a source is listed twice; keep each once")
    return sources


class ReportsGate(Document):
    """Reports of all `sources`; a result of one of these severities fails."""

    sources: Annotated[tuple[ReportSource, ...], Field(min_length=1, max_length=4), AfterValidator(_each_once)]
    severity: Annotated[tuple[Severity, ...], Field(min_length=1, max_length=5)] = (Severity.CRITICAL, Severity.HIGH)
    on_missing: OnMissing = OnMissing.HOLD
