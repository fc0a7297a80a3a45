"""Bad input: each is told in the right place with what would free it, and nothing that runs is lost."""

from __future__ import annotations

import pytest

from basetracker.emulators import samples
from basetracker.emulators.cluster.refusals import Refusal
from basetracker.emulators.faults import Fault
from basetracker.emulators.images import build_on

from .world import BASE, HOST, World, a_tracker, image_of


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (a_tracker(base="contoso.azurecr.io/Base/Python:3.12"), "not a repository"),
        (a_tracker(base=f"{HOST}/base/python"), "the image has no tag"),
        (a_tracker(base=f"{BASE}@sha256:{'0' * 64}"), "never moves"),
        (a_tracker(base=image_of("checkout")), "a downstream image is its own base"),
        (a_tracker(fields={"downstream": "[]"}), "at least one image"),
        (a_tracker(fields={"base": f"{{image: {BASE}, interval: 1s}}"}), "at least 10s"),
    ],
    ids=["unparsable", "no tag", "digest", "own base", "nothing downstream", "too often"],
)
async def test_what_the_schema_refuses_is_refused_by_the_server(world: World, text: str, told: str) -> None:
    with pytest.raises(Refusal) as refused:
        await world.apply(text)
    assert refused.value.code == 422
    assert told in refused.value.message


# -- tasks --------------------------------------------------------------------------------------------


async def test_a_task_that_doesnt_exist(world: World) -> None:
    await world.begin(a_tracker(build="{acrTask: {name: build-nothing}}"))
    new = await world.move_base()
    row = await world.becomes("Blocked TaskNotFound")
    assert "there is no task build-nothing in the registry" in row["message"]
    world.cloud.tasks.add("build-nothing", world.registry, image="shop/checkout:main", base=BASE)
    await world.look()
    await world.catches_up(new)


async def test_a_task_that_the_namespace_may_not_have_started(world: World) -> None:
    world.allow([{"namespaces": ["elsewhere"], "registries": ["*"], "tasks": ["*"]}])
    await world.begin()
    before = world.runs_digests()
    await world.move_base()
    row = await world.becomes("Blocked TaskNotAllowed")
    assert "trackers of namespace shop may not start task contoso/build-checkout" in row["message"]
    await world.look()
    assert world.runs("checkout") == []
    assert world.runs_digests() == before


async def test_a_disabled_task(world: World) -> None:
    task = await world.begin()
    task.enabled = False
    new = await world.move_base()
    row = await world.becomes("Blocked TaskDisabled")
    assert "az acr task update --status Enabled" in row["message"]
    assert world.runs("checkout") == []
    task.enabled = True
    await world.look()
    await world.catches_up(new)


async def test_a_task_of_another_registry_than_the_images(world: World) -> None:
    other = world.cloud.add_azure_registry("fabrikam")
    await world.begin(a_tracker(build=f"{{acrTask: {{name: build-checkout, registry: {other.id}}}}}"))
    await world.move_base()
    row = await world.becomes("Blocked InvalidSpec")
    assert "fabrikam.azurecr.io, but the image is in contoso.azurecr.io" in row["message"]


# -- rights -------------------------------------------------------------------------------------------


async def test_an_identity_that_may_not_pull(world: World) -> None:
    await world.furnish()
    world.identity.unassign("AcrPull")
    await world.operate()
    await world.apply(a_tracker())
    row = await world.becomes("Blocked AccessDenied")
    assert f"{HOST} refuses the operator's Azure identity for base/python" in row["message"]
    assert world.condition("Stalled")["status"] == "True"
    world.identity.assign("AcrPull", world.registry.id)
    await world.look()
    await world.becomes("Current")


async def test_a_registry_that_forbids(world: World) -> None:
    await world.begin()
    before = world.runs_digests()
    world.cloud.faults.add(Fault(match=r"^HEAD contoso\.azurecr\.io /v2/base/", n=None, status=403))
    await world.look()
    row = await world.becomes("Blocked AccessDenied")
    assert "base/python" in row["message"]
    assert world.runs_digests() == before
    world.cloud.faults.clear()
    await world.look()
    await world.becomes("Current")


async def test_a_token_that_was_withdrawn_is_renewed(world: World) -> None:
    await world.begin()
    world.cloud.faults.add(Fault(match=rf"^HEAD {HOST} /v2/base/", status=401))
    new = await world.move_base()
    await world.catches_up(new)


async def test_a_registry_that_refuses_every_token(world: World) -> None:
    await world.begin()
    before = world.runs_digests()
    asked = len(world.cloud.faults.asked(rf"^HEAD {HOST} /v2/base/"))
    world.cloud.faults.add(Fault(match=rf"^HEAD {HOST} /v2/base/", n=None, status=401))
    await world.look()
    await world.becomes("Blocked AccessDenied")
    assert len(world.cloud.faults.asked(rf"^HEAD {HOST} /v2/base/")) == asked + 2
    assert world.runs_digests() == before


async def test_an_identity_that_may_not_run_tasks(world: World) -> None:
    await world.begin()
    world.identity.unassign("basetracker operator")
    new = await world.move_base()
    row = await world.becomes("Blocked AccessDenied")
    assert "grant it a role with the action Microsoft.ContainerRegistry/registries/" in row["message"]
    assert world.runs("checkout") == []
    world.identity.assign("basetracker operator", f"/subscriptions/{world.cloud.subscription}")
    await world.look()
    await world.catches_up(new)


async def test_a_pull_secret_that_the_operator_may_not_read(world: World) -> None:
    await world.furnish()
    await world.operate()
    await world.apply(a_tracker(fields={"base": f"{{image: {BASE}, interval: 10s, pullSecretRef: {{name: hub}}}}"}))
    row = await world.becomes("Blocked AccessDenied")
    assert "may not read the Secret shop/hub; bind it to a Role" in row["message"]
    assert {(one.verb, one.resource) for one in world.cluster.denied} == {("get", "secrets")}
    world.cluster.denied.clear()  # asked for, in this test


# -- what the registry answers ------------------------------------------------------------------------


async def test_a_repository_that_is_gone(world: World) -> None:
    await world.begin()
    before = world.deployment()["spec"]
    del world.registry.storage.repositories["shop/checkout"]
    await world.look()
    row = await world.becomes("Blocked ImageNotFound")
    assert image_of("checkout") in row["message"]
    assert world.deployment()["spec"] == before
    assert world.runs("checkout") == []


async def test_a_base_that_is_gone_and_comes_back(world: World) -> None:
    await world.begin()
    validated = world.image()["validated"]
    kept = world.registry.storage.repositories.pop("base/python")
    await world.look()
    row = await world.becomes("Blocked BaseNotFound")
    assert BASE in row["message"]
    assert row["validated"] == validated
    world.registry.storage.repositories["base/python"] = kept
    await world.look()
    await world.becomes("Current")
    assert world.runs("checkout") == []


async def test_an_outage_of_the_registry_changes_nothing(world: World) -> None:
    await world.begin()
    before = world.status()
    world.cloud.faults.add(Fault(match=r" contoso\.azurecr\.io ", n=None, status=502))
    await world.look()
    after = world.status()
    assert {key: after[key] for key in after if key != "lastHandled"} == {
        key: before[key] for key in before if key != "lastHandled"
    }


async def test_an_image_for_another_platform(world: World) -> None:
    await world.begin()
    before = world.runs_digests()
    arm = build_on(samples.python("3.12.11", platform="linux/arm64"), *samples.application("checkout"))
    task = world.cloud.tasks.find(f"{world.registry.id}/tasks/build-checkout")
    assert task is not None
    task.enabled = False
    await world.move_base()
    world.cloud.push(image_of("checkout"), arm)
    task.enabled = True
    world.cloud.faults.add(Fault(match=r"/scheduleRun\?", n=None, status=400, body={"error": {"code": "BadRequest"}}))
    await world.look()
    await world.until(lambda: world.image()["latest"]["digest"] == arm.digest, "the tag's new digest is seen")
    row = world.image()
    assert row["lineage"] == "Refuted"
    assert world.runs_digests() == before


DAMAGES = {
    "truncated": (Fault(match="", truncate=60), "something else than"),
    "altered": (Fault(match="", pad=1), "something else than"),
    "oversized": (Fault(match="", pad=5 << 20), "more than 4096 KiB"),
    "no manifest": (Fault(match="", status=418), "answers with status 418"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_manifest_that_cant_be_used(world: World, damage: str) -> None:
    await world.begin()
    before = world.deployment()["spec"]
    fault, told = DAMAGES[damage]
    new = world.push_base("3.12.12")
    fields = {name: getattr(fault, name) for name in Fault.__slots__}
    world.cloud.faults.add(Fault(**fields | {"match": f"^GET {HOST} /v2/base/python/manifests/", "n": None}))
    await world.look()
    row = await world.becomes("Blocked InvalidImage")
    assert told in row["message"]
    assert world.deployment()["spec"] == before
    assert world.runs("checkout") == []
    world.cloud.faults.clear()
    await world.look()
    await world.catches_up(new)


async def test_a_manifest_that_breaks_off_is_read_again(world: World) -> None:
    await world.begin()
    world.cloud.faults.add(Fault(match=f"^GET {HOST} /v2/base/python/manifests/", torn=True))
    new = await world.move_base()
    await world.catches_up(new)
    assert len(world.runs("checkout")) == 1


async def test_a_digest_that_isnt_there_is_not_believed(world: World) -> None:
    await world.begin()
    before = world.runs_digests()
    wrong = {"Docker-Content-Digest": f"sha256:{'1' * 64}"}
    world.cloud.faults.add(Fault(match=f"^HEAD {HOST} /v2/base/python/manifests/", n=None, headers=wrong))
    await world.look()
    row = await world.becomes("Blocked")
    assert f"base {BASE}" in row["message"]
    assert world.runs("checkout") == []
    assert world.runs_digests() == before
    world.cloud.faults.clear()
    await world.look()
    await world.becomes("Current")
    assert world.runs("checkout") == []


async def test_a_registry_that_names_no_digest_is_asked_for_the_content(world: World) -> None:
    world.cloud.faults.add(
        Fault(match=f"^(HEAD|GET) {HOST} /v2/[^ ]*/manifests/", n=None, headers={"Docker-Content-Digest": ""})
    )
    await world.begin()
    new = await world.move_base()
    await world.catches_up(new)


# -- workloads and other trackers ---------------------------------------------------------------------


async def test_a_deployment_that_comes_later(world: World) -> None:
    await world.furnish()
    await world.cluster.delete("Deployment", "shop", "checkout")
    await world.operate()
    await world.apply(a_tracker())
    row = await world.becomes("Blocked WorkloadNotFound")
    assert "there is no Deployment checkout in this namespace" in row["message"]
    await world.deploy("checkout")
    row = await world.becomes("Current")
    assert world.runs_digests() == {row["validated"]["digest"]}


async def test_a_container_that_isnt_there(world: World) -> None:
    await world.furnish()
    before = world.deployment()["spec"]
    await world.operate()
    rows = f"""
    - name: checkout
      image: {image_of("checkout")}
      deploy: [{{kind: Deployment, name: checkout, container: web}}]
    """
    await world.apply(a_tracker(fields={"downstream": rows}))
    row = await world.becomes("Blocked ContainerNotFound")
    assert "Deployment checkout has no container web; it has app" in row["message"]
    assert world.deployment()["spec"] == before


async def test_a_container_of_another_tag_is_not_switched(world: World) -> None:
    await world.furnish()
    world.cloud.push(f"{HOST}/shop/checkout:release", samples.python())
    await world.deploy("checkout", f"{HOST}/shop/checkout:release")
    before = world.deployment()["spec"]
    await world.operate()
    await world.apply(a_tracker())
    row = await world.becomes("Blocked TagDiffers")
    assert "container app runs the tag release, not main" in row["message"]
    await world.move_base()
    await world.until(lambda: len(world.runs("checkout")) == 1, "the image is built all the same")
    await world.becomes("Blocked TagDiffers")
    assert world.deployment()["spec"] == before


async def test_two_trackers_that_claim_one_container(world: World) -> None:
    await world.begin()
    await world.apply(a_tracker(name="second"))
    row = await world.becomes("Blocked ContainerClaimed", tracker="second")
    assert "container app of Deployment checkout is claimed by python/checkout already" in row["message"]
    count = world.deliveries()
    new = world.push_base("3.12.12")
    await world.look("second")
    await world.look()
    await world.catches_up(new)
    assert world.state(tracker="second") == "Blocked ContainerClaimed"
    assert world.deliveries() == count + 1
    assert len(world.runs("checkout")) == 1


async def test_a_circle_of_trackers_builds_nothing(world: World) -> None:
    await world.furnish("checkout", "platform")
    before = [world.deployment(name)["spec"] for name in ("checkout", "platform")]
    await world.apply(a_tracker("checkout", name="one", base=image_of("platform")))
    await world.apply(a_tracker("platform", name="two", base=image_of("checkout")))
    await world.operate()
    for image, name, way in (("checkout", "one", "one feeds two feeds one"), ("platform", "two", "two feeds one")):
        row = await world.becomes("Blocked Circle", image, name)
        assert way in row["message"]
        await world.look(name)
    assert world.schedulings() == 0
    assert [world.deployment(name)["spec"] for name in ("checkout", "platform")] == before
    await world.apply(a_tracker("platform", name="two"))
    await world.becomes("Current", "platform", "two")
    await world.becomes("Current", "checkout", "one")
