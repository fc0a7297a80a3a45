"""Overriding: an image that a person puts there is judged like any other, and never fought over."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import yaml

from .world import BASE, NAMESPACE, World, image_of


async def test_an_image_that_a_person_put_there_is_held_and_the_next_base_delivered(world: World) -> None:
    old = await overridden(world)
    count = world.deliveries()
    await world.look()
    await world.look()
    assert world.state() == "Blocked Overridden"
    assert world.deliveries() == count
    assert world.runs_digests() == {old}
    assert len(world.history("Overridden")) == 1

    newer = world.push_base("3.12.13")
    await world.look()
    digest = await world.catches_up(newer)
    assert world.runs_digests() == {digest}
    assert world.deliveries() == count + 1


async def test_an_override_ends_when_a_person_says_resume(world: World) -> None:
    old = await overridden(world)
    count = world.deliveries()
    await world.resume()
    row = await world.becomes("Current")
    await world.until(lambda: world.runs_digests() == {row["validated"]["digest"]}, "the validated digest runs again")
    assert world.runs_digests() != {old}
    assert world.deliveries() == count + 1
    # One resume acts once: the next override is held again.
    await kubectl(world, "set", "image", "deployment/checkout", f"app={image_of('checkout')}@{old}")
    await world.becomes("Blocked Overridden")
    assert world.deliveries() == count + 1


async def test_another_current_image_that_a_person_put_there_is_left_alone(world: World) -> None:
    await world.begin()
    theirs = await world.push_by_hand("checkout", BASE, version="9.9.9")
    await kubectl(world, "set", "image", "deployment/checkout", f"app={image_of('checkout')}@{theirs}")
    await world.until(lambda: world.runs_digests() == {theirs}, "their image runs")
    await world.look()
    assert world.state() == "Current Current"
    assert world.runs_digests() == {theirs}


async def test_a_rollout_undo_is_an_override(world: World) -> None:
    await world.begin()
    old = world.image()["validated"]["digest"]
    new = await world.move_base()
    await world.catches_up(new)
    await kubectl(world, "rollout", "undo", "deployment/checkout")
    row = await world.becomes("Blocked Overridden")
    assert "kubectl" in row["message"]
    await world.until(lambda: world.runs_digests() == {old}, "the old image runs again")
    await world.look()
    assert world.runs_digests() == {old}


async def overridden(world: World) -> str:
    """A tracker that is held since a person put the digest before back; the answer is that digest."""
    await world.begin()
    old = str(world.image()["validated"]["digest"])
    new = await world.move_base()
    await world.catches_up(new)
    await kubectl(world, "set", "image", "deployment/checkout", f"app={image_of('checkout')}@{old}")
    row = await world.becomes("Blocked Overridden")
    assert "kubectl-set changed container app of Deployment checkout" in row["message"]
    await world.until(lambda: world.runs_digests() == {old}, "the old image runs")
    return old


async def kubectl(world: World, *words: str) -> None:
    """What a person does with the admin's kubeconfig."""
    config = world.directory / "admin.kubeconfig"
    config.write_text(yaml.safe_dump(world.cluster.kubeconfig(namespace=NAMESPACE)))
    binary = Path(sys.executable).with_name("kubectl")
    process = await asyncio.create_subprocess_exec(
        binary, "--kubeconfig", config, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
