"""Who in the namespace runs the digest: Deployments, those of their ReplicaSets that have Pods, and these Pods.

Owns the way from a digest to objects that reports can be about. Needed since no report can be looked up by a digest.
Used by `gate.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Final

from basetracker.adapters.gates.reports.documents import Subject
from basetracker.adapters.gates.walk import below, objects_in, text_below
from basetracker.adapters.kube import Json, Kube, path_of
from basetracker.errors import InvalidError, UnavailableError
from basetracker.oci.refs import ImageRef, parse_image

MOST_PAGES: Final = 10
MOST_SUBJECTS: Final = 100
PODS: Final = 10
"""How many Pods of a ReplicaSet are asked about: they are all alike."""
_CONTAINERS: Final = ("initContainers", "containers")


async def running(kube: Kube, namespace: str, image: ImageRef) -> list[Subject]:
    """What runs the image's digest by its template, and what runs its repository by a tag alone.

    In a rollout to another digest a Deployment's template names that one by now, and so it isn't among them.

    Raises:
        InvalidError: too many do; a part of them would be no evidence.
        DeniedError, MissingError, UnavailableError: as the API server says.
    """
    found: set[Subject] = set()
    async for item in _listed(kube, path_of("apps/v1", "deployments", namespace), {}):
        deployment = _subject("Deployment", item, image)
        if deployment is None:
            continue
        if deployment.is_pinned:
            found.add(deployment)
        found |= await _replica_sets(kube, namespace, item, image)
        if len(found) > MOST_SUBJECTS:
            raise InvalidError(f"more than {MOST_SUBJECTS} workloads of the namespace {namespace} run the image")
    return sorted(found)


async def _replica_sets(kube: Kube, namespace: str, deployment: Json, image: ImageRef) -> set[Subject]:
    """Those of the Deployment that have Pods of the image."""
    found = set()
    query = {"labelSelector": _selector(deployment)}
    async for item in _listed(kube, path_of("apps/v1", "replicasets", namespace), query):
        subject = _subject("ReplicaSet", item, image)
        is_ours = deployment["metadata"]["uid"] in {
            one.get("uid") for one in objects_in(below(item, "metadata", "ownerReferences"))
        }
        if subject is not None and is_ours and below(item, "status", "replicas"):
            found.add(subject)
    return found


async def pods_of(kube: Kube, namespace: str, replica_set: Subject) -> list[Subject]:
    """Some Pods of a ReplicaSet, as they are while nothing has changed them since its template.

    A container that admission has added would be spoken about as well, and a Pod whose spec was changed may have run another
    digest before.
    """
    query = {"labelSelector": replica_set.selector, "limit": str(PODS)}
    page = await kube.get(path_of("v1", "pods", namespace), query)
    if not isinstance(below(page, "items"), list):
        raise UnavailableError("a list of Pods can't be read")
    found = []
    for pod in objects_in(below(page, "items")):
        metadata = pod.get("metadata") or {}
        owners = {one.get("uid") for one in objects_in(metadata.get("ownerReferences"))}
        is_first = metadata.get("generation") in (None, 0, 1)
        if replica_set.uid in owners and is_first and _images(below(pod, "spec")) == replica_set.images:
            found.append(replace(replica_set, kind="Pod", name=str(metadata["name"]), uid=str(metadata["uid"])))
    return sorted(found)


async def _listed(kube: Kube, path: str, query: Mapping[str, str]) -> AsyncIterator[Json]:
    pages = 0
    async for page in kube.pages(path, query):
        pages += 1
        if pages > MOST_PAGES:
            raise InvalidError("the namespace has too many workloads for the reports gate")
        items = page.get("items")
        if not isinstance(items, list):
            raise UnavailableError("a list of workloads can't be read")
        for item in items:
            if isinstance(item, dict):
                yield item


def _selector(deployment: Json) -> str:
    """The Deployment's selector as a list request has it."""
    selector = below(deployment, "spec", "selector") or {}
    words = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        key, values = one["key"], ",".join(one.get("values") or ())
        match one["operator"]:
            case "In":
                words.append(f"{key} in ({values})")
            case "NotIn":
                words.append(f"{key} notin ({values})")
            case "Exists":
                words.append(key)
            case "DoesNotExist":
                words.append(f"!{key}")
            case operator:
                raise InvalidError(f"a Deployment has a selector with the operator {operator!r}")
    return ",".join(words)


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
        images=_images(below(document, "spec", "template", "spec")),
        selector=_selector(document),
    )


def _images(pod: object) -> tuple[tuple[str, str], ...]:
    """The containers of a Pod's spec with their images, sorted."""
    containers = [one for field in _CONTAINERS for one in objects_in(below(pod, field))]
    return tuple(sorted((text_below(one, "name"), text_below(one, "image")) for one in containers))


def _containers(document: Json) -> Iterator[tuple[str, ImageRef]]:
    pod = below(document, "spec", "template", "spec")
    for field in _CONTAINERS:
        for container in (pod.get(field) if isinstance(pod, dict) else None) or ():
            try:
                yield str(container.get("name")), parse_image(str(container.get("image")))
            except (InvalidError, AttributeError):
                continue
