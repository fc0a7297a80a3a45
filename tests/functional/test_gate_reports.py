"""The reports gate in the whole operator: nothing is delivered that the cluster's scanners speak against, or are silent about."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from .world import HOST, NAMESPACE, World, a_tracker, image_of

Json = dict[str, Any]
COMPONENT = Path(__file__).parents[2] / "manifests" / "components" / "gate-reports" / "cluster-role.yaml"
KINDS = {
    "VulnerabilityReport": ("aquasecurity.github.io", "v1alpha1", "Namespaced"),
    "PolicyReport": ("wgpolicyk8s.io", "v1alpha2", "Namespaced"),
    "ClusterPolicyReport": ("wgpolicyk8s.io", "v1alpha2", "Cluster"),
}
NOTHING_RUNS = "nothing in the namespace runs the digest"


def gates(*sources: str, on_missing: str = "Hold") -> str:
    """A tracker with a reports gate of these sources."""
    listed = f"[{{lineage: {{}}}}, {{reports: {{sources: [{', '.join(sources)}], onMissing: {on_missing}}}}}]"
    return a_tracker(fields={"gates": listed})


def definition(kind: str) -> Json:
    group, version, scope = KINDS[kind]
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


@pytest.fixture(autouse=True)
async def rights(world: World) -> None:
    """The component is installed."""
    await world.cluster.apply(*yaml.safe_load_all(COMPONENT.read_text()))


async def replica_set(world: World, name: str, digest: str) -> Json:
    """The ReplicaSet of this Deployment that has Pods of the digest, or of the tag that names it."""
    found: list[Json] = []

    def is_there() -> bool:
        images = (image_of("checkout"), f"{image_of('checkout')}@{digest}")
        found[:] = [
            one
            for one in world.cluster.list("ReplicaSet", NAMESPACE)
            if one["metadata"]["ownerReferences"][0]["name"] == name
            and one["spec"]["template"]["spec"]["containers"][0]["image"] in images
            and one.get("status", {}).get("replicas")
        ]
        return bool(found)

    await world.until(is_there, f"{name} has Pods of {digest}")
    return found[0]


async def scanned(world: World, digest: str, *found: tuple[str, str], of: str = "checkout") -> None:
    """Let trivy-operator report these (id, severity) of the Deployment `of`, which runs the digest."""
    name = (await replica_set(world, of, digest))["metadata"]["name"]
    labels = {
        "trivy-operator.resource.kind": "ReplicaSet",
        "trivy-operator.resource.name": name,
        "trivy-operator.container.name": "app",
    }
    counts = {f"{word}Count": 0 for word in ("critical", "high", "medium", "low", "unknown")}
    for _, severity in found:
        counts[f"{severity.lower()}Count"] += 1
    report = {
        "artifact": {"repository": "shop/checkout", "digest": digest},
        "registry": {"server": HOST},
        "summary": counts,
        "vulnerabilities": [{"vulnerabilityID": one, "severity": rank, "resource": "openssl"} for one, rank in found],
    }
    metadata = {"name": f"replicaset-{name}-app", "namespace": NAMESPACE, "labels": labels}
    document = {"apiVersion": "aquasecurity.github.io/v1alpha1", "kind": "VulnerabilityReport", "metadata": metadata}
    await world.cluster.apply({**document, "report": report})


async def benched(world: World, result: str) -> None:
    """Let kube-bench's adapter write the cluster's report."""
    check = {
        "source": "Kube Bench",
        "policy": "1.2.1-Control Plane",
        "rule": "API Server",
        "result": result,
        "scored": True,
    }
    check |= {"message": "Ensure that anonymous requests are refused", "properties": {"index": "1.2.1"}}
    document = {"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "ClusterPolicyReport", "metadata": {"name": "bench"}}
    await world.cluster.apply({**document, "results": [check]})


async def look_later(world: World) -> None:
    """Ask for a look in another second than that of the last answer: the operator's clock has whole ones."""
    await asyncio.sleep(1.1)
    await world.look()


async def says(world: World, words: str) -> None:
    await world.until(lambda: words in world.image("checkout").get("message", ""), f"it is told that {words}")


async def begin(world: World, *kinds: str) -> str:
    """`checkout` is built and runs; the answer is its digest."""
    await world.cluster.apply(*(definition(kind) for kind in kinds))
    await world.furnish()
    await world.operate()
    return world.digest(image_of("checkout"))


async def canary(world: World, base: str) -> str:
    """The image is built anew on this base, and somebody lets a canary run it; the answer is its digest."""
    old = world.digest(image_of("checkout"))
    await world.until(lambda: world.digest(image_of("checkout")) != old, f"the image is built on {base}")
    new = world.digest(image_of("checkout"))
    await says(world, NOTHING_RUNS)
    await world.deploy("canary", f"{image_of('checkout')}@{new}")
    await replica_set(world, "canary", new)
    return new


async def test_without_the_kinds_of_reports_it_holds_and_asks_seldom(world: World) -> None:
    await begin(world)
    await world.apply(gates("trivy-operator", "policy-report", "openreports", "kube-bench"))
    await says(world, "no evidence yet: kube-bench: there is no report about the cluster; openreports: ")
    assert world.state() == "Validating GatePending"
    asked = len(world.by_operator("GET"))
    await look_later(world)
    assert len(world.by_operator("GET")) - asked < 40
    assert world.deliveries() == 0


async def test_silence_passes_where_the_tracker_says_so(world: World) -> None:
    await begin(world)
    await world.apply(gates("trivy-operator", on_missing="Pass"))
    row = await world.becomes("Current")
    assert [(one["name"], one["verdict"], one["reason"]) for one in row["gates"]][1:] == [
        ("reports", "Pass", "ReportsMissing")
    ]


async def with_a_canary(world: World) -> tuple[str, str, str]:
    """A base has moved, and a canary runs what was built on it: the digest before, the base, and the canary's digest."""
    old = await begin(world, "VulnerabilityReport")
    await scanned(world, old)
    await world.apply(gates("trivy-operator"))
    await world.becomes("Current")
    base = world.push_base("3.12.12")
    await world.look()
    new = await canary(world, base)
    return old, base, new


async def test_a_canarys_clean_report_lets_the_digest_through(world: World) -> None:
    old, base, new = await with_a_canary(world)
    assert world.runs_digests() == {old}
    await scanned(world, new, ("CVE-2026-1", "LOW"), of="canary")
    await look_later(world)
    assert await world.catches_up(base) == new
    assert world.runs_digests() == {new}


async def test_what_a_canarys_report_finds_is_not_delivered(world: World) -> None:
    old, _, new = await with_a_canary(world)
    await scanned(world, new, ("CVE-2026-1", "CRITICAL"), of="canary")
    await look_later(world)
    row = await world.becomes("Blocked GateFailed")
    assert "trivy-operator: 1 result fails: CRITICAL CVE-2026-1 (openssl)" in row["message"]
    assert world.runs_digests() == {old}


async def test_nothing_rolls_out_on_a_cluster_that_fails_its_controls(world: World) -> None:
    old = await begin(world, "ClusterPolicyReport")
    await benched(world, "pass")
    await world.apply(gates("kube-bench"))
    await world.becomes("Current")
    await benched(world, "fail")
    base = await world.move_base()
    row = await world.becomes("Blocked GateFailed")
    assert "kube-bench: 1 result fails: 1.2.1 (Ensure that anonymous requests are refused)" in row["message"]
    assert world.runs_digests() == {old}
    await benched(world, "pass")
    await look_later(world)
    new = await world.catches_up(base)
    assert world.runs_digests() == {new}
