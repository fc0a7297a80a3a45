"""What controllers that own objects have in common.

Owns the ways from an object to its owner and back, and the making of a Pod from an owner's template.
"""

from __future__ import annotations

from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.controllers.loop import Key
from basetracker.emulators.cluster.document import Json, clone, controller_of, dig
from basetracker.emulators.cluster.store import Change


def concerned_owner(change: Change, kind: str, key: str, owned: str = "pods") -> list[Key]:
    """The changed object itself if it is of this kind, or the one of this kind that owns it; `key` is the kind's."""
    if change.key == key:
        return [(key, *change.name)]
    if change.key == owned:
        owner = controller_of(change.new.document)
        if owner and owner["kind"] == kind:
            return [(key, change.name[0], owner["name"])]
    return []


def owned_by(client: Client, owner: Json, kind: str = "Pod") -> list[Json]:
    """The objects of this kind that the owner controls, those on their way out among them."""
    uid, namespace = owner["metadata"]["uid"], owner["metadata"]["namespace"]
    return [item for item in client.list(kind, namespace) if (controller_of(item) or {}).get("uid") == uid]


def new_pod(owner: Json, api_version: str, kind: str, *, longest: int = 200) -> Json:
    """A Pod of the owner's template, its name made from the first `longest` characters of the owner's."""
    metadata, template = owner["metadata"], clone(owner["spec"]["template"])
    reference = {
        "apiVersion": api_version,
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{metadata['name'][:longest]}-",
            "namespace": metadata["namespace"],
            "labels": dig(template, "metadata", "labels", default={}),
            "annotations": dig(template, "metadata", "annotations", default={}),
            "ownerReferences": [reference],
        },
        "spec": template["spec"],
    }
