"""The gate that reads reports, over HTTP: what passes is a report about this very digest that says nothing bad."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from basetracker.adapters.gates.reports.gate import MOST_PAGES, PAGE, ReportsJudge
from basetracker.adapters.kube import Json
from basetracker.api.names import GateVerdict
from basetracker.emulators.cluster import Fault
from basetracker.errors import DeniedError, InvalidError, UnavailableError

from .reporting import API_VERSIONS, DIGEST, IMAGE, KINDS, OTHER, REPOSITORY, Reports, policy, vulnerability

ALL = ("trivy-operator", "policy-report", "openreports", "kube-bench")
IMAGES = ALL[:3]


async def test_a_clean_report_of_each_kind_passes(reports: Reports) -> None:
    await reports.write_vulnerabilities(vulnerability(1, "LOW"))
    await reports.write_policies(policy())
    await reports.write_policies(policy(), kind="Report")
    await reports.write_bench({}, {"result": "info"}, {"result": "fail", "scored": False})
    answer = await reports.judge(*ALL)
    assert (answer.verdict, answer.reason, answer.digest) == (GateVerdict.PASS, "ReportsClean", DIGEST)
    assert answer.message == (
        "nothing CRITICAL or HIGH in the reports of kube-bench, openreports, policy-report, trivy-operator"
    )


async def test_a_scan_that_found_nothing_is_evidence(reports: Reports) -> None:
    await reports.write_vulnerabilities()
    assert (await reports.judge("trivy-operator")).verdict is GateVerdict.PASS


async def test_findings_fail_and_are_named(reports: Reports) -> None:
    await reports.write_vulnerabilities(
        vulnerability(3, "MEDIUM"), vulnerability(2, "HIGH"), vulnerability(1, "CRITICAL"), vulnerability(2, "HIGH")
    )
    answer = await reports.judge("trivy-operator")
    assert (answer.verdict, answer.reason) == (GateVerdict.FAIL, "ReportsFail")
    expected = "trivy-operator: 2 results fail: CRITICAL CVE-2026-1 (openssl), HIGH CVE-2026-2 (openssl)"
    assert answer.message == expected
    assert (await reports.judge("trivy-operator", severity=["MEDIUM"])).message.endswith("MEDIUM CVE-2026-3 (openssl)")
    assert (await reports.judge("trivy-operator", severity=["LOW"])).verdict is GateVerdict.PASS


@pytest.mark.parametrize("kind", ["PolicyReport", "Report"])
async def test_policies_that_fail_are_named(reports: Reports, kind: str) -> None:
    await reports.write_policies(policy(), policy("fail", policy="no-latest"), kind=kind)
    source = {"PolicyReport": "policy-report", "Report": "openreports"}[kind]
    answer = await reports.judge(source)
    assert (answer.verdict, answer.message) == (GateVerdict.FAIL, f"{source}: 1 result fails: HIGH no-latest (check)")


@pytest.mark.parametrize("kind", ["ClusterPolicyReport", "ClusterReport"])
async def test_a_control_that_fails_holds_the_whole_cluster_up(reports: Reports, kind: str) -> None:
    await reports.write_bench({}, {"result": "fail"}, kind=kind)
    answer = await reports.judge("kube-bench")
    assert answer.verdict is GateVerdict.FAIL
    assert answer.message == "kube-bench: 1 result fails: 1.2.1 (Ensure that anonymous requests are refused)"


async def test_nothing_is_asked_twice_or_listed_whole(reports: Reports, emulated: Any) -> None:
    await reports.write_vulnerabilities()
    await reports.write_policies(policy())
    await reports.write_policies(policy(), kind="Report")
    await reports.write_bench({})
    emulated.requests.clear()
    await reports.judge(*ALL)
    for request in emulated.requests:
        if any(f"/{kind[2]}" in request.path for kind in KINDS):
            is_one = request.path.rpartition("/")[2] not in {kind[2] for kind in KINDS}
            assert is_one or request.query["labelSelector"], request
            assert is_one or request.query["limit"] == str(PAGE)
    assert len(emulated.requests) <= 20
    assert emulated.writes.total() == 0 or all(request.method == "GET" for request in emulated.requests)


# -- missing evidence: never a pass, unless that is what was asked for


@pytest.mark.parametrize("source", ALL)
async def test_absent_kinds_are_no_error_and_no_pass(bare: Reports, source: str, emulated: Any) -> None:
    answer = await bare.judge(source)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "ReportsMissing")
    answer = await bare.judge(source, onMissing="Pass")
    assert (answer.verdict, answer.reason) == (GateVerdict.PASS, "ReportsMissing")
    assert f"passed over, since onMissing is Pass: {source}: " in answer.message


async def test_one_silent_source_holds(reports: Reports) -> None:
    await reports.write_vulnerabilities()
    await reports.replica_set()
    answer = await reports.judge("trivy-operator", "policy-report")
    assert answer.verdict is GateVerdict.PENDING
    assert answer.message == "no evidence yet: policy-report: there is no report about the digest"
    assert (await reports.judge("trivy-operator", "policy-report", onMissing="Pass")).verdict is GateVerdict.PASS


async def test_a_failure_outweighs_a_silent_source(reports: Reports) -> None:
    await reports.write_vulnerabilities(vulnerability(1, "HIGH"))
    answer = await reports.judge("trivy-operator", "policy-report", onMissing="Pass")
    assert answer.verdict is GateVerdict.FAIL


async def test_a_digest_that_nothing_runs_has_no_evidence(
    world: Any, kinds: None, make_deployment: Callable[..., Json]
) -> None:
    await world.create("deployments", make_deployment(app=f"{REPOSITORY}:main@{OTHER}"))
    reports = Reports(world, ReportsJudge(world.kube))
    await reports.write_vulnerabilities()
    await reports.write_policies(policy())
    for source in ("trivy-operator", "policy-report"):
        answer = await reports.judge(source)
        assert answer.verdict is GateVerdict.PENDING
        assert answer.message == f"no evidence yet: {source}: nothing in the namespace runs the digest"


@pytest.mark.parametrize("digest", [str(OTHER), "", None, 7, str(DIGEST)[:-1], f"{REPOSITORY}@{DIGEST}"])
async def test_a_report_of_another_digest_is_none(reports: Reports, digest: Any, emulated: Any) -> None:
    await reports.write_vulnerabilities(vulnerability(1, "CRITICAL"), digest=digest)
    assert (await reports.judge("trivy-operator")).verdict is GateVerdict.PENDING


async def test_a_report_of_another_container_is_none(reports: Reports, emulated: Any) -> None:
    await reports.write_vulnerabilities()
    name = (await reports.replica_set())["metadata"]["name"]
    change = {"metadata": {"labels": {"trivy-operator.container.name": "sidecar"}}}
    await reports.world.merge(*API_VERSIONS["VulnerabilityReport"], f"replicaset-{name}-app", change)
    assert (await reports.judge("trivy-operator")).verdict is GateVerdict.PENDING


async def test_a_canary_of_somebody_else_is_evidence(
    world: Any, kinds: None, make_deployment: Callable[..., Json]
) -> None:
    await world.create("deployments", make_deployment("canary", app=f"{REPOSITORY}:canary@{DIGEST}"))
    reports = Reports(world, ReportsJudge(world.kube))
    await reports.write_vulnerabilities()
    assert (await reports.judge("trivy-operator")).verdict is GateVerdict.PASS


async def test_replica_sets_are_found_by_whatever_selector(
    world: Any, kinds: None, make_deployment: Callable[..., Json]
) -> None:
    document = make_deployment(app=f"{REPOSITORY}:main@{DIGEST}")
    document["spec"]["template"]["metadata"]["labels"] |= {"tier": "web", "kept": "yes"}
    document["spec"]["selector"]["matchExpressions"] = [
        {"key": "tier", "operator": "In", "values": ["web", "front"]},
        {"key": "tier", "operator": "NotIn", "values": ["back"]},
        {"key": "kept", "operator": "Exists"},
        {"key": "gone", "operator": "DoesNotExist"},
    ]
    await world.create("deployments", document)
    reports = Reports(world, ReportsJudge(world.kube))
    await reports.write_vulnerabilities()
    assert (await reports.judge("trivy-operator")).verdict is GateVerdict.PASS


async def test_a_report_about_a_deployment_is_no_evidence(reports: Reports, emulated: Any) -> None:
    """A Deployment keeps its uid when its image changes, so the report may be of the digest before."""
    await reports.set_image(f"{REPOSITORY}:main@{OTHER}")
    await reports.write_policies(policy(), about="Deployment")
    await reports.set_image(f"{REPOSITORY}:main@{DIGEST}")
    answer = await reports.judge("policy-report")
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "ReportsMissing")
    assert answer.message == (
        "no evidence yet: policy-report: there are reports about Deployments only, which may be of an earlier digest, and "
        "none about their ReplicaSets or Pods"
    )
    assert (await reports.judge("policy-report", onMissing="Pass")).reason == "ReportsMissing"


async def test_a_report_about_a_deployment_can_object(reports: Reports, emulated: Any) -> None:
    await reports.write_policies(policy())
    assert (await reports.judge("policy-report")).verdict is GateVerdict.PASS
    await reports.write_policies(policy("fail", policy="no-latest"), about="Deployment")
    for on_missing in ("Hold", "Pass"):
        answer = await reports.judge("policy-report", onMissing=on_missing)
        assert (answer.verdict, answer.reason) == (GateVerdict.FAIL, "ReportsFail")
        assert answer.message == "policy-report: 1 result fails: HIGH no-latest (check)"


async def test_a_deployment_on_its_way_elsewhere_does_not_object(reports: Reports, emulated: Any) -> None:
    """Its report may be about the new template already, while Pods of the old one are still there."""
    await reports.write_policies(policy("fail"), about="Deployment")
    assert (await reports.judge("policy-report")).verdict is GateVerdict.FAIL
    await reports.set_image(f"{REPOSITORY}:missing@{OTHER}")
    assert (await reports.judge("policy-report")).verdict is GateVerdict.PENDING


async def test_a_replica_set_of_another_digest_says_nothing_of_this_one(reports: Reports, emulated: Any) -> None:
    await reports.write_policies(policy())
    await reports.set_image(f"{REPOSITORY}:main@{OTHER}")
    other = replace(reports.question("policy-report"), image=IMAGE.pinned(OTHER))
    assert (await reports.judge_.judge(other, None)).verdict is GateVerdict.PENDING


async def test_the_reports_of_trivys_adapter_are_found_by_name_and_by_label(reports: Reports, emulated: Any) -> None:
    metadata = (await reports.replica_set())["metadata"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": metadata["name"], "uid": metadata["uid"]}
    marks = {"ownerReferences": [owner], "labels": {"app.kubernetes.io/managed-by": "trivy-operator-polr-adapter"}}
    result = policy("fail", "critical", policy="CVE-2026-1", rule=None, resources=[owner])
    await reports.write(
        "PolicyReport", marks | {"name": f"trivy-vuln-polr-replicaset-{metadata['name']}"}, results=[result]
    )
    answer = await reports.judge("policy-report")
    assert answer.message == "policy-report: 1 result fails: CRITICAL CVE-2026-1"
    labels = {"trivy-operator.resource.kind": "ReplicaSet", "trivy-operator.resource.name": metadata["name"]}
    await reports.write(
        "PolicyReport",
        {"name": "labelled", "labels": labels},
        results=[result | {"policy": "CVE-2026-2", "result": None}],
    )
    answer = await reports.judge("policy-report")
    assert answer.message == "policy-report: 2 results fail: CRITICAL CVE-2026-1, CRITICAL CVE-2026-2"


async def test_long_names_are_found_by_the_annotation(
    world: Any, kinds: None, make_deployment: Callable[..., Json]
) -> None:
    name = "checkout-" + "a" * 60
    document = make_deployment("checkout", app=f"{REPOSITORY}:main@{DIGEST}")
    document["metadata"]["name"] = name
    await world.create("deployments", document)
    reports = Reports(world, ReportsJudge(world.kube))
    long = (await reports.replica_set())["metadata"]["name"]
    labels = {
        "trivy-operator.resource.kind": "ReplicaSet",
        "trivy-operator.resource.name-hash": "7d9",
        "trivy-operator.container.name": "app",
    }
    for number, about in enumerate(("somebody-else", long)):
        metadata = {
            "name": f"r{number}",
            "labels": labels,
            "annotations": {"trivy-operator.resource.name": about},
        }
        found = [] if about == long else [vulnerability(1, "CRITICAL")]
        body = {"artifact": {"digest": str(DIGEST)}, "summary": {}, "vulnerabilities": found}
        await reports.write("VulnerabilityReport", metadata, report=body)
    assert (await reports.judge("trivy-operator")).verdict is GateVerdict.PASS


# -- what the API server says instead


async def test_a_missing_right_is_named(reports: Reports, emulated: Any) -> None:
    message = '{"message": "forbidden: User \\"operator\\" cannot list"}'
    await reports.replica_set()
    for match in ("replicasets", "vulnerabilityreports"):
        emulated.faults[:] = [Fault(match=f"GET .*{match}", times=None, status=403, body=message)]
        with pytest.raises(DeniedError, match="add the component manifests/components/gate-reports"):
            await reports.judge("trivy-operator")


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_an_api_server_in_trouble_is_no_verdict(reports: Reports, status: int, emulated: Any) -> None:
    await reports.write_vulnerabilities()
    emulated.faults[:] = [Fault(match="GET .*vulnerabilityreports", times=None, status=status)]
    with pytest.raises(UnavailableError):
        await reports.judge("trivy-operator", onMissing="Pass")


@pytest.mark.parametrize("match", ["deployments", "replicasets", "vulnerabilityreports"])
async def test_an_answer_that_takes_too_long_is_no_verdict(reports: Reports, match: str, emulated: Any) -> None:
    await reports.write_vulnerabilities()
    emulated.faults[:] = [Fault(match=f"GET .*{match}", delay=30.0)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reports.judge("trivy-operator", onMissing="Pass")
    assert (await reports.judge("trivy-operator")).verdict is GateVerdict.PASS


@pytest.mark.parametrize("match", ["deployments", "replicasets", "vulnerabilityreports", "policyreports"])
async def test_a_connection_that_is_cut_is_no_verdict(reports: Reports, match: str, emulated: Any) -> None:
    await reports.write_vulnerabilities()
    emulated.faults[:] = [Fault(match=f"GET .*{match}", drop=True, times=None)]
    with pytest.raises(UnavailableError):
        await reports.judge("trivy-operator", "policy-report", onMissing="Pass")


@pytest.mark.parametrize("body", ["garbage", "[]", "{}", '{"items": "none"}'])
async def test_garbage_is_no_verdict(reports: Reports, body: str, emulated: Any) -> None:
    await reports.write_vulnerabilities()
    for match in ("replicasets", "vulnerabilityreports"):
        emulated.faults[:] = [Fault(match=f"GET .*{match}", times=None, status=200, body=body)]
        with pytest.raises(UnavailableError):
            await reports.judge("trivy-operator", onMissing="Pass")


async def test_more_reports_than_can_be_read_are_no_evidence(reports: Reports, emulated: Any) -> None:
    for number in range(PAGE * MOST_PAGES + 1):
        await reports.write("ClusterPolicyReport", {"name": f"r{number}"}, results=[])
    with pytest.raises(InvalidError, match="a part of them would be no evidence"):
        await reports.judge("kube-bench", onMissing="Pass")
