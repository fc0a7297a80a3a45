"""The columns in which `kubectl get` shows built-in kinds.

Owns what each cell says; `tables.py` makes the Table. Priority 0 is always shown, 1 with `-o wide`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from basetracker.emulators.cluster.document import Json, dig


@dataclass(frozen=True, slots=True)
class Cell:
    """One column; with `is_time` the value is a time and shown as an age."""

    name: str
    value: Callable[[Json], Any]
    priority: int = 0
    is_time: bool = False


def _at(*path: str | int, default: Any = "<none>") -> Callable[[Json], Any]:
    return lambda document: dig(document, *path, default=default)


def _count(*path: str) -> Callable[[Json], Any]:
    return lambda document: len(dig(document, *path, default=()))


def _ratio(have: str, want: str, of: str = "spec") -> Callable[[Json], str]:
    return lambda document: f"{dig(document, 'status', have, default=0)}/{dig(document, of, want, default=0)}"


def _number(*path: str) -> Callable[[Json], str]:
    return lambda document: str(dig(document, *path, default=0))


def _containers(field: str) -> Callable[[Json], str]:
    def text(document: Json) -> str:
        spec = dig(document, "spec", "template", "spec", default={})
        return ",".join(str(container.get(field, "")) for container in spec.get("containers") or [])

    return text


def _selector(document: Json) -> str:
    labels = dig(document, "spec", "selector", "matchLabels", default={})
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"


def pod_reason(document: Json) -> str:
    """A Pod's STATUS: what its containers wait for, else its phase."""
    if dig(document, "metadata", "deletionTimestamp"):
        return "Terminating"
    for container in dig(document, "status", "initContainerStatuses", default=[]):
        if reason := dig(container, "state", "waiting", "reason"):
            return f"Init:{reason}"
    for container in dig(document, "status", "containerStatuses", default=[]):
        reason = dig(container, "state", "waiting", "reason") or dig(container, "state", "terminated", "reason")
        if reason:
            return str(reason)
    return str(dig(document, "status", "reason") or dig(document, "status", "phase", default="Unknown"))


def _pod_ready(document: Json) -> str:
    statuses = dig(document, "status", "containerStatuses", default=[])
    ready = sum(1 for status in statuses if status.get("ready"))
    return f"{ready}/{len(dig(document, 'spec', 'containers', default=[]))}"


def _pod_restarts(document: Json) -> str:
    statuses = dig(document, "status", "containerStatuses", default=[])
    return str(sum(status.get("restartCount", 0) for status in statuses))


def _node_status(document: Json) -> str:
    conditions = dig(document, "status", "conditions", default=[])
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return "Ready" if ready else "NotReady"


def _event_object(document: Json) -> str:
    involved = document.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _event_time(document: Json) -> str | None:
    times = [dig(document, "lastTimestamp"), dig(document, "eventTime"), dig(document, "metadata", "creationTimestamp")]
    return next((str(time) for time in times if time), None)


def _event_source(document: Json) -> str:
    return str(dig(document, "source", "component") or document.get("reportingComponent") or "")


def _service_ports(document: Json) -> str:
    ports = dig(document, "spec", "ports", default=[])
    return ",".join(f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


def _job_status(document: Json) -> str:
    conditions = dig(document, "status", "conditions", default=[])
    done = {item["type"] for item in conditions if item["status"] == "True"}
    return next((word for word in ("Complete", "Failed", "Suspended") if word in done), "Running")


def _role(document: Json) -> str:
    return f"{dig(document, 'roleRef', 'kind')}/{dig(document, 'roleRef', 'name')}"


def _pods_of(document: Json) -> str:
    labels = dig(document, "spec", "podSelector", "matchLabels", default={})
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"


_AGE = Cell("Age", _at("metadata", "creationTimestamp", default=None), is_time=True)
_CREATED = Cell("Created At", _at("metadata", "creationTimestamp"))
_WORKLOAD = [
    Cell("Containers", _containers("name"), 1),
    Cell("Images", _containers("image"), 1),
    Cell("Selector", _selector, 1),
]
_EVENT = [
    Cell("Last Seen", _event_time, is_time=True),
    Cell("Type", _at("type")),
    Cell("Reason", _at("reason")),
    Cell("Object", _event_object),
    Cell("Subobject", _at("involvedObject", "fieldPath", default=""), 1),
    Cell("Source", _event_source, 1),
    Cell("Message", _at("message", default="")),
    Cell("First Seen", _at("firstTimestamp", default=None), 1, is_time=True),
    Cell("Count", _number("count"), 1),
    Cell("Name", _at("metadata", "name"), 1),
]

PRINTERS: dict[str, list[Cell]] = {
    "Namespace": [Cell("Status", _at("status", "phase")), _AGE],
    "Secret": [Cell("Type", _at("type")), Cell("Data", _count("data")), _AGE],
    "ConfigMap": [Cell("Data", _count("data")), _AGE],
    "ServiceAccount": [Cell("Secrets", _count("secrets")), _AGE],
    "Pod": [
        Cell("Ready", _pod_ready),
        Cell("Status", pod_reason),
        Cell("Restarts", _pod_restarts),
        _AGE,
        Cell("IP", _at("status", "podIP"), 1),
        Cell("Node", _at("spec", "nodeName"), 1),
        Cell("Nominated Node", _at("status", "nominatedNodeName"), 1),
        Cell("Readiness Gates", lambda document: "<none>", 1),
    ],
    "Service": [
        Cell("Type", _at("spec", "type")),
        Cell("Cluster-IP", _at("spec", "clusterIP")),
        Cell("External-IP", lambda document: "<none>"),
        Cell("Port(s)", _service_ports),
        _AGE,
    ],
    "Node": [
        Cell("Status", _node_status),
        Cell("Roles", lambda document: "<none>"),
        _AGE,
        Cell("Version", _at("status", "nodeInfo", "kubeletVersion", default="")),
    ],
    "Event": _EVENT,
    "Deployment": [
        Cell("Ready", _ratio("readyReplicas", "replicas")),
        Cell("Up-to-date", _number("status", "updatedReplicas")),
        Cell("Available", _number("status", "availableReplicas")),
        _AGE,
        *_WORKLOAD,
    ],
    "ReplicaSet": [
        Cell("Desired", _number("spec", "replicas")),
        Cell("Current", _number("status", "replicas")),
        Cell("Ready", _number("status", "readyReplicas")),
        _AGE,
        *_WORKLOAD,
    ],
    "StatefulSet": [Cell("Ready", _ratio("readyReplicas", "replicas")), _AGE, *_WORKLOAD[:2]],
    "DaemonSet": [
        Cell("Desired", _number("status", "desiredNumberScheduled")),
        Cell("Current", _number("status", "currentNumberScheduled")),
        Cell("Ready", _number("status", "numberReady")),
        Cell("Up-to-date", _number("status", "updatedNumberScheduled")),
        Cell("Available", _number("status", "numberAvailable")),
        _AGE,
        *_WORKLOAD,
    ],
    "Job": [
        Cell("Status", _job_status),
        Cell("Completions", _ratio("succeeded", "completions")),
        _AGE,
        *_WORKLOAD,
    ],
    "CronJob": [
        Cell("Schedule", _at("spec", "schedule")),
        Cell("Timezone", _at("spec", "timeZone")),
        Cell("Suspend", lambda document: str(bool(dig(document, "spec", "suspend")))),
        Cell("Active", _count("status", "active")),
        Cell("Last Schedule", _at("status", "lastScheduleTime", default=None), is_time=True),
        _AGE,
    ],
    "Lease": [Cell("Holder", _at("spec", "holderIdentity", default="")), _AGE],
    "NetworkPolicy": [Cell("Pod-Selector", _pods_of), _AGE],
    "PodDisruptionBudget": [
        Cell("Min Available", _at("spec", "minAvailable", default="N/A")),
        Cell("Max Unavailable", _at("spec", "maxUnavailable", default="N/A")),
        Cell("Allowed Disruptions", _number("status", "disruptionsAllowed")),
        _AGE,
    ],
    "CustomResourceDefinition": [_CREATED],
    "Role": [_CREATED],
    "ClusterRole": [_CREATED],
    "RoleBinding": [Cell("Role", _role), _AGE],
    "ClusterRoleBinding": [Cell("Role", _role), _AGE],
}
