"""From what a client sent to what may be stored: unknown fields, defaults, checks.

Owns the order in which a document is looked at before a write: types of built-in kinds, unknown fields by the
asked strictness, defaults, metadata, schema, rules. Answers warnings or raises the refusal. Writing is
`objects.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from basetracker.emulators.cluster.builtin_defaults import builtin_violations, default_builtin
from basetracker.emulators.cluster.document import Json, labels_of, same, without_nulls
from basetracker.emulators.cluster.extensions import crd_violations
from basetracker.emulators.cluster.refusals import bad_request, invalid
from basetracker.emulators.cluster.resources import Resource
from basetracker.emulators.cluster.schema import apply_defaults, prune, quantities_as_text
from basetracker.emulators.cluster.validation import Violation, violation, violations

Strictness = Literal["Strict", "Warn", "Ignore"]

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_BAD_NAME = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '" + _SUBDOMAIN + "')"
)
_KEY = rf"({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"
_BAD_KEY = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_BAD_LABEL = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
    "is '" + _LABEL + "')"
)


def prepare(resource: Resource, document: Json, old: Json | None, strictness: Strictness) -> list[str]:
    """Bring `document` into its stored form, in place; answers warnings for the client.

    Raises:
        Refusal: 400 for unknown fields under Strict or wrong types of a built-in kind, 422 for broken rules.
    """
    if not resource.custom:
        without_nulls(document)
        _require_types(resource, document, old)
    warnings = _unknown_fields(resource, document, strictness)
    if resource.custom:
        apply_defaults(resource.schema, document)
    else:
        quantities_as_text(resource.schema, document)
        default_builtin(document)
    found = [*_metadata(resource, document), *_schema_violations(resource, document, old)]
    if found:
        name = document["metadata"].get("name", "")
        raise invalid(resource, name, [item.cause for item in found])
    return warnings


def _require_types(resource: Resource, document: Json, old: Json | None) -> None:
    for found in violations(resource.schema, document, old):
        if found.reason == "FieldValueTypeInvalid":
            wanted = found.message.partition("must be of type ")[2].partition(":")[0]
            got = found.message.rpartition(': "')[2].rstrip('"')
            message = (
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: json: cannot '
                f"unmarshal {got} into Go struct field {resource.kind}.{found.path} of type {wanted}"
            )
            raise bad_request(message)


def _unknown_fields(resource: Resource, document: Json, strictness: Strictness) -> list[str]:
    metadata = document.get("metadata") or {}
    gone = prune(resource.schema, document)
    if resource.custom and resource.schema:
        gone += [f"metadata.{key}" for key in list(metadata) if key not in _METADATA]
        for key in [key for key in metadata if key not in _METADATA]:
            del metadata[key]
    if strictness == "Ignore" or not gone:
        return []
    texts = [f'unknown field "{path}"' for path in gone]
    if strictness == "Strict":
        lead = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
        raise bad_request(lead + "strict decoding error: " + ", ".join(texts))
    return texts


_METADATA = frozenset(
    [
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "managedFields",
        "selfLink",
    ]
)


def _metadata(resource: Resource, document: Json) -> Iterator[Violation]:
    name = document["metadata"].get("name", "")
    if resource.group != "rbac.authorization.k8s.io" and (len(name) > 253 or not re.fullmatch(_SUBDOMAIN, name)):
        yield violation("metadata.name", "FieldValueInvalid", name, _BAD_NAME)
    for field in ("labels", "annotations"):
        for key in document["metadata"].get(field) or {}:
            if not re.fullmatch(_KEY, key):
                yield violation(f"metadata.{field}", "FieldValueInvalid", key, _BAD_KEY)
    for value in labels_of(document).values():
        if not isinstance(value, str):
            raise bad_request("unable to decode metadata.labels: a label's value must be a string")
        if len(value) > 63 or not re.fullmatch(_LABEL, value):
            yield violation("metadata.labels", "FieldValueInvalid", value, _BAD_LABEL)
    for value in (document["metadata"].get("annotations") or {}).values():
        if not isinstance(value, str):
            raise bad_request("unable to decode metadata.annotations: an annotation's value must be a string")


def _schema_violations(resource: Resource, document: Json, old: Json | None) -> list[Violation]:
    found = violations(resource.schema, document, old)
    if not resource.custom:
        found += builtin_violations(document, old)
    if resource.kind == "CustomResourceDefinition":
        found += crd_violations(document)
    return found


def bumps_generation(resource: Resource, document: Json, old: Json) -> bool:
    """Whether this write changes what is desired, rather than metadata or status."""
    ignored = {"metadata", "status"} if resource.has_status else {"metadata"}

    def desired(source: Json) -> Json:
        kept = {key: value for key, value in source.items() if key not in ignored}
        if resource.kind == "Pod" and "spec" in kept:  # where it runs is written by a binding, which isn't counted
            kept["spec"] = {key: value for key, value in kept["spec"].items() if key != "nodeName"}
        return kept

    return not same(desired(document), desired(old))
