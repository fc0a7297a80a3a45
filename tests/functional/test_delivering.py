"""Delivering: only what is proven, a few at a time, nothing else touched, and nobody fought."""

from __future__ import annotations

import copy
import json
from typing import Any

from basetracker.emulators import samples
from basetracker.emulators.cluster.instruments import Fault

from .world import BASE, HOST, NAMESPACE, World, a_tracker, image_of

NAMES = ("checkout", "checkout-worker", "checkout-cron")
PATCH = r"^PATCH /apis/apps/v1/namespaces/shop/deployments/"


def three_deployments(rollout: str = "{}") -> str:
    """A tracker whose one image runs in three Deployments."""
    rows = f"""
    - name: checkout
      image: {image_of("checkout")}
      build: {{acrTask: {{name: build-checkout, baseArgument: BASE_IMAGE}}}}
      deploy: [{", ".join(f"{{kind: Deployment, name: {name}}}" for name in NAMES)}]
    """
    return a_tracker(rollout=rollout, fields={"downstream": rows})


async def three_current(world: World, rollout: str = "{}", **spec: Any) -> None:
    """All three run a current digest; then their spec is changed."""
    await world.furnish()
    for name in NAMES:
        await world.deploy(name, image_of("checkout"))
    await world.operate()
    await world.apply(three_deployments(rollout))
    await world.becomes("Current")
    for name in NAMES if spec else ():
        await world.cluster.patch("Deployment", NAMESPACE, name, {"spec": spec})


def new_images_crash(world: World) -> None:
    """Let the containers of every image that isn't running yet crash."""
    known = {
        digest for name in NAMES if world.cluster.get("Deployment", NAMESPACE, name) for digest in runs(world, name)
    }

    async def crashes(image: str) -> bool:
        return not any(digest in image for digest in known)

    world.cluster.crashes = crashes


def runs(world: World, name: str) -> set[str]:
    return world.runs_digests(name)


def nothing_crashes(world: World) -> None:
    async def crashes(image: str) -> bool:
        return False

    world.cluster.crashes = crashes
    world.cluster.look_at_pods()


def nothing_crashes_but(world: World, digest: str) -> None:
    async def crashes(image: str) -> bool:
        return digest in image

    world.cluster.crashes = crashes


def delivered(world: World, digest: str) -> list[str]:
    """The Deployments whose template has the digest."""
    return [name for name in NAMES if digest in str(world.deployment(name)["spec"]["template"])]


async def test_one_workload_at_a_time(world: World) -> None:
    await three_current(world)
    new_images_crash(world)
    new = await world.move_base()
    await world.becomes("RollingOut RolloutProgressing")
    digest = world.image()["validated"]["digest"]
    await world.look()
    assert len(delivered(world, digest)) == 1
    nothing_crashes(world)
    await world.catches_up(new)
    assert [world.runs_digests(name) for name in NAMES] == [{digest}] * 3
    assert [world.deliveries(name) for name in NAMES] == [2, 2, 2]  # the first pin and the new base


async def test_as_many_at_a_time_as_the_tracker_says(world: World) -> None:
    await three_current(world, "{maxConcurrent: 2}")
    new_images_crash(world)
    new = await world.move_base()
    await world.becomes("RollingOut RolloutProgressing")
    await world.look()
    digest = world.image()["validated"]["digest"]
    assert len(delivered(world, digest)) == 2
    nothing_crashes(world)
    await world.catches_up(new)


async def test_a_stuck_rollout_holds_the_others_until_a_newer_base(world: World) -> None:
    await three_current(world, progressDeadlineSeconds=1)
    before = {name: world.runs_digests(name) for name in NAMES}
    new_images_crash(world)
    await world.move_base()
    row = await world.becomes("Blocked RolloutStuck")
    assert "nothing more is delivered until it is" in row["message"]
    assert world.condition("Stalled")["reason"] == "RolloutStuck"
    await world.look()
    assert len(delivered(world, row["validated"]["digest"])) == 1
    assert {name: world.runs_digests(name) for name in NAMES} == before  # the old Pods still serve
    assert len(world.history("RolloutStuck")) == 1

    nothing_crashes(world)
    newer = world.push_base("3.12.13")
    await world.look()
    digest = await world.catches_up(newer)
    assert [world.runs_digests(name) for name in NAMES] == [{digest}] * 3


async def test_a_stuck_rollout_that_heals_lets_the_others_go_on(world: World) -> None:
    await three_current(world, progressDeadlineSeconds=1)
    new_images_crash(world)
    new = await world.move_base()
    await world.becomes("Blocked RolloutStuck")
    nothing_crashes(world)
    digest = await world.catches_up(new)
    assert [world.runs_digests(name) for name in NAMES] == [{digest}] * 3


async def test_somebody_elses_concurrent_edit_survives(world: World) -> None:
    await world.begin()
    world.cluster.faults.append(Fault(match=PATCH, delay=0.4))
    new = await world.move_base()
    await world.until(
        lambda: world.image()["state"] in {"RollingOut", "Current"} or not world.cluster.faults, "it is under way"
    )
    edit = [
        {"op": "add", "path": "/spec/template/spec/containers/0/env", "value": [{"name": "COLOUR", "value": "blue"}]},
        {"op": "replace", "path": "/spec/replicas", "value": 2},
    ]
    await world.cluster.patch("Deployment", NAMESPACE, "checkout", edit, media_type="application/json-patch+json")
    digest = await world.catches_up(new)
    spec = world.deployment()["spec"]
    assert spec["replicas"] == 2
    assert spec["template"]["spec"]["containers"][0]["env"] == [{"name": "COLOUR", "value": "blue"}]
    assert spec["template"]["spec"]["containers"][0]["image"] == f"{image_of('checkout')}@{digest}"


async def test_a_container_put_before_ours_meanwhile_is_not_hit(world: World) -> None:
    """The patch names places in a list: it must not reach whoever stands there by now."""
    await world.begin()
    world.cloud.push(f"{HOST}/shop/sidecar:1", samples.debian())
    world.cluster.faults.append(Fault(match=PATCH, delay=0.4))
    new = await world.move_base()
    await world.until(lambda: not world.cluster.faults, "the patch is on its way")
    value = {"name": "sidecar", "image": f"{HOST}/shop/sidecar:1"}
    edit = [{"op": "add", "path": "/spec/template/spec/containers/0", "value": value}]
    await world.cluster.patch("Deployment", NAMESPACE, "checkout", edit, media_type="application/json-patch+json")
    digest = await world.catches_up(new)
    images = {one["name"]: one["image"] for one in world.deployment()["spec"]["template"]["spec"]["containers"]}
    assert images == {"sidecar": f"{HOST}/shop/sidecar:1", "app": f"{image_of('checkout')}@{digest}"}


async def test_only_the_image_and_the_two_marks_change(world: World) -> None:
    await world.begin()
    before = copy.deepcopy(world.deployment())
    new = await world.move_base()
    digest = await world.catches_up(new)
    after = copy.deepcopy(world.deployment())
    changed = set(differences(stripped(before), stripped(after)))
    assert changed == {
        "/metadata/annotations/basetracker.dev~1delivered",
        "/metadata/annotations/kubernetes.io~1change-cause",
        "/spec/template/spec/containers/0/image",
    }
    assert after["spec"]["template"]["spec"]["containers"][0]["image"] == f"{image_of('checkout')}@{digest}"
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


async def test_every_container_of_the_repository_and_no_other_one(world: World) -> None:
    await world.furnish()
    world.cloud.push(f"{HOST}/shop/proxy:1", samples.debian())
    await world.deploy(
        "checkout",
        containers={"web": image_of("checkout"), "proxy": f"{HOST}/shop/proxy:1", "jobs": image_of("checkout")},
        init={"migrate": image_of("checkout")},
    )
    await world.operate()
    await world.apply(a_tracker())
    await world.becomes("Current")
    new = await world.move_base()
    digest = await world.catches_up(new)
    pods = world.deployment()["spec"]["template"]["spec"]
    pinned = f"{image_of('checkout')}@{digest}"
    assert {one["name"]: one["image"] for one in pods["containers"]} == {
        "web": pinned,
        "proxy": f"{HOST}/shop/proxy:1",
        "jobs": pinned,
    }
    assert [one["image"] for one in pods["initContainers"]] == [pinned]
    assert world.deliveries("checkout") == 2  # one patch for all three containers, each time


async def test_only_the_named_container(world: World) -> None:
    await world.furnish()
    await world.deploy("checkout", containers={"web": image_of("checkout"), "jobs": image_of("checkout")})
    await world.operate()
    rows = f"""
    - name: checkout
      image: {image_of("checkout")}
      build: {{acrTask: {{name: build-checkout, baseArgument: BASE_IMAGE}}}}
      deploy: [{{kind: Deployment, name: checkout, container: web}}]
    """
    await world.apply(a_tracker(fields={"downstream": rows}))
    await world.becomes("Current")
    digest = world.image()["validated"]["digest"]
    images = {one["name"]: one["image"] for one in world.deployment()["spec"]["template"]["spec"]["containers"]}
    assert images == {"web": f"{image_of('checkout')}@{digest}", "jobs": image_of("checkout")}


async def test_a_cluster_that_refuses_the_change_is_quoted(world: World) -> None:
    await world.begin()
    refusal = '{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"no latest on Fridays"}'
    headers = {"Content-Type": "application/json"}
    world.cluster.faults.append(Fault(match=PATCH, status=422, headers=headers, body=refusal))
    new = await world.move_base()
    row = await world.becomes("Blocked DeliveryRefused")
    assert "no latest on Fridays" in row["message"]
    await world.look()
    await world.catches_up(new)


async def test_a_lost_answer_to_a_delivery_is_looked_up(world: World) -> None:
    await world.begin()
    world.cluster.faults.append(Fault(match=PATCH, after=True, drop=True))
    new = await world.move_base()
    digest = await world.catches_up(new)
    assert world.runs_digests() == {digest}
    revisions = world.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    assert revisions == "3"  # the tag, the first pin, the new base


async def test_two_images_in_one_deployment_are_both_delivered(world: World) -> None:
    await world.furnish("checkout", "gateway")
    both = {"web": image_of("checkout"), "proxy": image_of("gateway")}
    await world.deploy("both", containers=both)
    await world.operate()
    rows = "".join(
        f"""
    - name: {name}
      image: {image_of(name)}
      build: {{acrTask: {{name: build-{name}, baseArgument: BASE_IMAGE}}}}
      deploy: [{{kind: Deployment, name: both}}]
    """
        for name in ("checkout", "gateway")
    )
    await world.apply(a_tracker(fields={"downstream": rows}))
    for name in ("checkout", "gateway"):
        await world.becomes("Current", name)
    new = await world.move_base()
    digests = [await world.catches_up(new, name) for name in ("checkout", "gateway")]
    await world.until(lambda: world.runs_digests("both") == set(digests), "both new images run")
    marks = json.loads(world.deployment("both")["metadata"]["annotations"]["basetracker.dev/delivered"])
    assert {name: mark["base"] for name, mark in marks.items()} == {"web": new, "proxy": new}


async def test_a_base_that_moves_during_a_rollout_replaces_it(world: World) -> None:
    await world.begin()
    new_images_crash(world)
    await world.move_base()
    await world.becomes("RollingOut RolloutProgressing")
    middle = world.image()["validated"]["digest"]
    nothing_crashes_but(world, middle)
    newer = world.push_base("3.12.13")
    await world.look()
    digest = await world.catches_up(newer)
    assert world.runs_digests() == {digest} != {middle}


async def test_a_base_that_moves_back_gets_what_was_validated_for_it_before(world: World) -> None:
    await world.begin()
    old, first = world.digest(BASE), world.image()["validated"]["digest"]
    new = await world.move_base()
    await world.catches_up(new)
    assert world.push_base("3.12.11") == old
    await world.look()
    assert await world.catches_up(old) == first
    assert world.runs_digests() == {first}
    assert len(world.runs("checkout")) == 1


async def test_a_deployment_added_to_the_tracker_gets_the_validated_digest(world: World) -> None:
    await world.begin()
    digest = world.image()["validated"]["digest"]
    await world.deploy("checkout-worker", image_of("checkout"))
    await world.deploy("checkout-cron", image_of("checkout"))
    await world.apply(three_deployments())
    await world.until(lambda: delivered(world, digest) == list(NAMES), "all three have the digest")
    await world.becomes("Current")
    assert world.runs("checkout") == []


async def test_a_deployment_scaled_to_nothing_is_current_when_it_has_the_image(world: World) -> None:
    await world.furnish()
    await world.deploy("checkout", replicas=0)
    await world.operate()
    await world.apply(a_tracker())
    await world.becomes("Current")
    digest = await world.catches_up(await world.move_base())
    assert digest in str(world.deployment()["spec"]["template"])


async def test_a_paused_deployment_is_told(world: World) -> None:
    await world.begin()
    await world.cluster.patch("Deployment", NAMESPACE, "checkout", {"spec": {"paused": True}})
    new = await world.move_base()
    await world.until(lambda: "is paused; resume it" in world.image()["message"], "it is told that it is paused")
    assert world.state() == "RollingOut RolloutProgressing"
    await world.cluster.patch("Deployment", NAMESPACE, "checkout", {"spec": {"paused": False}})
    await world.catches_up(new)


async def test_a_change_that_is_nobodys_business_writes_nothing(world: World) -> None:
    await world.begin()
    await world.look()
    before = world.cluster.writes.copy()
    await world.cluster.patch("Deployment", NAMESPACE, "checkout", {"metadata": {"labels": {"team": "blue"}}})
    await world.look()
    changed = {name: count for name, count in (world.cluster.writes - before).items() if "leases" not in name}
    assert changed == {"patch baseimagetrackers/status": 1}  # that the look was taken


def stripped(document: dict[str, Any]) -> dict[str, Any]:
    """What people write of an object, without what servers keep in it."""
    kept = {key: value for key, value in document.items() if key != "status"}
    own = {"resourceVersion", "generation", "managedFields"}
    kept["metadata"] = {key: value for key, value in document["metadata"].items() if key not in own}
    kept["metadata"]["annotations"] = {
        key: value
        for key, value in kept["metadata"].get("annotations", {}).items()
        if not key.startswith("deployment.")
    }
    return kept


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The JSON pointers at which two documents differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(set(one) | set(other))
        return [
            found
            for key in keys
            for found in differences(
                one.get(key), other.get(key), f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            )
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            found
            for index, pair in enumerate(zip(one, other, strict=True))
            for found in differences(*pair, f"{path}/{index}")
        ]
    return [] if one == other else [path]
