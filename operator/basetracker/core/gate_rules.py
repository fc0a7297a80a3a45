"""The rules about results and verdicts: what a run has made, and what the gates say of it. Pure.

`rules.py` puts them into their order among all rules.
"""

from __future__ import annotations

from basetracker.api.names import BuildState, GateVerdict, Reason, State
from basetracker.api.status import BuildStatus, GateStatus
from basetracker.core.actions import Step
from basetracker.core.case import Case
from basetracker.core.gating import is_down, passes, pends, waits_for_person
from basetracker.oci.refs import Digest


def result_without_output(case: Case) -> Step | None:
    record = case.situation.build_for_base
    if (
        case.situation.is_fresh
        or record is None
        or record.state is not BuildState.SUCCEEDED
        or record.digest is not None
        or is_down(case.situation.latest)
    ):
        return None
    message = (
        f"run {record.run_id} succeeded but reports no image {case.situation.seen.spec.image}, and the tag has no proven "
        "digest; let the task push this tag, or mend spec.downstream.image"
    )
    return Step(state=State.BLOCKED, reason=Reason.NO_OUTPUT, message=message)


def result_unread(case: Case) -> Step | None:
    record = _succeeded_record(case)
    if record is None or not pends(case.situation.gates[:1]):
        return None
    message = f"the result of run {record.run_id} is being validated: {case.situation.gates[0].message}"
    wake = case.observed.now + case.observed.run_interval
    return Step(state=State.VALIDATING, reason=Reason.RESULT_AWAITED, message=message, wake=wake)


def result_rejected(case: Case) -> Step | None:
    record = _succeeded_record(case)
    if record is None:
        return None
    gate = next((item for item in case.situation.gates[:1] if item.verdict is GateVerdict.FAIL), None)
    if gate is None or record.digest is None:
        return None
    message = (
        f"run {record.run_id} made {record.digest.short}, which isn't proven to contain the base: {gate.message}; it is "
        "not delivered. Let the task build FROM the base (build argument), then run the task or push the image"
    )
    return Step(state=State.BLOCKED, reason=Reason.LINEAGE_NOT_PROVEN, message=message)


def gate_fails(case: Case) -> Step | None:
    """An image that contains the base isn't built again because it fails a gate: it would fail it again."""
    digest, gates = _gated(case)
    gate = next((item for item in gates if item.verdict is GateVerdict.FAIL), None)
    if digest is None or gate is None:
        return None
    message = (
        f"{digest.short} contains the base and fails gate {gate.name}: {gate.message}; it is not delivered. Push an image "
        "that passes, or mend spec.gates"
    )
    return Step(state=State.BLOCKED, reason=Reason.GATE_FAILED, message=message)


def gate_unusable(case: Case) -> Step | None:
    digest, gates = _gated(case)
    gate = next((item for item in gates if waits_for_person(item)), None)
    if digest is None or gate is None:
        return None
    message = f"gate {gate.name} can't answer about {digest.short}: {gate.message}; it is asked again by itself"
    return Step(state=State.BLOCKED, reason=Reason.GATE_UNUSABLE, message=message)


def gate_pends(case: Case) -> Step | None:
    digest, gates = _gated(case)
    gate = next((item for item in gates if item.verdict is GateVerdict.PENDING), None)
    if digest is None or gate is None:
        return None
    message = f"{digest.short} contains the base and waits for gate {gate.name}: {gate.message}"
    return Step(state=State.VALIDATING, reason=Reason.GATE_PENDING, message=message)


def successor_pends(case: Case) -> Step | None:
    """What fails a gate by now is watched to its end first, where it is rolling out."""
    situation = case.situation
    failing, digest = situation.fails_since, situation.successor
    if failing is None or situation.fresh is None or digest is None or any(row.is_rolling for row in situation.rows):
        return None
    told = f"{situation.fresh.digest.short} was validated and fails gate {failing.name} by now"
    gates = situation.successor_gates
    unusable = next((gate for gate in gates if waits_for_person(gate)), None)
    if unusable is not None:
        message = f"{told}; gate {unusable.name} can't answer about {digest.short}, which may take its place: {unusable.message}"
        return Step(state=State.BLOCKED, reason=Reason.GATE_UNUSABLE, message=message)
    pending = next((gate for gate in gates if gate.verdict is GateVerdict.PENDING), None)
    waits = f"waits for gate {pending.name}: {pending.message}" if pending is not None else "is being judged"
    message = f"{told}; {digest.short}, which may take its place, {waits}"
    wake = case.observed.now + case.observed.run_interval * 3
    return Step(state=State.VALIDATING, reason=Reason.GATE_PENDING, message=message, wake=wake)


def fails_since(case: Case) -> Step | None:
    """What fails a gate by now stays where it runs, which taking it away wouldn't mend, but goes nowhere else."""
    gate = case.situation.fails_since
    if gate is None or case.situation.fresh is None or not any(row.needs_delivery for row in case.situation.rows):
        return None
    message = (
        f"{case.situation.fresh.digest.short} was validated and fails gate {gate.name} by now: {gate.message}; it is not "
        "delivered any further. Push an image that passes, or mend spec.gates"
    )
    return Step(state=State.BLOCKED, reason=Reason.GATE_FAILED, message=message)


def _gated(case: Case) -> tuple[Digest | None, tuple[GateStatus, ...]]:
    """A digest that contains the base and isn't validated, with what the gates besides lineage say of it.

    None while it is built once more: what the gates that follow the failing one would say doesn't matter then.
    """
    situation = case.situation
    if situation.is_fresh or situation.mending is not None or situation.base is None:
        return None, ()
    if len(situation.gates) < 2 or not passes(situation.gates[:1]):
        return None, ()
    return situation.candidate, situation.gates[1:]


def _succeeded_record(case: Case) -> BuildStatus | None:
    record = case.situation.build_for_base
    if case.situation.is_fresh or record is None or record.state is not BuildState.SUCCEEDED:
        return None
    return record
