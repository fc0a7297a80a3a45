"""The gate measured by the tools themselves: what cosign and notation sign passes, and what it is turned into doesn't."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from basetracker.api.names import GateVerdict
from basetracker.emulators import samples
from basetracker.oci.refs import Digest, ImageRef

from ....e2e.harness import signers as tools
from .authorities import DAY, Holder, TimeAuthority, der, ec_key, integer, root, rsa_key, seq
from .conftest import BUNDLE, REPOSITORY, Desk
from .conftest import NOTATION as ARTIFACT
from .signers import COSE, JWS, bundle, cose, jws, public_pem, statement, target

OBSTACLE = tools.obstacle()
pytestmark = pytest.mark.skipif(OBSTACLE is not None, reason=OBSTACLE or "")

USER, PASSWORD = "signer", "a-password-of-the-pipeline"
COSIGN = {"cosign": {"publicKey": {"configMapRef": {"name": "keys", "key": "cosign.pub"}}}}
NOTATION = {
    "notation": {
        "trustStore": {"configMapRef": {"name": "ca"}},
        "identities": ["x509.subject: C=US, ST=WA, O=Contoso, CN=build"],
    }
}
OFFLINE = ("--tlog-upload=false", "--use-signing-config=false")
SECONDS = 60


@dataclass
class Bench:
    """The tools in a home of their own, signing in the emulated registry."""

    desk: Desk
    home: Path
    authority: Holder
    signer: Holder

    async def run(self, tool: str, *arguments: str) -> str:
        """Run a tool; what it says, whatever the outcome. Raises AssertionError when it fails."""
        program = tools.find(tool)
        assert program is not None
        environment = self.desk.world.cloud.environment(self.desk.world.directory) | {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "COSIGN_PASSWORD": "",
            "NOTATION_USERNAME": USER,
            "NOTATION_PASSWORD": PASSWORD,
        }
        child = await asyncio.create_subprocess_exec(
            str(program),
            *arguments,
            cwd=self.home,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(SECONDS):
            output, _ = await child.communicate()
        assert child.returncode == 0, output.decode()
        return output.decode()

    async def cosign(self, *options: str, image: ImageRef | None = None) -> None:
        await self.run("cosign", "sign", "--yes", "--key", "cosign.key", *OFFLINE, *options, self._target(image))

    async def notation(self, *options: str, image: ImageRef | None = None) -> None:
        await self.run("notation", "sign", *options, self._target(image))

    def trust(self, holder: Holder, anchor: bytes) -> None:
        """Let notation sign with this, and the gate trust that."""
        place = self.home / "notation"
        place.mkdir(exist_ok=True)
        (place / "build.key").write_bytes(holder.key_pem)
        pem = serialization.Encoding.PEM
        (place / "build.crt").write_bytes(b"".join(one.public_bytes(pem) for one in holder.chain))
        key = {"name": "build", "keyPath": str(place / "build.key"), "certPath": str(place / "build.crt")}
        (place / "signingkeys.json").write_text(json.dumps({"default": "build", "keys": [key]}))
        self.desk.data.objects["ConfigMap", "ca"] = {"root.crt": anchor}

    async def own_key(self, key: Any) -> None:
        """Let cosign sign with this key, and the gate trust it."""
        for name in ("cosign.key", "cosign.pub"):
            (self.home / name).unlink()
        (self.home / "own.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        await self.run("cosign", "import-key-pair", "--key", "own.pem", "--output-key-prefix", "cosign")
        self.publish_key()

    def publish_key(self) -> None:
        self.desk.data.objects["ConfigMap", "keys"] = {"cosign.pub": (self.home / "cosign.pub").read_bytes()}

    def _target(self, image: ImageRef | None) -> str:
        image = image or self.desk.image
        return f"{image.repository}@{image.digest}"


@pytest.fixture
async def bench(desk: Desk, tmp_path: Path) -> Bench:
    """An image to sign, a pair of cosign's, and a signer of a private authority."""
    access: Any = desk.registry.access
    access.add_account(USER, PASSWORD)
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    auth = {"username": USER, "password": PASSWORD}
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {desk.registry.host: auth}}))
    authority = root()
    bench = Bench(desk, home, authority, authority.authority().signer())
    bench.trust(bench.signer, authority.pem)
    await bench.run("cosign", "generate-key-pair")
    bench.publish_key()
    return bench


Sign = Callable[..., Any]
WAYS: dict[str, tuple[dict[str, Any], Callable[[Bench, ImageRef | None], Any]]] = {
    "cosign's bundle": (COSIGN, lambda bench, image: bench.cosign(image=image)),
    "cosign's old layout": (COSIGN, lambda bench, image: bench.cosign("--new-bundle-format=false", image=image)),
    "JWS": (NOTATION, lambda bench, image: bench.notation(image=image)),
    "COSE": (NOTATION, lambda bench, image: bench.notation("--signature-format", "cose", image=image)),
    "JWS by the API": (NOTATION, lambda bench, image: bench.notation("--force-referrers-tag=false", image=image)),
}
ALL = pytest.mark.parametrize(("gate", "sign"), WAYS.values(), ids=WAYS)
APIS = pytest.mark.parametrize("api", [True, False], ids=["referrers", "no-referrers"])


@ALL
@APIS
async def test_what_the_tool_signs_passes(bench: Bench, gate: dict[str, Any], sign: Sign, api: bool) -> None:
    bench.desk.registry.api.referrers_enabled = api
    assert (await bench.desk.ask(gate)).reason == "SignatureAwaited"
    await sign(bench, None)
    answer = await bench.desk.ask(gate)
    assert (answer.verdict, answer.reason) == (GateVerdict.PASS, "Signed"), answer.message


@ALL
async def test_another_key_or_authority_does_not(bench: Bench, gate: dict[str, Any], sign: Sign) -> None:
    await sign(bench, None)
    bench.desk.data.objects["ConfigMap", "ca"] = {"root.crt": root(11).pem}
    bench.desk.data.objects["ConfigMap", "keys"] = {"cosign.pub": public_pem(ec_key(256, 9))}
    for after, verdict in ((0, GateVerdict.PENDING), (31, GateVerdict.FAIL)):
        bench.desk.later(minutes=after)
        answer = await bench.desk.ask(gate)
        assert (answer.verdict, answer.reason) == (verdict, "SignatureRefused")


@ALL
async def test_the_signature_of_another_image_does_not(bench: Bench, gate: dict[str, Any], sign: Sign) -> None:
    storage = bench.desk.registry.storage
    other = bench.desk.world.push(f"{bench.desk.image.repository}:other", samples.python())
    await sign(bench, other)
    assert (await bench.desk.ask(gate, image=other)).verdict is GateVerdict.PASS
    assert (await bench.desk.ask(gate)).reason == "SignatureAwaited"
    # The same documents where the signatures of this image are looked for.
    bench.desk.registry.api.referrers_enabled = False
    entries = [
        {"mediaType": found.media_type, "digest": found.digest, "size": len(found.body)}
        for found in storage.referrers(REPOSITORY, str(other.digest))
    ]
    bench.desk.shelf.list_by_tag(*entries)
    old = storage.find(REPOSITORY, f"{str(other.digest).replace(':', '-')}.sig")
    if old is not None:
        bench.desk.shelf.put_raw(f"{bench.desk.shelf.tag}.sig", old.body, old.media_type)
    answer = await bench.desk.ask(gate)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "SignatureRefused")
    assert "one is about another digest" in answer.message


@ALL
async def test_a_removed_or_changed_signature_does_not(bench: Bench, gate: dict[str, Any], sign: Sign) -> None:
    await sign(bench, None)
    storage = bench.desk.registry.storage
    home = storage.repositories[REPOSITORY]
    kept = dict(storage.blobs)
    layers = {
        layer["digest"]
        for found in home.manifests.values()
        for layer in found.document.get("layers", [])
        if "signature" in json.dumps(layer) or "bundle" in json.dumps(layer) or found.subject
    }
    assert layers
    for digest in layers:  # as a registry would that gives other bytes for the digest
        storage.blobs[digest] = kept[digest].replace(b"a", b"b", 1)
    assert (await bench.desk.ask(gate)).verdict is GateVerdict.PENDING
    storage.blobs.update(kept)
    assert (await bench.desk.ask(gate)).verdict is GateVerdict.PASS
    for tag in [tag for tag in home.tags if tag.startswith("sha256-")]:
        storage.delete_tag(REPOSITORY, tag)
    for digest in [found.digest for found in home.manifests.values() if found.subject]:
        storage.delete_manifest(REPOSITORY, digest)
    assert (await bench.desk.ask(gate)).reason == "SignatureAwaited"


async def test_an_expired_signature_does_not(bench: Bench) -> None:
    for kind in ("jws", "cose"):
        await bench.notation("--signature-format", kind, "--expiry", "2m")
    assert (await bench.desk.ask(NOTATION)).verdict is GateVerdict.PASS
    bench.desk.later(minutes=4)
    answer = await bench.desk.ask(NOTATION)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "SignatureRefused")
    assert "one has expired" in answer.message


@pytest.mark.parametrize("kind", ["jws", "cose"])
@pytest.mark.parametrize(
    "key",
    [rsa_key(3072), rsa_key(4096), ec_key(256), ec_key(384), ec_key(521)],
    ids=["rsa3072", "rsa4096", "p256", "p384", "p521"],
)
async def test_every_kind_of_key_of_notation_passes(bench: Bench, kind: str, key: Any) -> None:
    authority = root()
    bench.trust(authority.signer(key=key), authority.pem)
    await bench.notation("--signature-format", kind)
    assert (await bench.desk.ask(NOTATION)).verdict is GateVerdict.PASS


async def test_a_certificate_for_tests_passes(bench: Bench) -> None:
    await bench.run("notation", "cert", "generate-test", "--default", "wabbit")
    certificate = bench.home / "notation" / "localkeys" / "wabbit.crt"
    bench.desk.data.objects["ConfigMap", "ca"] = {"wabbit.crt": certificate.read_bytes()}
    await bench.notation("--key", "wabbit")
    bench.desk.later(minutes=2)  # the certificate is younger than the test
    named = NOTATION["notation"] | {"identities": ["x509.subject: C=US, ST=WA, O=Notary, CN=wabbit"]}
    assert (await bench.desk.ask({"notation": named})).verdict is GateVerdict.PASS
    assert (await bench.desk.ask(NOTATION)).verdict is GateVerdict.PENDING


@pytest.mark.parametrize("new", [True, False], ids=["bundle", "old"])
@pytest.mark.parametrize(
    "key",
    [rsa_key(2048), rsa_key(4096), ec_key(384), ed25519.Ed25519PrivateKey.generate()],
    ids=["rsa2048", "rsa4096", "p384", "ed25519"],
)
async def test_every_kind_of_key_of_cosign_passes(bench: Bench, key: Any, new: bool) -> None:
    await bench.own_key(key)
    await bench.cosign(*([] if new else ["--new-bundle-format=false"]))
    answer = await bench.desk.ask(COSIGN)
    assert answer.verdict is GateVerdict.PASS, answer.message


@pytest.fixture
async def time_server() -> AsyncIterator[tuple[TimeAuthority, str]]:
    """A time stamp authority over HTTP, as notation asks one."""
    authority = TimeAuthority()

    async def answer(request: web.Request) -> web.Response:
        hashed, nonce = stamp_request(await request.read())
        token = authority.token_of(hashed, datetime.now(UTC), nonce=nonce)
        body = seq(seq(integer(0)), token)
        return web.Response(body=body, content_type="application/timestamp-reply")

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield authority, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.mark.parametrize("kind", ["jws", "cose"])
async def test_a_short_lived_certificate_passes_with_its_time_stamp(
    bench: Bench, time_server: tuple[TimeAuthority, str], kind: str
) -> None:
    times, url = time_server
    authority = root()
    now = datetime.now(UTC).replace(microsecond=0)
    bench.trust(authority.signer(begins=now - DAY, ends=now + timedelta(minutes=10)), authority.pem)
    (bench.home / "time.crt").write_bytes(times.root.pem)
    await bench.notation(
        "--signature-format", kind, "--timestamp-url", url, "--timestamp-root-cert", str(bench.home / "time.crt")
    )
    bench.desk.data.objects["ConfigMap", "tsa"] = {"time.crt": times.root.pem}
    stamped = NOTATION["notation"] | {"timestampTrustStore": {"configMapRef": {"name": "tsa"}}}
    bench.desk.later(minutes=20)
    assert (await bench.desk.ask({"notation": stamped})).verdict is GateVerdict.PASS
    assert "isn't valid now" in (await bench.desk.ask(NOTATION)).message
    bench.desk.data.objects["ConfigMap", "tsa"] = {"time.crt": root(11).pem}
    assert "has a time stamp" in (await bench.desk.ask({"notation": stamped})).message


async def test_what_the_tests_own_signers_make_is_what_the_tools_verify(bench: Bench) -> None:
    """The other way round, so that a misreading shared by signer and verifier would show."""
    desk, digest = bench.desk, str(bench.desk.shelf.digest)
    desk.shelf.refer(BUNDLE, BUNDLE, bundle(ec_key(), statement(digest)))
    (bench.home / "ours.pub").write_bytes(public_pem(ec_key()))
    image = f"{desk.image.repository}@{digest}"
    said = await bench.run("cosign", "verify", "--key", "ours.pub", "--insecure-ignore-tlog", image)
    assert digest in said

    store = bench.home / "notation" / "truststore" / "x509" / "ca" / "ours"
    store.mkdir(parents=True)
    (store / "root.crt").write_bytes(bench.authority.pem)
    policy = {
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict", "override": {"revocation": "skip"}},
        "trustStores": ["ca:ours"],
        "trustedIdentities": NOTATION["notation"]["identities"],
    }
    (bench.home / "notation" / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [policy]}))
    size = len(desk.registry.storage.repositories[REPOSITORY].manifests[digest].body)
    payload = target(digest).replace(b"1607", str(size).encode())
    for kind, make in ((JWS, jws), (COSE, cose)):
        entry = desk.shelf.refer(ARTIFACT, kind, make(bench.signer, payload), by_config=True)
        desk.shelf.list_by_tag(entry)
        assert "Successfully verified" in await bench.run("notation", "verify", image)
    assert Digest(digest) == desk.image.digest


def stamp_request(content: bytes) -> tuple[bytes, int | None]:
    """The SHA-256 and the nonce in a time stamp request."""
    head = der(0x04, bytes(32))[:2]
    start = content.index(head) + 2
    hashed, rest = content[start : start + 32], content[start + 32 :]
    while rest and rest[0] != 0x02:
        rest = rest[2 + rest[1] :]
    return hashed, int.from_bytes(rest[2 : 2 + rest[1]], "big") if rest else None
