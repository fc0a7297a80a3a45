"""Discovery: which APIs and kinds there are, in the plain and in the aggregated form.

Owns the documents behind `/api`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`. All of them are read from the
catalogue at each request, so that a new CRD shows up at once.
"""

from __future__ import annotations

from typing import Any

from basetracker.emulators.cluster.document import Json
from basetracker.emulators.cluster.resources import Catalogue, Resource

_SUBRESOURCE_VERBS = {
    "status": ["get", "patch", "update"],
    "scale": ["get", "patch", "update"],
    "token": ["create"],
    "log": ["get"],
}
_FOREIGN_KINDS = {"scale": ("autoscaling", "v1", "Scale"), "token": ("authentication.k8s.io", "v1", "TokenRequest")}


def core_versions() -> Json:
    """`/api`."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(catalogue: Catalogue) -> Json:
    """`/apis`."""
    groups = [_group(name, versions) for name, versions in catalogue.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(catalogue: Catalogue, name: str) -> Json | None:
    """`/apis/GROUP`, or None where there is no such group."""
    versions = catalogue.groups().get(name)
    return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, versions) if versions else None


def _group(name: str, versions: list[str]) -> Json:
    shown = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": shown, "preferredVersion": shown[0]}


def resource_list(catalogue: Catalogue, group_name: str, version: str) -> Json | None:
    """`/apis/GROUP/VERSION` or `/api/v1`, or None where nothing is served there."""
    resources = catalogue.of_group_version(group_name, version)
    if not resources:
        return None
    entries: list[Json] = []
    for resource in resources:
        entries.append(_entry(resource))
        entries += [_subentry(resource, name) for name in resource.subresources]
    group_version = resources[0].api_version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _entry(resource: Resource) -> Json:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
        "storageVersionHash": "",
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return entry


def _subentry(resource: Resource, name: str) -> Json:
    entry: Json = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _SUBRESOURCE_VERBS[name],
    }
    if name in _FOREIGN_KINDS:
        entry["group"], entry["version"], entry["kind"] = _FOREIGN_KINDS[name]
    return entry


def aggregated(catalogue: Catalogue, *, core: bool) -> Json:
    """`/api` (`core`) or `/apis` as one `APIGroupDiscoveryList`."""
    items = []
    for name, versions in catalogue.groups().items():
        if bool(name) is core:
            continue
        shown = [_aggregated_version(catalogue, name, version) for version in versions]
        items.append({"metadata": {"name": name} if name else {}, "versions": shown})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_version(catalogue: Catalogue, name: str, version: str) -> Json:
    resources = [_aggregated_entry(resource) for resource in catalogue.of_group_version(name, version)]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_entry(resource: Resource) -> Json:
    scope = "Namespaced" if resource.namespaced else "Cluster"
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": _response_kind(resource.group, resource.version, resource.kind),
        "scope": scope,
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": name,
                "responseKind": _response_kind(
                    *_FOREIGN_KINDS.get(name, (resource.group, resource.version, resource.kind))
                ),
                "verbs": _SUBRESOURCE_VERBS[name],
            }
            for name in resource.subresources
        ]
    return entry


def _response_kind(group_name: str, version: str, kind: str) -> Json:
    return {"group": group_name, "version": version, "kind": kind}
