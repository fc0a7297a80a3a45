"""The signature gate on a real control plane: the real cosign and notation sign, and only what is signed in every way that is
asked for reaches the Pods: with a key, keyless with a private Sigstore of real services, and with a certificate.

The rights are those of the shipped sample, for the ConfigMaps that a person makes with kubectl.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness import signers, sigstore_build
from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster
from .harness.installation import installed
from .harness.missing import missing
from .harness.operator_pod import OperatorPod, connect
from .harness.private_sigstore import PrivateSigstore
from .harness.registry import DockerRegistry
from .harness.replicas import Replicas, complaints
from .harness.repository import ROOT
from .harness.team import TRACKER, Team

pytestmark = pytest.mark.e2e

Object = dict[str, Any]
ALLOWED = [{"namespaces": ["e2e-*"], "registries": ["contoso"], "tasks": ["build-*"]}]
USER, PASSWORD = "pipeline", "a-password-of-the-pipeline"
SECONDS = 90.0
WORKFLOW = "contoso/checkout/.github/workflows/release.yml@refs/heads/main"


class Pipeline:
    """Who signs: a home with keys, and the way into the emulated Azure."""

    def __init__(self, azure: EmulatedAzure, home: Path) -> None:
        (home / ".docker").mkdir(parents=True)
        azure.registry.access.add_account(USER, PASSWORD)
        login = {"auths": {azure.registry.host: {"username": USER, "password": PASSWORD}}}
        (home / ".docker" / "config.json").write_text(json.dumps(login))
        self.home = home
        self._environment = azure.environment(home) | {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "COSIGN_PASSWORD": "",
            "NO_PROXY": "127.0.0.1,localhost",
            "NOTATION_USERNAME": USER,
            "NOTATION_PASSWORD": PASSWORD,
        }
        for name in ("cosign", "stranger"):
            self._run("cosign", "generate-key-pair", "--output-key-prefix", name)
        self._run("notation", "cert", "generate-test", "--default", "wabbit")
        self.certificate = home / "notation" / "localkeys" / "wabbit.crt"

    def sign_by_cosign(self, image: str, *, key: str = "cosign") -> None:
        """Sign `repository@digest`."""
        offline = ("--tlog-upload=false", "--use-signing-config=false")
        self._run("cosign", "sign", "--yes", "--key", f"{key}.key", *offline, image)

    def sign_keyless(self, image: str, sigstore: PrivateSigstore, *, workflow: str = WORKFLOW) -> None:
        """Sign `repository@digest` as a workflow."""
        where = ("--signing-config", str(sigstore.signing_config), "--trusted-root", str(sigstore.trusted_root))
        token = sigstore.workflow_token(workflow)
        self._run("cosign", "sign", "--yes", "--identity-token", token, *where, image)

    def sign_by_notation(self, image: str) -> None:
        """Sign `repository@digest`."""
        self._run("notation", "sign", "--signature-format", "cose", image)

    def _run(self, tool: str, *arguments: str) -> None:
        program = signers.find(tool)
        assert program is not None
        done = subprocess.run(
            [program, *arguments],
            env=self._environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


def rights(namespace: str) -> list[Object]:
    """The sample's Role in this namespace."""
    text = (ROOT / "manifests" / "samples" / "signature-keys.yaml").read_text()
    found = [item for item in yaml.safe_load_all(text) if item["kind"] in {"Role", "RoleBinding"}]
    for item in found:
        item["metadata"]["namespace"] = namespace
    return found


@pytest.fixture
def pipeline(azure: EmulatedAzure, tmp_path: Path) -> Pipeline:
    """The real signers with keys of their own."""
    if reason := signers.obstacle():
        missing(reason)
    return Pipeline(azure, tmp_path / "home")


@pytest.fixture
def sigstore(tmp_path: Path) -> Iterator[PrivateSigstore]:
    """A private Sigstore of real services."""
    if reason := sigstore_build.obstacle():
        missing(reason)
    found = PrivateSigstore(sigstore_build.build(print), tmp_path / "sigstore")
    found.start()
    yield found
    found.stop()


def gates_of(sigstore: PrivateSigstore) -> list[Object]:
    """A key, an identity, a certificate: all three have to sign."""
    identity = {"issuer": sigstore.actions, "subjectPattern": f"https://github.com/{WORKFLOW.replace('checkout', '*')}"}
    root = {"configMapRef": {"name": "sigstore", "key": sigstore.trusted_root.name}}
    authorities = {
        "trustStore": {"configMapRef": {"name": "image-authorities"}},
        "identities": ["x509.subject: C=US, ST=WA, O=Notary, CN=wabbit"],
    }
    return [
        {"signature": {"cosign": {"publicKey": {"configMapRef": {"name": "image-keys", "key": "cosign.pub"}}}}},
        {"signature": {"cosign": {"keyless": {"identities": [identity], "trustedRoot": root}}}},
        {"signature": {"notation": authorities}},
    ]


@pytest.fixture
def team(
    real_cluster: RealCluster,
    azure: EmulatedAzure,
    private_registry: DockerRegistry,
    programs: Path,
    namespace: str,
    pipeline: Pipeline,
    sigstore: PrivateSigstore,
    tmp_path: Path,
) -> Iterator[Team]:
    """A team whose tracker wants three signatures, beside an installed operator that may read the keys."""
    found = Team(real_cluster, azure, private_registry, namespace)
    found.set_up()
    found.kubectl("create", "configmap", "image-keys", f"--from-file={pipeline.home / 'cosign.pub'}")
    found.kubectl("create", "configmap", "image-authorities", f"--from-file={pipeline.certificate}")
    found.kubectl("create", "configmap", "sigstore", f"--from-file={sigstore.trusted_root}")
    real_cluster.admin.apply(*rights(namespace))
    with installed(real_cluster, allowed=ALLOWED):
        connect(real_cluster, azure)
        (tmp_path / "operator").mkdir()
        operator = OperatorPod(real_cluster, azure, programs, tmp_path / "operator")
        replicas = Replicas(real_cluster, operator, tmp_path / "operator")
        try:
            replicas.start()
            tracker = found.tracker()
            tracker["spec"]["gates"] = gates_of(sigstore)
            real_cluster.admin.apply(tracker)
            yield found
            assert complaints(replicas, namespace) == []
        finally:
            replicas.stop()


def gates(team: Team) -> dict[str, tuple[str, str]]:
    """What each gate says now, by its name: verdict and reason."""
    downstream = team.get("basetracker", TRACKER).get("status", {}).get("downstream", [{}])[0]
    return {one["name"]: (one["verdict"], one.get("reason", "")) for one in downstream.get("gates", [])}


def until(holds: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait until it holds; fails with `what` tells."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.5)


def pushed(team: Team) -> str:
    """What the tracked tag points to, as `repository@digest`."""
    latest = team.get("basetracker", TRACKER)["status"]["downstream"][0]["latest"]["digest"]
    return f"{team.image.rpartition(':')[0]}@{latest}"


def test_only_what_all_have_signed_reaches_the_pods(team: Team, pipeline: Pipeline, sigstore: PrivateSigstore) -> None:
    def said() -> object:
        return team.get("basetracker", TRACKER).get("status")

    until(lambda: gates(team).get("signature") == ("Pending", "SignatureAwaited"), said)
    assert "@" not in team.image_in_spec(), "nothing is delivered that nobody has signed"
    pipeline.sign_by_cosign(pushed(team))
    until(lambda: gates(team).get("signature") == ("Pass", "Signed"), said)
    # Beside the identity there is the key's signature, which says nothing about one.
    until(lambda: gates(team).get("signature-2") == ("Pending", "SignatureRefused"), said)
    assert "@" not in team.image_in_spec(), "one of three isn't enough"
    pipeline.sign_keyless(pushed(team), sigstore)
    until(lambda: gates(team).get("signature-2") == ("Pass", "Signed"), said)
    until(lambda: gates(team).get("signature-3") == ("Pending", "SignatureAwaited"), said)
    assert "@" not in team.image_in_spec(), "two of three aren't enough"
    pipeline.sign_by_notation(pushed(team))
    until(lambda: "@" in team.image_in_spec(), said)
    first = team.image_in_spec()

    base = team.push_base("3.12.2")
    until(lambda: team.runs()[1:] == ["Succeeded"] and pushed(team).partition("@")[2] not in first, said)
    pipeline.sign_by_cosign(pushed(team), key="stranger")
    pipeline.sign_keyless(pushed(team), sigstore, workflow=WORKFLOW.replace("main", "next"))
    pipeline.sign_by_notation(pushed(team))
    until(lambda: gates(team).get("signature") == ("Pending", "SignatureRefused"), said)
    assert team.image_in_spec() == first, "a stranger's signature is none"
    pipeline.sign_by_cosign(pushed(team))
    until(lambda: gates(team).get("signature-2") == ("Pending", "SignatureRefused"), said)
    assert team.image_in_spec() == first, "the same workflow on another branch is a stranger"
    pipeline.sign_keyless(pushed(team), sigstore)
    team.settle_on(base)
    assert team.image_in_spec() == f"{team.image}@{pushed(team).partition('@')[2]}"
    assert team.stands_on(base)
    assert [verdict for verdict, _ in gates(team).values()] == ["Pass"] * 4
