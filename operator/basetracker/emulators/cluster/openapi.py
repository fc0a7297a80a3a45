"""OpenAPI v3: what `kubectl apply` validates by and `kubectl explain` reads.

Owns the index and one document per group and version, made from the same schemas that the server validates by.
Operations are told only as far as kubectl looks: the path, the method and the kind.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from basetracker.emulators.cluster.builtin_schemas import INLINE, definitions
from basetracker.emulators.cluster.document import Json
from basetracker.emulators.cluster.resources import Catalogue, Resource

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_MODEL = re.compile(r"((?:[A-Z][a-z]+)?V\d+)?(.+)")
_REFERENCE = "#/components/schemas/"


def index(catalogue: Catalogue) -> Json:
    """`/openapi/v3`: a URL with a hash for each group and version."""
    paths: Json = {}
    for group, versions in catalogue.groups().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={_hash(catalogue, group, version)}"}
    return {"paths": paths}


def _hash(catalogue: Catalogue, group: str, version: str) -> str:
    parts = [(r.kind, r.model or r.custom_schema) for r in catalogue.of_group_version(group, version)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest().upper()


def document(catalogue: Catalogue, group: str, version: str) -> Json | None:
    """The document of a group and version, or None where nothing is served there."""
    resources = catalogue.of_group_version(group, version)
    if not resources:
        return None
    schemas: Json = {_META: _named(definitions("V1ObjectMeta")["V1ObjectMeta"])}
    schemas |= {_name(name): _named(item) for name, item in definitions("V1ObjectMeta").items()}
    paths: Json = {}
    for resource in resources:
        schemas |= _schemas(resource)
        paths |= _paths(resource)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _name(model: str) -> str:
    prefix, name = _MODEL.fullmatch(model).groups()  # type: ignore[union-attr]  # it matches everything
    return f"io.k8s.api.{(prefix or 'meta').lower()}.{name}"


def _schemas(resource: Resource) -> Json:
    if resource.custom:
        return {_kind_name(resource): _custom(resource)}
    found = {_name(name): _named(item) for name, item in definitions(resource.model).items()}
    main = found[_name(resource.model)]
    main["x-kubernetes-group-version-kind"] = [_kind(resource)]
    return found


def _kind_name(resource: Resource) -> str:
    if not resource.custom:
        return _name(resource.model)
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _kind(resource: Resource) -> Json:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _custom(resource: Resource) -> Json:
    schema: Json = dict(resource.schema) or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties = dict(schema.get("properties") or {})
    properties["apiVersion"] = {"type": "string"}
    properties["kind"] = {"type": "string"}
    properties["metadata"] = {"allOf": [{"$ref": _REFERENCE + _META}]}
    return schema | {"properties": properties, "x-kubernetes-group-version-kind": [_kind(resource)]}


def _named(value: Any) -> Any:
    """A definition with its references turned into ones within the document."""
    if isinstance(value, list):
        return [_named(item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(reference := value.get("$ref"), str):
        more = {key: item for key, item in value.items() if key not in ("$ref", INLINE)}
        return more | {"allOf": [{"$ref": _REFERENCE + _name(reference)}]}
    if value.get("x-kubernetes-int-or-string"):
        rest = {key: item for key, item in value.items() if key != "x-kubernetes-int-or-string"}
        return rest | {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}
    return {key: _named(item) for key, item in value.items() if key != INLINE}


def _paths(resource: Resource) -> Json:
    collection = resource.prefix + ("/namespaces/{namespace}" if resource.namespaced else "") + f"/{resource.plural}"
    schema = {"$ref": _REFERENCE + _kind_name(resource)}

    def operation(action: str, *, dry_run: bool = False) -> Json:
        names = ["dryRun", "fieldManager", "fieldValidation"] if dry_run else []
        return {
            "operationId": f"{action}{resource.version}{resource.kind}",
            "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names],
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _kind(resource),
        }

    one = {
        "get": operation("get"),
        "put": operation("put", dry_run=True),
        "patch": operation("patch", dry_run=True),
        "delete": operation("delete"),
    }
    return {
        collection: {"get": operation("list"), "post": operation("post", dry_run=True)},
        f"{collection}/{{name}}": one,
    }
