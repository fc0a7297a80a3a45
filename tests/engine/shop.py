"""The usual shop: a base, an image built on it, a task, a Deployment and a tracker."""

from __future__ import annotations

from typing import Any

from basetracker.api.tracker import Key
from basetracker.oci.refs import Digest

from ..core.builders import body, image_spec
from ..core.stories.world import ref
from .ports_in_memory import House

BASE = ref("base/python:3.12")
IMAGE = ref("shop/checkout:main")
KEY = Key(namespace="shop", name="python")


def open_shop(house: House, *, name: str = "python", secret: bool = False, **fields: Any) -> Key:
    """A shop in which all is current; the tracker hasn't had a turn yet."""
    world = house.world
    if BASE not in world.registry.tags:
        world.push_base(BASE, "os 1", "python 1")
        old = world.registry.push(IMAGE, ("os 1", "python 1", "checkout 1"))
        world.builder.task("build-checkout", IMAGE, BASE)
        world.cluster.deployment("checkout", str(IMAGE.pinned(old)))
    document = body(name, base=BASE, downstream=[image_spec("checkout", image=IMAGE)], **fields)
    if secret:
        document["spec"]["base"]["pullSecretRef"] = {"name": "hub"}
    return house.track(document)


def move_base(house: House, number: int = 2) -> Digest:
    return house.world.push_base(BASE, f"os {number}", f"python {number}")


def digest_name(house: House, place: str = "checkout") -> str:
    """The name of the digest that a Deployment runs."""
    image = house.world.cluster.deployments[place].containers[0].image
    return house.world.registry.readable(image.partition("@")[2])


def assert_done_once(house: House) -> None:
    """The new base arrived: by one run of ours, with one delivery."""
    assert digest_name(house) == "checkout#2"
    succeeded = [ran.run.run_id for ran in house.world.builder.runs if not ran.run.state.is_failure]
    assert succeeded == ["cf1"]
    assert len(house.world.builder.runs) == 1
    assert len(house.world.cluster.delivered) == 1
    item = house.trackers.stored[KEY].status.of("checkout")
    assert item is not None
    assert item.state == "Current"
