"""The main story: a base moves, and what runs is rebuilt, proven and replaced, once."""

from __future__ import annotations

import json

from basetracker.emulators import samples
from basetracker.emulators.images import Step, build_on

from .world import BASE, NAMESPACE, World, a_tracker, image_of


async def test_a_patched_base_reaches_the_pods(world: World) -> None:
    await world.begin()
    before = world.image()["validated"]["digest"]
    await world.until(lambda: world.runs_digests() == {before}, "the first image runs")
    assert world.runs("checkout") == []

    new = await world.move_base()
    digest = await world.catches_up(new)

    (run,) = world.runs("checkout")
    assert run.argument("BASE_IMAGE") == f"{BASE}@{new}"
    assert run.outputs[0]["digest"] == digest != before
    assert world.runs_digests() == {digest}
    status = world.status()
    assert status["summary"] == {"current": 1, "total": 1, "text": "1/1", "state": "Current"}
    assert status["base"]["digest"] == new
    assert world.condition("Ready")["status"] == "True"
    assert (world.condition("Reconciling"), world.condition("Stalled")) == ({}, {})
    events = [one["event"] for one in reversed(status["history"])]
    story = ["BaseMoved", "BuildStarted", "BuildSucceeded", "Validated", "Delivered", "Healthy"]
    assert [event for event in events if event in story][-6:] == story


async def test_what_happened_is_told_in_events_and_on_the_deployment(world: World) -> None:
    await world.begin()
    before = world.image()["validated"]["digest"]
    new = await world.move_base()
    digest = await world.catches_up(new)

    told = {one["reason"] for one in world.cluster.list("Event", NAMESPACE) if _about(one) == "BaseImageTracker"}
    assert {"BaseMoved", "BuildStarted", "BuildSucceeded", "Validated", "Delivered", "Healthy"} <= told
    on_workload = {one["reason"] for one in world.cluster.list("Event", NAMESPACE) if _about(one) == "Deployment"}
    assert {"Delivered", "Healthy"} <= on_workload
    annotations = world.deployment()["metadata"]["annotations"]
    assert json.loads(annotations["basetracker.dev/delivered"]) == {
        "app": {
            "tracker": "python",
            "base": new,
            "image": f"{image_of('checkout')}@{digest}",
            "previous": f"{image_of('checkout')}@{before}",
        }
    }
    assert "basetracker python: contoso.azurecr.io/shop/checkout:main@" in annotations["kubernetes.io/change-cause"]


async def test_three_images_of_one_base_each_get_one_run(world: World) -> None:
    names = ("checkout", "gateway", "search")
    await world.furnish(*names)
    await world.operate()
    await world.apply(a_tracker(*names, rollout="{maxConcurrent: 3}"))
    for name in names:
        await world.becomes("Current", name)
    new = await world.move_base()
    for name in names:
        digest = await world.catches_up(new, name)
        assert world.runs_digests(name) == {digest}
        assert len(world.runs(name)) == 1


async def test_a_chain_is_rebuilt_link_by_link(world: World) -> None:
    await world.furnish("platform")
    task = world.add_task("storefront", base=image_of("platform"))
    await world.built(task)
    await world.deploy("storefront")
    await world.operate()
    await world.apply(a_tracker("platform"))
    await world.apply(a_tracker("storefront", name="platform", base=image_of("platform")))
    await world.becomes("Current", "platform")
    await world.becomes("Current", "storefront", "platform")

    new = await world.move_base()
    middle = await world.catches_up(new, "platform")
    top = await world.catches_up(middle, "storefront", "platform")

    assert [len(world.runs(name)) for name in ("platform", "storefront")] == [1, 1]
    assert world.runs("storefront")[0].argument("BASE_IMAGE") == f"{image_of('platform')}@{middle}"
    assert world.runs_digests("platform") == {middle}
    assert world.runs_digests("storefront") == {top}


async def test_an_image_that_is_stale_at_the_first_look_is_rebuilt(world: World) -> None:
    await world.furnish()
    new = world.push_base("3.12.12")
    await world.operate()
    await world.apply(a_tracker())
    digest = await world.catches_up(new)
    assert len(world.runs("checkout")) == 1
    assert world.runs_digests() == {digest}


async def test_a_base_that_moved_while_no_operator_ran_is_found(world: World) -> None:
    await world.begin()
    await world.operators[0].ended()
    new = world.push_base("3.12.12")
    await world.operate("two")
    digest = await world.catches_up(new)
    assert len(world.runs("checkout")) == 1
    assert world.runs_digests() == {digest}


async def test_a_current_tag_is_pinned_without_a_build(world: World) -> None:
    await world.furnish()
    digest = world.digest(image_of("checkout"))
    await world.operate()
    await world.apply(a_tracker())
    await world.becomes("Current")
    containers = world.deployment()["spec"]["template"]["spec"]["containers"]
    assert [one["image"] for one in containers] == [f"{image_of('checkout')}@{digest}"]
    assert world.runs("checkout") == []


async def test_a_workload_that_already_runs_a_current_digest_is_left_alone(world: World) -> None:
    await world.furnish()
    digest = world.digest(image_of("checkout"))
    await world.deploy("checkout", f"{image_of('checkout')}@{digest}")
    before = world.deployment()
    await world.operate()
    await world.apply(a_tracker())
    await world.becomes("Current")
    assert world.deployment()["metadata"]["generation"] == before["metadata"]["generation"]
    assert world.deliveries() == 0


async def test_an_image_pushed_by_somebody_else_on_the_new_base_needs_no_build(world: World) -> None:
    await world.begin()
    new = world.push_base("3.12.12")
    digest = await world.push_by_hand("checkout", BASE)
    await world.look()
    assert await world.catches_up(new) == digest
    assert world.runs("checkout") == []
    assert world.runs_digests() == {digest}


async def test_a_base_with_one_more_layer_is_told_from_the_one_it_begins_with(world: World) -> None:
    """The old base's layers are the beginning of the new base's: an image on the old one isn't current."""
    await world.begin()
    old = samples.python("3.12.11")
    new = world.cloud.push(BASE, build_on(old, Step(line="RUN apt-get upgrade", files={"/fixed": "yes"})))
    await world.look()
    digest = await world.catches_up(new)
    assert len(world.runs("checkout")) == 1
    # And back again: an image on the longer one contains the shorter one's layers, but isn't built on it.
    world.cloud.push(BASE, old)
    await world.look()
    back = await world.catches_up(old.digest)
    assert back != digest
    assert world.runs_digests() == {back}


def _about(event: dict[str, object]) -> object:
    target = event.get("involvedObject") or event.get("regarding")
    return target["kind"] if isinstance(target, dict) else None
