"""From a parsed request to its answer: the routes of the API.

Owns which operation a method and a target mean: discovery, OpenAPI, lists, watches, reads, writes, subresources. Each
is a few lines that call the machinery; HTTP itself is `server.py`'s.
"""

from __future__ import annotations

from typing import Any

from basetracker.emulators.cluster import discovery, openapi, refusals
from basetracker.emulators.cluster.document import Json, dig
from basetracker.emulators.cluster.instruments import Instruments
from basetracker.emulators.cluster.lists import encoded_list, formed, page
from basetracker.emulators.cluster.objects import Deletion, Objects, Outcome, Propagation
from basetracker.emulators.cluster.patches import json_patch, merge_patch
from basetracker.emulators.cluster.patching import JSON_PATCH, patch
from basetracker.emulators.cluster.podlogs import log_of
from basetracker.emulators.cluster.requests import Target, form_of, is_watch, write_options
from basetracker.emulators.cluster.resources import Resource
from basetracker.emulators.cluster.reviews import Reviews
from basetracker.emulators.cluster.scaling import rescale, scale_of
from basetracker.emulators.cluster.server import Call, Reply
from basetracker.emulators.cluster.watches import Watch

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "go1.26.0",
    "compiler": "gc",
    "platform": "linux/amd64",
}


class Operations:
    """Carries out what requests ask."""

    def __init__(
        self, objects: Objects, reviews: Reviews, instruments: Instruments, *, bookmark_seconds: float
    ) -> None:
        self._objects = objects
        self._reviews = reviews
        self._instruments = instruments
        self._bookmark_seconds = bookmark_seconds

    async def answer(self, call: Call) -> Reply | Watch:
        """The answer to a request that is authenticated and allowed.

        Raises:
            Refusal: as the API server refuses.
        """
        if call.target is None:
            return self._plain(call)
        target = call.target
        resource = self._objects.catalogue.at(target.group, target.version, target.resource)
        if resource is None or (resource.namespaced and target.name and not target.namespace):
            raise refusals.no_such_path()
        if not resource.namespaced and target.namespace:
            raise refusals.no_such_path()
        if target.subresource:
            return self._subresource(call, resource, target)
        return self._one(call, resource, target) if target.name else self._many(call, resource, target)

    # ------------------------------------------------------------------------------------------ no objects

    def _plain(self, call: Call) -> Reply:
        if call.method not in ("GET", "HEAD"):
            raise refusals.method_not_allowed()
        parts = [part for part in call.path.split("/") if part]
        match parts:
            case ["healthz" | "readyz" | "livez", *_]:
                return Reply(body=b"ok", media_type="text/plain")
            case ["version"]:
                return Reply(body=VERSION)
            case ["openapi", "v3"]:
                return Reply(body=openapi.index(self._objects.catalogue))
            case ["openapi", "v3", "api", version]:
                return _found(openapi.document(self._objects.catalogue, "", version))
            case ["openapi", "v3", "apis", group, version]:
                return _found(openapi.document(self._objects.catalogue, group, version))
        return self._discovery(call, parts)

    def _discovery(self, call: Call, parts: list[str]) -> Reply:
        catalogue = self._objects.catalogue
        all_at_once = form_of(call.accept) == "Discovery"
        aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        match parts:
            case ["api"] if all_at_once:
                return Reply(body=discovery.aggregated(catalogue, core=True), media_type=aggregated)
            case ["apis"] if all_at_once:
                return Reply(body=discovery.aggregated(catalogue, core=False), media_type=aggregated)
            case ["api"]:
                return Reply(body=discovery.core_versions())
            case ["apis"]:
                return Reply(body=discovery.group_list(catalogue))
            case ["apis", group]:
                return _found(discovery.group(catalogue, group))
            case ["api", version]:
                return _found(discovery.resource_list(catalogue, "", version))
            case ["apis", group, version]:
                return _found(discovery.resource_list(catalogue, group, version))
        raise refusals.no_such_path()

    # ------------------------------------------------------------------------------------------ many objects

    def _many(self, call: Call, resource: Resource, target: Target) -> Reply | Watch:
        if call.method == "POST":
            return self._create(call, resource, target)
        if "list" not in resource.verbs:
            raise refusals.method_not_allowed()
        if call.method == "GET" and is_watch(call.query):
            form = form_of(call.accept)
            seconds = self._bookmark_seconds
            return Watch(self._objects, resource, target.namespace, call.query, form, bookmark_seconds=seconds)
        found = page(self._objects, resource, target.namespace, call.query)
        if call.method == "GET":
            body = encoded_list(resource, found, form_of(call.accept), call.query, self._objects.clock())
            return Reply(body=body)
        if call.method != "DELETE":
            raise refusals.method_not_allowed()
        for stored in found.items:
            metadata = stored.document["metadata"]
            how = _deletion(call)
            self._objects.delete(resource, metadata.get("namespace", ""), metadata["name"], how)
        self._count(call, resource, "deletecollection")
        return Reply(body={"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _create(self, call: Call, resource: Resource, target: Target) -> Reply:
        body = _required(call.body)
        if (review := self._reviews.answer(resource.kind, call.user, body)) is not None:
            return Reply(body=review, status=201)
        if resource.namespaced and not target.namespace:
            raise refusals.method_not_allowed()
        options = write_options(call.query, call.user_agent, "")
        outcome = self._objects.create(resource, target.namespace, body, options)
        self._count(call, resource, "create")
        return self._reply(call, resource, outcome)

    # ------------------------------------------------------------------------------------------ one object

    def _one(self, call: Call, resource: Resource, target: Target) -> Reply | Watch:
        namespace, name = target.namespace, target.name
        match call.method:
            case "GET":
                if is_watch(call.query):
                    query = dict(call.query) | {"fieldSelector": f"metadata.name={name}"}
                    seconds = self._bookmark_seconds
                    return Watch(
                        self._objects, resource, namespace, query, form_of(call.accept), bookmark_seconds=seconds
                    )
                return self._reply(call, resource, Outcome(document=self._objects.get(resource, namespace, name)))
            case "DELETE":
                return self._delete(call, resource, target)
            case "PUT" | "PATCH":
                return self._write(call, resource, target, "")
        raise refusals.method_not_allowed()

    def _write(self, call: Call, resource: Resource, target: Target, subresource: str) -> Reply:
        options = write_options(call.query, call.user_agent, subresource)
        namespace, name = target.namespace, target.name
        if call.method == "PUT":
            body = _required(call.body)
            outcome = self._objects.update(resource, namespace, name, body, options)
        else:
            outcome = patch(self._objects, resource, namespace, name, call.media_type, call.body, options)
        verb = "update" if call.method == "PUT" else "patch"
        self._count(call, resource, verb, subresource)
        return self._reply(call, resource, outcome)

    def _delete(self, call: Call, resource: Resource, target: Target) -> Reply:
        outcome = self._objects.delete(resource, target.namespace, target.name, _deletion(call))
        self._count(call, resource, "delete")
        if not outcome.gone or resource.kind == "Pod":
            return self._reply(call, resource, outcome)
        details: Json = {"name": target.name, "kind": resource.plural, "uid": outcome.document["metadata"]["uid"]}
        if resource.group:
            details["group"] = resource.group
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return Reply(body=status)

    # ------------------------------------------------------------------------------------------ subresources

    def _subresource(self, call: Call, resource: Resource, target: Target) -> Reply:
        name = target.subresource
        if name not in resource.subresources:
            raise refusals.no_such_path()
        if name == "token":
            if call.method != "POST":
                raise refusals.method_not_allowed()
            body = _required(call.body)
            answer = self._reviews.request_token(resource, target.namespace, target.name, body)
            return Reply(body=answer, status=201)
        if name == "scale":
            return self._scale(call, resource, target)
        if name == "log":
            return self._log(call, resource, target)
        if call.method == "GET":
            document = self._objects.get(resource, target.namespace, target.name)
            return self._reply(call, resource, Outcome(document=document))
        if call.method not in ("PUT", "PATCH"):
            raise refusals.method_not_allowed()
        return self._write(call, resource, target, "status")

    def _log(self, call: Call, resource: Resource, target: Target) -> Reply:
        if call.method != "GET":
            raise refusals.method_not_allowed()
        pod = self._objects.get(resource, target.namespace, target.name)
        return Reply(body=log_of(pod, call.query), media_type="text/plain")

    def _scale(self, call: Call, resource: Resource, target: Target) -> Reply:
        def change(scale: Json) -> Json:
            if call.method == "PUT":
                return _required(call.body)
            if call.media_type == JSON_PATCH:
                return json_patch(scale, call.body)
            merged: Json = merge_patch(scale, _required(call.body))
            return merged

        namespace, name = target.namespace, target.name
        if call.method == "GET":
            return Reply(body=scale_of(resource, self._objects.get(resource, namespace, name)))
        if call.method not in ("PUT", "PATCH"):
            raise refusals.method_not_allowed()
        options = write_options(call.query, call.user_agent, "scale")
        scale = rescale(self._objects, resource, namespace, name, change, options)
        self._count(call, resource, "update" if call.method == "PUT" else "patch", "scale")
        return Reply(body=scale)

    # ------------------------------------------------------------------------------------------ answers

    def _reply(self, call: Call, resource: Resource, outcome: Outcome) -> Reply:
        form = form_of(call.accept)
        body = formed(resource, outcome.document, form, call.query, self._objects.clock())
        return Reply(body=body, status=201 if outcome.created else 200, warnings=tuple(outcome.warnings))

    def _count(self, call: Call, resource: Resource, verb: str, subresource: str = "") -> None:
        if call.query.get("dryRun") != "All":
            self._instruments.count_write(verb, resource.plural + (f"/{subresource}" if subresource else ""))


def _found(document: Json | None) -> Reply:
    if document is None:
        raise refusals.no_such_path()
    return Reply(body=document)


def _required(body: Any) -> Json:
    if not isinstance(body, dict):
        raise refusals.bad_request("the body of the request must be an object")
    return body


def _deletion(call: Call) -> Deletion:
    body = call.body if isinstance(call.body, dict) else {}
    grace = body.get("gracePeriodSeconds", call.query.get("gracePeriodSeconds"))
    return Deletion(
        uid=dig(body, "preconditions", "uid"),
        resource_version=dig(body, "preconditions", "resourceVersion"),
        propagation=_propagation(body.get("propagationPolicy") or call.query.get("propagationPolicy")),
        grace=None if grace is None else int(grace),
        dry_run=call.query.get("dryRun") == "All" or body.get("dryRun") == ["All"],
    )


def _propagation(asked: Any) -> Propagation:
    named: dict[Any, Propagation] = {"Foreground": "Foreground", "Orphan": "Orphan"}
    return named.get(asked, "Background")
