"""ACR's own API, `/acr/v1`: tags and manifests with their times and changeable attributes.

Owns its shapes and paging. Knows no blobs and no rights beyond asking for them. Only Azure registries serve it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from basetracker.emulators.acr.access import Access, Caller, Need, registry_error
from basetracker.emulators.acr.distribution import paged
from basetracker.emulators.acr.limits import Limits
from basetracker.emulators.acr.storage import Manifest, Repository, Storage, Tag
from basetracker.emulators.images import DOCKER_MANIFEST, OCI_MANIFEST
from basetracker.emulators.timeline import Clock, registry_time

CHANGEABLE = ("deleteEnabled", "writeEnabled", "readEnabled", "listEnabled")
IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
QUARANTINE = ("quarantineState", "quarantineDetails")


class Metadata:
    """`/acr/v1` of one Azure registry."""

    def __init__(self, storage: Storage, access: Access, limits: Limits, clock: Clock) -> None:
        self._storage = storage
        self._access = access
        self._limits = limits
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """The endpoints, longest patterns first."""
        tag, manifest = "/acr/v1/{name:.+}/_tags/{tag}", "/acr/v1/{name:.+}/_manifests/{digest}"
        return [
            web.get("/acr/v1/_catalog", self._catalog),
            web.get("/acr/v1/{name:.+}/_tags", self._tags),
            web.get("/acr/v1/{name:.+}/_manifests", self._manifests),
            web.get(tag, self._get_tag),
            web.patch(tag, self._patch_tag),
            web.get(manifest, self._get_manifest),
            web.patch(manifest, self._patch_manifest),
            web.get("/acr/v1/{name:.+}", self._repository),
        ]

    def _admit(self, request: web.Request, category: str, action: str) -> tuple[Repository, Caller]:
        name = request.match_info["name"]
        caller = self._access.admit(request, Need("repository", name, (action,)))
        self._limits.spend(category, caller.name)
        repository = self._storage.repositories.get(name)
        if repository is None:
            raise registry_error(404, "NAME_UNKNOWN", "repository name not known to registry")
        return repository, caller

    async def _catalog(self, request: web.Request) -> web.Response:
        caller = self._access.admit(request, Need("registry", "catalog", ("*",)))
        self._limits.spend("read", caller.name)
        names = sorted(self._storage.repositories)
        page, headers = paged(request, names, names)
        return web.json_response({"repositories": page}, headers=headers)

    async def _repository(self, request: web.Request) -> web.Response:
        home, _ = self._admit(request, "read", "metadata_read")
        moments = [one.created for one in home.manifests.values()] or [self._clock()]
        return web.json_response(
            {
                "registry": self._storage.host,
                "imageName": home.name,
                "createdTime": registry_time(min(moments)),
                "lastUpdateTime": registry_time(max(moments)),
                "manifestCount": len(home.manifests),
                "tagCount": len(home.tags),
                "changeableAttributes": dict.fromkeys(CHANGEABLE, True),
            }
        )

    async def _tags(self, request: web.Request) -> web.Response:
        home, _ = self._admit(request, "read", "metadata_read")
        wanted = request.query.get("digest")
        tags = [tag for tag in home.tags.values() if wanted in {None, tag.digest}]
        tags = _ordered(request, tags, lambda tag: tag.name)
        page, headers = paged(request, [tag.name for tag in tags], [_tag(home, tag) for tag in tags])
        return web.json_response(self._about(home) | {"tags": page}, headers=headers)

    async def _manifests(self, request: web.Request) -> web.Response:
        home, _ = self._admit(request, "read", "metadata_read")
        found = _ordered(request, list(home.manifests.values()), lambda one: one.digest)
        shown = [self._manifest(home, one) for one in found]
        page, headers = paged(request, [one.digest for one in found], shown)
        return web.json_response(self._about(home) | {"manifests": page}, headers=headers)

    async def _get_tag(self, request: web.Request) -> web.Response:
        home, _ = self._admit(request, "read", "metadata_read")
        return self._answer_tag(home, request.match_info["tag"])

    async def _get_manifest(self, request: web.Request) -> web.Response:
        home, _ = self._admit(request, "read", "metadata_read")
        return self._answer_manifest(home, request.match_info["digest"])

    async def _patch_tag(self, request: web.Request) -> web.Response:
        home, _ = self._admit(request, "write", "metadata_write")
        name = request.match_info["tag"]
        self._answer_tag(home, name)
        home.tags[name].attributes.values.update(_chosen(await request.json(), CHANGEABLE))
        return self._answer_tag(home, name)

    async def _patch_manifest(self, request: web.Request) -> web.Response:
        home, caller = self._admit(request, "write", "metadata_write")
        digest, change = request.match_info["digest"], await request.json()
        self._answer_manifest(home, digest)
        if set(QUARANTINE).intersection(change) and not caller.sees_quarantined:
            raise registry_error(403, "DENIED", "requested access to the resource is denied")
        home.manifests[digest].attributes.values.update(_chosen(change, CHANGEABLE + QUARANTINE))
        return self._answer_manifest(home, digest)

    def _about(self, home: Repository) -> dict[str, Any]:
        return {"registry": self._storage.host, "imageName": home.name}

    def _answer_tag(self, home: Repository, name: str) -> web.Response:
        if name not in home.tags:
            raise registry_error(404, "TAG_UNKNOWN", "the specified tag does not exist")
        return web.json_response(self._about(home) | {"tag": _tag(home, home.tags[name])})

    def _answer_manifest(self, home: Repository, digest: str) -> web.Response:
        if digest not in home.manifests:
            raise registry_error(404, "MANIFEST_UNKNOWN", "the specified manifest does not exist")
        return web.json_response(self._about(home) | {"manifest": self._manifest(home, home.manifests[digest])})

    def _manifest(self, home: Repository, manifest: Manifest) -> dict[str, Any]:
        document = manifest.document
        parts = [document.get("config", {}), *document.get("layers", [])]
        shown = {
            "digest": manifest.digest,
            "imageSize": sum(part.get("size", 0) for part in parts),
            "createdTime": registry_time(manifest.created),
            "lastUpdateTime": registry_time(manifest.updated),
            "mediaType": manifest.media_type,
            "tags": home.tags_of(manifest.digest),
            "changeableAttributes": dict(manifest.attributes.values),
        }
        config = self._storage.blobs.get(document.get("config", {}).get("digest", ""), b"{}")
        platform = json.loads(config) if manifest.media_type in IMAGES else {}
        return shown | {name: platform[name] for name in ("os", "architecture") if name in platform}


def _ordered(request: web.Request, items: list[Any], name: Callable[[Any], str]) -> list[Any]:
    match request.query.get("orderby"):
        case "timedesc":
            return sorted(items, key=lambda one: (one.updated, name(one)), reverse=True)
        case "timeasc":
            return sorted(items, key=lambda one: (one.updated, name(one)))
        case _:
            return sorted(items, key=name)


def _tag(home: Repository, tag: Tag) -> dict[str, Any]:
    shown = {
        "name": tag.name,
        "digest": tag.digest,
        "createdTime": registry_time(tag.created),
        "lastUpdateTime": registry_time(tag.updated),
        "signed": False,
        "changeableAttributes": dict(tag.attributes.values),
    }
    state = home.manifests[tag.digest].attributes.values.get("quarantineState")
    return shown | ({"quarantineState": state} if state else {})


def _chosen(change: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in change.items() if name in names}
