"""How a Deployment rolls: the arithmetic of surge and availability, and the words of its conditions.

Owns pure decisions: how many replicas each ReplicaSet gets next, and what the status says. `deployments.py` carries
them out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from basetracker.emulators.cluster.document import Json, condition_of, dig, moment_of, rfc3339

_SAFE = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Json) -> str:
    """The `pod-template-hash` of a template: ten characters that say nothing rude."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:10])


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many replicas are wanted, and by how many a rollout may leave that."""

    desired: int
    surge: int
    unavailable: int

    @property
    def least_available(self) -> int:
        """Below this many available Pods no old one may go."""
        return self.desired - self.unavailable


def bounds_of(deployment: Json) -> Bounds:
    """The bounds by `spec.strategy`; percentages of surge round up, of unavailable down, and never are both zero."""
    desired = dig(deployment, "spec", "replicas", default=1)
    rolling = dig(deployment, "spec", "strategy", "rollingUpdate", default={})
    surge = _part(rolling.get("maxSurge", "25%"), desired, up=True)
    unavailable = min(_part(rolling.get("maxUnavailable", "25%"), desired, up=False), desired)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(desired, surge, unavailable)


def _part(value: Any, whole: int, *, up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        product = int(value[:-1]) * whole
        return -(-product // 100) if up else product // 100
    return int(value)


def replicas(replica_set: Json) -> int:
    """How many replicas a ReplicaSet shall have."""
    return int(dig(replica_set, "spec", "replicas", default=0))


def counted(replica_sets: Sequence[Json], name: str) -> int:
    """The sum of a status number over ReplicaSets."""
    return sum(int(dig(item, "status", name, default=0)) for item in replica_sets)


def next_new_replicas(bounds: Bounds, new: Json, old: Sequence[Json]) -> int:
    """How many replicas the new ReplicaSet gets now."""
    room = bounds.desired + bounds.surge - replicas(new) - sum(replicas(item) for item in old)
    if replicas(new) >= bounds.desired:
        return bounds.desired
    return replicas(new) + max(0, min(room, bounds.desired - replicas(new)))


def next_old_replicas(bounds: Bounds, new: Json, old: Sequence[Json]) -> dict[str, int]:
    """Name → replicas of each old ReplicaSet that shrinks now: broken Pods first, then what availability allows."""
    everything = [new, *old]
    new_missing = replicas(new) - counted([new], "availableReplicas")
    budget = sum(replicas(item) for item in everything) - bounds.least_available - new_missing
    wanted = {item["metadata"]["name"]: replicas(item) for item in old}
    for item in old:
        name = item["metadata"]["name"]
        broken = min(budget, max(wanted[name] - counted([item], "availableReplicas"), 0))
        if broken > 0:
            wanted[name] -= broken
            budget -= broken
    spare = counted(everything, "availableReplicas") - bounds.least_available
    for item in old:
        name = item["metadata"]["name"]
        gone = max(0, min(wanted[name], spare, budget))
        wanted[name] -= gone
        spare -= gone
        budget -= gone
    return {
        item["metadata"]["name"]: wanted[item["metadata"]["name"]]
        for item in old
        if wanted[item["metadata"]["name"]] != replicas(item)
    }


def next_status(deployment: Json, new: Json | None, old: Sequence[Json], now: datetime) -> Json:
    """The Deployment's status after this look."""
    everything = ([new] if new else []) + list(old)
    total, available = counted(everything, "replicas"), counted(everything, "availableReplicas")
    bounds = bounds_of(deployment)
    status: Json = {
        "observedGeneration": dig(deployment, "metadata", "generation", default=1),
        "replicas": total,
        "updatedReplicas": counted([new], "replicas") if new else 0,
        "readyReplicas": counted(everything, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(max(total, bounds.desired) - available, 0),
    }
    status = {key: value for key, value in status.items() if value or key == "observedGeneration"}
    status["terminatingReplicas"] = counted(everything, "terminatingReplicas")
    conditions = [_available(deployment, available >= bounds.least_available, now)]
    if progressing := _progressing(deployment, status, new, bounds, now):
        conditions.append(progressing)
    return status | {"conditions": conditions}


def _condition(deployment: Json, kind: str, status: str, reason: str, message: str, now: datetime) -> Json:
    """The condition with its times: of the last change of status, and of the last change at all."""
    old = condition_of(deployment, kind) or {}
    same_status, stamp = old.get("status") == status, rfc3339(now)
    same_all = same_status and old.get("reason") == reason and old.get("message") == message
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": old["lastUpdateTime"] if same_all else stamp,
        "lastTransitionTime": old["lastTransitionTime"] if same_status else stamp,
    }


def _available(deployment: Json, enough: bool, now: datetime) -> Json:
    if enough:
        reason, message = "MinimumReplicasAvailable", "Deployment has minimum availability."
        return _condition(deployment, "Available", "True", reason, message, now)
    reason, message = "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    return _condition(deployment, "Available", "False", reason, message, now)


def _progressing(deployment: Json, status: Json, new: Json | None, bounds: Bounds, now: datetime) -> Json | None:
    old = condition_of(deployment, "Progressing")
    if dig(deployment, "spec", "paused"):
        return _condition(deployment, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now)
    if new is None:
        return old
    name = new["metadata"]["name"]
    counts = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    if counts == [bounds.desired] * 3:
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return _condition(deployment, "Progressing", "True", "NewReplicaSetAvailable", message, now)
    if old is None or f'"{name}"' not in old["message"]:
        message = f'Created new replica set "{name}"'
        return _condition(deployment, "Progressing", "True", "NewReplicaSetCreated", message, now)
    if _moved(deployment, status):
        message = f'ReplicaSet "{name}" is progressing.'
        moved = _condition(deployment, "Progressing", "True", "ReplicaSetUpdated", message, now)
        return moved | {"lastUpdateTime": rfc3339(now)}
    deadline = dig(deployment, "spec", "progressDeadlineSeconds", default=600)
    waited = (now - moment_of(old["lastUpdateTime"])).total_seconds()
    if old["reason"] != "NewReplicaSetAvailable" and waited > deadline:
        message = f'ReplicaSet "{name}" has timed out progressing.'
        return _condition(deployment, "Progressing", "False", "ProgressDeadlineExceeded", message, now)
    return old


def _moved(deployment: Json, status: Json) -> bool:
    """Whether the rollout has come further since the last status."""
    before = deployment.get("status") or {}

    def grew(key: str) -> bool:
        return bool(status.get(key, 0) > before.get(key, 0))

    def outdated(of: Json) -> int:
        return int(of.get("replicas", 0)) - int(of.get("updatedReplicas", 0))

    grown = any(grew(key) for key in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return grown or outdated(status) < outdated(before)
