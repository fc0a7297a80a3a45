"""The kinds that every cluster has from the start.

Owns the table of built-in kinds: names, scope, subresources and the client model that tells their schema.
Behaviour (controllers, defaults) lies elsewhere; most of these kinds are merely stored.
"""

from __future__ import annotations

from typing import Any

from basetracker.emulators.cluster.resources import Resource

_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}
_ALL = ("all",)
_CREATE = ("create",)
_POD_FIELDS = ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP")
_EVENT_FIELDS = (
    *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")),
    *("involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"),
)


def _kind(group_version: str, plural: str, kind: str, **more: Any) -> Resource:
    group, _, version = group_version.rpartition("/")
    model = more.pop("model", f"V1{kind}")
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        singular=kind.lower(),
        model=model,
        **more,
    )


def _workload(plural: str, kind: str, short: str, *, scalable: bool = True) -> Resource:
    scale = _SCALE if scalable else None
    return _kind(
        "apps/v1",
        plural,
        kind,
        short_names=(short,),
        categories=_ALL,
        has_status=True,
        has_generation=True,
        scale=scale,
    )


def builtin_resources() -> list[Resource]:
    """Every built-in kind, core group first."""
    rbac = "rbac.authorization.k8s.io/v1"
    status: dict[str, Any] = {"has_status": True}
    cluster: dict[str, Any] = {"namespaced": False}
    return [
        _kind("v1", "namespaces", "Namespace", short_names=("ns",), selectable=("status.phase",), **status, **cluster),
        _kind("v1", "secrets", "Secret", selectable=("type",)),
        _kind("v1", "configmaps", "ConfigMap", short_names=("cm",)),
        _kind("v1", "serviceaccounts", "ServiceAccount", short_names=("sa",)),
        _kind(
            "v1",
            "pods",
            "Pod",
            short_names=("po",),
            categories=_ALL,
            selectable=_POD_FIELDS,
            has_generation=True,
            **status,
        ),
        _kind("v1", "services", "Service", short_names=("svc",), categories=_ALL, **status),
        _kind("v1", "nodes", "Node", short_names=("no",), **status, **cluster),
        _kind("v1", "events", "Event", short_names=("ev",), selectable=_EVENT_FIELDS, model="CoreV1Event"),
        _kind(
            "events.k8s.io/v1",
            "events",
            "Event",
            short_names=("ev",),
            model="EventsV1Event",
            storage="events",
        ),
        _workload("deployments", "Deployment", "deploy"),
        _workload("replicasets", "ReplicaSet", "rs"),
        _workload("statefulsets", "StatefulSet", "sts"),
        _workload("daemonsets", "DaemonSet", "ds", scalable=False),
        _kind("apps/v1", "controllerrevisions", "ControllerRevision"),
        _kind("batch/v1", "jobs", "Job", categories=_ALL, has_generation=True, **status),
        _kind(
            "batch/v1",
            "cronjobs",
            "CronJob",
            short_names=("cj",),
            categories=_ALL,
            has_generation=True,
            **status,
        ),
        _kind("coordination.k8s.io/v1", "leases", "Lease"),
        _kind(
            "networking.k8s.io/v1",
            "networkpolicies",
            "NetworkPolicy",
            short_names=("netpol",),
            has_generation=True,
        ),
        _kind(
            "policy/v1",
            "poddisruptionbudgets",
            "PodDisruptionBudget",
            short_names=("pdb",),
            has_generation=True,
            **status,
        ),
        _kind(rbac, "roles", "Role"),
        _kind(rbac, "rolebindings", "RoleBinding"),
        _kind(rbac, "clusterroles", "ClusterRole", **cluster),
        _kind(rbac, "clusterrolebindings", "ClusterRoleBinding", **cluster),
        _kind(
            "apiextensions.k8s.io/v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
            short_names=("crd", "crds"),
            has_generation=True,
            **status,
            **cluster,
        ),
        _kind(
            "authentication.k8s.io/v1",
            "selfsubjectreviews",
            "SelfSubjectReview",
            verbs=_CREATE,
            **cluster,
        ),
        _kind("authentication.k8s.io/v1", "tokenreviews", "TokenReview", verbs=_CREATE, **cluster),
        _kind(
            "authorization.k8s.io/v1",
            "selfsubjectaccessreviews",
            "SelfSubjectAccessReview",
            verbs=_CREATE,
            **cluster,
        ),
        _kind(
            "authorization.k8s.io/v1",
            "selfsubjectrulesreviews",
            "SelfSubjectRulesReview",
            verbs=_CREATE,
            **cluster,
        ),
        _kind(
            "authorization.k8s.io/v1",
            "subjectaccessreviews",
            "SubjectAccessReview",
            verbs=_CREATE,
            **cluster,
        ),
    ]
