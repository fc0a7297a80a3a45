"""Stories of what reaches workloads, and of hands off: overrides, budgets, circles, modes, outages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from basetracker.api.names import Reason, State
from basetracker.core.observed import Container

from ..builders import body, image_spec
from .shop import BASE, FIRST, THIRD, item, move_base, runs_of, shop
from .turns import Story
from .world import START, ref


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


DELIVERIES: tuple[Callable[[Story], None], ...] = (
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
