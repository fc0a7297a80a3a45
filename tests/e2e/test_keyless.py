"""Keyless signatures by the real cosign, with a private Sigstore of real services; and what the tests' own Sigstore makes, by cosign.

The gate itself is asked, over an emulated registry; `test_gate_signature.py` has the whole operator.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from basetracker.api.names import GateVerdict
from basetracker.emulators import samples
from basetracker.oci.refs import ImageRef
from basetracker.ports import Answer

from ..adapters.gates.signature import sigstores
from ..adapters.gates.signature.authorities import NOW
from ..adapters.gates.signature.certificate_log import CertificateLog
from ..adapters.gates.signature.conftest import BUNDLE, REPOSITORY, Desk, desk, world
from ..adapters.gates.signature.signers import statement
from .harness import signers, sigstore_build
from .harness.missing import missing
from .harness.private_sigstore import PrivateSigstore

__all__ = ["desk", "world"]

pytestmark = pytest.mark.e2e

USER, PASSWORD = "pipeline", "a-password-of-the-pipeline"
WORKFLOW = "contoso/shop/.github/workflows/release.yml@refs/heads/main"
SUBJECT = f"https://github.com/{WORKFLOW}"
EMAIL = "build@contoso.com"
SECONDS = 90
Json = dict[str, Any]


@pytest.fixture(scope="module")
def programs_of_sigstore() -> Path:
    """Where the real services are."""
    if reason := signers.obstacle() or sigstore_build.obstacle():
        missing(reason)
    return sigstore_build.build(print)


@pytest.fixture(scope="module")
def sigstore(programs_of_sigstore: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSigstore]:
    """A private Sigstore of real services, for all tests here."""
    found = PrivateSigstore(programs_of_sigstore, tmp_path_factory.mktemp("sigstore") / "private")
    found.start()
    yield found
    found.stop()


@dataclass
class Bench:
    """The real cosign in a home of its own, and the gate that judges what it signs."""

    desk: Desk
    home: Path

    async def run(self, *arguments: object) -> tuple[int, str]:
        """Run cosign; its exit code and what it says."""
        program = signers.find("cosign")
        assert program is not None
        child = await asyncio.create_subprocess_exec(
            str(program),
            *map(str, arguments),
            cwd=self.home,
            env=self.desk.world.cloud.environment(self.desk.world.directory)
            | {"PATH": os.environ["PATH"], "HOME": str(self.home), "NO_PROXY": "127.0.0.1,localhost"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(SECONDS):
            output, _ = await child.communicate()
        assert child.returncode is not None
        return child.returncode, output.decode()

    async def sign(self, sigstore: PrivateSigstore, token: str, *, image: ImageRef | None = None) -> None:
        """Sign the image, keyless."""
        code, said = await self.run(
            *("sign", "--yes", "--identity-token", token, "--signing-config", sigstore.signing_config),
            *("--trusted-root", sigstore.trusted_root, self._target(image)),
        )
        assert code == 0, said

    async def verified_by_cosign(self, root: Path, issuer: str, subject: str) -> bool:
        """Whether cosign takes a signature of the image for valid."""
        code, _ = await self.run(
            *("verify", "--trusted-root", root, "--use-signed-timestamps", "--certificate-oidc-issuer", issuer),
            *("--certificate-identity", subject, self._target(None)),
        )
        return code == 0

    async def ask(self, root: bytes, *identities: Json, image: ImageRef | None = None) -> Answer:
        """What the gate says of the image, with this trusted root."""
        self.desk.data.objects["ConfigMap", "sigstore"] = {"trusted_root.json": root}
        reference = {"configMapRef": {"name": "sigstore", "key": "trusted_root.json"}}
        keyless = {"identities": list(identities), "trustedRoot": reference}
        return await self.desk.ask({"cosign": {"keyless": keyless}}, image=image)

    def stored_bundle(self) -> tuple[str, Json]:
        """The bundle in the registry, by its digest."""
        storage = self.desk.registry.storage
        (found,) = [one for one in storage.repositories[REPOSITORY].manifests.values() if one.subject]
        digest = found.document["layers"][0]["digest"]
        return digest, json.loads(storage.blobs[digest])

    def _target(self, image: ImageRef | None) -> str:
        image = image or self.desk.image
        return f"{image.repository}@{image.digest}"


@pytest.fixture
def bench(desk: Desk, tmp_path: Path) -> Bench:
    access: Any = desk.registry.access
    access.add_account(USER, PASSWORD)
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    login = {"auths": {desk.registry.host: {"username": USER, "password": PASSWORD}}}
    (home / ".docker" / "config.json").write_text(json.dumps(login))
    return Bench(desk, home)


def passes(answer: Answer) -> bool:
    return answer.verdict is GateVerdict.PASS


@pytest.mark.parametrize("api", [True, False], ids=["referrers", "no-referrers"])
async def test_what_a_workflow_signs_passes(bench: Bench, sigstore: PrivateSigstore, api: bool) -> None:
    bench.desk.registry.api.referrers_enabled = api
    exact = {"issuer": sigstore.actions, "subject": SUBJECT}
    assert (await bench.ask(sigstore.root, exact)).reason == "SignatureAwaited"
    await bench.sign(sigstore, sigstore.workflow_token(WORKFLOW))
    answer = await bench.ask(sigstore.root, exact)
    assert (answer.verdict, answer.reason) == (GateVerdict.PASS, "Signed"), answer.message
    assert answer.message == f"signed by cosign as {SUBJECT} of {sigstore.actions}"
    assert await bench.verified_by_cosign(sigstore.trusted_root, sigstore.actions, SUBJECT)


async def test_the_first_signature_that_a_log_has_ever_seen_passes(bench: Bench, sigstore: PrivateSigstore) -> None:
    sigstore.empty_log()
    await bench.sign(sigstore, sigstore.person_token(EMAIL))
    assert "logIndex" not in bench.stored_bundle()[1]["verificationMaterial"]["tlogEntries"][0]
    assert passes(await bench.ask(sigstore.root, {"issuer": sigstore.people, "subject": EMAIL}))


async def test_whom_an_identity_stands_for(bench: Bench, sigstore: PrivateSigstore) -> None:
    await bench.sign(sigstore, sigstore.workflow_token(WORKFLOW, repository="contoso/shop"))
    actions, root = sigstore.actions, sigstore.root
    here = {"sourceRepository": "https://github.com/contoso/shop", "sourceRef": "refs/heads/main"}
    for identity, counts in [
        ({"issuer": actions, "subject": SUBJECT} | here, True),
        (
            {"issuer": actions, "subjectPattern": "https://github.com/contoso/*/.github/workflows/*@refs/heads/main"},
            True,
        ),
        ({"issuer": actions, "subjectPattern": "https://github.com/contoso/*"}, False),
        ({"issuer": actions, "subject": SUBJECT.replace("main", "next")}, False),
        ({"issuer": actions, "subject": SUBJECT} | here | {"sourceRef": "refs/heads/next"}, False),
        (
            {"issuer": actions, "subject": SUBJECT} | here | {"sourceRepository": "https://github.com/contoso/fork"},
            False,
        ),
        ({"issuer": sigstore.people, "subject": SUBJECT}, False),
        ({"issuer": actions, "subject": EMAIL}, False),
    ]:
        answer = await bench.ask(root, identity)
        assert passes(answer) is counts, identity
        if not counts:
            assert answer.reason == "SignatureRefused"
            assert (
                f"one is by {SUBJECT} of {actions} in https://github.com/contoso/shop at refs/heads/main"
                in answer.message
            )


async def test_a_person_passes_by_address(bench: Bench, sigstore: PrivateSigstore) -> None:
    await bench.sign(sigstore, sigstore.person_token(EMAIL))
    assert passes(await bench.ask(sigstore.root, {"issuer": sigstore.people, "subject": EMAIL}))
    assert passes(await bench.ask(sigstore.root, {"issuer": sigstore.people, "subjectPattern": "*@contoso.com"}))
    assert not passes(await bench.ask(sigstore.root, {"issuer": sigstore.actions, "subject": EMAIL}))


async def test_another_sigstore_is_not_trusted(bench: Bench, sigstore: PrivateSigstore) -> None:
    await bench.sign(sigstore, sigstore.person_token(EMAIL))
    answer = await bench.ask(sigstores.Sigstore().trusted_root(), {"issuer": sigstore.people, "subject": EMAIL})
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "SignatureRefused")


async def test_the_signature_of_another_image_does_not_pass(bench: Bench, sigstore: PrivateSigstore) -> None:
    identity = {"issuer": sigstore.people, "subject": EMAIL}
    other = bench.desk.world.push(f"{bench.desk.image.repository}:other", samples.python())
    await bench.sign(sigstore, sigstore.person_token(EMAIL), image=other)
    assert passes(await bench.ask(sigstore.root, identity, image=other))
    assert (await bench.ask(sigstore.root, identity)).reason == "SignatureAwaited"
    _, bundle = bench.stored_bundle()
    bench.desk.shelf.refer(BUNDLE, BUNDLE, json.dumps(bundle).encode())
    answer = await bench.ask(sigstore.root, identity)
    assert "one is about another digest" in answer.message
    assert not passes(answer)


def without_log(material: Json) -> None:
    del material["tlogEntries"]


def without_proof(material: Json) -> None:
    del material["tlogEntries"][0]["inclusionProof"]


def without_time(material: Json) -> None:
    del material["timestampVerificationData"]


def later(material: Json) -> None:
    """The time claimed beside the proof, which nobody has signed."""
    del material["timestampVerificationData"]
    material["tlogEntries"][0]["integratedTime"] = "1700000000"


@pytest.mark.parametrize("spoil", [without_log, without_proof, without_time, later])
async def test_a_signature_that_lost_its_evidence_does_not_pass(
    bench: Bench, sigstore: PrivateSigstore, spoil: Callable[[Json], None]
) -> None:
    identity = {"issuer": sigstore.people, "subject": EMAIL}
    await bench.sign(sigstore, sigstore.person_token(EMAIL))
    assert passes(await bench.ask(sigstore.root, identity))
    await _replace_by(bench, spoil)
    answer = await bench.ask(sigstore.root, identity)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "SignatureRefused")
    assert not await bench.verified_by_cosign(sigstore.trusted_root, sigstore.people, EMAIL)


async def _replace_by(bench: Bench, spoil: Callable[[Json], None]) -> None:
    storage = bench.desk.registry.storage
    (found,) = [one for one in storage.repositories[REPOSITORY].manifests.values() if one.subject]
    _, bundle = bench.stored_bundle()
    spoil(bundle["verificationMaterial"])
    storage.delete_manifest(REPOSITORY, found.digest)
    for tag in [one for one in storage.repositories[REPOSITORY].tags if one.startswith("sha256-")]:
        storage.delete_tag(REPOSITORY, tag)
    bench.desk.shelf.refer(BUNDLE, BUNDLE, json.dumps(bundle).encode())


# -- the tests' own Sigstore, by cosign --------------------------------------------------------------------

OURS, THEIRS = sigstores.Sigstore(), sigstores.Sigstore()
IDENTITY = {"issuer": sigstores.ACTIONS, "subject": sigstores.WORKFLOW}
WHO = sigstores.Who()


async def judged(bench: Bench, content: bytes) -> tuple[bool, bool]:
    """What cosign and the gate say of a bundle."""
    bench.desk.shelf.refer(BUNDLE, BUNDLE, content)
    path = bench.home / "root.json"
    path.write_bytes(OURS.trusted_root())
    by_cosign = await bench.verified_by_cosign(path, sigstores.ACTIONS, sigstores.WORKFLOW)
    return by_cosign, passes(await bench.ask(OURS.trusted_root(), IDENTITY))


@pytest.mark.parametrize(("logged", "stamped"), [("v2", True), ("first", True), ("v1", True)])
async def test_what_the_tests_own_sigstore_makes_is_what_cosign_takes(bench: Bench, logged: str, stamped: bool) -> None:
    good = statement(str(bench.desk.shelf.digest))
    assert await judged(bench, OURS.bundle(good, logged=logged, stamped=stamped)) == (True, True)


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "another authority": lambda good: OURS.bundle(good, by=THEIRS.certificate(WHO, promise=OURS.log)),
    "another certificate log": lambda good: OURS.bundle(good, by=OURS.certificate(WHO, promise=CertificateLog())),
    "another person": lambda good: OURS.bundle(good, sigstores.PERSON),
    "too late": lambda good: OURS.bundle(good, moment=NOW + 10 * sigstores.MINUTE),
    "too early": lambda good: OURS.bundle(good, moment=NOW - 2 * sigstores.MINUTE),
    "no time": lambda good: OURS.bundle(good, stamped=False),
    "another Sigstore": THEIRS.bundle,
    "another image": lambda good: OURS.bundle(statement("sha256:" + "0" * 64)),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_so_for_cosign_too(bench: Bench, make: Callable[[bytes], bytes]) -> None:
    assert await judged(bench, make(statement(str(bench.desk.shelf.digest)))) == (False, False)


async def test_an_attestation_is_no_signature_though_cosign_takes_it_for_one(bench: Bench) -> None:
    good = statement(str(bench.desk.shelf.digest))
    content = OURS.bundle(good.replace(b"sigstore.dev/cosign/sign", b"slsa.dev/provenance"))
    assert await judged(bench, content) == (True, False)
