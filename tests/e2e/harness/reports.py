"""The kinds of reports that scanners write, with their real schemas, and reports as these scanners write them.

Owns the CRDs: names, types, words and required fields are those of trivy-operator 0.32.0 (VulnerabilityReport),
wg-policy-prototypes at 25056e1 (PolicyReport, ClusterPolicyReport) and reports-api 0.2.1 (Report, ClusterReport), without their
descriptions and columns. No scanner runs: nothing runs on the emulated nodes.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
TEXT: Object = {"type": "string"}
NUMBER: Object = {"type": "number"}
COUNT: Object = {"type": "integer", "minimum": 0}
RANKS = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN")
COUNTS = [f"{rank.lower()}Count" for rank in RANKS]
OUTCOMES = ["pass", "fail", "warn", "error", "skip"]


def _object(*required: str, **properties: Object) -> Object:
    found: Object = {"type": "object", "properties": properties}
    return found | ({"required": sorted(required)} if required else {})


def _texts(*names: str) -> dict[str, Object]:
    return dict.fromkeys(names, TEXT)


def _list(of: Object) -> Object:
    return {"type": "array", "items": of}


def _map(of: Object) -> Object:
    return {"type": "object", "additionalProperties": of}


def _vulnerability_report() -> Object:
    told = ("fixedVersion", "installedVersion", "lastModifiedDate", "publishedDate", "resource", "title")
    more = ("class", "cvsssource", "packagePURL", "packagePath", "packageType", "primaryLink", "target")
    vectors = {f"V{one}Score": NUMBER for one in (2, 3, 40)} | {f"V{one}Vector": TEXT for one in (2, 3, 40)}
    vulnerability = _object(
        *told,
        "severity",
        "vulnerabilityID",
        **_texts(*told, *more, "vulnerabilityID"),
        severity=TEXT | {"enum": list(RANKS)},
        cvss=_map(_object(**vectors)),
        links=_list(TEXT),
        score=NUMBER,
    )
    report = _object(
        *("artifact", "os", "scanner", "summary", "updateTimestamp", "vulnerabilities"),
        artifact=_object(**_texts("digest", "mimeType", "repository", "tag")),
        os=_object(eosl={"type": "boolean"}, **_texts("family", "name")),
        registry=_object(server=TEXT),
        scanner=_object("name", "vendor", "version", **_texts("name", "vendor", "version")),
        summary=_object(*COUNTS, **dict.fromkeys([*COUNTS, "noneCount"], COUNT)),
        updateTimestamp=TEXT | {"format": "date-time"},
        vulnerabilities=_list(vulnerability),
    )
    return _object("report", report=report) | {"x-kubernetes-preserve-unknown-fields": True}


def _policy_report(**more: Object) -> Object:
    reference = _object(
        **_texts("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"),
    )
    expression = _object("key", "operator", **_texts("key", "operator"), values=_list(TEXT))
    selector = _object(matchExpressions=_list(expression), matchLabels=_map(TEXT))
    moment = _object(
        "nanos",
        "seconds",
        nanos={"type": "integer", "format": "int32"},
        seconds={"type": "integer", "format": "int64"},
    )
    result = _object(
        "policy",
        **_texts("category", "message", "policy", "rule", "source"),
        properties=_map(TEXT),
        resourceSelector=selector,
        resources=_list(reference),
        result=TEXT | {"enum": OUTCOMES},
        scored={"type": "boolean"},
        severity=TEXT | {"enum": ["critical", "high", "low", "medium", "info"]},
        timestamp=moment,
    )
    summary = _object(**{word: {"type": "integer"} for word in OUTCOMES})
    return _object(results=_list(result), scope=reference, scopeSelector=selector, summary=summary, **more)


def _open_report() -> Object:
    limits = _object(maxResults={"type": "integer"}, statusFilter=_list(TEXT | {"enum": OUTCOMES}))
    return _policy_report(configuration=_object("limits", limits=limits), source=TEXT)


def _definition(group: str, version: str, kind: str, scope: str, schema: Object) -> Object:
    plural = f"{kind.lower()}s"
    schema["properties"] |= {**_texts("apiVersion", "kind"), "metadata": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def definitions() -> list[Object]:
    """The CRDs of all kinds."""
    policies, openly = ("wgpolicyk8s.io", "v1alpha2"), ("openreports.io", "v1alpha1")
    return [
        _definition("aquasecurity.github.io", "v1alpha1", "VulnerabilityReport", "Namespaced", _vulnerability_report()),
        _definition(*policies, "PolicyReport", "Namespaced", _policy_report()),
        _definition(*policies, "ClusterPolicyReport", "Cluster", _policy_report()),
        _definition(*openly, "Report", "Namespaced", _open_report()),
        _definition(*openly, "ClusterReport", "Cluster", _open_report()),
    ]


# -- reports


def vulnerabilities(replica_set: Object, digest: str, *found: tuple[str, str]) -> Object:
    """What trivy-operator writes about the container `app` of a ReplicaSet; `found` are ids with severities."""
    metadata = replica_set["metadata"]
    labels = {
        "resource-spec-hash": "6b8c7c6d9",
        "trivy-operator.container.name": "app",
        "trivy-operator.resource.kind": "ReplicaSet",
        "trivy-operator.resource.name": metadata["name"],
        "trivy-operator.resource.namespace": metadata["namespace"],
    }
    listed = [
        {
            "vulnerabilityID": name,
            "resource": "openssl",
            "installedVersion": "3.0.1",
            "fixedVersion": "3.0.2",
            "publishedDate": "",
            "lastModifiedDate": "",
            "severity": severity,
            "title": "A hole",
            "target": "",
        }
        for name, severity in found
    ]
    counts = {f"{rank.lower()}Count": sum(severity == rank for _, severity in found) for rank in RANKS}
    return {
        "apiVersion": "aquasecurity.github.io/v1alpha1",
        "kind": "VulnerabilityReport",
        "metadata": {
            "name": f"replicaset-{metadata['name']}-app",
            "namespace": metadata["namespace"],
            "labels": labels,
        },
        "report": {
            "artifact": {"repository": "checkout", "tag": "main", "digest": digest},
            "os": {"family": "debian", "name": "12.11"},
            "registry": {"server": "contoso.azurecr.io"},
            "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "0.72.0"},
            "summary": counts | {"noneCount": 0},
            "updateTimestamp": "2026-11-22T07:00:00Z",
            "vulnerabilities": listed,
        },
    }


def policies(about: Object, outcome: str, *, api_version: str = "wgpolicyk8s.io/v1alpha2") -> Object:
    """What Kyverno writes about an object: one result, in a report that is called by the object's uid."""
    metadata = about["metadata"]
    result = {
        "source": "kyverno",
        "policy": "require-run-as-nonroot",
        "rule": "run-as-non-root",
        "message": "validation rule 'run-as-non-root' passed.",
        "result": outcome,
        "scored": True,
        "severity": "high",
        "properties": {"process": "background scan"},
        "timestamp": {"nanos": 0, "seconds": 1795330800},
    }
    scope = {key: about[key] for key in ("apiVersion", "kind")}
    return {
        "apiVersion": api_version,
        "kind": "PolicyReport" if api_version.startswith("wgpolicy") else "Report",
        "metadata": {
            "name": metadata["uid"],
            "namespace": metadata["namespace"],
            "labels": {"app.kubernetes.io/managed-by": "kyverno"},
        },
        "scope": scope | {key: metadata[key] for key in ("name", "namespace", "uid")},
        "results": [result],
        "summary": {word: int(word == outcome) for word in OUTCOMES},
    }


def bench(name: str, outcome: str) -> Object:
    """What kube-bench's adapter writes about the cluster: one control."""
    result = {
        "source": "Kube Bench",
        "policy": "1.2.1-Control Plane Security Configuration",
        "rule": "API Server",
        "category": "CIS Benchmarks",
        "message": "Ensure that anonymous requests are refused",
        "result": outcome,
        "scored": True,
        "timestamp": {"nanos": -1203948, "seconds": 1795330800},
        "properties": {"index": "1.2.1", "remediation": "edit the manifest", "type": "manual"},
    }
    return {
        "apiVersion": "wgpolicyk8s.io/v1alpha2",
        "kind": "ClusterPolicyReport",
        "metadata": {"name": name},
        "results": [result],
        "summary": {word: int(word == outcome) for word in ("pass", "fail", "warn")},
    }
