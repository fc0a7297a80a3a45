"""Stories: what trackers do in a world that moves, compared with a log that people can read.

Each story ends with nothing left to do, and its promises (budgets, one run for one base, one delivery of a digest) are
looked at after every turn. With `BASETRACKER_WRITE_STORIES=1` the logs are written anew; read the difference then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from basetracker.api.names import BuildState, Reason, State
from basetracker.core.observed import Container
from basetracker.oci.refs import Digest

from ..builders import body, image_spec
from .turns import Story
from .world import START, ref

GOLDEN = Path(__file__).parent / "golden"
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


def base_moves(story: Story) -> None:
    shop(story)
    move_base(story)
    story.poll()
    assert runs_of(story, "checkout") == "checkout#2"


def first_look_stale(story: Story) -> None:
    shop(story, built_on=("os 0", "python 0"))
    assert len(story.world.builder.runs) == 1


def first_look_current_but_not_pinned(story: Story) -> None:
    shop(story, pinned=False)
    assert story.world.builder.runs == []
    assert runs_of(story, "checkout") == "checkout#1"


def nothing_to_do(story: Story) -> None:
    shop(story)
    for _ in range(3):
        story.poll()
    assert story.world.cluster.delivered == []


def chain_of_two(story: Story) -> None:
    world, root, middle, shop_image = story.world, ref("base/os:12"), BASE, ref("shop/checkout:main")
    world.push_base(root, "os 1")
    world.builder.task("build-python", middle, root)
    world.builder.task("build-checkout", shop_image, middle)
    world.registry.push(middle, ("os 1", "python 1"))
    old = world.registry.push(shop_image, ("os 1", "python 1", "checkout 1"))
    world.cluster.deployment("checkout", str(shop_image.pinned(old)))
    parent = [image_spec("python", image=middle, deploy=(), task="build-python")]
    story.track(body("os", base=root, downstream=parent))
    story.track(body("python", base=middle))
    story.settle()
    story.tell("the root's base moves")
    world.push_base(root, "os 2")
    story.poll()
    assert world.registry.layers(world.registry.tags[shop_image])[0] == "os 2"
    assert [ran.task.ref.name for ran in world.builder.runs] == ["build-python", "build-checkout"]


def failing_build_then_success(story: Story) -> None:
    shop(story, habits={"fails": 2})
    move_base(story)
    story.poll()
    assert item(story).build.attempt == 3
    assert runs_of(story, "checkout") == "checkout#2"


def five_failures_until_a_person_asks(story: Story) -> None:
    shop(story, habits={"fails": 5})
    move_base(story)
    story.poll()
    assert (item(story).state, len(story.world.builder.runs)) == (State.FAILED, 5)
    story.poll("nobody asks")
    assert len(story.world.builder.runs) == 5
    story.tell("a person asks")
    story.annotate("python", requested_at="1")
    story.settle()
    assert (item(story).state, len(story.world.builder.runs)) == (State.CURRENT, 6)


def five_failures_until_the_base_moves(story: Story) -> None:
    shop(story, habits={"fails": 5})
    move_base(story)
    story.poll()
    move_base(story, THIRD)
    story.poll()
    assert item(story).state is State.CURRENT


def unknown_outcome_the_run_is_there(story: Story) -> None:
    shop(story)
    story.world.builder.faults.append("lost after")
    move_base(story)
    story.poll()
    assert (item(story).build.run_id, len(story.world.builder.runs)) == ("cf1", 1)


def unknown_outcome_there_is_no_run(story: Story) -> None:
    shop(story)
    story.world.builder.faults.append("lost before")
    move_base(story)
    story.poll()
    assert (item(story).build.attempt, len(story.world.builder.runs)) == (2, 1)


def refused_then_busy(story: Story) -> None:
    """Neither counts as an attempt."""
    shop(story)
    story.world.builder.faults.extend(["denied", "busy"])
    move_base(story)
    story.poll()
    assert item(story).build.attempt == 1


def acr_was_first(story: Story) -> None:
    shop(story, habits={"base_trigger": True})
    story.wait(timedelta(minutes=4, seconds=50))
    move_base(story)
    story.poll()
    assert item(story).build.adopted
    assert [ran.key for ran in story.world.builder.runs] == [""]


def acr_was_faster_than_the_poll(story: Story) -> None:
    shop(story, habits={"base_trigger": True})
    move_base(story)
    story.wait(timedelta(minutes=2))
    story.poll()
    assert [ran.key for ran in story.world.builder.runs] == [""]
    assert runs_of(story, "checkout") == "checkout#2"


def later_run_of_acr(story: Story) -> None:
    shop(story)
    move_base(story)
    story.poll()
    story.tell("ACR runs the task for the same base")
    task = story.world.builder.tasks["build-checkout"]
    story.world.builder.begin(task, story.world.now, trigger=BASE.pinned(story.world.registry.tags[BASE]))
    story.wait(timedelta(minutes=2))
    story.poll()
    assert story.world.registry.readable(str(item(story).latest.digest)) == "checkout#3"
    assert runs_of(story, "checkout") == "checkout#2"


def rebuild_lacks_the_base(story: Story) -> None:
    shop(story)
    story.world.builder.tasks["build-checkout"].builds_on = story.world.registry.tags[BASE]
    move_base(story)
    story.poll()
    assert item(story).reason is Reason.LINEAGE_NOT_PROVEN
    assert "layer 1 of 2" in item(story).message
    story.poll()
    assert (len(story.world.builder.runs), story.world.cluster.delivered) == (1, [])
    story.tell("a person mends the task and runs it")
    task = story.world.builder.tasks["build-checkout"]
    task.builds_on = None
    story.world.builder.begin(task, story.world.now)
    story.wait(timedelta(minutes=2))
    story.poll()
    assert item(story).state is State.CURRENT


def run_reports_no_image_but_pushed_it(story: Story) -> None:
    shop(story, habits={"silent": True})
    move_base(story)
    story.poll()
    assert runs_of(story, "checkout") == "checkout#2"


def run_makes_nothing(story: Story) -> None:
    shop(story, habits={"pushes": False})
    move_base(story)
    story.poll()
    story.poll()
    assert (item(story).reason, len(story.world.builder.runs)) == (Reason.NO_OUTPUT, 1)


def base_moves_during_a_build(story: Story) -> None:
    shop(story)
    move_base(story)
    story.wait(timedelta(minutes=5, seconds=40))
    move_base(story, THIRD)
    story.settle()
    story.poll()
    assert story.world.registry.layers(story.world.registry.tags[ref("shop/checkout:main")])[0] == "os 3"
    assert item(story).state is State.CURRENT


def base_moves_back(story: Story) -> None:
    shop(story)
    first = story.world.registry.tags[BASE]
    move_base(story)
    story.poll()
    story.tell("the base moves back")
    story.world.registry.tags[BASE] = first
    story.poll()
    assert (runs_of(story, "checkout"), len(story.world.builder.runs)) == ("checkout#1", 1)


def run_that_never_ends(story: Story) -> None:
    shop(story, habits={"hangs": True})
    move_base(story)
    story.wait(timedelta(minutes=66))
    assert story.world.builder.runs[0].run.state is BuildState.CANCELED
    story.world.builder.tasks["build-checkout"].hangs = False
    story.settle()
    assert (item(story).build.attempt, item(story).state) == (2, State.CURRENT)


def overridden_then_a_newer_base(story: Story) -> None:
    shop(story)
    old = story.world.cluster.deployments["checkout"].containers[0].image
    move_base(story)
    story.poll()
    story.tell("somebody puts the old image back")
    story.world.cluster.edit("checkout", old, "kubectl-edit", story.world.now)
    story.poke("python")
    story.settle()
    story.poll()
    assert item(story).reason is Reason.OVERRIDDEN
    assert runs_of(story, "checkout") == "checkout#1"
    move_base(story, THIRD)
    story.poll()
    assert runs_of(story, "checkout") == "checkout#3"


def overridden_then_resumed(story: Story) -> None:
    shop(story)
    old = story.world.cluster.deployments["checkout"].containers[0].image
    move_base(story)
    story.poll()
    story.tell("somebody puts the old image back")
    story.world.cluster.edit("checkout", old, "kubectl-edit", story.world.now)
    story.poke("python")
    story.settle()
    story.tell("a person resumes")
    story.annotate("python", resume="1")
    story.settle()
    assert runs_of(story, "checkout") == "checkout#2"


def resume_waits_for_its_turn(story: Story) -> None:
    """What a resume frees is delivered also when it has to wait for another rollout."""
    shop(story, deploy=("web", "worker"))
    old = story.world.cluster.deployments["web"].containers[0].image
    move_base(story)
    story.poll()
    story.tell("somebody puts the old image back in both")
    for name in ("web", "worker"):
        story.world.cluster.edit(name, old, "kubectl-edit", story.world.now)
    story.poke("python")
    story.settle()
    story.tell("a person resumes")
    story.annotate("python", resume="1")
    story.settle()
    assert (runs_of(story, "web"), runs_of(story, "worker")) == ("checkout#2", "checkout#2")


def stuck_rollout_holds_the_others(story: Story) -> None:
    shop(story, deploy=("web", "worker"))
    story.tell("what is built from now on never becomes healthy")
    story.world.cluster.breaks = True
    move_base(story)
    story.poll()
    assert item(story).reason is Reason.ROLLOUT_STUCK
    assert (runs_of(story, "web"), runs_of(story, "worker")) == ("checkout#2", "checkout#1")
    story.tell("it is mended")
    story.world.cluster.breaks = False
    move_base(story, THIRD)
    story.poll()
    assert (runs_of(story, "web"), runs_of(story, "worker")) == ("checkout#3", "checkout#3")


def four_workloads_one_at_a_time(story: Story) -> None:
    shop(story, deploy=("a", "b", "c", "d"))
    move_base(story)
    story.poll()
    assert [name for name, _, _ in story.world.cluster.delivered] == ["a", "b", "c", "d"]


def base_moves_during_a_rollout(story: Story) -> None:
    """The rollout of the earlier digest still counts: never two at once."""
    shop(story, deploy=("a", "b", "c"))
    first = story.world.registry.tags[BASE]
    move_base(story)
    story.wait(timedelta(minutes=7, seconds=10))
    story.tell("the base moves back, while the second of three rolls out")
    story.world.registry.tags[BASE] = first
    story.poke("python")
    story.settle()
    assert {runs_of(story, name) for name in "abc"} == {"checkout#1"}


def two_images_one_workload(story: Story) -> None:
    """Both containers of one Pod change, one patch after the other."""
    world = story.world
    world.push_base(BASE, *FIRST)
    entries = []
    containers = []
    for name in ("app", "side"):
        image = ref(f"shop/{name}:main")
        digest = world.registry.push(image, (*FIRST, f"{name} 1"))
        world.builder.task(f"build-{name}", image, BASE)
        containers.append(Container(name=name, image=str(image.pinned(digest))))
        entries.append(image_spec(name, image=image, deploy=("pod",)))
    world.cluster.deployment("pod", "x").containers = tuple(containers)
    story.track(body(base=BASE, downstream=entries))
    story.settle()
    move_base(story)
    story.poll()
    assert sorted(container for _, container, _ in world.cluster.delivered) == ["app", "side"]


def two_trackers_claim_one_container(story: Story) -> None:
    shop(story, settle=False)
    story.track(body("usurper", base=BASE, created=START))
    story.settle()
    assert item(story, tracker="usurper").reason is Reason.CONTAINER_CLAIMED
    move_base(story)
    story.poll()
    assert len(story.world.builder.runs) == 1
    assert story.world.cluster.deployments["checkout"].marks["app"].tracker == "python"


def circle(story: Story) -> None:
    world, egg, hen = story.world, ref("farm/egg:1"), ref("farm/hen:1")
    world.registry.push(egg, ("egg 1",))
    world.registry.push(hen, ("hen 1",))
    story.track(body("hens", base=egg, downstream=[image_spec("hen", image=hen)]))
    story.track(body("eggs", base=hen, downstream=[image_spec("egg", image=egg)]))
    story.settle()
    assert (world.builder.runs, world.registry.heads) == ([], 0)


def plan_mode(story: Story) -> None:
    shop(story, rollout={"mode": "Plan"}, pinned=False)
    move_base(story)
    story.poll()
    assert (story.world.builder.runs, story.world.cluster.delivered) == ([], [])
    story.tell("a person says Apply")
    story.respecify("python", lambda spec: spec["rollout"].update(mode="Apply"))
    story.settle()
    assert runs_of(story, "checkout") == "checkout#2"


def suspended_during_a_build(story: Story) -> None:
    shop(story)
    move_base(story)
    story.wait(timedelta(minutes=5, seconds=30))
    story.tell("a person suspends")
    story.respecify("python", lambda spec: spec.update(suspend=True))
    story.settle()
    assert story.world.cluster.delivered == []
    story.tell("a person goes on")
    story.respecify("python", lambda spec: spec.update(suspend=False))
    story.settle()
    assert (runs_of(story, "checkout"), len(story.world.builder.runs)) == ("checkout#2", 1)


def registry_outage(story: Story) -> None:
    shop(story)
    story.world.registry.down = True
    story.poll("the registry goes down")
    assert item(story).state is State.CURRENT
    move_base(story)
    story.poll("it is still down")
    story.world.registry.down = False
    story.poll("the registry is back")
    assert runs_of(story, "checkout") == "checkout#2"


def status_lost(story: Story) -> None:
    shop(story)
    move_base(story)
    story.poll()
    story.world.registry.down = True
    story.tell("the tracker is created anew, in an outage")
    story.lose_status("python")
    story.settle()
    assert item(story).validated is None
    story.world.registry.down = False
    story.poll("the registry is back")
    assert item(story).state is State.CURRENT
    assert len(story.world.cluster.delivered) == 1


def task_not_allowed(story: Story) -> None:
    shop(story)
    story.world.allowed = False
    move_base(story)
    story.poll()
    assert (item(story).reason, story.world.builder.runs) == (Reason.TASK_NOT_ALLOWED, [])
    story.world.allowed = True
    story.poll("a person puts it on the list")
    assert item(story).state is State.CURRENT


STORIES: tuple[Callable[[Story], None], ...] = (
    base_moves,
    first_look_stale,
    first_look_current_but_not_pinned,
    nothing_to_do,
    chain_of_two,
    failing_build_then_success,
    five_failures_until_a_person_asks,
    five_failures_until_the_base_moves,
    unknown_outcome_the_run_is_there,
    unknown_outcome_there_is_no_run,
    refused_then_busy,
    acr_was_first,
    acr_was_faster_than_the_poll,
    later_run_of_acr,
    rebuild_lacks_the_base,
    run_reports_no_image_but_pushed_it,
    run_makes_nothing,
    base_moves_during_a_build,
    base_moves_back,
    run_that_never_ends,
    overridden_then_a_newer_base,
    overridden_then_resumed,
    resume_waits_for_its_turn,
    stuck_rollout_holds_the_others,
    four_workloads_one_at_a_time,
    base_moves_during_a_rollout,
    two_images_one_workload,
    two_trackers_claim_one_container,
    circle,
    plan_mode,
    suspended_during_a_build,
    registry_outage,
    status_lost,
    task_not_allowed,
)


@pytest.mark.parametrize("play", STORIES, ids=lambda play: play.__name__)
def test_story(play: Callable[[Story], None]) -> None:
    story = Story()
    play(story)
    log = "\n".join(story.lines) + "\n"
    file = GOLDEN / f"{play.__name__}.txt"
    if os.environ.get("BASETRACKER_WRITE_STORIES"):
        file.write_text(log)
    assert log == file.read_text()


def test_each_log_has_a_story() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == {play.__name__ for play in STORIES}
