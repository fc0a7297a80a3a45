"""`protect` in the whole operator: what runs can't be deleted from the registry, what ran can, others' locks stay."""

from __future__ import annotations

from .world import World, a_tracker, image_of

PROTECTING = a_tracker(fields={"protect": "true"})


def _is_deletable(world: World, digest: str) -> bool:
    found = world.registry.storage.find("shop/checkout", digest)
    assert found is not None
    return found.attributes.deletable


def _protected(world: World) -> list[tuple[str, str]]:
    return [(one["digest"], one["state"]) for one in world.image("checkout").get("protected", [])]


async def test_what_runs_is_locked_and_what_ran_is_not(world: World) -> None:
    world.identity.assign("AcrPush", world.registry.id)
    await world.begin(PROTECTING)
    old = world.digest(image_of("checkout"))
    await world.until(lambda: not _is_deletable(world, old), "what runs is locked")
    new = await world.catches_up(await world.move_base())
    assert new != old
    await world.until(lambda: not _is_deletable(world, new), "what runs now is locked")
    await world.until(lambda: _is_deletable(world, old), "what ran can be deleted")
    await world.until(lambda: _protected(world) == [(new, "Locked")], "the status says so")


async def test_a_lock_of_somebody_else_stays(world: World) -> None:
    world.identity.assign("AcrPush", world.registry.id)
    await world.furnish()
    old = world.digest(image_of("checkout"))
    found = world.registry.storage.find("shop/checkout", old)
    assert found is not None
    found.attributes.values["deleteEnabled"] = False
    await world.operate()
    await world.apply(PROTECTING)
    await world.becomes("Current")
    new = await world.catches_up(await world.move_base())
    await world.until(lambda: _protected(world) == [(new, "Locked")], "only the new one is ours")
    assert not _is_deletable(world, old)


async def test_without_the_right_the_digest_is_delivered_all_the_same_and_the_status_says_why(world: World) -> None:
    await world.begin(PROTECTING)

    def told() -> bool:
        return any("grant it AcrPush" in one.get("message", "") for one in world.image("checkout").get("protected", []))

    await world.until(told, "the missing role is named")
    new = await world.catches_up(await world.move_base())
    assert world.runs_digests() == {new}
    assert _is_deletable(world, new)


async def test_an_image_that_leaves_the_tracker_leaves_no_lock_behind(world: World) -> None:
    world.identity.assign("AcrPush", world.registry.id)
    await world.furnish("checkout", "basket")
    await world.operate()
    both = a_tracker("checkout", "basket", fields={"protect": "true"})
    await world.apply(both)
    old = world.digest(image_of("checkout"))
    await world.until(lambda: not _is_deletable(world, old), "what runs is locked")
    await world.apply(a_tracker("basket", fields={"protect": "true"}))
    await world.until(lambda: _is_deletable(world, old), "what the tracker names no more can be deleted")
    await world.until(lambda: "unlocking" not in world.status(), "nothing is left to do")
    assert world.image("basket")["protected"][0]["state"] == "Locked"
