"""A workload's JSON as `core.observed.Workload`: only what delivery needs, a few hundred bytes.

Owns where a kind keeps its Pod template and how its rollout reads. Must not know how objects are fetched.
Used by `workloads.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final

from basetracker.adapters.kube import Json, path_of
from basetracker.api.names import CHANGE_CAUSE, DELIVERED
from basetracker.core.observed import Container, Delivered, RolloutSeen, Workload
from basetracker.errors import InvalidError

_NO_MARKS: Final[Mapping[str, Delivered]] = {}
_LISTS: Final = (("initContainers", True), ("containers", False))


@dataclass(frozen=True, slots=True)
class WorkloadKind:
    """How a kind is addressed, and where its Pod spec lies."""

    kind: str
    api_version: str
    plural: str
    pod_spec: tuple[str, ...]

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of the object, of the namespace's list, or of the cluster's."""
        return path_of(self.api_version, self.plural, namespace, name)

    def pointer(self, *, init: bool, index: int) -> str:
        """The JSON pointer of a container."""
        return f"/{'/'.join(self.pod_spec)}/{'initContainers' if init else 'containers'}/{index}"


KINDS: Final = {
    kind.kind: kind for kind in (WorkloadKind("Deployment", "apps/v1", "deployments", ("spec", "template", "spec")),)
}


def kind_of(name: str) -> WorkloadKind:
    """The kind with this name.

    Raises:
        InvalidError: it isn't one that images are delivered to.
    """
    try:
        return KINDS[name]
    except KeyError:
        raise InvalidError(f"{name!r} is not a kind of workload; it is one of {', '.join(KINDS)}") from None


def project(kind: WorkloadKind, document: Json) -> Workload:
    """The workload in a stored object."""
    metadata = document["metadata"]
    annotations = metadata.get("annotations")
    raw = (annotations or {}).get(DELIVERED)
    return Workload(
        namespace=intern(metadata.get("namespace", "")),
        kind=kind.kind,
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        containers=tuple(_containers(kind, document)),
        delivered=read_marks(raw) if raw is not None else _NO_MARKS,
        delivered_raw=raw,
        has_annotations=annotations is not None,
        has_cause=CHANGE_CAUSE in (annotations or {}),
        rollout=_rollout(document),
    )


def read_marks(raw: str) -> Mapping[str, Delivered]:
    """The marks in the annotation, by container; whatever can't be read there is no mark."""
    try:
        document = json.loads(raw)
    except ValueError:
        return _NO_MARKS
    if not isinstance(document, dict):
        return _NO_MARKS
    return {name: mark for name, value in document.items() if (mark := _mark(value)) is not None}


def _mark(value: object) -> Delivered | None:
    if not isinstance(value, dict) or not isinstance(value.get("image"), str):
        return None
    texts = {field: str(value.get(field) or "") for field in ("tracker", "base", "image", "previous")}
    return Delivered(**texts)


def _containers(kind: WorkloadKind, document: Json) -> Iterator[Container]:
    pod_spec = _below(document, kind.pod_spec)
    writers = _writers(kind, document)
    for field, init in _LISTS:
        for index, container in enumerate(pod_spec.get(field) or ()):
            name = container.get("name", "")
            writer = writers.get((field, name), "")
            yield Container(
                name=intern(name), image=container.get("image", ""), init=init, index=index, writer=intern(writer)
            )


def _writers(kind: WorkloadKind, document: Json) -> dict[tuple[str, str], str]:
    """Who set each container's image: the field manager that owns it, the latest where several do."""
    owners: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in document["metadata"].get("managedFields") or ():
        pod_spec = _below(entry.get("fieldsV1") or {}, tuple(f"f:{step}" for step in kind.pod_spec))
        for field, _ in _LISTS:
            for key, owned in (pod_spec.get(f"f:{field}") or {}).items():
                name = _key_name(key) if isinstance(owned, dict) and "f:image" in owned else None
                if name is not None:
                    claim = (entry.get("time") or "", entry.get("manager") or "")
                    owners[field, name] = max(claim, owners.get((field, name), claim), key=lambda claim: claim[0])
    return {where: manager for where, (_, manager) in owners.items()}


def _key_name(key: str) -> str | None:
    """The name in `k:{"name":"app"}`."""
    try:
        document = json.loads(key.removeprefix("k:"))
    except ValueError:
        return None
    name = document.get("name") if isinstance(document, dict) else None
    return name if isinstance(name, str) else None


def _below(document: Any, path: tuple[str, ...]) -> Json:
    for step in path:
        document = document.get(step) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _rollout(document: Json) -> RolloutSeen:
    spec, status = document.get("spec") or {}, document.get("status") or {}
    conditions = [condition for condition in status.get("conditions") or () if isinstance(condition, dict)]
    desired = spec.get("replicas")
    return RolloutSeen(
        generation=document["metadata"].get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        desired=1 if desired is None else desired,
        updated=status.get("updatedReplicas", 0),
        total=status.get("replicas", 0),
        available=status.get("availableReplicas", 0),
        paused=bool(spec.get("paused")),
        deadline_exceeded=any(
            condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded"
            for condition in conditions
        ),
        trouble=next((str(condition.get("message", "")) for condition in conditions if _is_bad(condition)), ""),
    )


def _is_bad(condition: Mapping[str, Any]) -> bool:
    return (condition.get("type"), condition.get("status")) in {("Progressing", "False"), ("ReplicaFailure", "True")}
