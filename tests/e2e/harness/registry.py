"""Debian's docker-registry on loopback: a real OCI registry over TLS.

Owns the process, its certificate, its data and its users, and pushes images to it over plain HTTP calls. Images
are those of `basetracker.emulators.images`. Must be started from the main thread (see `processes.py`).
"""

from __future__ import annotations

import json
import shutil
import ssl
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import yaml

from basetracker.emulators.authority import Authority
from basetracker.emulators.images import Image, Index, load

from .processes import ServerProcess, free_port
from .pulls import MANIFESTS, Credentials, RegistrySource

START_SECONDS = 20.0
# The only user of a private registry, and bcrypt's hash of the password: nothing here can make one.
TESTER = Credentials(user="tester", password="only-for-tests")
TESTER_HASH = "$2b$04$e8kVFvmwrY5BOHuseEHtteHErlEOBaghOmw2sE6sTsrVGE633BGYy"


def obstacle() -> str | None:
    """Why there can be no registry; None when all is well."""
    if shutil.which("docker-registry"):
        return None
    return "no docker-registry on this machine (Debian: apt-get install docker-registry)"


class _Answer(NamedTuple):
    headers: Message
    body: bytes


class DockerRegistry:
    """One registry; a private one lets only `credentials` in, and any other has none.

    `host` is `127.0.0.1:<port>`, `authority_file` the CA certificate that its clients have to trust.
    """

    def __init__(self, directory: Path, authority: Authority, *, private: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.host = f"127.0.0.1:{free_port()}"
        self.credentials = TESTER if private else None
        self.authority = authority
        self.authority_file = authority.write(directory / "ca.crt")
        self._directory = directory
        self._tls = authority.client_context()
        self._process = ServerProcess(
            "docker-registry",
            ["docker-registry", "serve", directory / "config.yml"],
            directory / "docker-registry.log",
        )

    def start(self) -> None:
        """Return when it answers.

        Raises:
            ProcessError: it doesn't.
        """
        chain, key = self.authority.issue("127.0.0.1", "localhost")
        (self._directory / "tls.crt").write_bytes(chain)
        (self._directory / "tls.key").touch(mode=0o600)
        (self._directory / "tls.key").write_bytes(key)
        (self._directory / "config.yml").write_text(yaml.safe_dump(self._config()))
        self._process.start()
        self._process.wait_until(self._answers, seconds=START_SECONDS)

    def stop(self) -> None:
        """Stop it; its data stays in the directory."""
        self._process.stop()

    def push(self, image: Image | Index, repository: str, tag: str) -> str:
        """Push an image, or an index with all its images; the digest that `tag` now has."""
        if isinstance(image, Index):
            for child in image.children:
                self._push_blobs(child, repository)
                self._push_manifest(child, repository, child.digest)
        else:
            self._push_blobs(image, repository)
        self._push_manifest(image, repository, tag)
        return image.digest

    def digest(self, repository: str, tag: str) -> str | None:
        """The digest of a tag; None when there is none."""
        try:
            answer = self._call("HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFESTS})
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise
        return answer.headers["Docker-Content-Digest"]

    def pull(self, path: str) -> Image | Index | None:
        """The image behind `repository:tag` or `repository[:tag]@digest`; None when there is none."""
        name, _, digest = path.partition("@")
        repository, _, tag = name.partition(":")

        def manifest(reference: str) -> _Answer:
            return self._call("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": MANIFESTS})

        try:
            top = manifest(digest or tag)
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise
        children = {child["digest"] for child in json.loads(top.body).get("manifests", ())}

        def part(wanted: str) -> bytes:
            if wanted in children:
                return manifest(wanted).body
            return self._call("GET", f"/v2/{repository}/blobs/{wanted}").body

        return load(top.body, top.headers["Content-Type"], part)

    def source(self) -> RegistrySource:
        """This registry as nodes see it."""
        return RegistrySource(self.authority.client_context(), self.credentials)

    def _push_blobs(self, image: Image, repository: str) -> None:
        for digest, blob in image.blobs.items():
            place = self._call("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
            joint = "&" if urllib.parse.urlsplit(place).query else "?"
            self._call("PUT", f"{place}{joint}digest={digest}", blob, {"Content-Type": "application/octet-stream"})

    def _push_manifest(self, image: Image | Index, repository: str, reference: str) -> None:
        path = f"/v2/{repository}/manifests/{reference}"
        self._call("PUT", path, image.manifest, {"Content-Type": image.media_type})

    def _call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> _Answer:
        url = urllib.parse.urljoin(f"https://{self.host}/", path)
        request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
        if self.credentials:
            who = aiohttp.encode_basic_auth(self.credentials.user, self.credentials.password)
            request.add_header("Authorization", who)
        with urllib.request.urlopen(request, timeout=30, context=self._tls) as answer:
            return _Answer(answer.headers, answer.read())

    def _answers(self) -> bool:
        try:
            self._call("GET", "/v2/")
        except (OSError, ssl.SSLError):
            return False
        return True

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(self._directory / "data")},
                "delete": {"enabled": True},
            },
            "http": {
                "addr": self.host,
                "tls": {
                    "certificate": str(self._directory / "tls.crt"),
                    "key": str(self._directory / "tls.key"),
                },
            },
        }
        if self.credentials:
            users = self._directory / "htpasswd"
            users.write_text(f"{TESTER.user}:{TESTER_HASH}\n")
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(users)}}
        return config


def write_layout(image: Image, directory: Path, tag: str) -> None:
    """Write an image as an OCI image layout, for tools that push from a directory."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, blob in [*image.blobs.items(), (image.digest, image.manifest)]:
        (blobs / digest.removeprefix("sha256:")).write_bytes(blob)
    (directory / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    entry = {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": {"org.opencontainers.image.ref.name": tag},
    }
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
