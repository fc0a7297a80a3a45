"""The status that a kubelet writes for a Pod.

Owns its form: phase, conditions and container statuses, from what became of each container.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from basetracker.emulators.cluster.document import Json, condition_of, dig

_NOT_INITIALIZED = ("ContainersNotInitialized", "containers with incomplete status")


@dataclass(frozen=True, slots=True)
class ContainerLook:
    """What became of a container: it runs, or `reason` and `message` tell why it doesn't."""

    name: str
    image: str
    digest: str = ""
    reason: str = ""
    message: str = ""
    crashed: bool = False
    init: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it runs and is ready; an init container: whether it has done its work."""
        return not self.reason

    @property
    def image_id(self) -> str:
        """`repository@digest`, as a container runtime reports it."""
        return f"{repository_of(self.image)}@{self.digest}" if self.digest else ""


def repository_of(image: str) -> str:
    """An image's repository with its registry, without tag and digest."""
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = head + slash + tail.partition(":")[0]
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"


def pod_status(pod: Json, looks: Sequence[ContainerLook], now: str) -> Json:
    """The next status; without looks the containers are only being created."""
    before = pod.get("status") or {}
    first, main = [look for look in looks if look.init], [look for look in looks if not look.init]
    statuses = [_container(before, look, now) for look in main] or [
        _waiting(container, "ContainerCreating") for container in dig(pod, "spec", "containers", default=[])
    ]
    initialized = all(look.is_running for look in first)
    running = bool(looks) and all(look.is_running for look in looks)
    started = running or any(look.crashed for look in looks)
    unready = [look.name for look in looks if not look.is_running]
    why = ("", "") if running else ("ContainersNotReady", f"containers with unready status: {unready}")
    conditions = [
        _condition(pod, "PodScheduled", True, "", "", now),
        _condition(pod, "Initialized", initialized, *(("", "") if initialized else _NOT_INITIALIZED), now),
        _condition(pod, "ContainersReady", running, *why, now),
        _condition(pod, "Ready", running, *why, now),
    ]
    address = before.get("podIP") or _address(pod)
    status: Json = {
        "phase": "Running" if started else "Pending",
        "conditions": conditions,
        "hostIP": "192.0.2.1",
        "startTime": before.get("startTime") or now,
        "qosClass": "BestEffort",
        "containerStatuses": statuses,
    }
    if first:
        status["initContainerStatuses"] = [_init_container(before, look, now) for look in first]
    return status | ({"podIP": address, "podIPs": [{"ip": address}]} if started else {})


def ended_status(pod: Json, code: int, now: str) -> Json:
    """The last status of a Pod whose containers run and have now all ended with this exit code."""
    status = dict(pod.get("status") or {})
    reason = "Error" if code else "Completed"
    containers = []
    for before in status.get("containerStatuses") or []:
        begun = dig(before, "state", "running", "startedAt", default=now)
        ended = {"exitCode": code, "reason": reason, "startedAt": begun, "finishedAt": now}
        containers.append(before | {"ready": False, "started": False, "state": {"terminated": ended}})
    why = ("PodFailed", "") if code else ("PodCompleted", "")
    kinds = (("PodScheduled", True), ("Initialized", True), ("ContainersReady", False), ("Ready", False))
    conditions = [_condition(pod, kind, holds, *(("", "") if holds else why), now) for kind, holds in kinds]
    phase = "Failed" if code else "Succeeded"
    return status | {"phase": phase, "conditions": conditions, "containerStatuses": containers}


def _address(pod: Json) -> str:
    number = int.from_bytes(hashlib.sha256(pod["metadata"]["uid"].encode()).digest()[:2], "big")
    return f"10.244.{number >> 8}.{number & 255}"


def _condition(pod: Json, kind: str, holds: bool, reason: str, message: str, now: str) -> Json:
    status = "True" if holds else "False"
    old = condition_of(pod, kind) or {}
    since = old["lastTransitionTime"] if old.get("status") == status else now
    condition: Json = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
    return condition | ({"reason": reason, "message": message} if reason else {})


def _waiting(container: Json, reason: str) -> Json:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": False,
        "started": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason}},
        "lastState": {},
    }


def _init_container(before: Json, look: ContainerLook, now: str) -> Json:
    status = _container({"containerStatuses": before.get("initContainerStatuses")}, look, now)
    if not look.is_running:
        return status
    started = dig(status, "state", "running", "startedAt", default=now)
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": started}
    known: list[Json] = before.get("initContainerStatuses") or []
    old = next((item for item in known if item["name"] == look.name and item.get("image") == look.image), {})
    done = dig(old, "state", "terminated", default={})
    ended = done if done.get("exitCode") == 0 else ended
    return status | {"started": False, "restartCount": old.get("restartCount", 0), "state": {"terminated": ended}}


def _container(before: Json, look: ContainerLook, now: str) -> Json:
    known: list[Json] = before.get("containerStatuses") or []
    old = next((status for status in known if status["name"] == look.name), {})
    restarts = int(old.get("restartCount", 0))
    status = _waiting({"name": look.name, "image": look.image}, look.reason)
    status |= {"imageID": look.image_id, "restartCount": restarts, "lastState": old.get("lastState") or {}}
    if look.is_running:
        same_run = dig(old, "state", "running", "startedAt") if old.get("image") == look.image else None
        restarted = restarts + 1 if dig(old, "state", "terminated") else restarts
        state = {"running": {"startedAt": same_run or now}}
        return status | {"ready": True, "started": True, "state": state, "restartCount": restarted}
    if not look.crashed:
        return status | {"state": {"waiting": {"reason": look.reason, "message": look.message}}}
    ended = {"exitCode": 1, "reason": "Error", "startedAt": now, "finishedAt": now}
    if look.reason == "Error":
        return status | {"state": {"terminated": ended}}
    waiting = {"waiting": {"reason": look.reason, "message": look.message}}
    return status | {"state": waiting, "lastState": {"terminated": ended}, "restartCount": restarts + 1}
