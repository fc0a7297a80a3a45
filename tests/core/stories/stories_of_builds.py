"""Stories in which the base moves and images are built: by us, by ACR, by nobody, in vain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from basetracker.api.names import BuildState, Reason, State

from ..builders import body, image_spec
from .shop import BASE, THIRD, item, move_base, runs_of, shop
from .turns import Story
from .world import ref


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


BUILDS: tuple[Callable[[Story], None], ...] = (
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
)
