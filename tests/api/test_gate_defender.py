"""The gate that reads Defender, as it is written and as it is read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from basetracker.api.gate_defender import DefenderGate, OnUnknown
from basetracker.api.gates import Gate, GateKind, asked_gates
from basetracker.api.severity import Severity


def test_what_holds_when_nothing_is_said() -> None:
    gate = Gate.model_validate({"defender": {}})
    assert gate.kind is GateKind.DEFENDER
    assert gate.defender == DefenderGate(
        severity=(Severity.CRITICAL, Severity.HIGH), wait_at_least=timedelta(hours=6), on_unknown=OnUnknown.HOLD
    )


def test_all_of_it_is_read() -> None:
    written = {"severity": ["LOW", "UNKNOWN"], "waitAtLeast": "0s", "onUnknown": "Pass"}
    gate = DefenderGate.model_validate(written)
    assert (gate.severity, gate.wait_at_least) == ((Severity.LOW, Severity.UNKNOWN), timedelta(0))
    assert gate.on_unknown is OnUnknown.PASS
    assert gate.model_dump(mode="json", by_alias=True) == written


@pytest.mark.parametrize(
    "bad",
    [
        {"severity": []},
        {"severity": ["Critical"]},
        {"waitAtLeast": "-1s"},
        {"waitAtLeast": "1d"},
        {"onUnknown": "Fail"},
    ],
    ids=str,
)
def test_what_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DefenderGate.model_validate(bad)


def test_it_is_asked_after_lineage_and_has_a_name_of_its_own() -> None:
    gates = tuple(Gate.model_validate(one) for one in ({"lineage": {}}, {"defender": {}}, {"defender": {}}))
    assert [gate.name for gate in asked_gates(gates)] == ["defender", "defender-2"]


def test_severities_stand_worst_first() -> None:
    assert sorted(Severity, key=lambda one: one.rank) == list(Severity)
