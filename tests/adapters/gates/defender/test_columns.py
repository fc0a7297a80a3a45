"""The contract with Defender's columns: rows that are read, and rows that are never taken for anything."""

from __future__ import annotations

import copy
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetracker.adapters.gates.defender.asking import Known
from basetracker.adapters.gates.defender.columns import ShapeError, query, read_row
from basetracker.adapters.gates.defender.gate import verdict
from basetracker.api.gate_defender import DefenderGate, OnUnknown
from basetracker.api.names import GateVerdict
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest, parse_image

CONTRACT: dict[str, Any] = json.loads(Path(__file__).with_name("rows.json").read_text(encoding="utf-8"))
GOOD: dict[str, Any] = CONTRACT["readable"][0]["row"]
DIGEST = Digest(GOOD["digest"])
IMAGE = parse_image("contoso.azurecr.io/shop/checkout:main").pinned(DIGEST)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=10,
)


def _name(case: dict[str, Any]) -> str:
    return str(case["name"]).replace(" ", "-")


@pytest.mark.parametrize("case", CONTRACT["readable"], ids=_name)
def test_what_is_read_of_a_row(case: dict[str, Any]) -> None:
    row, expected = read_row(case["row"]), case["expect"]
    assert row.digest == DIGEST
    assert (row.registry, row.repository, row.code) == (expected["registry"], expected["repository"], expected["code"])
    assert [[one.id, one.package, one.fixed, one.severity] for one in row.findings] == expected["findings"]


@pytest.mark.parametrize("case", CONTRACT["unreadable"], ids=_name)
def test_what_is_not_read(case: dict[str, Any]) -> None:
    with pytest.raises(ShapeError):
        read_row(GOOD | case["change"])


def _answer(documents: list[Any]) -> GateVerdict:
    """The verdict over rows, with everything else as lenient as a tracker can make it but for silence."""
    try:
        known = Known(rows=tuple(read_row(one) for one in documents))
    except ShapeError:
        known = Known(whole=False)
    gate = DefenderGate(wait_at_least=timedelta(0), on_unknown=OnUnknown.HOLD)
    return verdict(gate, IMAGE, [known], timedelta(0)).verdict


@given(JSON)
def test_garbage_is_never_a_pass(garbage: Any) -> None:
    assert _answer([garbage]) is GateVerdict.PENDING


@given(st.sampled_from(sorted(set(GOOD) - {"id"})), JSON)
def test_a_severe_row_with_garbage_in_it_is_never_a_pass(column: str, garbage: Any) -> None:
    assert _answer([GOOD | {column: garbage}]) is not GateVerdict.PASS


@given(st.sampled_from(["CveId", "Severity"]), JSON)
def test_a_severe_hole_with_garbage_in_it_is_never_a_pass(name: str, garbage: Any) -> None:
    row = copy.deepcopy(GOOD)
    row["cves"] = [{"CveId": "CVE-2026-1", "Severity": "Critical"} | {name: garbage}]
    assert _answer([row]) is not GateVerdict.PASS


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1, max_size=30))
def test_a_message_is_one_bounded_line_whatever_it_names(names: list[tuple[str, str, str]]) -> None:
    rows = []
    for cve, package, fixed in names:
        holes = [{"CveId": cve or "x", "Severity": "Critical"}]
        rows.append(read_row(GOOD | {"software": package or "x", "fixed": fixed, "cves": holes}))
    gate = DefenderGate()
    told = verdict(gate, IMAGE, [Known(rows=tuple(rows))], timedelta(0))
    again = verdict(gate, IMAGE, [Known(rows=tuple(reversed(rows)))], timedelta(hours=5))
    assert told == again, "neither the rows' order nor the time changes it"
    assert told.verdict is GateVerdict.FAIL
    assert len(told.message) <= 1000
    assert told.message.isprintable()


def test_only_digests_enter_a_query() -> None:
    text = query([Digest.of(b"two"), Digest.of(b"one"), Digest.of(b"two")])
    assert sorted(re.findall(r"sha256:[0-9a-f]{64}", text)) == sorted({str(Digest.of(b"one")), str(Digest.of(b"two"))})
    assert text == query([Digest.of(b"one"), Digest.of(b"two")])
    with pytest.raises(InvalidError):
        query([Digest("sha512:" + "a" * 128)])
    with pytest.raises(InvalidError):
        query([])
