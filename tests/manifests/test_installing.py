"""Installing with real kubectl on an emulated cluster: what is applied, shown, granted and refused."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from basetracker.emulators.authority import Authority
from basetracker.emulators.cluster import Cluster, Refusal

from .kustomizations import KUBECTL, ROOT, Json
from .refusals import DIGEST, REFUSALS, tracker
from .schemas import crd

OPERATOR = ("basetracker-system", "basetracker")


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(Authority()) as running:
        yield running


class Kubectl:
    """Real kubectl, as the admin or as whoever `token` belongs to."""

    def __init__(self, cluster: Cluster, directory: Path, token: str | None = None) -> None:
        self._kubeconfig = directory / f"kubeconfig-{'token' if token else 'admin'}"
        self._kubeconfig.write_text(json.dumps(cluster.kubeconfig(token=token)), encoding="utf-8")
        # A cache of its own: kubectl would go on with the resources that it knew before the CRD was there.
        self._cache = tempfile.mkdtemp(dir=directory)

    async def tried(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit code, output and errors."""
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            f"--kubeconfig={self._kubeconfig}",
            f"--cache-dir={self._cache}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode())
        return process.returncode or 0, out.decode(), err.decode()

    async def run(self, *arguments: str, stdin: str = "") -> str:
        """What it prints; it has to succeed."""
        code, out, err = await self.tried(*arguments, stdin=stdin)
        assert code == 0, err
        return out


@pytest.fixture
async def kubectl(cluster: Cluster, tmp_path: Path) -> Kubectl:
    """The admin's kubectl, with the operator installed."""
    await Kubectl(cluster, tmp_path).run("apply", "-k", "manifests/base")
    return Kubectl(cluster, tmp_path)


async def test_every_bad_spec_is_refused_with_its_words(cluster: Cluster) -> None:
    await cluster.apply(crd())
    wrong: list[str] = []
    for refusal in REFUSALS:
        try:
            await cluster.apply(refusal.tracker)
        except Refusal as answer:
            if answer.code != 422 or refusal.field not in answer.message or refusal.says not in answer.message:
                wrong.append(f"{refusal.name}: {answer.message}")
        else:
            wrong.append(f"{refusal.name}: accepted")
    assert wrong == []
    assert cluster.list("BaseImageTracker") == []


async def test_a_person_reads_how_to_mend_it(kubectl: Kubectl) -> None:
    bad = tracker((("base", "image"), f"contoso.azurecr.io/base/python@{DIGEST}"))
    code, _, said = await kubectl.tried("apply", "-f", "-", stdin=json.dumps(bad))
    assert code == 1
    assert 'The BaseImageTracker "python-3-12" is invalid' in said
    assert "name the tag to follow, without @sha256:…" in said


async def test_a_gate_that_nobody_knows_is_told_by_kubectl(kubectl: Kubectl) -> None:
    bad = tracker((("gates",), [{"horoscope": {}}]))
    code, _, said = await kubectl.tried("apply", "-f", "-", stdin=json.dumps(bad))
    assert code == 1
    assert 'unknown field "spec.gates[0].horoscope"' in said


async def test_samples_are_listed_under_every_name(kubectl: Kubectl, cluster: Cluster) -> None:
    await kubectl.run("apply", "-k", "manifests/samples")
    listed = {
        await kubectl.run("get", name, "-n", "shop", "-o", "name")
        for name in ("baseimagetrackers", "baseimagetracker", "basetrackers", "basetracker", "bit")
    }
    assert len(listed) == 1
    assert len(listed.pop().splitlines()) == len(cluster.list("BaseImageTracker")) == 8
    by_base = await kubectl.run(
        "get", "bit", "-A", "-o", "name", "--field-selector=spec.base.image=docker.io/library/nginx:1.29"
    )
    assert by_base.split() == ["baseimagetracker.basetracker.dev/nginx"]


async def test_a_person_sees_the_state_in_columns(kubectl: Kubectl, cluster: Cluster) -> None:
    good: Json = tracker()
    await kubectl.run("apply", "-f", "-", stdin=yaml.safe_dump(good))
    status = {
        "base": {"digest": DIGEST, "shortDigest": "1a2b3c4d1a2b", "since": "2026-01-01T00:00:00Z"},
        "summary": {"current": 1, "total": 2, "text": "1/2", "state": "Building"},
        "conditions": [{"type": "Ready", "status": "False", "reason": "Building", "message": "one is being built"}],
    }
    await cluster.patch("BaseImageTracker", "default", "python-3-12", {"status": status}, status=True)
    head, row = (await kubectl.run("get", "basetrackers")).splitlines()
    assert head.split() == ["NAME", "BASE", "DIGEST", "CURRENT", "STATE", "READY", "SINCE", "AGE"]
    assert row.split()[:6] == [
        *("python-3-12", "contoso.azurecr.io/base/python:3.12"),
        *("1a2b3c4d1a2b", "1/2", "Building", "False"),
    ]
    wide_head, wide_row = (await kubectl.run("get", "basetrackers", "-o", "wide")).splitlines()
    assert wide_head.split() == [*head.split(), "MESSAGE", "BASE-DIGEST"]
    assert wide_row.rstrip().endswith(f"one is being built   {DIGEST}")


async def test_a_person_reads_what_a_field_means(kubectl: Kubectl) -> None:
    told = await kubectl.run("explain", "basetracker.spec.downstream.build.acrTask.baseArgument")
    assert "pinned by its digest" in told


# Verb, resource, namespace, name.
MAY = (
    ("list", "baseimagetrackers.basetracker.dev", "shop", ""),
    ("patch", "baseimagetrackers.basetracker.dev/status", "shop", "nginx"),
    ("watch", "deployments.apps", "shop", ""),
    ("patch", "deployments.apps", "shop", "checkout"),
    ("create", "events", "shop", ""),
    ("create", "leases.coordination.k8s.io", "basetracker-system", ""),
    ("update", "leases.coordination.k8s.io", "basetracker-system", "basetracker"),
    # By the samples' Roles in that namespace.
    ("get", "secrets", "shop", "hub"),
    ("list", "pods", "shop", ""),
    ("get", "configmaps", "shop", "image-keys"),
)

MAY_NOT = (
    ("patch", "baseimagetrackers.basetracker.dev", "shop", "nginx"),
    ("delete", "baseimagetrackers.basetracker.dev", "shop", "nginx"),
    ("create", "deployments.apps", "shop", ""),
    ("update", "deployments.apps", "shop", "checkout"),
    ("delete", "deployments.apps", "shop", "checkout"),
    ("list", "pods", "basetracker-system", ""),
    ("list", "configmaps", "shop", ""),
    ("get", "configmaps", "shop", "other"),
    ("update", "configmaps", "shop", "image-keys"),
    ("list", "secrets", "shop", ""),
    ("get", "secrets", "shop", "other"),
    ("get", "secrets", "basetracker-system", "hub"),
    ("get", "leases.coordination.k8s.io", "shop", "basetracker"),
    ("update", "leases.coordination.k8s.io", "basetracker-system", "another"),
    ("create", "serviceaccounts/token", "basetracker-system", "basetracker"),
    ("create", "rolebindings.rbac.authorization.k8s.io", "shop", ""),
    ("update", "configmaps", "basetracker-system", "basetracker-tasks"),
)


async def _may(kubectl: Kubectl, verb: str, resource: str, namespace: str, name: str) -> bool:
    """What `kubectl auth can-i` asks."""
    qualified, _, subresource = resource.partition("/")
    plural, _, group = qualified.partition(".")
    asked = {"verb": verb, "group": group, "resource": plural, "namespace": namespace, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**asked, "subresource": subresource}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = json.loads(await kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(review)))
    return bool(answer["status"]["allowed"])


async def test_the_operators_account_may_do_its_work_and_nothing_else(
    kubectl: Kubectl, cluster: Cluster, tmp_path: Path
) -> None:
    await kubectl.run("apply", "-k", "manifests/samples")
    operator = Kubectl(cluster, tmp_path, cluster.token(*OPERATOR))
    wrong: list[str] = []
    for verb, resource, namespace, name in (*MAY, *MAY_NOT):
        allowed = await _may(operator, verb, resource, namespace, name)
        if allowed != ((verb, resource, namespace, name) in MAY):
            wrong.append(f"{verb} {resource} {name} in {namespace}: {allowed}")
    assert wrong == []


async def test_an_overlay_for_one_namespace_installs_beside_the_crd(cluster: Cluster, tmp_path: Path) -> None:
    admin = Kubectl(cluster, tmp_path)
    await admin.run("apply", "-k", "crds")
    await admin.run("apply", "-f", "manifests/samples/namespace.yaml")
    await admin.run("apply", "-k", "manifests/overlays/single-namespace")
    assert cluster.list("ClusterRoleBinding") == [] or all(
        "basetracker" not in item["metadata"]["name"] for item in cluster.list("ClusterRoleBinding")
    )
    assert cluster.get("Deployment", "shop", "basetracker") is not None
