"""The OCI distribution API over a storage: manifests, tags, referrers.

Owns the `/v2` shapes and statuses that are not about blobs (`blobs.py`). Knows neither how callers prove
themselves nor which registry this is. Served by every emulated registry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from basetracker.emulators.acr.access import Access, Caller, Need, registry_error
from basetracker.emulators.acr.limits import Limits
from basetracker.emulators.acr.storage import LockedError, Manifest, MissingPartError, Storage
from basetracker.emulators.images import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST, digest_of

VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
DISALLOWED = "The operation is disallowed on this registry, repository or image."


class Distribution:
    """`/v2` of one registry."""

    def __init__(self, storage: Storage, access: Access, limits: Limits) -> None:
        self.referrers_enabled = True
        """Without it the Referrers API answers 404, and clients fall back to the tag schema."""
        self._storage = storage
        self._access = access
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """The endpoints, longest patterns first."""
        manifest = "/v2/{name:.+}/manifests/{reference}"
        return [
            web.get("/v2/", self._root),
            web.get("/v2/_catalog", self._catalog),
            web.get("/v2/{name:.+}/tags/list", self._tags),
            web.get("/v2/{name:.+}/referrers/{digest}", self._referrers),
            web.get(manifest, self._get_manifest),
            web.put(manifest, self._put_manifest),
            web.delete(manifest, self._delete_manifest),
        ]

    async def _root(self, request: web.Request) -> web.Response:
        self._access.admit(request, None)
        return web.json_response({}, headers=VERSION)

    def _admit(self, request: web.Request, category: str, *any_of: str) -> tuple[str, Caller]:
        name = request.match_info["name"]
        caller = self._access.admit(request, Need("repository", name, any_of))
        self._limits.spend(category, caller.name)
        return name, caller

    async def _catalog(self, request: web.Request) -> web.Response:
        caller = self._access.admit(request, Need("registry", "catalog", ("*",)))
        self._limits.spend("read", caller.name)
        names = sorted(self._storage.repositories)
        page, headers = paged(request, names, names)
        return web.json_response({"repositories": page}, headers=headers)

    async def _tags(self, request: web.Request) -> web.Response:
        name, _ = self._admit(request, "read", "pull", "metadata_read")
        repository = self._storage.repositories.get(name)
        if repository is None:
            raise registry_error(404, "NAME_UNKNOWN", "repository name not known to registry")
        tags = sorted(repository.tags)
        page, headers = paged(request, tags, tags)
        return web.json_response({"name": name, "tags": page}, headers=headers)

    async def _get_manifest(self, request: web.Request) -> web.Response:
        name, caller = self._admit(request, "read", "pull")
        reference = request.match_info["reference"]
        manifest = self._storage.find(name, reference)
        if manifest is None:
            raise _unknown(reference)
        if self._storage.hidden(manifest) and not caller.sees_quarantined:
            raise _unknown(reference) if ":" not in reference else _disallowed()
        if not manifest.attributes.values["readEnabled"]:
            raise _disallowed()
        shown = self._acceptable(name, manifest, request.headers.getall("Accept", ["*/*"]))
        headers = VERSION | {
            "Content-Type": shown.media_type,
            "Docker-Content-Digest": shown.digest,
            "Etag": f'"{shown.digest}"',
        }
        return web.Response(body=shown.body, headers=headers)

    def _acceptable(self, name: str, manifest: Manifest, accept: Sequence[str]) -> Manifest:
        """The manifest as this client can read it: a registry converts Docker lists, and only those."""
        types = {one.split(";")[0].strip() for line in accept for one in line.split(",")}
        if "*/*" in types or manifest.media_type in types:
            return manifest
        if manifest.media_type in {OCI_MANIFEST, OCI_INDEX}:
            kind = "index" if manifest.media_type == OCI_INDEX else "manifest"
            message = f"OCI {kind} found, but accept header does not support OCI {kind}es"
            raise registry_error(404, "MANIFEST_UNKNOWN", message)
        if manifest.media_type == DOCKER_LIST:
            for entry in manifest.document["manifests"]:
                if entry.get("platform", {}).get("architecture") == "amd64":
                    return self._storage.repositories[name].manifests[entry["digest"]]
        return manifest

    async def _put_manifest(self, request: web.Request) -> web.Response:
        name, _ = self._admit(request, "write", "push")
        reference, body = request.match_info["reference"], await request.read()
        try:
            document = json.loads(body)
        except ValueError:
            raise registry_error(400, "MANIFEST_INVALID", "manifest invalid") from None
        if ":" in reference and reference != digest_of(body):
            raise registry_error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        media_type = request.headers.get("Content-Type") or document.get("mediaType", OCI_MANIFEST)
        try:
            manifest = self._storage.put_manifest(name, reference, body, media_type.split(";")[0])
        except LockedError:
            raise _disallowed() from None
        except MissingPartError as missing:
            detail = {"digest": str(missing)}
            raise registry_error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", detail=detail) from None
        headers = VERSION | {
            "Docker-Content-Digest": manifest.digest,
            "Location": f"/v2/{name}/manifests/{manifest.digest}",
        }
        if manifest.subject and self.referrers_enabled:
            headers["OCI-Subject"] = manifest.subject
        return web.Response(status=201, headers=headers)

    async def _delete_manifest(self, request: web.Request) -> web.Response:
        name, _ = self._admit(request, "delete", "delete")
        reference = request.match_info["reference"]
        try:
            if ":" in reference:
                gone = self._storage.delete_manifest(name, reference)
            else:
                gone = self._storage.delete_tag(name, reference)
        except LockedError:
            raise _disallowed() from None
        if not gone:
            raise _unknown(reference)
        return web.Response(status=202, headers=VERSION)

    async def _referrers(self, request: web.Request) -> web.Response:
        name, caller = self._admit(request, "read", "pull")
        self._limits.spend("referrers", caller.name)
        if not self.referrers_enabled:
            raise web.HTTPNotFound
        wanted = request.query.get("artifactType")
        found = [
            _referrer(one)
            for one in self._storage.referrers(name, request.match_info["digest"])
            if wanted is None or one.artifact_type == wanted
        ]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
        return web.Response(body=json.dumps(document).encode(), headers=VERSION | headers | {"Content-Type": OCI_INDEX})


def paged(request: web.Request, names: Sequence[str], items: Sequence[Any]) -> tuple[list[Any], dict[str, str]]:
    """The asked page of `items` (`n`, `last` by name; 100 by default) and its headers with a relative Link."""
    last = request.query.get("last")
    start = names.index(last) + 1 if last in names else 0
    size = int(request.query.get("n") or 100)
    headers = dict(VERSION)
    if start + size < len(names):
        query = request.rel_url.query.copy()
        query["last"], query["n"] = names[start + size - 1], str(size)
        headers["Link"] = f'<{request.rel_url.with_query(query)}>; rel="next"'
    return list(items[start : start + size]), headers


def _referrer(manifest: Manifest) -> dict[str, Any]:
    entry = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.body),
        "artifactType": manifest.artifact_type,
    }
    annotations = manifest.document.get("annotations")
    return entry | ({"annotations": annotations} if annotations else {})


def _unknown(reference: str) -> Exception:
    message = f'manifest tagged by "{reference}" is not found'
    return registry_error(404, "MANIFEST_UNKNOWN", message, detail={"Name": reference})


def _disallowed() -> Exception:
    return registry_error(405, "UNSUPPORTED", DISALLOWED)
