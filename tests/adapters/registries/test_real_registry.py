"""The registry port against Debian's docker-registry: what the emulated ones are measured by."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from .token_service import ISSUER, SERVICE, TokenService

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
    service: TokenService | None = None

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


@pytest.fixture(params=["private", "open", "token"])
async def real(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Real]:
    """A docker-registry over TLS: with a user, without any guard, or with tokens of a service of its own."""
    authority = Authority()
    match request.param:
        case "private":
            users = tmp_path / "users"
            users.write_text(f"{USER.username}:{HASH}\n")
            guard = {"htpasswd": {"realm": "tests", "path": str(users)}}
            async with registry(tmp_path, authority, guard, basic_header(USER)) as started:
                yield started
        case "open":
            async with registry(tmp_path, authority, None, None) as started:
                yield started
        case _:
            async with token_registry(tmp_path, authority, authority.server_context("localhost")) as started:
                yield started


@asynccontextmanager
async def token_registry(directory: Path, authority: Authority, tls: ssl.SSLContext | None) -> AsyncIterator[Real]:
    """A docker-registry whose tokens a service gives, which speaks plain HTTP without `tls`."""
    signers = Authority()
    service = TokenService(USER, *signers.issue("tokens.invalid"), tls)
    await service.start()
    bundle = signers.write(directory / "signers.pem")
    guard = {"realm": service.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(bundle)}
    writer = "Bearer " + service.mint("pipeline", [("base/python", ["pull", "push"])])
    try:
        async with registry(directory, authority, {"token": guard}, writer) as started:
            started.service = service
            yield started
    finally:
        await service.stop()


@asynccontextmanager
async def registry(
    directory: Path, authority: Authority, guard: dict[str, Any] | None, writer: str | None
) -> AsyncIterator[Real]:
    """A docker-registry with this `auth` section; `writer` is the Authorization header of the test's own pushes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"localhost:{probe.getsockname()[1]}"
    chain, key = authority.issue("localhost")
    (directory / "tls.crt").write_bytes(chain)
    (directory / "tls.key").write_bytes(key)
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": host, "tls": {"certificate": str(directory / "tls.crt"), "key": str(directory / "tls.key")}},
    }
    (directory / "config.yml").write_text(yaml.safe_dump(config | ({"auth": guard} if guard else {})))
    process = await asyncio.create_subprocess_exec(
        "docker-registry", "serve", str(directory / "config.yml"), stdout=-3, stderr=-3
    )
    answers: list[str] = []
    http = Http(
        Time(),
        ca_bundle=str(authority.write(directory / "ca.pem")),
        proxies={},
        count=lambda _, outcome: answers.append(outcome),
    )
    shown = {"Authorization": writer} if writer else {}
    connector = aiohttp.TCPConnector(ssl=authority.client_context())
    try:
        async with aiohttp.ClientSession(connector=connector, headers=shown) as session, http:
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
    assert real.answers[before:] == ["200"] * 50, "a head each, and no token anew"


@pytest.mark.parametrize("real", ["private", "token"], indirect=True)
@pytest.mark.parametrize("credential", [None, Credential(username=USER.username, password="wrong")])
async def test_a_missing_or_wrong_password_is_denied(real: Real, credential: Credential | None) -> None:
    pushed = await real.push("base/python:3.12", samples.python())
    with pytest.raises(DeniedError, match="base/python"):
        await real.reader.digest(pushed.tagged, credential)


@pytest.mark.parametrize("real", ["token"], indirect=True)
async def test_one_token_serves_all_looks_at_a_repository(real: Real) -> None:
    assert real.service is not None
    pushed = await real.push("base/python:3.12", samples.python_index())
    assert await real.reader.digest(pushed.tagged, USER) == pushed.digest
    assert await real.reader.image(pushed, USER) is not None
    assert real.service.asked == ["repository:base/python:pull"], "the scope that reading needs, and one token"
    assert real.service.shown == ["Basic"], "the password, and never a token"
    assert real.answers[:3] == ["401", "200", "200"], "challenge, token, look"


@pytest.mark.parametrize("real", ["token"], indirect=True)
async def test_a_token_that_the_registry_takes_no_more_is_renewed_at_once(real: Real) -> None:
    assert real.service is not None
    pushed = await real.push("base/python:3.12", samples.python())
    real.service.stale = 1
    with pytest.raises(DeniedError, match="base/python"):
        await real.reader.digest(pushed.tagged, USER)  # fresh from the service, and refused
    assert await real.reader.digest(pushed.tagged, USER) == pushed.digest
    assert real.service.asked == ["repository:base/python:pull"] * 2


@pytest.mark.parametrize("real", ["token"], indirect=True)
async def test_a_token_without_the_right_is_denied(real: Real) -> None:
    assert real.service is not None
    pushed = await real.push("base/python:3.12", samples.python())
    real.service.readable.clear()
    with pytest.raises(DeniedError, match=r"needs pull on this repository"):
        await real.reader.digest(pushed.tagged, USER)
    assert len(real.service.asked) == 1


@pytest.mark.parametrize("real", ["token"], indirect=True)
async def test_anybody_gets_a_token_where_the_service_gives_it(real: Real) -> None:
    assert real.service is not None
    real.service.anonymous = True
    pushed = await real.push("base/python:3.12", samples.python())
    assert await real.reader.digest(pushed.tagged, None) == pushed.digest
    assert real.service.shown == []
    with pytest.raises(DeniedError, match="base/python"):
        await real.reader.digest(pushed.tagged, Credential(username=USER.username, password="wrong"))


async def test_nothing_is_sent_to_a_token_service_without_tls(tmp_path: Path) -> None:
    async with token_registry(tmp_path, Authority(), None) as real:
        assert real.service is not None
        pushed = await real.push("base/python:3.12", samples.python())
        with pytest.raises(DeniedError, match="isn't reached by https"):
            await real.reader.digest(pushed.tagged, USER)
        assert (real.service.asked, real.service.shown) == ([], [])
