"""Garbage collection: dependents go after their last owner, and CRDs take their objects along.

Owns the index from an owner's uid to its dependents, background, foreground and orphaning deletion, and the clean-up
finalizer of CRDs.
"""

from __future__ import annotations

from collections.abc import Iterable

from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.controllers.loop import Key
from basetracker.emulators.cluster.document import Json, dig
from basetracker.emulators.cluster.extensions import FINALIZER
from basetracker.emulators.cluster.resources import Resource
from basetracker.emulators.cluster.store import Change

_CRDS = "customresourcedefinitions.apiextensions.k8s.io"


class Garbage:
    """The garbage collector."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._uids: dict[str, Key] = {}
        self._dependents: dict[str, set[Key]] = {}

    def concerned(self, change: Change) -> Iterable[Key]:
        """The object itself when its owners count, its dependents when it is gone, its owner when that waits for it."""
        key, metadata = (change.key, *change.name), change.new.document["metadata"]
        owners = [reference["uid"] for reference in metadata.get("ownerReferences") or []]
        found: list[Key] = []
        if change.type == "DELETED":
            self._uids.pop(metadata["uid"], None)
            found += self._dependents.pop(metadata["uid"], set())
            for owner in owners:
                self._dependents.get(owner, set()).discard(key)
                found += [self._uids[owner]] if owner in self._uids else []
            found += self._definition(change)
            return found
        self._uids[metadata["uid"]] = key
        for owner in owners:
            self._dependents.setdefault(owner, set()).add(key)
        if owners or metadata.get("deletionTimestamp"):
            found.append(key)
        return found

    def _definition(self, change: Change) -> list[Key]:
        definition = self._client.objects.store.get(_CRDS, ("", change.key))
        dying = definition is not None and "deletionTimestamp" in definition.document["metadata"]
        return [(_CRDS, "", change.key)] if dying else []

    def reconcile(self, key: Key) -> float | None:
        """Delete what lost its last owner; take the next step of a waiting deletion."""
        storage, namespace, name = key
        stored = self._client.objects.store.get(storage, (namespace, name))
        if stored is None:
            return None
        resource = self._resource(storage)
        if resource is None:
            return None
        document = stored.document
        metadata = document["metadata"]
        if metadata.get("deletionTimestamp"):
            self._deleting(resource, document)
        elif self._is_orphaned(metadata):
            self._client.delete(resource.qualified, namespace, name, uid=metadata["uid"])
        return None

    def _is_orphaned(self, metadata: Json) -> bool:
        owners = metadata.get("ownerReferences") or []
        return bool(owners) and not any(reference["uid"] in self._uids for reference in owners)

    def _resource(self, storage: str) -> Resource | None:
        return next((r for r in self._client.objects.catalogue if r.key == storage and not r.storage), None)

    def _deleting(self, resource: Resource, document: Json) -> None:
        finalizers = dig(document, "metadata", "finalizers", default=[])
        dependents = self._dependents.get(document["metadata"]["uid"], set())
        if "foregroundDeletion" in finalizers:
            for storage, namespace, name in sorted(dependents):
                if dependent := self._resource(storage):
                    self._client.delete(dependent.qualified, namespace, name)
            if not self._dependents.get(document["metadata"]["uid"]):
                self._release(resource, document, "foregroundDeletion")
        elif "orphan" in finalizers:
            for storage, namespace, name in sorted(dependents):
                if dependent := self._resource(storage):
                    self._disown(dependent, namespace, name, document["metadata"]["uid"])
            self._release(resource, document, "orphan")
        elif FINALIZER in finalizers:
            self._clear_definition(resource, document)

    def _clear_definition(self, resource: Resource, document: Json) -> None:
        storage = document["metadata"]["name"]
        custom = self._resource(storage)
        if custom is not None:
            for (namespace, name), _ in self._client.objects.store.all(storage):
                self._client.delete(custom.qualified, namespace, name)
        if not self._client.objects.store.all(storage):
            self._release(resource, document, FINALIZER)

    def _release(self, resource: Resource, document: Json, finalizer: str) -> None:
        metadata = document["metadata"]

        def change(copy: Json) -> None:
            left = [item for item in copy["metadata"].get("finalizers") or [] if item != finalizer]
            copy["metadata"]["finalizers"] = left

        self._client.edit(resource.qualified, metadata.get("namespace", ""), metadata["name"], change)

    def _disown(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        def change(copy: Json) -> None:
            owners = copy["metadata"].get("ownerReferences") or []
            copy["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]

        self._client.edit(resource.qualified, namespace, name, change)
        self._dependents.get(uid, set()).discard((resource.key, namespace, name))
