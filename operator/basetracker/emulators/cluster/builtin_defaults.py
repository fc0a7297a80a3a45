"""Defaults and checks of built-in kinds that no schema tells.

Owns what the API server fills into Pods and workloads, and the few rules of theirs that a client runs into:
selectors, immutable fields, Secrets' `stringData`. Custom kinds never pass through here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from basetracker.emulators.cluster.document import Json, dig, same
from basetracker.emulators.cluster.selectors import selects
from basetracker.emulators.cluster.validation import Violation, violation

_ROLLING = {"maxSurge": "25%", "maxUnavailable": "25%"}


def _defaults(target: Json, **values: Any) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _pull_policy(image: str) -> str:
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _pod_spec(spec: Json) -> None:
    _defaults(spec, restartPolicy="Always", dnsPolicy="ClusterFirst", terminationGracePeriodSeconds=30)
    _defaults(spec, securityContext={}, schedulerName="default-scheduler")
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        _defaults(container, imagePullPolicy=_pull_policy(container.get("image") or ""), resources={})
        _defaults(container, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")
        for port in container.get("ports") or []:
            _defaults(port, protocol="TCP")


def _template(spec: Json) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    if isinstance(template.get("spec"), dict):
        _pod_spec(template["spec"])


def _pod(document: Json) -> None:
    spec = document.setdefault("spec", {})
    _pod_spec(spec)
    _defaults(spec, serviceAccountName="default", enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority")
    _defaults(spec, serviceAccount=spec["serviceAccountName"], priority=0)


def _deployment(document: Json) -> None:
    spec = document.setdefault("spec", {})
    _template(spec)
    _defaults(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    _defaults(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _defaults(spec["strategy"], rollingUpdate={})
        _defaults(spec["strategy"]["rollingUpdate"], **_ROLLING)


def _replica_set(document: Json) -> None:
    spec = document.setdefault("spec", {})
    _template(spec)
    _defaults(spec, replicas=1)


def _stateful_set(document: Json) -> None:
    spec = document.setdefault("spec", {})
    _template(spec)
    _defaults(spec, replicas=1, podManagementPolicy="OrderedReady", revisionHistoryLimit=10, updateStrategy={})
    _defaults(spec["updateStrategy"], type="RollingUpdate")


def _daemon_set(document: Json) -> None:
    spec = document.setdefault("spec", {})
    _template(spec)
    _defaults(spec, revisionHistoryLimit=10, updateStrategy={})
    _defaults(spec["updateStrategy"], type="RollingUpdate")


def _job_spec(spec: Json) -> None:
    _template(spec)
    _defaults(spec, parallelism=1, completions=1, backoffLimit=6, suspend=False, completionMode="NonIndexed")


def _job(document: Json) -> None:
    spec = document.setdefault("spec", {})
    _job_spec(spec)
    uid = document["metadata"].get("uid", "")
    marks = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": document["metadata"]["name"]}
    if not spec.get("selector"):
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        labels = spec["template"]["metadata"].get("labels") or {}
        spec["template"]["metadata"]["labels"] = labels | marks


def _cron_job(document: Json) -> None:
    spec = document.setdefault("spec", {})
    _defaults(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    template = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
    template.setdefault("template", {}).setdefault("metadata", {})
    if isinstance(template["template"].get("spec"), dict):
        _pod_spec(template["template"]["spec"])


def _secret(document: Json) -> None:
    _defaults(document, type="Opaque")
    plain = document.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        document["data"] = (document.get("data") or {}) | encoded


def _namespace(document: Json) -> None:
    metadata = document["metadata"]
    metadata["labels"] = (metadata.get("labels") or {}) | {"kubernetes.io/metadata.name": metadata["name"]}
    _defaults(document.setdefault("spec", {}), finalizers=["kubernetes"])
    _defaults(document.setdefault("status", {}), phase="Active")


def _service(document: Json) -> None:
    spec = document.setdefault("spec", {})
    _defaults(spec, type="ClusterIP", sessionAffinity="None")
    _defaults(spec, clusterIP="None" if spec["type"] == "ExternalName" else "10.96.0.10")
    for port in spec.get("ports") or []:
        _defaults(port, protocol="TCP", targetPort=port.get("port"))


_DEFAULTS: dict[str, Callable[[Json], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "CronJob": _cron_job,
    "Secret": _secret,
    "Namespace": _namespace,
    "Service": _service,
}


def default_builtin(document: Json) -> None:
    """Fill in, in place, what the API server would for this built-in kind."""
    if fill := _DEFAULTS.get(document["kind"]):
        fill(document)


# ---------------------------------------------------------------------------------------------- checks


def builtin_violations(document: Json, old: Json | None) -> list[Violation]:
    """Rules of built-in kinds beyond their schema."""
    found: list[Violation] = []
    kind = document["kind"]
    if kind == "Pod":
        found += _containers(document.get("spec") or {}, "spec")
    if kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"):
        found += _containers(dig(document, "spec", "template", "spec", default={}), "spec.template.spec")
        found += _selector(document, old)
    if kind == "Deployment" and dig(document, "spec", "replicas", default=0) < 0:
        detail = "must be greater than or equal to 0"
        found.append(violation("spec.replicas", "FieldValueInvalid", document["spec"]["replicas"], detail))
    if kind == "Job" and old is not None:
        new, before = dig(document, "spec", "template"), dig(old, "spec", "template")
        if not same(new, before):
            found.append(violation("spec.template", "FieldValueInvalid", new, "field is immutable"))
    return found


def _containers(spec: Json, path: str) -> Iterator[Violation]:
    containers = spec.get("containers") or []
    if not containers:
        yield violation(f"{path}.containers", "FieldValueRequired")
    names: set[str] = set()
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or []):
            where, name = f"{path}.{kind}[{index}]", container.get("name")
            if not container.get("image"):
                yield violation(f"{where}.image", "FieldValueRequired")
            if not name:
                yield violation(f"{where}.name", "FieldValueRequired")
            elif name in names:
                yield violation(f"{where}.name", "FieldValueDuplicate", name)
            names.add(name)


def _selector(document: Json, old: Json | None) -> Iterator[Violation]:
    spec = document.get("spec") or {}
    selector = spec.get("selector")
    labels = dig(spec, "template", "metadata", "labels", default={})
    if selector and not selects(selector, labels):
        detail = "`selector` does not match template `labels`"
        yield violation("spec.template.metadata.labels", "FieldValueInvalid", labels, detail)
    if old is not None and not same(selector, dig(old, "spec", "selector")):
        yield violation("spec.selector", "FieldValueInvalid", selector, "field is immutable")
