"""Plan mode and suspension: looking is all that happens, and switching either off goes on from there."""

from __future__ import annotations

from basetracker.emulators.tasks.definition import Behaviour

from .world import NAMESPACE, World, a_tracker


def written(world: World) -> set[str]:
    """What the operator has written to, but for the Lease, as `patch baseimagetrackers/status`."""
    return {name for name in world.cluster.writes if "leases" not in name}


STATUS = "patch baseimagetrackers/status"


async def set_spec(world: World, change: dict[str, object]) -> None:
    await world.cluster.patch("BaseImageTracker", NAMESPACE, "python", {"spec": change})


async def test_plan_mode_reports_and_touches_nothing(world: World) -> None:
    await world.furnish()
    before = world.deployment()["spec"]
    await world.operate()
    await world.apply(a_tracker(rollout="{mode: Plan}"))
    row = await world.becomes("Stale Planned")
    assert "Deployment checkout would get" in row["message"]
    assert world.condition("Ready")["status"] == "True"

    new = await world.move_base()
    row = await world.becomes("Stale Planned")
    assert "task contoso/build-checkout would be started (mode Plan)" in row["message"]
    await world.look()
    assert world.schedulings() == 0
    assert world.deployment()["spec"] == before
    assert written(world) == {STATUS, "create events"}

    await set_spec(world, {"rollout": {"mode": "Apply"}})
    await world.catches_up(new)
    assert len(world.runs("checkout")) == 1


async def test_a_suspended_tracker_asks_and_writes_nothing_but_its_status(world: World) -> None:
    await world.furnish()
    before = world.deployment()["spec"]
    await world.operate()
    await world.apply(a_tracker(fields={"suspend": "true"}))
    await world.becomes("Suspended")
    assert world.condition("Ready")["status"] == "True"
    new = await world.move_base()
    assert world.state() == "Suspended Suspended"
    assert list(world.cloud.faults.log) == []
    assert world.deployment()["spec"] == before
    assert written(world) == {STATUS}
    await set_spec(world, {"suspend": False})
    await world.catches_up(new)
    assert len(world.runs("checkout")) == 1


async def test_suspending_during_a_build_keeps_the_build_and_delivers_later(world: World) -> None:
    task = await world.begin()
    before = world.runs_digests()
    task.behaviour = Behaviour(run_seconds=0.4)
    new = await world.move_base()
    await world.becomes("Building")
    await set_spec(world, {"suspend": True})
    await world.becomes("Suspended")
    await world.until(lambda: not world.runs("checkout")[0].live, "the run has ended")
    await world.look()
    assert world.runs_digests() == before
    await set_spec(world, {"suspend": False})
    digest = await world.catches_up(new)
    assert len(world.runs("checkout")) == 1
    assert world.runs_digests() == {digest}
