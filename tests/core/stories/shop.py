"""The shop that the stories begin in: a base, images built on it, their tasks, Deployments and one tracker."""

from __future__ import annotations

from typing import Any

from basetracker.oci.refs import Digest

from ..builders import body, image_spec
from .turns import Story
from .world import ref

BASE = ref("base/python:3.12")
FIRST, SECOND, THIRD = (("os 1", "python 1"), ("os 2", "python 2"), ("os 3", "python 3"))


def shop(
    story: Story,
    names: tuple[str, ...] = ("checkout",),
    *,
    built_on: tuple[str, ...] = FIRST,
    pinned: bool = True,
    deploy: tuple[str, ...] = (),
    habits: dict[str, Any] | None = None,
    settle: bool = True,
    **tracker: Any,
) -> None:
    """A base, images built on it, a task and Deployments for each, and one tracker of them all."""
    world = story.world
    world.push_base(BASE, *FIRST)
    entries = []
    for name in names:
        image = ref(f"shop/{name}:main")
        digest = world.registry.push(image, (*built_on, f"{name} 1"))
        world.builder.task(f"build-{name}", image, BASE, **(habits or {}))
        places = deploy or (name,)
        for place in places:
            world.cluster.deployment(place, str(image.pinned(digest) if pinned else image))
        entries.append(image_spec(name, image=image, deploy=places))
    story.track(body(base=BASE, downstream=entries, **tracker))
    if settle:
        story.settle()


def move_base(story: Story, layers: tuple[str, ...] = SECOND) -> Digest:
    story.tell("the base moves")
    return story.world.push_base(BASE, *layers)


def item(story: Story, name: str = "checkout", tracker: str = "python") -> Any:
    return story.trackers[tracker].status.of(name)


def runs_of(story: Story, name: str) -> str:
    """The digest's name that a Deployment runs."""
    image = story.world.cluster.deployments[name].containers[0].image
    return story.world.registry.readable(image.partition("@")[2])
