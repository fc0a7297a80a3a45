"""Create, read, update, patch and delete: the API machinery without HTTP.

Owns every rule about a write that holds for all kinds: names, resourceVersion and uid, generation, the status
subresource, finalizers, dry run, and that nothing is written when nothing changes. The HTTP server, the
controllers and `Cluster`'s own calls all write through here. Patch formats, schemas and field ownership are
other files'.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import uuid4

from basetracker.emulators.cluster import refusals
from basetracker.emulators.cluster.document import Json, clone, dig, rfc3339, same
from basetracker.emulators.cluster.events import core_event, new_event
from basetracker.emulators.cluster.extensions import establish
from basetracker.emulators.cluster.ownership import Writer, record_update
from basetracker.emulators.cluster.preparing import Strictness, bumps_generation, prepare
from basetracker.emulators.cluster.resources import Catalogue, Resource
from basetracker.emulators.cluster.store import Name, Store, Stored

Propagation = Literal["Background", "Foreground", "Orphan"]
_SERVER_OWNED = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
_ALPHABET = string.ascii_lowercase.replace("a", "").replace("e", "").replace("i", "") + "2456789"
_CRDS = "customresourcedefinitions.apiextensions.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a write is meant: by whom, for which subresource, and whether it is only tried."""

    manager: str = "basetracker-cluster"
    subresource: Literal["", "status"] = ""
    operation: Literal["Update", "Apply"] = "Update"
    dry_run: bool = False
    strictness: Strictness = "Warn"
    force: bool = False

    def writer(self, resource: Resource, now: datetime) -> Writer:
        """Who owns the fields that this write sets."""
        return Writer(
            manager=self.manager,
            operation=self.operation,
            api_version=resource.api_version,
            subresource=self.subresource,
            time=rfc3339(now),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """`DeleteOptions`: preconditions, what becomes of dependents, and the grace of a Pod in seconds."""

    uid: str | None = None
    resource_version: str | None = None
    propagation: Propagation = "Background"
    grace: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a write left behind: the object as the client sees it, and warnings."""

    document: Json
    created: bool = False
    gone: bool = False
    warnings: list[str] = field(default_factory=list)


def view(resource: Resource, document: Json) -> Json:
    """The stored document as this version of its kind shows it."""
    if document.get("apiVersion") == resource.api_version:
        return document
    if resource.key == "events":
        return new_event(document)
    return document | {"apiVersion": resource.api_version}


class Objects:
    """Reads and writes objects of every kind by the rules of the API server."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Callable[[], datetime]) -> None:
        self.store = store
        self.catalogue = catalogue
        self.clock = clock

    # ------------------------------------------------------------------------------------------ reading

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """The object as this version shows it, or None."""
        stored = self.store.get(resource.key, (namespace, name))
        return None if stored is None else view(resource, stored.document)

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """The object.

        Raises:
            Refusal: 404.
        """
        found = self.find(resource, namespace, name)
        if found is None:
            raise refusals.not_found(resource, name)
        return found

    # ------------------------------------------------------------------------------------------ writing

    def create(
        self,
        resource: Resource,
        namespace: str,
        body: Json,
        options: WriteOptions,
        managed: list[Json] | None = None,
    ) -> Outcome:
        """Store a new object; with `managed`, its fields' owners are those.

        Raises:
            Refusal: 400, 403, 404 (no such namespace), 409, 422.
        """
        document = self._incoming(resource, namespace, body)
        metadata = document["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(random.choices(_ALPHABET, k=5))  # noqa: S311  # no secret
        if not metadata.get("name"):
            cause = refusals.Cause(
                reason="FieldValueRequired",
                message="Required value: name or generateName is required",
                field="metadata.name",
            )
            raise refusals.invalid(resource, "", [cause])
        self._require_namespace(resource, namespace, metadata["name"])
        if metadata.get("resourceVersion"):
            raise refusals.bad_request("resourceVersion should not be set on objects to be created")
        name = (namespace, metadata["name"])
        if self.store.get(resource.key, name) is not None:
            raise refusals.already_exists(resource, metadata["name"])
        for key in _SERVER_OWNED:
            metadata.pop(key, None)
        metadata |= {"uid": str(uuid4()), "creationTimestamp": rfc3339(self.clock())}
        if resource.has_generation or resource.custom:
            metadata["generation"] = 1
        if resource.has_status:
            document.pop("status", None)
        warnings = prepare(resource, document, None, options.strictness)
        self._establish(resource, document)
        if managed is None:
            record_update(resource, None, document, options.writer(resource, self.clock()))
        else:
            metadata["managedFields"] = managed
        return self._put(resource, name, document, options, created=True, warnings=warnings)

    def update(self, resource: Resource, namespace: str, name: str, body: Json, options: WriteOptions) -> Outcome:
        """Replace an object, or its status when that is the subresource.

        Raises:
            Refusal: 400, 404, 409, 422.
        """
        stored = self.store.get(resource.key, (namespace, name))
        if stored is None:
            raise refusals.not_found(resource, name)
        document = self._incoming(resource, namespace, body)
        sent = document["metadata"]
        if sent.setdefault("name", name) != name:
            message = f"the name of the object ({sent['name']}) does not match the name on the URL ({name})"
            raise refusals.bad_request(message)
        self.require_preconditions(resource, stored, name, sent)
        if resource.needs_version and not sent.get("resourceVersion"):
            cause = refusals.Cause(
                reason="FieldValueInvalid",
                message="Invalid value: 0: must be specified for an update",
                field="metadata.resourceVersion",
            )
            raise refusals.invalid(resource, name, [cause])
        return self.rewrite(resource, stored, document, options)

    def rewrite(
        self,
        resource: Resource,
        stored: Stored,
        document: Json,
        options: WriteOptions,
        managed: list[Json] | None = None,
    ) -> Outcome:
        """Store `document` as the next version of `stored`; with `managed`, its fields' owners are those.

        Raises:
            Refusal: 422.
        """
        old = stored.document
        document = self._with_server_parts(resource, document, old, options.subresource)
        metadata = document["metadata"]
        warnings = prepare(resource, document, old, options.strictness)
        self._establish(resource, document)
        self._require_finalizers(resource, document, old)
        if "generation" in metadata and bumps_generation(resource, document, old):
            metadata["generation"] += 1
        if managed is None:
            record_update(resource, old, document, options.writer(resource, self.clock()))
        else:
            metadata["managedFields"] = managed
        if same(old, document):
            return Outcome(document=view(resource, old), warnings=warnings)
        name = (metadata.get("namespace", ""), metadata["name"])
        return self._put(resource, name, document, options, created=False, warnings=warnings)

    def _put(
        self,
        resource: Resource,
        name: Name,
        document: Json,
        options: WriteOptions,
        *,
        created: bool,
        warnings: list[str],
    ) -> Outcome:
        metadata = document["metadata"]
        if options.dry_run:
            return Outcome(document=view(resource, document), created=created, warnings=warnings)
        metadata["resourceVersion"] = str(self.store.next_revision())
        if metadata.get("deletionTimestamp") and not self._held(document):
            self.store.remove(resource.key, name, document)
            return Outcome(document=view(resource, document), gone=True, warnings=warnings)
        self.store.put(resource.key, name, document)
        return Outcome(document=view(resource, document), created=created, warnings=warnings)

    def delete(self, resource: Resource, namespace: str, name: str, how: Deletion) -> Outcome:
        """Delete an object, or mark it as deleted while something still holds it.

        Raises:
            Refusal: 404, 409.
        """
        stored = self.store.get(resource.key, (namespace, name))
        if stored is None:
            raise refusals.not_found(resource, name)
        wanted = {"uid": how.uid, "resourceVersion": how.resource_version}
        for key, value in wanted.items():
            is_now = stored.document["metadata"].get(key)
            if value is not None and value != is_now:
                label = "UID" if key == "uid" else "ResourceVersion"
                why = f"Precondition failed: {label} in precondition: {value}, {label} in object meta: {is_now}"
                raise refusals.conflict(resource, name, why)
        document = clone(stored.document)
        if how.dry_run:
            return Outcome(document=view(resource, document), gone=True)
        self._mark_deleted(document, how)
        document["metadata"]["resourceVersion"] = str(self.store.next_revision())
        if not self._held(document):
            self.store.remove(resource.key, (namespace, name), document)
            return Outcome(document=view(resource, document), gone=True)
        document["metadata"]["resourceVersion"] = stored.document["metadata"]["resourceVersion"]
        if same(document, stored.document):
            return Outcome(document=view(resource, document))
        document["metadata"]["resourceVersion"] = str(self.store.next_revision())
        self.store.put(resource.key, (namespace, name), document)
        return Outcome(document=view(resource, document))

    def finish(self, resource: Resource, name: str) -> None:
        """Let go an emptied object of cluster scope that only its `spec.finalizers` still held."""
        stored = self.store.get(resource.key, ("", name))
        if stored is not None:
            document = clone(stored.document)
            document["metadata"]["resourceVersion"] = str(self.store.next_revision())
            self.store.remove(resource.key, ("", name), document)

    # ------------------------------------------------------------------------------------------ rules

    def _establish(self, resource: Resource, document: Json) -> None:
        if resource.qualified == _CRDS:
            establish(document, rfc3339(self.clock()))

    def _incoming(self, resource: Resource, namespace: str, body: Json) -> Json:
        if resource.custom and not (body.get("kind") and body.get("apiVersion")):
            missing = "Kind" if not body.get("kind") else "apiVersion"
            raise refusals.bad_request(f"Object '{missing}' is missing in the body of the request")
        kind, api_version = body.get("kind", resource.kind), body.get("apiVersion", resource.api_version)
        if kind != resource.kind or api_version != resource.api_version:
            message = (
                f"{kind} in version {api_version.rpartition('/')[2]!r} cannot be handled as a {resource.kind}: the API "
                f"version in the data ({api_version}) does not match the expected API version ({resource.api_version})"
            )
            raise refusals.bad_request(message)
        document: Json = clone(body) | {"apiVersion": resource.api_version, "kind": resource.kind}
        if not isinstance(document.get("metadata") or {}, dict):
            raise refusals.bad_request("metadata must be an object")
        metadata: Json = document.get("metadata") or {}
        document["metadata"] = metadata = {key: value for key, value in metadata.items() if value is not None}
        if resource.key == "events" and resource.group:
            document = core_event(document)
        if not resource.namespaced:
            metadata.pop("namespace", None)
        elif metadata.setdefault("namespace", namespace) != namespace:
            raise refusals.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        return document

    def _require_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        home = self.store.get("namespaces", ("", namespace))
        if home is None:
            raise refusals.not_found(self.catalogue.named("Namespace"), namespace)
        if home.document["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise refusals.forbidden(resource, name, why)

    def require_preconditions(self, resource: Resource, stored: Stored, name: str, sent: Json) -> None:
        """Let a write pass whose metadata names the stored uid and resourceVersion, or none.

        Raises:
            Refusal: 409.
        """
        is_now = stored.document["metadata"]
        if sent.get("uid") and sent["uid"] != is_now["uid"]:
            why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: {is_now['uid']}"
            raise refusals.conflict(resource, name, why)
        if sent.get("resourceVersion") and sent["resourceVersion"] != is_now["resourceVersion"]:
            raise refusals.conflict(resource, name)

    def _require_finalizers(self, resource: Resource, document: Json, old: Json) -> None:
        if not old["metadata"].get("deletionTimestamp"):
            return
        before, after = old["metadata"].get("finalizers") or [], document["metadata"].get("finalizers") or []
        if added := sorted(set(after) - set(before)):
            message = (
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{', '.join(repr(item) for item in added)}}}"
            )
            cause = refusals.Cause(reason="FieldValueForbidden", message=message, field="metadata.finalizers")
            raise refusals.invalid(resource, document["metadata"]["name"], [cause])

    def _with_server_parts(self, resource: Resource, document: Json, old: Json, subresource: str) -> Json:
        """The sent document with everything that isn't the sender's to change put back."""
        if subresource == "status":
            document = clone(old) | {"status": document.get("status") or {}}
        elif resource.has_status:
            document.pop("status", None)
            if "status" in old:
                document["status"] = clone(old["status"])
        metadata = document["metadata"]
        for key in (*_SERVER_OWNED, "resourceVersion"):
            metadata.pop(key, None)
            if key in old["metadata"]:
                metadata[key] = old["metadata"][key]
        if resource.kind == "Namespace":
            document["spec"] = clone(old.get("spec") or {})
        return document

    def _held(self, document: Json) -> bool:
        """Whether an object that is marked as deleted has to stay for now."""
        metadata = document["metadata"]
        if metadata.get("finalizers"):
            return True
        if document["kind"] == "Namespace":
            return bool(dig(document, "spec", "finalizers"))
        return document["kind"] == "Pod" and bool(metadata.get("deletionGracePeriodSeconds", 0) > 0)

    def _mark_deleted(self, document: Json, how: Deletion) -> None:
        metadata = document["metadata"]
        grace = 0
        if document["kind"] == "Pod" and dig(document, "spec", "nodeName"):
            given = dig(document, "spec", "terminationGracePeriodSeconds", default=30)
            grace = given if how.grace is None else how.grace
            grace = min(grace, metadata.get("deletionGracePeriodSeconds", grace))
        if how.propagation != "Background" and not metadata.get("deletionTimestamp"):
            mark = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}[how.propagation]
            metadata["finalizers"] = [*(metadata.get("finalizers") or []), mark]
        if document["kind"] == "Namespace":
            document.setdefault("status", {})["phase"] = "Terminating"
        if not metadata.get("deletionTimestamp"):
            metadata["deletionTimestamp"] = rfc3339(self.clock())
            if "generation" in metadata:
                metadata["generation"] += 1
        metadata["deletionGracePeriodSeconds"] = grace
