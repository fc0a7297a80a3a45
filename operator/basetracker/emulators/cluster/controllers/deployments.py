"""Deployments: a ReplicaSet per template, and the way from one to the next.

Owns the ReplicaSets of a Deployment with their revisions, both strategies, pausing, the history limit, and the
status. How many replicas each gets is `rollouts.py`'s decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.controllers.loop import Key
from basetracker.emulators.cluster.controllers.owning import concerned_owner, owned_by
from basetracker.emulators.cluster.controllers.recorder import Recorder
from basetracker.emulators.cluster.controllers.rollouts import (
    bounds_of,
    counted,
    next_new_replicas,
    next_old_replicas,
    next_status,
    replicas,
    template_hash,
)
from basetracker.emulators.cluster.document import Json, clone, condition_of, dig, same
from basetracker.emulators.cluster.store import Change

_KEY = "deployments.apps"
_HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
# Annotations of a Deployment that its ReplicaSets don't take over.
_OWN = {
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
}
_LOOK_AGAIN_SECONDS = 0.25


class Deployments:
    """The controller of Deployments."""

    def __init__(self, client: Client, recorder: Recorder, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock

    def concerned(self, change: Change) -> Iterable[Key]:
        """The Deployment itself, or the one that a ReplicaSet belongs to."""
        return concerned_owner(change, "Deployment", _KEY, owned="replicasets.apps")

    def reconcile(self, key: Key) -> float | None:
        """Take the next step of the rollout and write down where it stands."""
        _, namespace, name = key
        deployment = self._client.get("Deployment", namespace, name)
        if deployment is None or dig(deployment, "metadata", "deletionTimestamp"):
            return None
        new, old = self._replica_sets(deployment)
        if not dig(deployment, "spec", "paused"):
            new = self._current(deployment, new, old)
            if dig(deployment, "spec", "strategy", "type") == "Recreate":
                self._recreate(deployment, new, old)
            else:
                self._roll(deployment, new, old)
        elif new is not None and not old:
            self._scale(deployment, new, dig(deployment, "spec", "replicas", default=1))
        new, old = self._replica_sets(deployment)
        return self._write_status(deployment, new, old)

    def _replica_sets(self, deployment: Json) -> tuple[Json | None, list[Json]]:
        """The ReplicaSet of the present template, and the others, oldest first."""
        owned = owned_by(self._client, deployment, "ReplicaSet")
        mine = [item for item in owned if not item["metadata"].get("deletionTimestamp")]
        mine.sort(key=revision)
        new = next((item for item in mine if same(_plain(item), deployment["spec"]["template"])), None)
        return new, [item for item in mine if item is not new]

    def _current(self, deployment: Json, new: Json | None, old: Sequence[Json]) -> Json:
        """The ReplicaSet of the present template with its revision, made if need be."""
        number = max([revision(item) for item in old], default=0) + 1
        if new is None:
            new = self._client.create(_replica_set(deployment, number))
        number = max(number, revision(new))
        wanted = _annotations(deployment) | {REVISION: str(number)}

        def mark(copy: Json) -> None:
            annotations = copy["metadata"].get("annotations") or {}
            copy["metadata"]["annotations"] = annotations | wanted

        metadata = new["metadata"]
        marked = self._client.edit("ReplicaSet", metadata["namespace"], metadata["name"], mark)

        def number_it(copy: Json) -> None:
            copy["metadata"]["annotations"] = (copy["metadata"].get("annotations") or {}) | {REVISION: str(number)}

        self._client.edit("Deployment", metadata["namespace"], deployment["metadata"]["name"], number_it)
        return marked or new

    def _roll(self, deployment: Json, new: Json, old: Sequence[Json]) -> None:
        bounds = bounds_of(deployment)
        self._scale(deployment, new, next_new_replicas(bounds, new, old))
        fresh, old = self._replica_sets(deployment)
        if fresh is not None:
            shrinking = next_old_replicas(bounds, fresh, old)
            for item in old:
                if item["metadata"]["name"] in shrinking:
                    self._scale(deployment, item, shrinking[item["metadata"]["name"]])

    def _recreate(self, deployment: Json, new: Json, old: Sequence[Json]) -> None:
        for item in old:
            self._scale(deployment, item, 0)
        if not counted(old, "replicas"):
            self._scale(deployment, new, dig(deployment, "spec", "replicas", default=1))

    def _scale(self, deployment: Json, replica_set: Json, wanted: int) -> None:
        before = replicas(replica_set)
        if before == wanted:
            return
        metadata = replica_set["metadata"]

        def change(copy: Json) -> None:
            copy["spec"]["replicas"] = wanted

        self._client.edit("ReplicaSet", metadata["namespace"], metadata["name"], change)
        way = "up" if wanted > before else "down"
        message = f"Scaled {way} replica set {metadata['name']} from {before} to {wanted}"
        self._recorder.record(deployment, "Normal", "ScalingReplicaSet", message, "deployment-controller")

    def _write_status(self, deployment: Json, new: Json | None, old: Sequence[Json]) -> float | None:
        namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
        fresh = self._client.get("Deployment", namespace, name) or deployment
        status = next_status(fresh, new, old, self._clock())

        def change(copy: Json) -> None:
            copy["status"] = status

        written = self._client.edit("Deployment", namespace, name, change, status=True) or fresh
        progressing = condition_of(written, "Progressing") or {}
        if progressing.get("reason") == "NewReplicaSetAvailable":
            self._forget(deployment, old)
            return None
        return _LOOK_AGAIN_SECONDS if progressing.get("status") == "True" else None

    def _forget(self, deployment: Json, old: Sequence[Json]) -> None:
        """Delete the oldest idle ReplicaSets beyond the history limit."""
        limit = dig(deployment, "spec", "revisionHistoryLimit", default=10)
        idle = [item for item in old if not replicas(item) and not counted([item], "replicas")]
        for item in idle[: max(len(old) - limit, 0)]:
            metadata = item["metadata"]
            self._client.delete("ReplicaSet", metadata["namespace"], metadata["name"], uid=metadata["uid"])


def revision(replica_set: Json) -> int:
    """The revision of a ReplicaSet; 0 where it has none."""
    return int(dig(replica_set, "metadata", "annotations", REVISION, default=0))


def _annotations(deployment: Json) -> dict[str, str]:
    annotations = dig(deployment, "metadata", "annotations", default={})
    return {key: value for key, value in annotations.items() if key not in _OWN}


def _plain(replica_set: Json) -> Json:
    """A ReplicaSet's template without the mark that the controller put on it."""
    template: Json = clone(replica_set["spec"]["template"])
    template["metadata"]["labels"].pop(_HASH, None)
    return template


def _replica_set(deployment: Json, number: int) -> Json:
    metadata, spec = deployment["metadata"], deployment["spec"]
    mark = {_HASH: template_hash(spec["template"])}
    template = clone(spec["template"])
    labels = dig(template, "metadata", "labels", default={}) | mark
    template["metadata"]["labels"] = labels
    selector = clone(spec["selector"])
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | mark
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{mark[_HASH]}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": _annotations(deployment) | {REVISION: str(number)},
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": spec.get("minReadySeconds", 0),
            "selector": selector,
            "template": template,
        },
    }
