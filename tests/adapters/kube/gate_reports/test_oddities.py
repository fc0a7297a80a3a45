"""What is wrong with reports in the wild, and what becomes of it: garbage is never a pass."""

from __future__ import annotations

from typing import Any

import pytest

from basetracker.adapters.kube import Json
from basetracker.api.names import GateVerdict

from .reporting import DIGEST, OTHER, Reports, policy, vulnerability


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"result": None}, GateVerdict.FAIL),
        ({"result": ""}, GateVerdict.FAIL),
        ({"result": None, "severity": None}, GateVerdict.PENDING),
        ({"result": "perhaps"}, GateVerdict.PENDING),
        ({"result": 1}, GateVerdict.PENDING),
        ({"result": "error"}, GateVerdict.PENDING),
        ({"result": "fail", "severity": None}, GateVerdict.FAIL),
        ({"result": "fail", "severity": "grave"}, GateVerdict.FAIL),
        ({"result": "fail", "severity": "low"}, GateVerdict.PASS),
        ({"result": "fail", "severity": "info"}, GateVerdict.PASS),
        ({"result": "info"}, GateVerdict.PENDING),
        ({"result": "skip"}, GateVerdict.PENDING),
        ({"result": "warn"}, GateVerdict.PASS),
        ({"timestamp": {"seconds": 59, "nanos": -5}}, GateVerdict.PASS),
        ({"timestamp": "yesterday"}, GateVerdict.PASS),
        ({"result": "fail", "timestamp": {"seconds": 0}}, GateVerdict.FAIL),
        ({"resources": [{"kind": "Deployment", "name": "checkout"}]}, GateVerdict.PENDING),
        ({"resources": [{"kind": "Deployment", "name": "other"}]}, GateVerdict.PENDING),
        ({"resources": [{"kind": "Deployment", "name": "checkout", "uid": "other"}]}, GateVerdict.PENDING),
        ({"properties": {"container.image.digest": str(OTHER)}}, GateVerdict.PENDING),
        ({"properties": {"container.image.digest": str(DIGEST)}}, GateVerdict.PASS),
        ({"properties": {"artifact.repository": "shop/sidecar"}}, GateVerdict.PENDING),
        ({"properties": {"artifact.repository": "shop/checkout"}}, GateVerdict.PASS),
    ],
)
async def test_odd_results(reports: Reports, change: Json, verdict: GateVerdict, emulated: Any) -> None:
    await reports.write_policies(policy(**change))
    assert (await reports.judge("policy-report")).verdict is verdict


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"results": None}, GateVerdict.PENDING),
        ({"results": []}, GateVerdict.PENDING),
        ({"results": "all fine"}, GateVerdict.PENDING),
        ({"results": ["pass"]}, GateVerdict.PENDING),
        ({"summary": {"pass": 1, "fail": 0, "error": 0}}, GateVerdict.PASS),
        ({"summary": {"fail": 1}}, GateVerdict.PENDING),
        ({"summary": {"error": 2}}, GateVerdict.PENDING),
        ({"summary": {"fail": "many"}}, GateVerdict.PENDING),
        ({"summary": "fine"}, GateVerdict.PASS),
        ({"summary": {"fail": 3}, "configuration": {"limits": {"statusFilter": ["pass"]}}}, GateVerdict.PENDING),
        ({"summary": {"fail": 1}, "results": []}, GateVerdict.PENDING),
        ({"summary": {"fail": 2}, "results": [policy("fail", "low")]}, GateVerdict.PASS),
        ({"summary": {"fail": 2}, "results": [policy("fail", "high")]}, GateVerdict.FAIL),
        (
            {
                "summary": {"fail": 2},
                "results": [policy("fail", "low")],
                "configuration": {"limits": {"maxResults": 1}},
            },
            GateVerdict.PENDING,
        ),
        ({"scope": None}, GateVerdict.PENDING),
        ({"scope": {"kind": "Deployment", "name": "other"}}, GateVerdict.PENDING),
    ],
)
async def test_odd_reports(reports: Reports, change: Json, verdict: GateVerdict, emulated: Any) -> None:
    await reports.write_policies(policy(), **change)
    assert (await reports.judge("policy-report")).verdict is verdict


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"vulnerabilities": None}, GateVerdict.PASS),
        ({"vulnerabilities": "none"}, GateVerdict.PENDING),
        ({"vulnerabilities": None, "summary": {"highCount": 1}}, GateVerdict.PENDING),
        ({"summary": {"criticalCount": 1}}, GateVerdict.FAIL),
        ({"summary": {"lowCount": 1}}, GateVerdict.PASS),
        ({"summary": {"criticalCount": "many"}}, GateVerdict.PENDING),
        ({"summary": None}, GateVerdict.PENDING),
        ({"vulnerabilities": [vulnerability(1, "NONE")]}, GateVerdict.PASS),
        ({"vulnerabilities": [vulnerability(1, "GRAVE")]}, GateVerdict.FAIL),
        ({"vulnerabilities": ["CVE-2026-1"]}, GateVerdict.FAIL),
        ({"artifact": None}, GateVerdict.PENDING),
    ],
)
async def test_odd_scans(reports: Reports, change: Json, verdict: GateVerdict, emulated: Any) -> None:
    await reports.write_vulnerabilities(**change)
    assert (await reports.judge("trivy-operator")).verdict is verdict


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"result": "fail", "scored": None}, GateVerdict.PASS),
        ({"result": "fail", "scored": "yes"}, GateVerdict.FAIL),
        ({"result": "fail", "severity": "low"}, GateVerdict.PASS),
        ({"result": "FAIL"}, GateVerdict.FAIL),
        ({"result": "info"}, GateVerdict.PENDING),
        ({"source": "kyverno", "result": "fail"}, GateVerdict.PENDING),
        ({"source": "CIS Kube Bench"}, GateVerdict.PASS),
        ({"result": "warn"}, GateVerdict.PASS),
    ],
)
async def test_odd_benches(reports: Reports, change: Json, verdict: GateVerdict, emulated: Any) -> None:
    await reports.write_bench(change)
    assert (await reports.judge("kube-bench")).verdict is verdict
