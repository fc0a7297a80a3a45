"""The registry port against Debian's docker-registry: what the emulated ones are measured by."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import yaml

from basetracker.adapters.http import Http
from basetracker.adapters.registries.oci import OciRegistry
from basetracker.adapters.registries.tokens import basic_header
from basetracker.emulators import samples
from basetracker.emulators.authority import Authority
from basetracker.emulators.images import Image, Index
from basetracker.errors import DeniedError
from basetracker.oci.refs import Digest, ImageRef, parse_image
from basetracker.ports import Credential

from .conftest import Time

USER = Credential(username="tester", password="only-for-tests")
# The password above by bcrypt, which nothing here can make.
HASH = "$2b$04$e8kVFvmwrY5BOHuseEHtteHErlEOBaghOmw2sE6sTsrVGE633BGYy"

pytestmark = pytest.mark.skipif(
    not shutil.which("docker-registry"), reason="no docker-registry here (Debian: apt-get install docker-registry)"
)


@dataclass
class Real:
    """A docker-registry, and the port that reads from it."""

    host: str
    session: aiohttp.ClientSession
    reader: OciRegistry
    answers: list[str]

    async def push(self, name: str, built: Image | Index) -> ImageRef:
        """Push with all that belongs to it; the reference with its digest."""
        image = parse_image(f"{self.host}/{name}")
        for child in built.children if isinstance(built, Index) else (built,):
            for digest, blob in child.blobs.items():
                await self._blob(image.repository.path, digest, blob)
            await self._manifest(image.repository.path, child.digest, child)
        await self._manifest(image.repository.path, image.target, built)
        return image.pinned(Digest(built.digest))

    async def _blob(self, path: str, digest: str, blob: bytes) -> None:
        async with self.session.post(f"https://{self.host}/v2/{path}/blobs/uploads/") as begun:
            place = begun.headers["Location"]
        async with self.session.put(f"{place}&digest={digest}", data=blob) as answer:
            assert answer.status == 201

    async def _manifest(self, path: str, reference: str, built: Image | Index) -> None:
        url, kind = f"https://{self.host}/v2/{path}/manifests/{reference}", {"Content-Type": built.media_type}
        async with self.session.put(url, data=built.manifest, headers=kind) as answer:
            assert answer.status == 201


@pytest.fixture(params=["private", "open"])
async def real(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Real]:
    """A docker-registry over TLS, with a user or without any guard."""
    authority, private = Authority(), request.param == "private"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"localhost:{probe.getsockname()[1]}"
    chain, key = authority.issue("localhost")
    (tmp_path / "tls.crt").write_bytes(chain)
    (tmp_path / "tls.key").write_bytes(key)
    (tmp_path / "users").write_text(f"{USER.username}:{HASH}\n")
    guard = {"auth": {"htpasswd": {"realm": "tests", "path": str(tmp_path / "users")}}} if private else {}
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
        "http": {"addr": host, "tls": {"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}},
    }
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config | guard))
    process = await asyncio.create_subprocess_exec(
        "docker-registry", "serve", str(tmp_path / "config.yml"), stdout=-3, stderr=-3
    )
    answers: list[str] = []
    http = Http(
        Time(),
        ca_bundle=str(authority.write(tmp_path / "ca.pem")),
        proxies={},
        count=lambda _, outcome: answers.append(outcome),
    )
    basic = {"Authorization": basic_header(USER)} if private else {}
    connector = aiohttp.TCPConnector(ssl=authority.client_context())
    try:
        async with aiohttp.ClientSession(connector=connector, headers=basic) as session, http:
            await answering(session, host)
            yield Real(host, session, OciRegistry(http, Time()), answers)
    finally:
        process.terminate()
        await process.wait()


async def answering(session: aiohttp.ClientSession, host: str) -> None:
    """Return when the registry answers."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with session.get(f"https://{host}/v2/") as answer:
                    assert answer.status == 200
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "built",
    [samples.python(), samples.python(docker=True), samples.python_index(), samples.python_index(docker=True)],
    ids=["oci", "docker", "index", "list"],
)
async def test_tags_and_images_are_read(real: Real, built: Image | Index) -> None:
    pushed = await real.push("base/python:3.12", built)
    assert await real.reader.digest(pushed.tagged, USER) == pushed.digest
    found = await real.reader.image(pushed, USER)
    assert found is not None
    images = (
        [one for one in built.children if one.platform != "unknown/unknown"] if isinstance(built, Index) else [built]
    )
    assert [(str(one.digest), list(one.diff_ids)) for one in found.platforms] == [
        (one.digest, one.diff_ids) for one in images
    ]


async def test_what_is_not_there_is_none(real: Real) -> None:
    pushed = await real.push("base/python:3.12", samples.python())
    assert await real.reader.digest(parse_image(f"{real.host}/base/python:none"), USER) is None
    assert await real.reader.digest(parse_image(f"{real.host}/none:1"), USER) is None
    assert await real.reader.image(pushed.pinned(Digest.of(b"nothing")), USER) is None


async def test_an_unchanged_poll_is_one_request(real: Real) -> None:
    pushed = await real.push("base/python:3.12", samples.python())
    await real.reader.digest(pushed.tagged, USER)
    before = len(real.answers)
    for _ in range(50):
        assert await real.reader.digest(pushed.tagged, USER) == pushed.digest
    assert real.answers[before:] == ["200"] * 50


@pytest.mark.parametrize("real", ["private"], indirect=True)
@pytest.mark.parametrize("credential", [None, Credential(username=USER.username, password="wrong")])
async def test_a_missing_or_wrong_password_is_denied(real: Real, credential: Credential | None) -> None:
    pushed = await real.push("base/python:3.12", samples.python())
    with pytest.raises(DeniedError, match="base/python"):
        await real.reader.digest(pushed.tagged, credential)
