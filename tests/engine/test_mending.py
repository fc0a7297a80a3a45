"""Mending: what fails a gate by now is built once more on the same base, once, and only where that may help."""

from __future__ import annotations

from typing import Any

import pytest

from basetracker.api.gates import GateKind
from basetracker.api.names import BuildState, ConditionType, GateVerdict, HistoryEvent, Reason, State
from basetracker.api.tracker import Spec
from basetracker.errors import MissingError, UnknownOutcomeError
from basetracker.ports import Answer, Question

from .gates_in_memory import GateInMemory, a_shop, item_of, says
from .ports_in_memory import CrashError, House
from .shop import BASE, IMAGE, KEY, digest_name, move_base

SCANNED: dict[str, Any] = {"trivy": {"severity": ["CRITICAL"]}}
REBUILDS: dict[str, Any] = {"rescan": {"rebuild": True}}
PASS, FAIL, PENDING = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.PENDING


class Scanner(GateInMemory):
    """Finds something in the images that are named here, each with what a rebuild would do about it."""

    def __init__(self, house: House) -> None:
        super().__init__(self.look)
        self.house = house
        self.known = "monday"
        self.bad: dict[str, bool | None] = {}
        self.unsure: set[str] = set()

    def publish(self, name: str, *, mendable: bool | None = True) -> None:
        """A vulnerability of this image becomes known."""
        self.bad[name] = mendable
        self.known += "+"

    def look(self, question: Question) -> Answer:
        name = self.house.world.registry.readable(str(question.image.digest))
        if name in self.unsure:
            return says(PENDING)(question)
        if name in self.bad:
            return says(FAIL, "CVE-2026-1", mendable=self.bad[name] if question.base is not None else None)(question)
        return says(PASS)(question)


def opened(house: House, *more: dict[str, Any], **fields: Any) -> Scanner:
    """A shop with the Trivy gate and `more` of that kind."""
    scanner = Scanner(house)
    a_shop(house, SCANNED, *more, kinds={GateKind.TRIVY: scanner}, **{**REBUILDS, **fields})
    return scanner


async def running(house: House, *more: dict[str, Any], **fields: Any) -> Scanner:
    """A shop that has delivered `checkout#2` for a new base; one run was made for that."""
    scanner = opened(house, *more, **fields)
    await house.run(5)
    move_base(house)
    await house.run(30)
    assert digest_name(house) == "checkout#2"
    assert len(house.world.builder.runs) == 1
    return scanner


def conditions(house: House) -> dict[ConditionType, str]:
    return {one.type: one.message for one in house.trackers.stored[KEY].status.conditions}


async def test_what_fails_by_now_is_built_once_more_validated_and_delivered() -> None:
    house = House()
    scanner = await running(house)
    first = item_of(house).validated
    assert first is not None
    scanner.publish("checkout#2")
    await house.run(30)
    assert digest_name(house) == "checkout#3"
    item = item_of(house)
    assert (item.state, item.reason) == (State.CURRENT, Reason.CURRENT)
    assert item.build is not None
    assert (item.build.state, item.build.replaces) == (BuildState.SUCCEEDED, first.digest)
    assert item.validated is not None
    assert item.validated.base_digest == first.base_digest
    assert ConditionType.RUNNING_FAILS not in conditions(house)
    keys = [ran.key for ran in house.world.builder.runs]
    assert len(keys) == len(set(keys)) == 2
    assert f"!{first.digest}#1" in keys[1]
    assert [name for name, _, _ in house.world.cluster.delivered] == ["checkout", "checkout"]
    told = [entry.reason for entry in house.trackers.stored[KEY].status.history]
    assert any(f"to replace {first.digest.short}" in one for one in told)


async def test_the_question_names_the_base_and_its_secret() -> None:
    house = House()
    scanner = opened(house, secret=True)
    await house.run(5)
    assert scanner.asked[-1].base is None, "what isn't validated isn't built again"
    scanner.publish(digest_name(house))
    await house.run(6)
    (asked,) = (question for question in scanner.asked if question.base is not None)
    assert asked.base == BASE.pinned(house.world.registry.tags[BASE])
    assert asked.base_pull_secret == "hub"


async def test_it_happens_again_for_what_took_its_place() -> None:
    house = House()
    scanner = await running(house)
    scanner.publish("checkout#2")
    await house.run(30)
    scanner.publish("checkout#3")
    await house.run(30)
    assert digest_name(house) == "checkout#4"
    assert len(house.world.builder.runs) == 3


async def test_a_rebuild_that_doesn_t_help_is_not_repeated() -> None:
    house = House()
    scanner = await running(house)
    scanner.publish("checkout#2")
    scanner.publish("checkout#3")
    await house.run(24 * 60)
    house.restart()
    await house.run(24 * 60)
    assert len(house.world.builder.runs) == 2
    assert digest_name(house) == "checkout#2"
    assert item_of(house).state is State.CURRENT
    assert "run cf2 built it once more" in conditions(house)[ConditionType.RUNNING_FAILS]
    assert "which doesn't take its place: gate trivy: CVE-2026-1" in conditions(house)[ConditionType.RUNNING_FAILS]
    made = item_of(house).gates[1].digest
    assert made is not None
    assert house.world.registry.readable(str(made)) == "checkout#3", "what it was rejected for is told"
    events = [entry for entry in house.trackers.stored[KEY].status.history if entry.event is HistoryEvent.REJECTED]
    assert [entry.to for entry in events] == [str(made)]


@pytest.mark.parametrize("mendable", [False, None])
async def test_where_a_rebuild_wouldn_t_help_there_is_none(mendable: bool | None) -> None:
    house = House()
    scanner = await running(house)
    scanner.publish("checkout#2", mendable=mendable)
    await house.run(24 * 60)
    assert len(house.world.builder.runs) == 1
    assert ConditionType.RUNNING_FAILS in conditions(house)
    assert item_of(house).state is State.CURRENT


async def test_nothing_is_rebuilt_without_being_asked_to() -> None:
    house = House()
    scanner = await running(house, rescan={"rebuild": False})
    scanner.publish("checkout#2")
    await house.run(24 * 60)
    assert scanner.asked[-1].base is None
    assert len(house.world.builder.runs) == 1


async def test_switching_it_on_later_is_enough() -> None:
    house = House()
    scanner = await running(house, rescan={"rebuild": False})
    scanner.publish("checkout#2")
    await house.run(24 * 60)
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    changed = {**spec.model_dump(by_alias=True, mode="json", exclude_none=True), **REBUILDS}
    house.trackers.change(KEY, spec=Spec.model_validate(changed), generation=2)
    house.poke(KEY)
    await house.run(30)
    assert digest_name(house) == "checkout#3"


async def test_another_digest_that_may_still_pass_goes_first() -> None:
    house = House()
    scanner = await running(house)
    pushed = house.world.registry.push(IMAGE, ("os 2", "python 2", "checkout by hand"))
    scanner.unsure.add(house.world.registry.readable(str(pushed)))
    scanner.publish("checkout#2")
    await house.run(60)
    item = item_of(house)
    assert (item.state, item.reason) == (State.VALIDATING, Reason.GATE_PENDING)
    assert pushed.short in item.message
    assert len(house.world.builder.runs) == 1
    scanner.unsure.clear()
    await house.run(30)
    assert item_of(house).state is State.CURRENT
    assert digest_name(house) == house.world.registry.readable(str(pushed))
    assert len(house.world.builder.runs) == 1


async def test_in_mode_plan_it_is_only_said() -> None:
    house = House()
    scanner = await running(house)
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    changed = {**spec.model_dump(by_alias=True, mode="json", exclude_none=True), "rollout": {"mode": "Plan"}}
    house.trackers.change(KEY, spec=Spec.model_validate(changed), generation=2)
    scanner.publish("checkout#2")
    await house.run(30)
    item = item_of(house)
    assert item.reason is Reason.PLANNED
    assert "fails gate trivy by now" in item.message
    assert len(house.world.builder.runs) == 1


async def test_a_rebuild_that_fails_is_tried_again_with_growing_waits_and_then_left() -> None:
    house = House()
    scanner = await running(house)
    house.world.builder.tasks["build-checkout"].fails = 99
    scanner.publish("checkout#2")
    await house.run(24 * 60)
    assert len(house.world.builder.runs) == 6
    item = item_of(house)
    assert (item.state, item.reason) == (State.FAILED, Reason.BUILD_FAILED)
    assert digest_name(house) == "checkout#2"
    assert ConditionType.RUNNING_FAILS in conditions(house)


async def test_a_base_that_moves_meanwhile_is_what_is_built_next() -> None:
    house = House()
    scanner = await running(house)
    scanner.publish("checkout#2")
    await house.run(1)
    move_base(house, 3)
    await house.run(60)
    item = item_of(house)
    assert item.state is State.CURRENT
    assert item.validated is not None
    assert item.validated.base_digest == house.world.registry.tags[BASE]
    keys = [ran.key for ran in house.world.builder.runs if not ran.run.state.is_failure]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("error", [UnknownOutcomeError("the connection broke"), CrashError()])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_it_is_built_once_whatever_happens_at_the_start_of_the_run(when: str, error: Exception) -> None:
    house = House()
    scanner = await running(house)
    house.faults.at_method["builder.start", house.faults.calls.count("builder.start")] = (when, error)
    scanner.publish("checkout#2")
    await house.run(60)
    house.restart()
    await house.run(60)
    assert house.faults.met == 1
    assert digest_name(house) == "checkout#3"
    assert len(house.world.builder.runs) == 2


async def test_what_was_replaced_fails_as_long_as_it_still_runs_somewhere() -> None:
    house = House()
    scanner = await running(house)
    house.world.cluster.breaks = True  # the Deployment never becomes healthy on what comes next
    second = house.world.cluster.deployment("second", house.world.cluster.deployments["checkout"].containers[0].image)
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    document = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    document["downstream"][0]["deploy"].append({"kind": "Deployment", "name": second.name})
    house.trackers.change(KEY, spec=Spec.model_validate(document), generation=2)
    house.poke(KEY)
    await house.run(5)
    scanner.publish("checkout#2")
    await house.run(60)
    assert digest_name(house) == "checkout#3"
    assert digest_name(house, "second") == "checkout#2", "the first rollout is stuck"
    assert "CVE-2026-1" in conditions(house)[ConditionType.RUNNING_FAILS]
    house.restart()
    await house.run(5)
    assert "CVE-2026-1" in conditions(house)[ConditionType.RUNNING_FAILS]


async def test_a_base_that_comes_back_finds_what_was_rebuilt_on_it() -> None:
    house = House()
    scanner = await running(house)
    second = house.world.registry.tags[BASE]
    scanner.publish("checkout#2")
    await house.run(5.5)  # the rebuild is under way
    move_base(house, 3)
    await house.run(30)
    runs = len(house.world.builder.runs)
    house.world.registry.tags[BASE] = second
    await house.run(60)
    assert digest_name(house) == "checkout#3", "the rebuild's result"
    assert item_of(house).state is State.CURRENT
    assert len(house.world.builder.runs) == runs, "it is found and not made again"


@pytest.mark.parametrize("more", [(), ({"trivy": {"severity": ["HIGH"]}},)], ids=["one gate", "one more after it"])
async def test_what_fails_since_another_base_was_current_is_rebuilt_when_its_base_comes_back(
    more: tuple[dict[str, Any], ...],
) -> None:
    house = House()
    scanner = await running(house, *more)
    second = house.world.registry.tags[BASE]
    move_base(house, 3)
    await house.run(30)
    assert digest_name(house) == "checkout#3"
    scanner.publish("checkout#2")
    house.world.registry.tags[BASE] = second
    await house.run(60)
    assert digest_name(house) == "checkout#4"
    assert item_of(house).state is State.CURRENT


async def test_a_gate_that_is_edited_meanwhile_doesn_t_hide_the_failure_and_still_has_it_mended() -> None:
    house = House()
    scanner = await running(house, rescan={"rebuild": False})
    scanner.publish("checkout#2")
    await house.run(6)
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    edited = [{"trivy": {"severity": ["CRITICAL", "HIGH"]}}]
    changed = {**spec.model_dump(by_alias=True, mode="json", exclude_none=True), "gates": edited, **REBUILDS}
    house.trackers.change(KEY, spec=Spec.model_validate(changed), generation=2)
    house.poke(KEY)
    await house.run(1)
    assert ConditionType.RUNNING_FAILS in conditions(house)
    await house.run(30)
    assert digest_name(house) == "checkout#3"
    assert len(house.world.builder.runs) == 2


async def test_a_gate_that_can_t_answer_about_the_successor_is_named_and_another_push_is_looked_at() -> None:
    house = House()
    scanner = await running(house)

    def mind(question: Question) -> Answer:
        if house.world.registry.readable(str(question.image.digest)) == "checkout#3":
            raise MissingError("there is no Secret keys")
        return scanner.look(question)

    scanner.mind = mind
    scanner.publish("checkout#2")
    await house.run(30)
    item = item_of(house)
    assert (item.state, item.reason) == (State.BLOCKED, Reason.GATE_UNUSABLE)
    assert "there is no Secret keys" in item.message
    pushed = house.world.registry.push(IMAGE, ("os 2", "python 2", "checkout by hand"))
    await house.run(30)
    assert digest_name(house) == house.world.registry.readable(str(pushed))


async def test_an_answer_about_another_base_starts_nothing() -> None:
    house = House()
    scanner = await running(house)
    second = house.world.registry.tags[BASE]
    scanner.publish("checkout#2", mendable=False)
    await house.run(6)
    house.world.builder.tasks["build-checkout"].fails = 99
    move_base(house, 3)
    scanner.bad["checkout#2"] = True  # as far as the other base goes
    await house.run(60)
    scanner.bad["checkout#2"] = False
    house.world.builder.tasks["build-checkout"].fails = 0
    runs = len(house.world.builder.runs)
    house.world.registry.tags[BASE] = second
    await house.run(60)
    assert len(house.world.builder.runs) == runs
    assert ConditionType.RUNNING_FAILS in conditions(house)


async def test_a_rebuild_that_makes_nothing_new_is_no_result() -> None:
    house = House()
    scanner = await running(house)
    house.world.builder.tasks["build-checkout"].silent = True
    house.world.builder.tasks["build-checkout"].pushes = False
    scanner.publish("checkout#2")
    await house.run(60)
    item = item_of(house)
    assert item.build is not None
    assert (item.build.state, item.build.digest) == (BuildState.SUCCEEDED, None)
    assert len(house.world.builder.runs) == 2


async def test_a_gate_that_has_no_answer_when_the_base_is_to_be_weighed_is_asked_with_growing_waits() -> None:
    house = House()
    scanner = await running(house, rescan={"rebuild": False})
    scanner.publish("checkout#2")
    await house.run(6)
    scanner.unsure.add("checkout#2")
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    changed = {**spec.model_dump(by_alias=True, mode="json", exclude_none=True), **REBUILDS}
    house.trackers.change(KEY, spec=Spec.model_validate(changed), generation=2)
    house.poke(KEY)
    asked = len(scanner.asked)
    await house.run(60)
    assert 5 <= len(scanner.asked) - asked <= 15
    scanner.unsure.clear()
    await house.run(30)
    assert digest_name(house) == "checkout#3"
