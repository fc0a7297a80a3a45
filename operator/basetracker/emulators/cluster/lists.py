"""Lists: selection, paging and the forms in which a list is shown.

Owns the continue token and the encoding of lists and single objects; watches have their own file. Objects of custom
kinds are written from their stored bytes, so that a list of ten thousand costs little.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from basetracker.emulators.cluster.document import Json
from basetracker.emulators.cluster.objects import Objects, view
from basetracker.emulators.cluster.refusals import bad_request, expired
from basetracker.emulators.cluster.requests import Form
from basetracker.emulators.cluster.resources import Resource
from basetracker.emulators.cluster.selectors import matcher
from basetracker.emulators.cluster.store import Stored
from basetracker.emulators.cluster.tables import Include, partial_metadata, table

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some objects of a kind, and the `metadata` of their list."""

    items: list[Stored]
    metadata: Json


def page(objects: Objects, resource: Resource, namespace: str, query: Mapping[str, str]) -> Page:
    """The asked page of the list.

    Raises:
        Refusal: 400 for a selector or token that can't be read, 410 for a token that is too old.
    """
    matches = matcher(resource, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    revision, after = objects.store.revision, ("", "")
    if token := query.get("continue"):
        revision, after = _position(token)
        if revision < objects.store.oldest(resource.key):
            raise expired(_TOO_OLD)
    found = objects.store.all(resource.key, namespace)
    if token:
        found = [item for item in found if item[0] > after]
    if matches is not None:
        found = [item for item in found if matches(view(resource, item[1].document))]
    metadata: Json = {"resourceVersion": str(revision)}
    limit = int(query.get("limit") or 0)
    if limit and len(found) > limit:
        metadata["continue"] = _token(revision, found[limit - 1][0])
        if matches is None:
            metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    return Page(items=[stored for _, stored in found], metadata=metadata)


def _token(revision: int, last: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([revision, *last]).encode()).decode()


def _position(token: str) -> tuple[int, tuple[str, str]]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise bad_request(f"continue key is not valid: {error}") from error
    return int(revision), (namespace, name)


def encoded_list(resource: Resource, found: Page, form: Form, query: Mapping[str, str], now: datetime) -> bytes:
    """The page as JSON in the asked form."""
    if form in ("Table", "Partial"):
        documents = [view(resource, stored.document) for stored in found.items]
        return json.dumps(_formed_list(resource, documents, found.metadata, form, query, now)).encode()
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": found.metadata}
    items = [_item(resource, stored) for stored in found.items]
    return json.dumps(head).encode()[:-1] + b',"items":[' + b",".join(items) + b"]}"


def _formed_list(
    resource: Resource, documents: list[Json], metadata: Json, form: Form, query: Mapping[str, str], now: datetime
) -> Json:
    if form == "Table":
        return table(resource, documents, now, metadata=metadata, include=include_of(query))
    items = [partial_metadata(document) for document in documents]
    head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return head | {"items": items}


def include_of(query: Mapping[str, str]) -> Include:
    """How much of each object a Table carries."""
    asked = query.get("includeObject", "Metadata")
    return cast(Include, asked) if asked in ("None", "Object") else "Metadata"


def _item(resource: Resource, stored: Stored) -> bytes:
    if resource.custom and stored.document.get("apiVersion") == resource.api_version:
        return stored.encoded
    document = view(resource, stored.document)
    if not resource.custom:  # the real server leaves them out in lists of its own kinds
        document = {key: value for key, value in document.items() if key not in ("kind", "apiVersion")}
    return json.dumps(document, separators=(",", ":")).encode()


def formed(
    resource: Resource, document: Json, form: Form, query: Mapping[str, str], now: datetime, *, headers: bool = True
) -> Json:
    """One object in the asked form."""
    if form == "Table":
        metadata = {"resourceVersion": document["metadata"].get("resourceVersion", "")}
        include = include_of(query)
        return table(resource, [document], now, metadata=metadata, include=include, headers=headers)
    return partial_metadata(document) if form == "Partial" else document
