"""What an HTTP request asks of the API: URL, query and media types taken apart.

Owns the parsing; needs no catalogue, since the authorizer has to judge before anybody knows whether a kind exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from basetracker.emulators.cluster.access import Attributes
from basetracker.emulators.cluster.objects import WriteOptions
from basetracker.emulators.cluster.preparing import Strictness

Form = Literal["Object", "Table", "Partial", "Discovery"]
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_NAMESPACE_PARTS = {"status", "finalize"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a URL points; without `resource` it isn't an object's or a list's."""

    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""


def target_of(path: str) -> Target | None:
    """The target of a URL path, or None where it belongs to no kind (discovery, health and the like)."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _NAMESPACE_PARTS:
        namespace, rest = rest[1], rest[2:]
    rest += ["", ""]
    return Target(
        group=group, version=version, namespace=namespace, resource=rest[0], name=rest[1], subresource=rest[2]
    )


def is_watch(query: Mapping[str, str]) -> bool:
    """Whether a GET of a list wants to be told of changes."""
    return query.get("watch", "").lower() in ("1", "true")


def attributes(method: str, path: str, target: Target | None, query: Mapping[str, str]) -> Attributes:
    """The request as the authorizer judges it."""
    if target is None:
        return Attributes(verb="get" if method in ("GET", "HEAD") else method.lower(), path=path)
    name = target.name
    if method == "GET":
        verb = "get" if name else ("watch" if is_watch(query) else "list")
    elif method == "DELETE":
        verb = "delete" if name else "deletecollection"
    else:
        verb = _VERBS.get(method, method.lower())
    if not name and verb in ("list", "watch", "deletecollection"):
        name = query.get("fieldSelector", "").removeprefix("metadata.name=") if _by_name(query) else ""
    namespace = target.name if target.resource == "namespaces" and not target.group else target.namespace
    return Attributes(
        verb=verb,
        group=target.group,
        resource=target.resource,
        subresource=target.subresource,
        namespace=namespace,
        name=name,
    )


def _by_name(query: Mapping[str, str]) -> bool:
    selector = query.get("fieldSelector", "")
    return selector.startswith("metadata.name=") and "," not in selector


def form_of(accept: str) -> Form:
    """The form of the answer that an `Accept` header prefers among those that are served."""
    for option in accept.split(","):
        media, *parameters = (part.strip() for part in option.split(";"))
        asked = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media not in ("application/json", "*/*", "application/*", ""):
            continue
        match asked.get("as", ""):
            case "Table":
                return "Table"
            case "PartialObjectMetadata" | "PartialObjectMetadataList":
                return "Partial"
            case "APIGroupDiscoveryList" if asked.get("v") == "v2":
                return "Discovery"
            case "":
                return "Object"
    return "Object"


def write_options(query: Mapping[str, str], user_agent: str, subresource: str) -> WriteOptions:
    """How a write is meant."""
    strictness: Strictness = "Warn"
    match query.get("fieldValidation"):
        case "Strict":
            strictness = "Strict"
        case "Ignore":
            strictness = "Ignore"
    return WriteOptions(
        manager=query.get("fieldManager") or user_agent.partition("/")[0] or "unknown",
        subresource="status" if subresource == "status" else "",
        dry_run=query.get("dryRun") == "All",
        strictness=strictness,
        force=query.get("force", "").lower() in ("1", "true"),
    )
