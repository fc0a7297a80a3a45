"""Who in the namespace runs the digest: the ReplicaSets with Pods, and the Deployments that they belong to.

Owns the way from a digest to objects that reports can be about. Needed since no report can be looked up by a digest.
Used by `gate.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from basetracker.adapters.gates.reports.documents import Subject
from basetracker.adapters.kube import Json, Kube, path_of
from basetracker.errors import InvalidError, UnavailableError
from basetracker.oci.refs import ImageRef, parse_image

MOST_PAGES: Final = 10
MOST_SUBJECTS: Final = 100


async def running(kube: Kube, namespace: str, image: ImageRef) -> list[Subject]:
    """What runs the image's digest by its template, and what runs its repository by a tag alone.

    Raises:
        InvalidError: too many do; a part of them would be no evidence.
        DeniedError, MissingError, UnavailableError: as the API server says.
    """
    found: set[Subject] = set()
    owners: dict[str, str] = {}
    async for item in _replica_sets(kube, namespace):
        subject = _subject("ReplicaSet", item, image)
        if subject is None:
            continue
        found.add(subject)
        owners |= {one["uid"]: one["name"] for one in _owners(item) if subject.is_pinned}
        if len(found) > MOST_SUBJECTS:
            raise InvalidError(f"more than {MOST_SUBJECTS} workloads of the namespace {namespace} run the image")
    for name in sorted(owners.values()):
        deployment = await kube.get(path_of("apps/v1", "deployments", namespace, name))
        subject = _subject("Deployment", deployment or {}, image)
        if subject is not None and subject.is_pinned:  # in a rollout it may name another digest by now
            found.add(subject)
    return sorted(found)


async def _replica_sets(kube: Kube, namespace: str) -> Any:
    """Those with Pods, without the many that a Deployment keeps for its history."""
    pages = 0
    async for page in kube.pages(path_of("apps/v1", "replicasets", namespace), {"fieldSelector": "status.replicas!=0"}):
        pages += 1
        if pages > MOST_PAGES:
            raise InvalidError(f"the namespace {namespace} has too many ReplicaSets for the reports gate")
        items = page.get("items")
        if not isinstance(items, list):
            raise UnavailableError("the list of ReplicaSets can't be read")
        for item in items:
            if isinstance(item, dict):
                yield item


def _subject(kind: str, document: Json, image: ImageRef) -> Subject | None:
    """The object as a subject, when a container of it runs the image."""
    containers = [
        (name, reference)
        for name, reference in _containers(document)
        if reference.repository == image.repository and reference.digest in (None, image.digest)
    ]
    if not containers:
        return None
    metadata = document["metadata"]
    return Subject(
        kind=kind,
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        is_pinned=any(reference.digest is not None for _, reference in containers),
        containers=tuple(sorted(name for name, _ in containers)),
    )


def _containers(document: Json) -> Iterator[tuple[str, ImageRef]]:
    pod: Any = document
    for step in ("spec", "template", "spec"):
        pod = pod.get(step) if isinstance(pod, dict) else None
    for field in ("initContainers", "containers"):
        for container in (pod.get(field) if isinstance(pod, dict) else None) or ():
            try:
                yield str(container.get("name")), parse_image(str(container.get("image")))
            except (InvalidError, AttributeError):
                continue


def _owners(document: Json) -> list[dict[str, str]]:
    owners = document["metadata"].get("ownerReferences") or ()
    return [one for one in owners if one.get("controller") and one.get("kind") == "Deployment"]
