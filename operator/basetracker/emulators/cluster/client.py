"""Reading and writing a cluster from inside its process, by kind name.

Owns short forms of the machinery's operations for controllers, tests and the demo. They take the same path as HTTP
requests: validation, ownership, watch events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from basetracker.emulators.cluster.applying import apply
from basetracker.emulators.cluster.document import Json, clone, same
from basetracker.emulators.cluster.objects import Deletion, Objects, WriteOptions, view
from basetracker.emulators.cluster.patching import MERGE_PATCH, patch
from basetracker.emulators.cluster.refusals import Refusal, bad_request
from basetracker.emulators.cluster.resources import Resource


class Client:
    """Operations under one field manager's name; kinds are named as in `Catalogue.named`."""

    def __init__(self, objects: Objects, manager: str) -> None:
        self.objects = objects
        self._manager = manager

    def resource(self, kind: str) -> Resource:
        """The kind of that name.

        Raises:
            KeyError: there is none.
        """
        return self.objects.catalogue.named(kind)

    def _options(self, *, status: bool = False) -> WriteOptions:
        return WriteOptions(manager=self._manager, subresource="status" if status else "")

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """The object, or None; not to be changed."""
        return self.objects.find(self.resource(kind), namespace, name)

    def list(self, kind: str, namespace: str = "") -> list[Json]:
        """The objects of a namespace, or of all when it is empty; not to be changed."""
        resource = self.resource(kind)
        found = self.objects.store.all(resource.key, namespace)
        return [view(resource, stored.document) for _, stored in found]

    def create(self, document: Json) -> Json:
        """Create an object; its kind and namespace are its own.

        Raises:
            Refusal: as the API server refuses.
        """
        resource = self._of(document)
        namespace = self._namespace(resource, document)
        return self.objects.create(resource, namespace, document, self._options()).document

    def apply(self, document: Json) -> Json:
        """Create an object or apply it with force; a `status` in it is written too, as its controller would.

        Raises:
            Refusal: as the API server refuses.
        """
        resource = self._of(document)
        namespace, name = self._namespace(resource, document), document["metadata"]["name"]
        options = WriteOptions(manager=self._manager, operation="Apply", force=True)
        wanted = {key: value for key, value in document.items() if key != "status" or not resource.has_status}
        found = apply(self.objects, resource, namespace, name, wanted, options).document
        if resource.has_status and "status" in document:
            found = self.patch(resource.qualified, namespace, name, {"status": document["status"]}, status=True)
        return found

    def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        body: Any,
        *,
        status: bool = False,
        media_type: str = MERGE_PATCH,
    ) -> Json:
        """Patch an object or its status.

        Raises:
            Refusal: as the API server refuses.
        """
        resource = self.resource(kind)
        options = self._options(status=status)
        return patch(self.objects, resource, namespace, name, media_type, body, options).document

    def edit(
        self, kind: str, namespace: str, name: str, change: Callable[[Json], None], *, status: bool = False
    ) -> Json | None:
        """Let `change` alter a copy of the object and write it when it differs; None where it is gone.

        Raises:
            Refusal: as the API server refuses.
        """
        resource = self.resource(kind)
        found = self.objects.find(resource, namespace, name)
        if found is None:
            return None
        document = clone(found)
        change(document)
        if same(document, found):
            return found
        return self.objects.update(resource, namespace, name, document, self._options(status=status)).document

    def delete(self, kind: str, namespace: str, name: str, *, grace: int | None = None, uid: str | None = None) -> bool:
        """Delete an object; False where it is gone, or is another one than `uid` names."""
        try:
            self.objects.delete(self.resource(kind), namespace, name, Deletion(grace=grace, uid=uid))
        except Refusal as refusal:
            if refusal.code in (404, 409):
                return False
            raise
        return True

    def _of(self, document: Json) -> Resource:
        resource = self.objects.catalogue.of_document(document)
        if resource is None:
            kind, version = document.get("kind"), document.get("apiVersion")
            raise bad_request(f'no matches for kind "{kind}" in version "{version}"')
        return resource

    def _namespace(self, resource: Resource, document: Json) -> str:
        return str(document["metadata"].get("namespace") or "default") if resource.namespaced else ""
