"""PATCH: the four formats, one way of writing.

Owns the choice of the format by media type and what a patched document must not change. The formats themselves are
`patches.py`, `strategic.py` and `applying.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from basetracker.emulators.cluster.applying import apply
from basetracker.emulators.cluster.document import Json, dig
from basetracker.emulators.cluster.objects import Objects, Outcome, WriteOptions
from basetracker.emulators.cluster.patches import json_patch, merge_patch
from basetracker.emulators.cluster.refusals import bad_request, invalid, unsupported_media
from basetracker.emulators.cluster.resources import Resource
from basetracker.emulators.cluster.strategic import strategic_merge
from basetracker.emulators.cluster.validation import violation

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


def patch(
    objects: Objects,
    resource: Resource,
    namespace: str,
    name: str,
    media_type: str,
    body: Any,
    options: WriteOptions,
) -> Outcome:
    """Patch an object, or its status; `body` is the decoded patch.

    Raises:
        Refusal: 400, 404, 409, 415 (no such format for this kind), 422.
    """
    if media_type == APPLY:
        if not isinstance(body, dict):
            raise bad_request("an apply patch must be an object")
        return apply(objects, resource, namespace, name, body, replace(options, operation="Apply"))
    old = objects.get(resource, namespace, name)
    new = _patched(resource, old, media_type, body)
    uid = dig(new, "metadata", "uid")
    if uid != old["metadata"]["uid"]:
        wrong = violation("metadata.uid", "FieldValueInvalid", uid, "field is immutable")
        raise invalid(resource, name, [wrong.cause])
    return objects.update(resource, namespace, name, new, options)


def _patched(resource: Resource, old: Json, media_type: str, body: Any) -> Json:
    if media_type == JSON_PATCH:
        return json_patch(old, body)
    if not isinstance(body, dict):
        raise bad_request("error decoding patch: it must be an object")
    if media_type == MERGE_PATCH:
        merged: Json = merge_patch(old, body)
        return merged
    if media_type == STRATEGIC and not resource.custom:
        strategic: Json = strategic_merge(resource.schema, old, body)
        return strategic
    known = [JSON_PATCH, MERGE_PATCH, APPLY] + ([] if resource.custom else [STRATEGIC])
    raise unsupported_media(media_type, known)
