"""Runs: how they move, what they build, how they go wrong, and what a pushed base starts."""

from __future__ import annotations

import pytest

from basetracker.emulators import samples
from basetracker.emulators.images import Image, Index
from basetracker.emulators.tasks.definition import Behaviour, Task
from basetracker.emulators.tasks.run import Run

from .conftest import BASE, World

IMAGE = "contoso.azurecr.io/shop/checkout:main"


def start(world: World, task: Task | None = None, **override: object) -> Run:
    """Schedule a run in process."""
    return world.cloud.tasks.schedule(task or world.task, {"overrideTaskStepProperties": override})


async def finish(world: World, seconds: float = 60) -> None:
    """Let time pass and everything happen."""
    world.clock.advance(seconds)
    await world.cloud.settle()


async def stands_on(world: World, reference: str, base: Image) -> bool:
    """Whether the base's layers are the lowest of the image."""
    image = await world.cloud.fetch(reference)
    assert isinstance(image, Image)
    return image.diff_ids[: len(base.diff_ids)] == base.diff_ids


async def test_a_run_builds_on_the_tasks_base_and_records_it(world: World) -> None:
    run = start(world)
    await finish(world)
    assert (run.status, run.error, run.kind) == ("Succeeded", None, "QuickRun")
    assert await stands_on(world, IMAGE, samples.python())
    [recorded] = world.task.resource()["properties"]["step"]["baseImageDependencies"]
    assert recorded == {
        "type": "RunTime",
        "registry": "contoso.azurecr.io",
        "repository": "base/python",
        "tag": "3.12",
        "digest": world.contoso.digest("base/python", "3.12"),
    }


async def test_times_are_those_of_the_states_however_late_one_looks(world: World) -> None:
    run = start(world)
    await finish(world, 3600)
    assert run.started is not None
    assert run.finished is not None
    assert (run.started - run.created).total_seconds() == 5
    assert (run.finished - run.created).total_seconds() == 30


async def test_two_runs_of_one_task_give_two_digests(world: World) -> None:
    first = start(world)
    await finish(world)
    second = start(world)
    await finish(world)
    assert first.outputs[0]["digest"] != second.outputs[0]["digest"]
    assert world.contoso.digest("shop/checkout", "main") == second.outputs[0]["digest"]


async def test_arguments_that_the_dockerfile_does_not_take_are_ignored(world: World) -> None:
    world.task.base_argument = None
    other = world.cloud.push("contoso.azurecr.io/base/python:other", samples.python("3.13.0"))
    start(world, arguments=[{"name": "BASE_IMAGE", "value": f"contoso.azurecr.io/base/python@{other}"}])
    await finish(world)
    assert await stands_on(world, IMAGE, samples.python())


async def test_unique_tags_and_several_platforms(world: World) -> None:
    task = world.cloud.tasks.add(
        "multi",
        world.contoso,
        image="shop/multi:main",
        base=BASE,
        unique_tag="{{.Run.ID}}",
        platforms=samples.BOTH,
    )
    run = start(world, task)
    await finish(world)
    assert [one["tag"] for one in run.outputs] == ["main", run.id]
    assert len({one["digest"] for one in run.outputs}) == 1
    built = await world.cloud.fetch("contoso.azurecr.io/shop/multi:main")
    assert isinstance(built, Index)
    for platform in samples.BOTH:
        image = built.image(platform)
        assert image is not None
        base = samples.python(on=samples.debian(platform=platform))
        assert image.diff_ids[: len(base.diff_ids)] == base.diff_ids


async def test_a_base_in_another_registry(world: World) -> None:
    world.cloud.add_open_registry("open.example.com")
    world.cloud.push("open.example.com/debian:12", samples.debian())
    task = world.cloud.tasks.add(
        "far", world.contoso, image="shop/far:main", base="open.example.com/debian:12", base_argument=None
    )
    start(world, task)
    await finish(world)
    assert await stands_on(world, "contoso.azurecr.io/shop/far:main", samples.debian())


async def test_base_and_push_may_lie_outside(world: World) -> None:
    pushed: list[str] = []

    async def fetch(reference: str) -> Image | None:
        return samples.debian() if reference == "outside.example.com/base:1" else None

    async def push(reference: str, image: Image | Index) -> str:
        pushed.append(reference)
        return image.digest

    world.cloud.tasks.builder.fetch = fetch
    world.cloud.tasks.builder.push = push
    world.task.base = "outside.example.com/base:1"
    run = start(world)
    await finish(world)
    assert run.status == "Succeeded"
    assert pushed == [IMAGE]


async def test_a_failing_fetch_fails_the_run_and_nothing_else(world: World) -> None:
    async def fetch(reference: str) -> Image | None:
        raise OSError("registry is away")

    world.cloud.tasks.builder.fetch = fetch
    run = start(world)
    await finish(world)
    assert (run.status, run.error) == ("Failed", "failed during run, err: registry is away")


async def test_a_missing_base_fails_with_a_log(world: World) -> None:
    run = start(world, arguments=[{"name": "BASE_IMAGE", "value": "contoso.azurecr.io/base/python:gone"}])
    await finish(world)
    assert (run.status, run.error) == ("Failed", "failed during run, err: exit status 1")
    assert any("base/python:gone: not found" in line for line in run.log)
    assert run.log[-1].endswith("failed after 30s")


async def test_fails_so_many_times_then_succeeds(world: World) -> None:
    world.task.behaviour = Behaviour(fail_first=2)
    states = []
    for _ in range(3):
        run = start(world)
        await finish(world)
        states.append(run.status)
    assert states == ["Failed", "Failed", "Succeeded"]


@pytest.mark.parametrize("outcome", ["Canceled", "Error", "Timeout"])
async def test_other_ends(world: World, outcome: str) -> None:
    world.task.behaviour = Behaviour(outcome=outcome)  # type: ignore[arg-type]  # a literal by parametrization
    run = start(world)
    await finish(world)
    assert run.status == outcome
    assert world.contoso.digest("shop/checkout", "main") is None


async def test_fails_with_a_message(world: World) -> None:
    world.task.behaviour = Behaviour(fail="npm ERR! 404", run_seconds=3)
    run = start(world)
    await finish(world, 14)
    assert run.resource()["properties"]["runErrorMessage"] == "npm ERR! 404"
    assert run.resource()["properties"]["status"] == "Failed"


async def test_a_rebuild_that_lacks_the_new_base(world: World) -> None:
    old = world.contoso.digest("base/python", "3.12")
    new = world.cloud.push(BASE, samples.python_index("3.12.12"))
    world.task.behaviour = Behaviour(base=f"contoso.azurecr.io/base/python@{old}")
    start(world, arguments=[{"name": "BASE_IMAGE", "value": f"contoso.azurecr.io/base/python@{new}"}])
    await finish(world)
    assert await stands_on(world, IMAGE, samples.python())
    assert not await stands_on(world, IMAGE, samples.python("3.12.12"))


async def test_pushes_nothing_or_hides_it_or_takes_another_tag(world: World) -> None:
    world.task.behaviour = Behaviour(push=False)
    nothing = start(world)
    await finish(world)
    assert world.contoso.digest("shop/checkout", "main") is None
    world.task.behaviour = Behaviour(tag="wrong")
    elsewhere = start(world)
    await finish(world)
    assert world.contoso.digest("shop/checkout", "main") is None
    assert world.contoso.digest("shop/checkout", "wrong") == elsewhere.outputs[0]["digest"]
    world.task.behaviour = Behaviour(hide_output=True)
    hidden = start(world)
    await finish(world)
    assert world.contoso.digest("shop/checkout", "main") is not None
    for run in (nothing, hidden):
        assert run.status == "Succeeded"
        assert "outputImages" not in run.resource()["properties"]


async def test_a_squashed_build_hides_its_base_but_may_claim_it(world: World) -> None:
    world.task.behaviour = Behaviour(squash=True)
    world.task.annotates_base = True
    start(world)
    await finish(world)
    assert not await stands_on(world, IMAGE, samples.python())
    manifest = world.contoso.storage.find("shop/checkout", "main")
    assert manifest is not None
    assert manifest.document["annotations"] == {
        "org.opencontainers.image.base.name": BASE,
        "org.opencontainers.image.base.digest": world.contoso.digest("base/python", "3.12"),
    }


@pytest.mark.parametrize("state", ["Queued", "Running"])
async def test_stuck_until_it_is_released(world: World, state: str) -> None:
    world.task.behaviour = Behaviour(stuck=state)  # type: ignore[arg-type]  # a literal by parametrization
    run = start(world)
    await finish(world, 100_000)
    assert run.status == state
    world.task.behaviour = Behaviour()
    await finish(world, 0)
    assert run.status == "Succeeded"


async def test_longer_than_the_tasks_timeout(world: World) -> None:
    world.task.timeout = 300
    world.task.behaviour = Behaviour(run_seconds=float("inf"))
    run = start(world)
    await finish(world, 309)
    assert run.status == "Running"
    await finish(world, 1)
    assert (run.status, run.error) == ("Timeout", "The run timed out.")


async def test_a_locked_tag_fails_the_push(world: World) -> None:
    start(world)
    await finish(world)
    world.contoso.storage.repositories["shop/checkout"].tags["main"].attributes.values["writeEnabled"] = False
    run = start(world)
    await finish(world)
    assert (run.status, run.error) == ("Failed", "failed to push images successfully")


async def test_the_token_is_echoed_unless_switched_off(world: World) -> None:
    assert start(world, updateTriggerToken="abc").resource()["properties"]["updateTriggerToken"] == "abc"
    world.cloud.tasks.echoes_token = False
    assert "updateTriggerToken" not in start(world, updateTriggerToken="abc").resource()["properties"]


async def triggered(world: World, version: str = "3.12.12") -> list[Run]:
    """Run the task once, push another base to its tag, and answer the AutoRuns."""
    start(world)
    await finish(world)
    world.cloud.push(BASE, samples.python_index(version))
    await world.cloud.settle()
    return [run for run in world.cloud.tasks.runs if run.kind == "AutoRun"]


async def test_a_pushed_base_starts_an_auto_run(world: World) -> None:
    world.task.trigger = True
    [run] = await triggered(world)
    trigger = run.resource()["properties"]["imageUpdateTrigger"]
    digest = world.contoso.digest("base/python", "3.12")
    image = {"registry": "contoso.azurecr.io", "repository": "base/python", "tag": "3.12", "digest": digest}
    assert trigger["images"] == [image]
    await finish(world)
    assert run.status == "Succeeded"
    assert await stands_on(world, IMAGE, samples.python("3.12.12"))


async def test_a_trigger_may_come_late_and_twice(world: World) -> None:
    world.task.trigger, world.task.trigger_delay, world.task.trigger_runs = True, 1800, 2
    assert await triggered(world) == []
    await finish(world, 1800)
    assert [run.kind for run in world.cloud.tasks.runs_of(world.task)] == ["QuickRun", "AutoRun", "AutoRun"]


async def test_no_auto_run_when_it_is_off_or_disabled_or_the_digest_is_the_same(world: World) -> None:
    assert await triggered(world) == []
    world.task.trigger = True
    world.cloud.push(BASE, samples.python_index("3.12.12"))
    await finish(world)
    world.task.enabled = False
    assert await triggered(world, "3.12.13") == []


async def test_no_auto_run_before_the_first_run_nor_for_a_pinned_base(world: World) -> None:
    world.task.trigger = True
    digest = world.cloud.push(BASE, samples.python_index("3.12.12"))
    await finish(world)
    assert len(world.cloud.tasks.runs) == 0
    start(world, arguments=[{"name": "BASE_IMAGE", "value": f"contoso.azurecr.io/base/python@{digest}"}])
    await finish(world)
    world.cloud.push(BASE, samples.python_index("3.12.13"))
    await finish(world)
    assert [run.kind for run in world.cloud.tasks.runs] == ["QuickRun"]


async def test_a_chain_of_triggers(world: World) -> None:
    world.task.trigger = True
    child = world.cloud.tasks.add("child", world.contoso, image="shop/child:main", base=IMAGE, trigger=True)
    start(world)
    await finish(world)
    start(world, child)
    await finish(world)
    world.cloud.push(BASE, samples.python_index("3.12.12"))
    await finish(world, 0)
    await finish(world)
    await finish(world)
    assert await stands_on(world, "contoso.azurecr.io/shop/child:main", samples.python("3.12.12"))
