"""ReplicaSets: so many Pods of one template, no more and no fewer.

Owns the making and deleting of Pods and the ReplicaSet's status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.controllers.loop import Key
from basetracker.emulators.cluster.controllers.owning import concerned_owner, new_pod, owned_by
from basetracker.emulators.cluster.document import Json, condition_of, dig, moment_of
from basetracker.emulators.cluster.store import Change

_KEY = "replicasets.apps"
_ALWAYS = {"replicas", "terminatingReplicas"}


def is_ready(pod: Json) -> bool:
    """Whether the Pod is Ready and not on its way out."""
    ready = condition_of(pod, "Ready")
    return bool(ready and ready["status"] == "True") and not dig(pod, "metadata", "deletionTimestamp")


def is_available(pod: Json, least_seconds: int, now: datetime) -> bool:
    """Whether the Pod has been Ready for so many seconds."""
    ready = condition_of(pod, "Ready")
    if not is_ready(pod) or ready is None:
        return False
    return (now - moment_of(ready["lastTransitionTime"])).total_seconds() >= least_seconds


class ReplicaSets:
    """The controller of ReplicaSets."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock

    def concerned(self, change: Change) -> Iterable[Key]:
        """The ReplicaSet itself, or the one that a Pod belongs to."""
        return concerned_owner(change, "ReplicaSet", _KEY)

    def reconcile(self, key: Key) -> float | None:
        """Make or delete Pods; write down how many there are."""
        _, namespace, name = key
        replica_set = self._client.get("ReplicaSet", namespace, name)
        if replica_set is None or dig(replica_set, "metadata", "deletionTimestamp"):
            return None
        pods = self._pods(replica_set)
        wanted = dig(replica_set, "spec", "replicas", default=0)
        for _ in range(wanted - len(pods)):
            self._client.create(new_pod(replica_set, "apps/v1", "ReplicaSet"))
        for pod in sorted(pods, key=_age_rank)[: max(len(pods) - wanted, 0)]:
            self._client.delete("Pod", namespace, pod["metadata"]["name"])
        return self._write_status(replica_set)

    def _pods(self, replica_set: Json) -> list[Json]:
        """The Pods that count: neither ended nor on their way out."""
        return [
            pod
            for pod in owned_by(self._client, replica_set)
            if not pod["metadata"].get("deletionTimestamp")
            and dig(pod, "status", "phase") not in ("Failed", "Succeeded")
        ]

    def _write_status(self, replica_set: Json) -> float | None:
        pods, now = self._pods(replica_set), self._clock()
        least = dig(replica_set, "spec", "minReadySeconds", default=0)
        ready = sum(1 for pod in pods if is_ready(pod))
        available = sum(1 for pod in pods if is_available(pod, least, now))
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": available,
            "terminatingReplicas": sum(
                1 for pod in owned_by(self._client, replica_set) if pod["metadata"].get("deletionTimestamp")
            ),
            "observedGeneration": dig(replica_set, "metadata", "generation", default=1),
        }

        def change(copy: Json) -> None:
            copy["status"] = {key: value for key, value in status.items() if value or key in _ALWAYS}

        metadata = replica_set["metadata"]
        self._client.edit("ReplicaSet", metadata["namespace"], metadata["name"], change, status=True)
        return 0.25 if available < ready else None


def _age_rank(pod: Json) -> tuple[bool, bool, int]:
    """Pods that are not scheduled or not ready go first, then the youngest."""
    version = -int(pod["metadata"]["resourceVersion"])
    return bool(dig(pod, "spec", "nodeName")), is_ready(pod), version
