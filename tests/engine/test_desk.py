"""The desk: what a gate says becomes evidence about one digest; whatever isn't a clear answer passes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from basetracker.api.gates import GateKind
from basetracker.api.names import ConditionType, GateVerdict, Reason, State
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import Digest
from basetracker.ports import Answer, Question

from .gates_in_memory import GateInMemory, Mind, a_shop, breaks, gate_of, item_of, says
from .ports_in_memory import House
from .shop import IMAGE, KEY, digest_name, move_base, open_shop

SIGNED: dict[str, Any] = {
    "signature": {"cosign": {"publicKey": {"configMapRef": {"name": "keys", "key": "cosign.pub"}}}}
}
DEFENDED: dict[str, Any] = {"defender": {"severity": ["CRITICAL"]}}
PASS, FAIL, PENDING = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.PENDING


async def test_only_what_every_gate_has_passed_is_delivered() -> None:
    house = House()
    gate = GateInMemory(says(PASS))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    move_base(house)
    await house.run(30)
    assert digest_name(house) == "checkout#2"
    item = item_of(house)
    assert item.state is State.CURRENT
    assert item.validated is not None
    assert [(one.name, one.verdict, one.digest) for one in item.validated.gates] == [
        ("signature", PASS, item.validated.digest)
    ]
    assert len(house.world.builder.runs) == 1
    assert len(house.world.cluster.delivered) == 1
    asked = [question.image.digest for question in gate.asked]
    assert len(asked) == len(set(asked)), "each digest is asked about once"
    assert gate.asked[-1].image == IMAGE.pinned(item.validated.digest)


@pytest.mark.parametrize(
    ("mind", "state", "reason", "said"),
    [
        (says(FAIL), State.BLOCKED, Reason.GATE_FAILED, "Because"),
        (says(PENDING), State.VALIDATING, Reason.GATE_PENDING, "Because"),
        (breaks(UnavailableError("the server is away")), State.VALIDATING, Reason.GATE_PENDING, "Unavailable"),
        (breaks(MissingError("there is no scanner")), State.BLOCKED, Reason.GATE_UNUSABLE, "Missing"),
        (breaks(DeniedError("no right to read the key")), State.BLOCKED, Reason.GATE_UNUSABLE, "Denied"),
        (breaks(InvalidError("the key is no key")), State.BLOCKED, Reason.GATE_UNUSABLE, "Invalid"),
        (breaks(TimeoutError()), State.VALIDATING, Reason.GATE_PENDING, "TimedOut"),
        (breaks(ValueError("garbage")), State.VALIDATING, Reason.GATE_PENDING, "Crashed"),
        (
            lambda question: Answer(digest=Digest.of(b"another"), verdict=PASS, reason="Fine", message="fine"),
            State.VALIDATING,
            Reason.GATE_PENDING,
            "OtherDigest",
        ),
    ],
)
async def test_nothing_else_is_a_pass(mind: Mind, state: State, reason: Reason, said: str) -> None:
    house = House()
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: GateInMemory(says(PASS))})
    await house.run(5)
    house.gates[GateKind.SIGNATURE] = gate = GateInMemory(mind)
    house.restart()
    move_base(house)
    await house.run(120)
    item = item_of(house)
    assert (item.state, item.reason) == (state, reason), item.message
    assert gate_of(house).reason == said
    assert gate.asked
    assert digest_name(house) != "checkout#2"
    assert len(house.world.builder.runs) == 1, "what fails a gate isn't built again"


async def test_a_kind_that_this_operator_lacks_blocks() -> None:
    house = House()
    a_shop(house, SIGNED, kinds={})
    await house.run(5)
    assert item_of(house).reason is Reason.GATE_UNUSABLE
    assert "has no gate of kind signature" in item_of(house).message


async def test_a_pending_one_is_asked_again_after_growing_waits_and_passes_in_the_end() -> None:
    house = House()
    gate = GateInMemory(says(PENDING))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(60)
    assert 6 <= len(gate.asked) <= 14
    assert item_of(house).reason is Reason.GATE_PENDING
    first = gate.asked[0].since
    assert {question.since for question in gate.asked} == {first}, "since when it waits is remembered"
    writes = house.metrics.status_writes.labels(kind="Status")._value.get()
    await house.run(60)
    assert house.metrics.status_writes.labels(kind="Status")._value.get() == writes
    gate.mind = says(PASS)
    await house.run(15)
    assert item_of(house).state is State.CURRENT


async def test_a_gate_says_itself_when_it_wants_to_be_asked_again() -> None:
    house = House()
    gate = GateInMemory(says(PENDING, again=timedelta(minutes=30)))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(29)
    assert len(gate.asked) == 1
    await house.run(3)
    assert len(gate.asked) == 2


async def test_a_gate_can_want_to_be_asked_again_after_a_failure_too() -> None:
    house = House()
    gate = GateInMemory(says(FAIL, again=timedelta(hours=1)))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(50)
    assert len(gate.asked) == 1
    gate.mind = says(PASS)
    await house.run(20)
    assert len(gate.asked) == 2
    assert item_of(house).state is State.CURRENT


async def test_a_failure_ends_the_questions_about_a_digest() -> None:
    house = House()
    cheap, dear = GateInMemory(says(FAIL, "nobody has signed it")), GateInMemory(says(PASS))
    a_shop(house, DEFENDED, SIGNED, kinds={GateKind.SIGNATURE: cheap, GateKind.DEFENDER: dear})
    await house.run(10)
    assert len(cheap.asked) == 1
    assert dear.asked == []
    assert gate_of(house, "defender").message == "gate signature comes first"


async def test_a_pending_one_keeps_no_other_gate_from_being_asked() -> None:
    house = House()
    cheap, dear = GateInMemory(says(PENDING)), GateInMemory(says(PASS))
    a_shop(house, DEFENDED, SIGNED, kinds={GateKind.SIGNATURE: cheap, GateKind.DEFENDER: dear})
    await house.run(1)
    assert [gate.verdict for gate in item_of(house).gates] == [PASS, PENDING, PASS]


async def test_a_new_process_asks_only_what_has_no_answer() -> None:
    house = House()
    gate = GateInMemory(says(PASS))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(5)
    asked = len(gate.asked)
    house.restart()
    await house.run(5)
    assert len(gate.asked) == asked
    gate.mind = says(PENDING)
    move_base(house)
    await house.run(20)
    waits = len(gate.asked)
    assert waits > asked
    house.restart()
    await house.run(1)
    assert len(gate.asked) > waits


async def test_what_was_validated_is_asked_about_again_in_its_time_and_costs_no_write() -> None:
    house = House()
    gate = GateInMemory(says(PASS))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(5)
    asked = len(gate.asked)
    writes = house.metrics.status_writes.labels(kind="Status")._value.get()
    await house.run(24 * 60)
    assert len(gate.asked) == asked + 1
    await house.run(24 * 60)
    assert len(gate.asked) == asked + 2
    assert house.metrics.status_writes.labels(kind="Status")._value.get() == writes


async def test_what_fails_by_now_is_told_and_stays_where_it_is() -> None:
    house = House()
    gate = GateInMemory(says(PASS))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(5)
    runs = digest_name(house)
    gate.mind = says(FAIL, "CVE-2026-1 in openssl")
    await house.run(24 * 60)
    tracker = house.trackers.stored[KEY]
    told = {one.type: one.message for one in tracker.status.conditions}
    assert "CVE-2026-1 in openssl" in told[ConditionType.RUNNING_FAILS]
    assert item_of(house).state is State.CURRENT
    assert digest_name(house) == runs
    assert house.world.builder.runs == []
    assert b'basetracker_running_image_fails{gate="signature",image="checkout"' in house.metrics.render()
    house.restart()
    await house.run(5)
    assert ConditionType.RUNNING_FAILS in {one.type for one in house.trackers.stored[KEY].status.conditions}
    gate.mind = says(PASS)
    await house.run(24 * 60)
    assert ConditionType.RUNNING_FAILS not in {one.type for one in house.trackers.stored[KEY].status.conditions}


async def test_a_gate_that_knows_more_is_asked_again_at_once() -> None:
    house = House()
    gate = GateInMemory(says(PASS), known="monday")
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(6)
    asked = len(gate.asked)
    gate.known = "tuesday"
    await house.run(6)
    assert len(gate.asked) == asked + 1
    house.restart()
    await house.run(6)
    gate.known = "wednesday"
    await house.run(6)
    assert len(gate.asked) == asked + 2


async def test_a_person_who_asks_to_look_has_the_gates_asked() -> None:
    house = House()
    gate = GateInMemory(says(FAIL))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(5)
    assert item_of(house).reason is Reason.GATE_FAILED
    gate.mind = says(PASS)
    house.trackers.change(KEY, requested_at="now")
    house.poke(KEY)
    await house.run(5)
    assert item_of(house).state is State.CURRENT


async def test_a_gate_that_is_named_later_holds_what_isn_t_delivered_yet() -> None:
    house = House()
    gate = GateInMemory(says(PENDING))
    open_shop(house)
    await house.run(5)
    assert item_of(house).state is State.CURRENT
    house.gates[GateKind.SIGNATURE] = gate
    house.restart()
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    changed = type(spec).model_validate(
        {**spec.model_dump(by_alias=True, mode="json", exclude_none=True), "gates": [SIGNED]}
    )
    house.trackers.change(KEY, spec=changed, generation=2)
    house.poke(KEY)
    await house.run(5)
    assert item_of(house).reason is Reason.GATE_PENDING
    gate.mind = says(PASS)
    await house.run(30)
    assert item_of(house).state is State.CURRENT
    assert house.world.builder.runs == []


async def test_mode_plan_asks_the_gates_and_delivers_nothing() -> None:
    house = House()
    gate = GateInMemory(says(PASS))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate}, rollout={"mode": "Plan"})
    await house.run(5)
    assert gate.asked
    assert house.world.cluster.delivered == []


async def test_who_doesn_t_lead_asks_nothing() -> None:
    house = House()
    gate = GateInMemory(says(PASS))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    house.lead.asks_left = 0
    await house.run(5)
    assert gate.asked == []


async def test_the_credential_of_the_image_s_registry_goes_along() -> None:
    house = House()
    gate = GateInMemory(says(PASS))
    key = a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    tracker = house.trackers.stored[key]
    assert tracker.spec is not None
    document = tracker.spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    document["downstream"][0]["pullSecretRef"] = {"name": "hub"}
    house.trackers.change(key, spec=type(tracker.spec).model_validate(document))
    await house.run(5)
    assert gate.credentials[-1] is not None


async def test_a_gate_that_learns_what_it_knows_by_being_asked_isn_t_asked_again_for_that() -> None:
    house = House()
    gate = GateInMemory(says(PASS))

    def mind(question: Question) -> Answer:
        gate.known = gate.known or "monday"
        return says(PASS)(question)

    gate.mind = mind
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(15)
    assert len(gate.asked) == 1
    gate.known = "tuesday"
    await house.run(15)
    assert len(gate.asked) == 2


async def test_a_kind_that_no_tracker_names_isn_t_asked_what_it_knows() -> None:
    class Silent(GateInMemory):
        def edition(self) -> str:
            raise AssertionError

    house = House()
    a_shop(house, kinds={GateKind.SIGNATURE: Silent(says(PASS))})
    await house.run(15)
    assert item_of(house).state is State.CURRENT


async def test_a_key_that_is_changed_during_an_outage_is_asked_for_before_anything_more_is_delivered() -> None:
    def mind(question: Question) -> Answer:
        signature = question.gate.signature
        assert signature is not None
        assert signature.cosign is not None
        reference = signature.cosign.public_key.config_map_ref
        return says(PASS if reference is not None and reference.name == "keys" else FAIL)(question)

    house = House()
    gate = GateInMemory(mind)
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(5)
    spec = house.trackers.stored[KEY].spec
    assert spec is not None
    old = house.world.registry.push(IMAGE, ("os 0", "python 0", "checkout 0"))
    validated = item_of(house).validated
    assert validated is not None
    house.world.registry.tags[IMAGE] = validated.digest
    house.world.cluster.deployment("second", str(IMAGE.pinned(old)))
    document = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    document["downstream"][0]["deploy"].append({"kind": "Deployment", "name": "second"})
    other = {"cosign": {"publicKey": {"configMapRef": {"name": "other-keys", "key": "cosign.pub"}}}}
    document["gates"] = [{"signature": other}]
    house.faults.always["registry.digest"] = UnavailableError("away")
    house.trackers.change(KEY, spec=type(spec).model_validate(document), generation=2)
    house.restart()
    await house.run(5)
    house.faults.always.clear()
    await house.run(30)
    assert digest_name(house, "second") == house.world.registry.readable(str(old))
    assert item_of(house).reason is Reason.GATE_FAILED


async def test_a_failure_that_is_known_is_asked_about_again_by_a_new_process() -> None:
    house = House()
    gate = GateInMemory(says(FAIL))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    await house.run(5)
    gate.mind = says(PASS)
    house.restart()
    await house.run(5)
    assert item_of(house).state is State.CURRENT


async def test_an_image_of_the_team_s_own_that_fails_makes_way_when_its_team_says_so() -> None:
    house = House()
    gate = GateInMemory(says(PASS))
    a_shop(house, SIGNED, kinds={GateKind.SIGNATURE: gate})
    own = house.world.registry.push(IMAGE, ("os 1", "python 1", "checkout of the team"))
    house.world.cluster.deployment("checkout", str(IMAGE.pinned(own)))
    validated = house.world.registry.push(IMAGE, ("os 1", "python 1", "checkout 2"))
    await house.run(5)
    assert digest_name(house) == house.world.registry.readable(str(own)), "it contains the base and passes"
    assert {question.image.digest for question in gate.asked} == {own, validated}
    gate.mind = lambda question: says(FAIL if question.image.digest == own else PASS)(question)
    await house.run(24 * 60)
    assert item_of(house).reason is Reason.GATE_FAILED
    assert house.world.cluster.delivered == []
    house.trackers.change(KEY, resume="now")
    house.poke(KEY)
    await house.run(5)
    assert digest_name(house) == house.world.registry.readable(str(validated))
    assert len(house.world.cluster.delivered) == 1
