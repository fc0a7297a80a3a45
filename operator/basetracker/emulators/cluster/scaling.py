"""The scale subresource: one number of a bigger object.

Owns the `Scale` form and the way back from it.
"""

from __future__ import annotations

from collections.abc import Callable

from basetracker.emulators.cluster.document import Json, clone, dig
from basetracker.emulators.cluster.objects import Objects, Outcome, WriteOptions
from basetracker.emulators.cluster.refusals import Cause, conflict, invalid
from basetracker.emulators.cluster.resources import Resource


def _steps(path: str) -> list[str]:
    return [part for part in path.split(".") if part]


def scale_of(resource: Resource, document: Json) -> Json:
    """The `Scale` of an object whose kind has that subresource."""
    scale, metadata = resource.scale or {}, document["metadata"]
    selector = {"selector": found} if (found := _selector(resource, document)) else {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": dig(document, *_steps(scale["specReplicasPath"]), default=0)},
        "status": {"replicas": dig(document, *_steps(scale["statusReplicasPath"]), default=0)} | selector,
    }


def _selector(resource: Resource, document: Json) -> str:
    labels = dig(document, "spec", "selector", "matchLabels")
    if isinstance(labels, dict) and not resource.custom:
        return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    path = _steps((resource.scale or {}).get("labelSelectorPath", ""))
    return str(dig(document, *path, default="")) if path else ""


def rescale(
    objects: Objects,
    resource: Resource,
    namespace: str,
    name: str,
    change: Callable[[Json], Json],
    options: WriteOptions,
) -> Json:
    """Write what `change` makes of the Scale into the object; answers the new Scale.

    Raises:
        Refusal: 404, 409, 422.
    """
    document = clone(objects.get(resource, namespace, name))
    wanted = change(scale_of(resource, document))
    version = dig(wanted, "metadata", "resourceVersion")
    if version and version != document["metadata"]["resourceVersion"]:
        raise conflict(resource, name)
    replicas = dig(wanted, "spec", "replicas", default=0)
    if not isinstance(replicas, int) or replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(resource, name, [Cause(reason="FieldValueInvalid", message=message, field="spec.replicas")])
    *parents, last = _steps((resource.scale or {})["specReplicasPath"])
    place = document
    for step in parents:
        place = place.setdefault(step, {})
    place[last] = replicas
    outcome: Outcome = objects.update(resource, namespace, name, document, options)
    return scale_of(resource, outcome.document)
