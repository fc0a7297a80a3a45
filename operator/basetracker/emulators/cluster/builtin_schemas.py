"""Schemas of the built-in kinds, read from the Kubernetes client's models.

Owns the translation of a client model into a structural schema with the list types that strategic merge and
server-side apply need. The models name every field, its type and its description, so that nothing about
Deployments or Pods has to be written down here twice. Knows nothing of custom kinds.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import Any

from basetracker.emulators.cluster.document import Json

# (model, property) -> keys of the list's items. The first key is the one strategic merge goes by.
_MAP_LISTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("V1PodSpec", "containers"): ("name",),
    ("V1PodSpec", "initContainers"): ("name",),
    ("V1PodSpec", "ephemeralContainers"): ("name",),
    ("V1PodSpec", "volumes"): ("name",),
    ("V1PodSpec", "imagePullSecrets"): ("name",),
    ("V1PodSpec", "hostAliases"): ("ip",),
    ("V1PodSpec", "topologySpreadConstraints"): ("topologyKey", "whenUnsatisfiable"),
    ("V1Container", "env"): ("name",),
    ("V1Container", "ports"): ("containerPort", "protocol"),
    ("V1Container", "volumeMounts"): ("mountPath",),
    ("V1Container", "volumeDevices"): ("devicePath",),
    ("V1ServiceSpec", "ports"): ("port", "protocol"),
    ("V1ServiceAccount", "secrets"): ("name",),
    ("V1ServiceAccount", "imagePullSecrets"): ("name",),
    ("V1ObjectMeta", "ownerReferences"): ("uid",),
    ("V1CustomResourceDefinitionStatus", "conditions"): ("type",),
    ("V1DeploymentStatus", "conditions"): ("type",),
    ("V1ReplicaSetStatus", "conditions"): ("type",),
    ("V1PodStatus", "conditions"): ("type",),
    ("V1PodStatus", "podIPs"): ("ip",),
    ("V1NodeStatus", "conditions"): ("type",),
    ("V1NodeStatus", "addresses"): ("type",),
    ("V1NamespaceStatus", "conditions"): ("type",),
}
_SETS = {("V1ObjectMeta", "finalizers")}
_ATOMIC = {"V1LabelSelector", "V1SecretKeySelector", "V1ConfigMapKeySelector", "V1ObjectReference", "V1OwnerReference"}
# Structs that are no pointers in Go, and lists that are always written: an empty object has them already, so nobody
# becomes their owner by filling them. The mark is ours, for `fieldpaths.py`.
_INLINE = {"metadata", "spec", "status", "strategy", "template", "jobTemplate", "updateStrategy", "resources"}
INLINE = "x-inline"
# A quantity is sent as a text or a number, and stored as a text. The format is ours, for `schema.py`.
QUANTITY: Json = {"x-kubernetes-int-or-string": True, "format": "quantity"}
_FREE: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
# Quantities are strings or numbers on the wire, whatever the model says.
_QUANTITIES = {"limits", "requests", "capacity", "allocatable", "overhead", "hard", "used", "sizeLimit"}


def _module(model: str) -> str:
    snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", model)
    snake = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", snake)
    return f"kubernetes.client.models.{snake.lower()}"


@cache
def definitions(model: str) -> dict[str, Json]:
    """Model name → its own part of the schema, with `$ref` to the others; the asked model is among them."""
    raw = getattr(importlib.import_module(_module(model)), model).model_json_schema(by_alias=True)
    found: dict[str, Json] = raw.pop("$defs", {})
    found.setdefault(model, raw)
    return {name: _definition(name, item) for name, item in found.items()}


def _definition(name: str, raw: Json) -> Json:
    if name == "V1JSONSchemaProps":
        return dict(_FREE)
    properties = {key: _property(name, key, item) for key, item in raw.get("properties", {}).items()}
    for key in {*_INLINE, *raw.get("required", ())} & properties.keys():
        properties[key][INLINE] = True
    description = raw.get("description", "").split("\n\nAttributes:")[0]
    definition: Json = {"type": "object", "description": description, "properties": properties}
    if raw.get("required"):
        definition["required"] = raw["required"]
    if name in _ATOMIC:
        definition["x-kubernetes-map-type"] = "atomic"
    return definition


def _property(model: str, key: str, raw: Json) -> Json:
    found = _value(raw)
    if raw.get("description"):
        found["description"] = raw["description"]
    if keys := _MAP_LISTS.get((model, key)):
        found |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
        found |= {"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": keys[0]}
    elif (model, key) in _SETS:
        found |= {"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"}
    elif found.get("type") == "array":
        found["x-kubernetes-list-type"] = "atomic"
    if key in _QUANTITIES:
        found = _quantities(found)
    if (model, key) == ("V1ObjectMeta", "managedFields") or key == "fieldsV1":
        found = {"type": "array" if key == "managedFields" else "object", "x-kubernetes-preserve-unknown-fields": True}
    return found


def _quantities(found: Json) -> Json:
    if found.get("type") == "object" and isinstance(found.get("additionalProperties"), dict):
        return found | {"additionalProperties": dict(QUANTITY)}
    if found.get("type") == "string":
        return QUANTITY | {"description": found.get("description", "")}
    return found


def _value(raw: Json) -> Json:
    if "anyOf" in raw:
        options = [option for option in raw["anyOf"] if option.get("type") != "null"]
        kinds = {option.get("type") for option in options}
        if kinds >= {"integer", "string"}:
            return {"x-kubernetes-int-or-string": True}
        # `binary or string` and `number or integer` are one JSON type each: the last option is the plain one.
        return _value(options[-1])
    if "allOf" in raw:
        return _value(raw["allOf"][0])
    if "$ref" in raw:
        return {"$ref": raw["$ref"].rsplit("/", 1)[-1]}
    match raw.get("type"):
        case "array":
            return {"type": "array", "items": _value(raw.get("items", {}))}
        case "object":
            values = raw.get("additionalProperties")
            if isinstance(values, dict) and values:
                return {"type": "object", "additionalProperties": _value(values)}
            return dict(_FREE)
        case "string" if raw.get("format") == "date-time":
            return {"type": "string", "format": "date-time"}
        case "string" | "integer" | "number" | "boolean" as kind:
            return {"type": kind}
    return {"x-kubernetes-preserve-unknown-fields": True}


@cache
def schema_of(model: str) -> Json:
    """The structural schema of a model with every `$ref` filled in; parts that recur are shared, not copied."""
    known = definitions(model)
    done: dict[str, Json] = {}

    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(item) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(reference := value.get("$ref"), str):
            more = {key: item for key, item in value.items() if key != "$ref"}
            return (named(reference) | more) if more else named(reference)
        return {key: fill(item) for key, item in value.items()}

    def named(name: str) -> Json:
        if name not in done:
            done[name] = {}  # a model that contains itself sees this empty schema, which admits everything
            done[name] = fill(known[name])
        return done[name]

    return named(model)
