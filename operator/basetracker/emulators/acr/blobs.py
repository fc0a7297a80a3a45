"""Blobs of the distribution API: download with ranges, upload in pieces, and Azure's redirect to storage.

Owns unfinished uploads. Knows neither how callers prove themselves nor what a manifest is. Served by every
emulated registry; `BlobStore` is the other host that a redirect leads to.
"""

from __future__ import annotations

import re
import secrets

from aiohttp import web

from basetracker.emulators.acr.access import Access, Need, registry_error
from basetracker.emulators.acr.limits import Limits
from basetracker.emulators.acr.storage import Storage
from basetracker.emulators.images import digest_of
from basetracker.emulators.server import RefusedError


class BlobStore:
    """The storage host that registries redirect blob downloads to; its links carry their own signature."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._links: dict[str, bytes] = {}

    def link(self, digest: str, data: bytes) -> str:
        """A signed URL of these bytes."""
        signature = secrets.token_urlsafe(16)
        self._links[signature] = data
        return f"https://{self.host}/blobs/{digest.replace(':', '/')}?sv=2019-07-07&sr=b&sp=r&sig={signature}"

    def routes(self) -> list[web.RouteDef]:
        """What the host serves."""
        return [web.get("/blobs/{algorithm}/{hex}", self._get)]

    async def _get(self, request: web.Request) -> web.Response:
        if "Authorization" in request.headers:
            message = "InvalidAuthenticationInfo: Authentication information is not given in the correct format."
            raise RefusedError(web.Response(status=400, text=message))
        data = self._links.get(request.query.get("sig", ""))
        if data is None:
            raise RefusedError(web.Response(status=403, text="AuthenticationFailed"))
        return ranged(request, data, {"Content-Type": "application/octet-stream"})


class Blobs:
    """`/v2/{name}/blobs` of one registry."""

    def __init__(self, storage: Storage, access: Access, limits: Limits) -> None:
        self.redirect_to: BlobStore | None = None
        """Where downloads are sent with 307; None serves them here."""
        self._storage = storage
        self._access = access
        self._limits = limits
        self._uploads: dict[str, bytearray] = {}

    def routes(self) -> list[web.RouteDef]:
        """The endpoints."""
        upload = "/v2/{name:.+}/blobs/uploads/{upload}"
        return [
            web.post("/v2/{name:.+}/blobs/uploads/", self._start),
            web.patch(upload, self._append),
            web.put(upload, self._finish),
            web.get("/v2/{name:.+}/blobs/{digest}", self._get),
        ]

    def _admit(self, request: web.Request, category: str, action: str) -> str:
        name = request.match_info["name"]
        caller = self._access.admit(request, Need("repository", name, (action,)))
        self._limits.spend(category, caller.name)
        return name

    async def _get(self, request: web.Request) -> web.Response:
        self._admit(request, "read", "pull")
        digest = request.match_info["digest"]
        data = self._storage.blobs.get(digest)
        if data is None:
            raise registry_error(404, "BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": digest})
        if self.redirect_to is not None and request.method == "GET":
            return web.Response(status=307, headers={"Location": self.redirect_to.link(digest, data)})
        headers = {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
        return ranged(request, data, headers)

    async def _start(self, request: web.Request) -> web.Response:
        name = self._admit(request, "write", "push")
        mounted = request.query.get("mount")
        if mounted in self._storage.blobs:
            return self._created(name, str(mounted))
        upload = secrets.token_hex(16)
        self._uploads[upload] = bytearray()
        if "digest" in request.query:
            return await self._complete(request, name, upload)
        return self._accepted(name, upload)

    async def _append(self, request: web.Request) -> web.Response:
        name = self._admit(request, "write", "push")
        upload = request.match_info["upload"]
        self._open(upload).extend(await request.read())
        return self._accepted(name, upload)

    async def _finish(self, request: web.Request) -> web.Response:
        name = self._admit(request, "write", "push")
        return await self._complete(request, name, request.match_info["upload"])

    async def _complete(self, request: web.Request, name: str, upload: str) -> web.Response:
        data = bytes(self._open(upload)) + await request.read()
        if digest_of(data) != request.query.get("digest"):
            raise registry_error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        del self._uploads[upload]
        return self._created(name, self._storage.put_blob(data))

    def _open(self, upload: str) -> bytearray:
        if upload not in self._uploads:
            raise registry_error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return self._uploads[upload]

    def _accepted(self, name: str, upload: str) -> web.Response:
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{upload}",
            "Docker-Upload-UUID": upload,
            "Range": f"0-{max(len(self._uploads[upload]) - 1, 0)}",
        }
        return web.Response(status=202, headers=headers)

    def _created(self, name: str, digest: str) -> web.Response:
        headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
        return web.Response(status=201, headers=headers)


def ranged(request: web.Request, data: bytes, headers: dict[str, str]) -> web.Response:
    """The bytes, or the part that a `Range: bytes=a-[b]` asks for; 416 past the end."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if match is None:
        return web.Response(body=data, headers=headers | {"Accept-Ranges": "bytes"})
    start, end = int(match[1]), min(int(match[2] or len(data) - 1), len(data) - 1)
    if start >= len(data) or end < start:
        raise RefusedError(web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"}))
    span = {"Content-Range": f"bytes {start}-{end}/{len(data)}", "Accept-Ranges": "bytes"}
    return web.Response(status=206, body=data[start : end + 1], headers=headers | span)
