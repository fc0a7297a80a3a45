"""Namespaces: what every one has from the start, and how one is emptied before it goes.

Owns the default ServiceAccount and the deletion of a namespace's contents.
"""

from __future__ import annotations

from collections.abc import Iterable

from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.controllers.loop import Key
from basetracker.emulators.cluster.document import dig
from basetracker.emulators.cluster.store import Change

_KEY = "namespaces"


class Namespaces:
    """The controller of namespaces."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def concerned(self, change: Change) -> Iterable[Key]:
        """The namespace itself, or that of something that has gone from it."""
        if change.key == _KEY and change.type != "DELETED":
            return [(_KEY, "", change.name[1])]
        if change.type == "DELETED" and change.name[0]:
            return [(_KEY, "", change.name[0])]
        return []

    def reconcile(self, key: Key) -> float | None:
        """Fill a new namespace, empty a dying one."""
        name = key[2]
        namespace = self._client.get("Namespace", "", name)
        if namespace is None:
            return None
        if dig(namespace, "metadata", "deletionTimestamp"):
            self._empty(name)
        elif self._client.get("ServiceAccount", name, "default") is None:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
            self._client.create(account)
        return None

    def _empty(self, namespace: str) -> None:
        left = 0
        for resource in self._client.objects.catalogue:
            if not resource.namespaced or resource.storage:
                continue
            for document in self._client.list(resource.qualified, namespace):
                self._client.delete(resource.qualified, namespace, document["metadata"]["name"], grace=0)
                left += self._client.get(resource.qualified, namespace, document["metadata"]["name"]) is not None
        if not left:
            self._client.objects.finish(self._client.resource("Namespace"), namespace)
