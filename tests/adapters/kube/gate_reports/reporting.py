"""Reports as their tools write them, for a namespace in which a Deployment runs the digest.

Owns the CRDs, which admit everything, so that reports can be as wrong as they are in the wild.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from basetracker.adapters.gates.reports.gate import ReportsJudge
from basetracker.adapters.kube import Json, path_of
from basetracker.api.gates import Gate
from basetracker.api.tracker import Key
from basetracker.errors import MissingError
from basetracker.oci.refs import Digest, parse_image
from basetracker.ports import Answer, Question

DIGEST, OTHER = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)
REPOSITORY = "contoso.azurecr.io/shop/checkout"
IMAGE = parse_image(f"{REPOSITORY}:main@{DIGEST}")
CRDS = "apiextensions.k8s.io/v1", "customresourcedefinitions"
KINDS = [
    ("aquasecurity.github.io", "v1alpha1", "vulnerabilityreports", "VulnerabilityReport", "Namespaced"),
    ("wgpolicyk8s.io", "v1alpha2", "policyreports", "PolicyReport", "Namespaced"),
    ("wgpolicyk8s.io", "v1alpha2", "clusterpolicyreports", "ClusterPolicyReport", "Cluster"),
    ("openreports.io", "v1alpha1", "reports", "Report", "Namespaced"),
    ("openreports.io", "v1alpha1", "clusterreports", "ClusterReport", "Cluster"),
]
API_VERSIONS = {kind: (f"{group}/{version}", plural) for group, version, plural, kind, _ in KINDS}
SECONDS = 10.0


def definition(group: str, version: str, plural: str, kind: str, scope: str) -> Json:
    """A CRD of that name that admits everything, so that reports can be as wrong as they are in the wild."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    name = f"{plural}.{group}"
    return {
        "apiVersion": CRDS[0],
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": name,
            # The real one is protected by its group's name.
            "annotations": {"api-approved.kubernetes.io": "unapproved, test only"},
        },
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": free}}],
        },
    }


@dataclass
class Reports:
    """The world with a Deployment that runs the digest; reports can be written about it."""

    world: Any
    judge_: ReportsJudge

    def question(self, *sources: str, **more: Any) -> Question:
        gate = Gate.model_validate({"reports": {"sources": list(sources)} | more})
        return Question(
            tracker=Key(namespace=self.world.namespace, name="python"),
            uid="u",
            downstream="checkout",
            name="reports",
            gate=gate,
            image=IMAGE,
            since=datetime(2026, 11, 22, tzinfo=UTC),
        )

    async def judge(self, *sources: str, **more: Any) -> Answer:
        return await self.judge_.judge(self.question(*sources, **more), None)

    async def replica_set(self) -> Json:
        """The one that runs the digest, once it has a Pod."""
        path = self.world.path("apps/v1", "replicasets")
        async with asyncio.timeout(SECONDS):
            while True:
                found = await self.world.admin.get(path)
                for item in found["items"]:
                    if item.get("status", {}).get("replicas"):
                        return dict(item)
                await asyncio.sleep(0.02)

    async def deployment(self) -> Json:
        return dict(await self.world.get("apps/v1", "deployments", "checkout"))

    async def set_image(self, image: str) -> None:
        """Let the Deployment have another image."""
        change = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
        await self.world.merge("apps/v1", "deployments", "checkout", change)

    async def write(self, kind: str, metadata: Json, **body: Any) -> None:
        api_version, plural = API_VERSIONS[kind]
        cluster_wide = kind.startswith("Cluster")
        path = path_of(api_version, plural, "" if cluster_wide else self.world.namespace)
        document = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    await self.world.admin.post(path, document)
                    return
                except MissingError:  # a real server that has just got the kind may list it and not take it yet
                    await asyncio.sleep(0.2)

    async def write_vulnerabilities(self, *found: Json, digest: Any = str(DIGEST), **changes: Any) -> None:
        """A VulnerabilityReport of the ReplicaSet, as trivy-operator writes it."""
        name = (await self.replica_set())["metadata"]["name"]
        labels = {
            "trivy-operator.resource.kind": "ReplicaSet",
            "trivy-operator.resource.name": name,
            "trivy-operator.resource.namespace": self.world.namespace,
            "trivy-operator.container.name": "app",
            "resource-spec-hash": "5f4",
        }
        counts = {
            f"{word.lower()}Count": sum(one["severity"] == word for one in found)
            for word in ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")
        }
        body: Json = {
            "artifact": {"repository": "shop/checkout", "tag": "main", "digest": digest},
            "registry": {"server": "contoso.azurecr.io"},
            "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "0.76.0"},
            "summary": counts | {"noneCount": 0},
            "updateTimestamp": "2026-11-22T07:00:00Z",
            "vulnerabilities": list(found),
        }
        metadata = {"name": f"replicaset-{name}-app", "labels": labels}
        await self.write("VulnerabilityReport", metadata, report=body | changes)

    async def pod(self) -> Json:
        """A Pod that runs the digest."""
        owner = (await self.replica_set())["metadata"]["uid"]
        async with asyncio.timeout(SECONDS):
            while True:
                found = await self.world.admin.get(self.world.path("v1", "pods"))
                for item in found["items"]:
                    if item["metadata"]["ownerReferences"][0]["uid"] == owner:
                        return dict(item)
                await asyncio.sleep(0.02)

    async def write_policies(
        self, *results: Json, kind: str = "PolicyReport", about: str = "ReplicaSet", **changes: Any
    ) -> None:
        """A report of the ReplicaSet, the Deployment or a Pod, as Kyverno writes it."""
        find = {"Deployment": self.deployment, "ReplicaSet": self.replica_set, "Pod": self.pod}[about]
        metadata = (await find())["metadata"]
        version = "v1" if about == "Pod" else "apps/v1"
        scope = {"apiVersion": version, "kind": about, "name": metadata["name"], "uid": metadata["uid"]}
        marks = {"name": metadata["uid"], "labels": {"app.kubernetes.io/managed-by": "kyverno"}}
        await self.write(kind, marks, **({"scope": scope, "results": list(results)} | changes))

    async def write_bench(self, *results: Json, kind: str = "ClusterPolicyReport") -> None:
        """The cluster's report, as kube-bench's adapter writes it."""
        name = f"kube-bench-{self.world.namespace}"
        await self.write(kind, {"name": name}, results=[bench() | one for one in results])


def vulnerability(number: int, severity: str, **more: Any) -> Json:
    return {
        "vulnerabilityID": f"CVE-2026-{number}",
        "severity": severity,
        "resource": "openssl",
        "installedVersion": "3.0.1",
        "fixedVersion": "3.0.2",
        "title": "A hole",
    } | more


def policy(result: Any = "pass", severity: Any = "high", **more: Any) -> Json:
    found = {"source": "kyverno", "policy": "run-as-non-root", "rule": "check", "result": result, "severity": severity}
    return {key: value for key, value in (found | more).items() if value is not None}


def bench() -> Json:
    """One check, with the timestamp and the state as the adapter gets them wrong."""
    return {
        "source": "Kube Bench",
        "policy": "1.2.1-Control Plane Security Configuration",
        "rule": "API Server",
        "category": "CIS Benchmarks",
        "message": "Ensure that anonymous requests are refused",
        "result": "pass",
        "scored": True,
        "timestamp": {"seconds": 42, "nanos": -1203948},
        "properties": {"index": "1.2.1", "actual_value": "", "remediation": "edit the manifest"},
    }
