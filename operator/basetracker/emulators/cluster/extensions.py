"""CustomResourceDefinitions: a stored CRD makes a served kind.

Owns the checks of a new CRD (its schema's rules above all: a rule that can't be evaluated here is refused, never
skipped), its status, and the way from its text to the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from basetracker.emulators.cluster import rules
from basetracker.emulators.cluster.document import Json, dig
from basetracker.emulators.cluster.jsonpath import require_readable
from basetracker.emulators.cluster.resources import Catalogue, Column, Resource
from basetracker.emulators.cluster.validation import Violation, violation

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


def crd_violations(document: Json) -> list[Violation]:
    """What is wrong with a CRD."""
    spec = document.get("spec") or {}
    found: list[Violation] = []
    names = spec.get("names") or {}
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if document["metadata"].get("name") != wanted:
        detail = f"must be spec.names.plural+'.'+spec.group, that is {wanted}"
        found.append(violation("metadata.name", "FieldValueInvalid", document["metadata"].get("name"), detail))
    versions: list[Json] = spec.get("versions") or []
    if sum(1 for version in versions if version.get("storage")) != 1:
        detail = "must have exactly one version marked as storage version"
        found.append(violation("spec.versions", "FieldValueInvalid", len(versions), detail))
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        schema = dig(version, "schema", "openAPIV3Schema")
        if schema is None:
            found.append(
                violation(f"{path}.schema.openAPIV3Schema", "FieldValueRequired", detail="schemas are required")
            )
            continue
        found += _schema(schema, f"{path}.schema.openAPIV3Schema")
        for place, column in enumerate(version.get("additionalPrinterColumns") or []):
            where = f"{path}.additionalPrinterColumns[{place}].jsonPath"
            found += _path(column.get("jsonPath", ""), where)
        for place, item in enumerate(version.get("selectableFields") or []):
            found += _path(item.get("jsonPath", ""), f"{path}.selectableFields[{place}].jsonPath")
    return found


def _path(path: str, where: str) -> Iterator[Violation]:
    try:
        require_readable(path)
    except ValueError as error:
        yield violation(where, "FieldValueInvalid", path, str(error))


def _schema(schema: Any, path: str) -> Iterator[Violation]:
    if not isinstance(schema, dict):
        return
    loose = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not loose:
        yield violation(f"{path}.type", "FieldValueRequired", detail="must not be empty for specified object fields")
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or []):
        yield from _rule(rule, f"{path}.x-kubernetes-validations[{index}]")
    yield from _list_keys(schema, path)
    for name, part in (schema.get("properties") or {}).items():
        yield from _schema(part, f"{path}.properties[{name}]")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _schema(schema[key], f"{path}.{key}")


def _rule(rule: Json, path: str) -> Iterator[Violation]:
    for key in ("rule", "messageExpression"):
        expression = rule.get(key)
        if expression is None:
            continue
        try:
            rules.require_known_variables(expression, {"self", "oldSelf"})
        except rules.UnsupportedRuleError as error:
            yield violation(f"{path}.{key}", "FieldValueInvalid", expression, str(error))
    if not rule.get("rule"):
        yield violation(f"{path}.rule", "FieldValueRequired", detail="rule is not specified")


def _list_keys(schema: Json, path: str) -> Iterator[Violation]:
    if schema.get("x-kubernetes-list-type") != "map":
        return
    items = schema.get("items") or {}
    for key in schema.get("x-kubernetes-list-map-keys") or []:
        if key not in (items.get("required") or []) and "default" not in dig(items, "properties", key, default={}):
            where = f"{path}.items.properties[{key}].default"
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            yield violation(where, "FieldValueRequired", detail=detail)


def establish(document: Json, now: str) -> None:
    """Write, in place, the status of a CRD that is accepted: served from this moment."""
    spec = document["spec"]
    spec.setdefault("conversion", {"strategy": "None"})
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    metadata = document["metadata"]
    if FINALIZER not in (metadata.get("finalizers") or []) and not metadata.get("deletionTimestamp"):
        metadata["finalizers"] = [*(metadata.get("finalizers") or []), FINALIZER]
    status = document.setdefault("status", {})
    if status.get("conditions"):
        status["acceptedNames"] = names
        return
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    status |= {
        "acceptedNames": names,
        "storedVersions": [storage],
        "conditions": [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
        ],
    }


def _condition(kind: str, reason: str, message: str, now: str) -> Json:
    return {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}


def serve(catalogue: Catalogue, document: Json) -> None:
    """Serve the kind of this CRD in each of its served versions."""
    spec = document["spec"]
    served = [version for version in spec["versions"] if version.get("served")]
    catalogue.drop(spec["group"], spec["names"]["plural"], keep=[version["name"] for version in served])
    for version in served:
        catalogue.add(custom_resource(spec, version))


def withdraw(catalogue: Catalogue, document: Json) -> None:
    """Stop serving the kind of this CRD."""
    spec = document["spec"]
    catalogue.drop(spec["group"], spec["names"]["plural"])


def custom_resource(spec: Json, version: Json) -> Resource:
    """The served kind that this version of a CRD describes; `spec` is the CRD's."""
    names = spec["names"]
    subresources = version.get("subresources") or {}
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec.get("scope") != "Cluster",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        has_status="status" in subresources,
        has_generation=True,
        scale=subresources.get("scale"),
        columns=tuple(_column(item) for item in version.get("additionalPrinterColumns") or []),
        selectable=tuple(item["jsonPath"].lstrip(".") for item in version.get("selectableFields") or []),
        custom=True,
        custom_schema=dig(version, "schema", "openAPIV3Schema", default={}),
    )


def _column(item: Json) -> Column:
    return Column(
        name=item["name"],
        type=item["type"],
        path=item["jsonPath"],
        description=item.get("description", ""),
        format=item.get("format", ""),
        priority=item.get("priority", 0),
    )
