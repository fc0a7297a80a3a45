"""Registries and forms of images: whatever guards the base, and however it is packed, the story is the same."""

from __future__ import annotations

import base64
import json

import pytest

from basetracker.demo.files import SYSTEM
from basetracker.emulators import samples
from basetracker.emulators.faults import Fault

from .world import BASE, HOST, NAMESPACE, World, a_tracker, image_of

GENERIC = "registry.example.com"
TOKENS = "auth.example.com"
HUB_BASE = f"{GENERIC}/library/python:3.12"
WITH_SECRET = f"{{image: {HUB_BASE}, interval: 10s, pullSecretRef: {{name: hub}}}}"


def a_pull_secret(password: str = "hunter2", *, granted: bool = True) -> str:
    """The Secret for the generic registry and, if granted, the right to read it as the samples have it."""
    config = {"auths": {GENERIC: {"auth": base64.b64encode(f"robot:{password}".encode()).decode()}}}
    data = base64.b64encode(json.dumps(config).encode()).decode()
    text = f"""
apiVersion: v1
kind: Secret
metadata: {{name: hub, namespace: {NAMESPACE}}}
type: kubernetes.io/dockerconfigjson
data: {{.dockerconfigjson: {data}}}
---
"""
    if not granted:
        return text
    return f"""{text}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: basetracker-pull-secret, namespace: {NAMESPACE}}}
rules: [{{apiGroups: [""], resources: [secrets], resourceNames: [hub], verbs: [get]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: basetracker-pull-secret, namespace: {NAMESPACE}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: basetracker-pull-secret}}
subjects: [{{kind: ServiceAccount, name: basetracker, namespace: {SYSTEM}}}]
"""


@pytest.mark.parametrize("guard", ["bearer", "basic"])
async def test_a_base_behind_a_pull_secret(world: World, guard: str) -> None:
    if guard == "bearer":
        world.cloud.add_token_registry(GENERIC, TOKENS, {"robot": "hunter2"})
    else:
        world.cloud.add_basic_registry(GENERIC, {"robot": "hunter2"})
    world.push_base("3.12.11", reference=HUB_BASE)
    await world.furnish(base=HUB_BASE)
    await world.apply(a_pull_secret())
    await world.operate()
    await world.apply(_tracked(WITH_SECRET))
    await world.becomes("Current")
    new = world.push_base("3.12.12", reference=HUB_BASE)
    await world.look()
    digest = await world.catches_up(new)
    assert world.runs_digests() == {digest}
    assert bool(world.cloud.faults.asked(f"GET {TOKENS} ")) is (guard == "bearer")


async def test_a_base_that_anybody_may_read(world: World) -> None:
    world.cloud.add_open_registry(GENERIC)
    world.push_base("3.12.11", reference=HUB_BASE)
    await world.furnish(base=HUB_BASE)
    await world.operate()
    await world.apply(a_tracker(base=HUB_BASE))
    await world.becomes("Current")
    new = world.push_base("3.12.12", reference=HUB_BASE)
    await world.look()
    digest = await world.catches_up(new)
    assert world.runs_digests() == {digest}


async def test_a_wrong_password_is_told_without_being_shown(world: World) -> None:
    world.cloud.add_basic_registry(GENERIC, {"robot": "hunter2"})
    world.push_base("3.12.11", reference=HUB_BASE)
    await world.furnish(base=HUB_BASE)
    await world.apply(a_pull_secret("wrong"))
    await world.operate()
    await world.apply(_tracked(WITH_SECRET))
    row = await world.becomes("Blocked AccessDenied")
    assert f"{GENERIC} refuses the credential of the pull secret for library/python" in row["message"]
    assert "wrong" not in json.dumps(world.status())


async def test_a_pull_secret_that_comes_later_is_found(world: World) -> None:
    world.cloud.add_basic_registry(GENERIC, {"robot": "hunter2"})
    world.push_base("3.12.11", reference=HUB_BASE)
    await world.furnish(base=HUB_BASE)
    await world.apply(a_pull_secret().partition("---")[2])
    await world.operate()
    await world.apply(_tracked(WITH_SECRET))
    row = await world.becomes("Blocked BaseNotFound")
    assert "there is no Secret shop/hub" in row["message"]
    await world.apply(a_pull_secret())
    await world.look()
    await world.becomes("Current")


async def test_an_azure_registry_with_anonymous_pull_needs_no_identity(world: World) -> None:
    world.registry.access.anonymous_pull = True
    world.push_base("3.12.11")
    first = await world.push_by_hand("checkout", BASE)
    await world.deploy("checkout")
    await world.operate(azure=False)
    await world.apply(_without_build())
    await world.becomes("Current")
    assert world.runs_digests() == {first}
    new = await world.move_base()
    row = await world.becomes("Stale NoBuild")
    assert "waits for whoever builds it" in row["message"]
    second = await world.push_by_hand("checkout", BASE)
    await world.look()
    assert await world.catches_up(new) == second
    assert world.runs_digests() == {second}
    assert world.cloud.faults.asked("login.microsoftonline.com") == []


@pytest.mark.parametrize("refusal", ["no role", "another tenant"])
async def test_a_public_azure_registry_that_doesnt_know_the_operators_identity(world: World, refusal: str) -> None:
    public = world.cloud.add_azure_registry("fabrikam")
    public.access.anonymous_pull = True
    base = "fabrikam.azurecr.io/public/python:3.12"
    if refusal == "another tenant":
        world.cloud.faults.add(Fault(match=r"^POST fabrikam\.azurecr\.io /oauth2/exchange", n=None, status=401))
    world.push_base("3.12.11", reference=base)
    await world.furnish(base=base)
    await world.operate()
    await world.apply(a_tracker(base=base))
    await world.becomes("Current")
    asked = len(world.cloud.faults.asked(r" fabrikam\.azurecr\.io /oauth2/"))
    new = world.push_base("3.12.12", reference=base)
    await world.look()
    await world.catches_up(new)
    await world.look()
    assert len(world.cloud.faults.asked(r" fabrikam\.azurecr\.io /oauth2/")) == asked


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize(
    ("index", "platforms"),
    [(False, ("linux/amd64",)), (True, ("linux/amd64",)), (True, samples.BOTH)],
    ids=["image", "one-of-an-index", "index"],
)
async def test_every_form_of_image(world: World, docker: bool, index: bool, platforms: tuple[str, ...]) -> None:
    world.push_base("3.12.11", index=index, docker=docker)
    await world.begin(platforms=platforms)
    new = world.push_base("3.12.12", index=index, docker=docker)
    await world.look()
    digest = await world.catches_up(new)
    assert world.image()["lineage"] == "Proven"
    assert len(world.runs("checkout")) == 1
    assert world.runs_digests() == {digest} == {world.digest(image_of("checkout"))}


def _tracked(base: str) -> str:
    return a_tracker(fields={"base": base})


def _without_build() -> str:
    rows = f"[{{name: checkout, image: '{HOST}/shop/checkout:main', deploy: [{{kind: Deployment, name: checkout}}]}}]"
    return a_tracker(fields={"downstream": rows})
