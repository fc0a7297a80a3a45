"""Chains: the child's base is what the parent has validated, unless that fails a gate by now and the child isn't on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from basetracker.api.gates import GateKind
from basetracker.api.names import GateVerdict, Reason, State
from basetracker.api.status import DownstreamStatus
from basetracker.api.tracker import Key
from basetracker.oci.refs import Digest
from basetracker.ports import Answer, Question

from ..core.builders import body, image_spec
from ..core.stories.world import ref
from .gates_in_memory import GateInMemory, says
from .ports_in_memory import House
from .shop import BASE, IMAGE, digest_name
from .test_desk import SIGNED

ROOT = ref("base/os:12")
PARENT, CHILD = (Key(namespace="shop", name=name) for name in ("parent", "child"))


def row(house: House, key: Key) -> DownstreamStatus:
    (found,) = house.trackers.stored[key].status.downstream
    return found


def base_of_the_child(house: House) -> Digest | None:
    base = house.trackers.stored[CHILD].status.base
    return base.digest if base is not None else None


@dataclass
class Inspector:
    """The parent's gate: it fails what is bad, and has no answer while it is silent."""

    bad: set[Digest | None] = field(default_factory=set)
    silent: bool = False

    def mind(self, question: Question) -> Answer:
        if self.silent:
            return says(GateVerdict.PENDING)(question)
        return says(GateVerdict.FAIL if question.image.digest in self.bad else GateVerdict.PASS)(question)


class Chain(House):
    """A parent with a first validated digest, and the child that has followed it."""

    def __init__(self) -> None:
        super().__init__()
        self.inspector = Inspector()
        self.gates[GateKind.SIGNATURE] = GateInMemory(self.inspector.mind)

    async def begin(self) -> Digest:
        first = self.push_parent(1)
        old = self.world.registry.push(IMAGE, ("os 1", "python 1", "checkout 1"))
        self.world.builder.task("build-checkout", IMAGE, BASE)
        self.world.cluster.deployment("checkout", str(IMAGE.pinned(old)))
        python, checkout = image_spec("python", image=BASE, deploy=(), build=False), image_spec("checkout", image=IMAGE)
        assert self.track(body("parent", base=ROOT, downstream=[python], gates=[SIGNED])) == PARENT
        assert self.track(body("child", base=BASE, downstream=[checkout])) == CHILD
        await self.run(5)
        assert base_of_the_child(self) == first
        return first

    def push_parent(self, number: int) -> Digest:
        self.world.push_base(ROOT, f"os {number}")
        return self.world.registry.push(BASE, (f"os {number}", f"python {number}"))

    async def parent_looks(self) -> None:
        """The parent sees what there is and asks its gate about it, and the child has no turn yet."""
        asked = self.trackers.stored[PARENT].requested_at
        self.trackers.change(PARENT, requested_at=f"{asked}+")
        for _ in range(3):
            await self.turn(PARENT)

    async def parent_validates(self, number: int) -> Digest:
        digest = self.push_parent(number)
        await self.parent_looks()
        validated = row(self, PARENT).validated
        assert validated is not None
        assert (validated.digest, validated.failing) == (digest, None)
        return digest

    async def parent_fails(self, *bad: Digest) -> None:
        """What the parent has validated fails its gate by now, or passes it again."""
        self.inspector.bad = set(bad)
        await self.parent_looks()
        validated = row(self, PARENT).validated
        assert validated is not None
        assert (validated.failing is not None) is bool(bad)


async def test_a_child_does_not_move_to_what_fails_by_now() -> None:
    house = Chain()
    first = await house.begin()
    second = await house.parent_validates(2)
    await house.parent_fails(second)
    await house.run(20)
    assert base_of_the_child(house) == first
    item = row(house, CHILD)
    assert (item.state, item.reason) == (State.BLOCKED, Reason.PARENT_FAILS)
    assert f"{second.short}, which tracker parent has validated as python, fails gate signature by now" in item.message
    assert house.world.builder.runs == []
    assert digest_name(house) == "checkout#1"
    await house.parent_fails()
    await house.run(20)
    assert base_of_the_child(house) == second
    assert digest_name(house) == "checkout#2"
    assert row(house, CHILD).state is State.CURRENT


async def test_a_child_moves_to_the_next_one_that_passes() -> None:
    house = Chain()
    await house.begin()
    await house.parent_fails(await house.parent_validates(2))
    await house.run(20)
    third = await house.parent_validates(3)
    await house.run(20)
    assert base_of_the_child(house) == third
    assert row(house, CHILD).reason is Reason.CURRENT


@pytest.mark.parametrize("respecified", [False, True])
async def test_a_child_stays_on_what_it_has(respecified: bool) -> None:
    house = Chain()
    first = await house.begin()
    await house.parent_fails(first)
    if respecified:
        house.trackers.change(CHILD, generation=2)
    await house.run(20)
    assert base_of_the_child(house) == first
    assert (row(house, CHILD).state, row(house, CHILD).reason) == (State.CURRENT, Reason.CURRENT)


async def test_what_is_built_on_the_base_before_goes_on_also_with_another_spec() -> None:
    house = Chain()
    first = await house.begin()
    await house.parent_fails(await house.parent_validates(2))
    house.world.cluster.deployment("second", str(IMAGE))
    spec = house.trackers.stored[CHILD].spec
    assert spec is not None
    document = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    document["downstream"][0]["deploy"].append({"kind": "Deployment", "name": "second"})
    house.trackers.change(CHILD, spec=type(spec).model_validate(document), generation=2)
    await house.run(20)
    assert base_of_the_child(house) == first
    assert row(house, CHILD).reason is Reason.PARENT_FAILS
    assert digest_name(house, "second") == "checkout#1"


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "of another base"])
async def test_a_child_without_a_base_gets_none(is_new: bool) -> None:
    """With another spec the stored base may be another image's."""
    house = Chain()
    await house.begin()
    await house.parent_fails(await house.parent_validates(2))
    status = house.trackers.stored[CHILD].status
    assert status.base is not None
    other = status.base.model_copy(update={"digest": Digest.of(b"another base")})
    known = type(status)() if is_new else status.model_copy(update={"base": other})
    house.trackers.change(CHILD, status=known, generation=2)
    await house.run(20)
    assert base_of_the_child(house) is None
    assert row(house, CHILD).reason is Reason.PARENT_FAILS
    assert digest_name(house) == "checkout#1"
    assert house.world.builder.runs == []


async def test_nothing_is_written_while_nothing_changes() -> None:
    house = Chain()
    await house.begin()
    await house.parent_fails(await house.parent_validates(2))
    await house.run(20)
    writes = house.metrics.status_writes.labels(kind="Status")._value.get()
    await house.run(60)
    assert house.metrics.status_writes.labels(kind="Status")._value.get() == writes


async def test_a_child_waits_for_a_gate_of_the_parent_that_was_edited() -> None:
    house = Chain()
    first = await house.begin()
    second = await house.parent_validates(2)
    house.inspector.silent = True
    spec = house.trackers.stored[PARENT].spec
    assert spec is not None
    edited = {"signature": {**SIGNED["signature"], "timeout": "45m"}}
    document = {**spec.model_dump(by_alias=True, mode="json", exclude_none=True), "gates": [edited]}
    house.trackers.change(PARENT, spec=type(spec).model_validate(document), generation=2)
    await house.run(20)
    assert base_of_the_child(house) == first
    item = row(house, CHILD)
    assert (item.state, item.reason) == (State.VALIDATING, Reason.GATE_PENDING)
    assert (
        f"{second.short}, which tracker parent has validated as python, waits for gate signature there" in item.message
    )
    house.inspector.silent = False
    await house.run(30)
    assert base_of_the_child(house) == second
    assert row(house, CHILD).state is State.CURRENT
