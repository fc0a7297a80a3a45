"""What findings come to: severities, waivers, the comparison with what runs, and that blindness never passes."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetracker.api.gate_trivy import TrivyGate
from basetracker.api.names import GateVerdict
from basetracker.api.severity import Severity
from basetracker.core.findings import (
    Finding,
    FindingKind,
    FindingsReason,
    Scan,
    fixed_findings,
    new_findings,
    weigh,
)
from basetracker.oci.platform import Platform

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64", "v8")
TODAY = date(2026, 11, 22)
PASS, FAIL = GateVerdict.PASS, GateVerdict.FAIL


def hole(number: int = 1, package: str = "openssl", severity: Severity = Severity.HIGH, **more: Any) -> Finding:
    return Finding(id=f"CVE-{number}", package=package, installed="1.0", severity=severity, **more)


def scan(*findings: Finding, platform: Platform = AMD, blind: str = "") -> Scan:
    return Scan(platform=platform, findings=frozenset(findings), blind=blind)


def gate(**fields: Any) -> TrivyGate:
    return TrivyGate.model_validate(fields)


def waiver(number: int, until: date) -> dict[str, str]:
    return {"id": f"CVE-{number}", "until": until.isoformat(), "reason": "so"}


EOL = Finding(id="EOSL", package="debian 9", severity=Severity.CRITICAL, kind=FindingKind.END_OF_LIFE)
TABLE = [
    ("nothing", [scan()], {}, PASS, FindingsReason.NO_FINDINGS),
    ("a severe one", [scan(hole())], {}, FAIL, FindingsReason.FINDINGS),
    ("one that isn't severe", [scan(hole(severity=Severity.MEDIUM))], {}, PASS, FindingsReason.NO_FINDINGS),
    (
        "what nobody has rated",
        [scan(hole(severity=Severity.UNKNOWN))],
        {"severity": ["UNKNOWN"]},
        FAIL,
        "FindingsPresent",
    ),
    ("unfixed", [scan(hole())], {"ignoreUnfixed": True}, PASS, FindingsReason.NO_FINDINGS),
    ("unfixed, not ignored", [scan(hole())], {"ignoreUnfixed": False}, FAIL, FindingsReason.FINDINGS),
    ("fixed", [scan(hole(fixed="1.1"))], {"ignoreUnfixed": True}, FAIL, FindingsReason.FINDINGS),
    ("a secret has no fix", [scan(hole(kind=FindingKind.SECRET))], {"ignoreUnfixed": True}, FAIL, "FindingsPresent"),
    ("the other platform", [scan(), scan(hole(), platform=ARM)], {}, FAIL, FindingsReason.FINDINGS),
    ("a blind platform", [scan(), scan(platform=ARM, blind="why")], {}, FAIL, FindingsReason.NOTHING_SCANNED),
    ("no platform", [], {}, FAIL, FindingsReason.NOTHING_SCANNED),
    ("no updates", [scan(EOL)], {"severity": ["LOW"], "ignoreUnfixed": True}, FAIL, FindingsReason.FINDINGS),
    ("waived", [scan(hole())], {"waivers": [waiver(1, TODAY)]}, PASS, FindingsReason.WAIVED),
    ("waived until yesterday", [scan(hole())], {"waivers": [waiver(1, TODAY - timedelta(1))]}, FAIL, "WaiverExpired"),
    ("another one waived", [scan(hole())], {"waivers": [waiver(2, TODAY)]}, FAIL, FindingsReason.FINDINGS),
    ("one of two waived", [scan(hole(), hole(2))], {"waivers": [waiver(1, TODAY)]}, FAIL, FindingsReason.FINDINGS),
    ("a waiver heals no blindness", [scan(blind="why")], {"waivers": [waiver(1, TODAY)]}, FAIL, "NothingScanned"),
]


@pytest.mark.parametrize(
    ("image", "fields", "verdict", "reason"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_verdicts(image: list[Scan], fields: dict[str, Any], verdict: GateVerdict, reason: str) -> None:
    found = weigh(gate(**fields), image, [], TODAY)
    assert (found.verdict, found.reason) == (verdict, reason), found.message


OTHERS = [
    ("the same", [scan(hole())], [[scan(hole())]], PASS),
    ("the same hole in another version", [scan(hole())], [[scan(hole(fixed="9"))]], PASS),
    ("another hole, as many", [scan(hole(2))], [[scan(hole(1))]], FAIL),
    ("the same hole in another package", [scan(hole(1, "curl"))], [[scan(hole(1))]], FAIL),
    ("fewer", [scan(hole())], [[scan(hole(), hole(2))]], PASS),
    ("nothing runs", [scan(hole())], [], FAIL),
    ("what runs is gone", [scan(hole())], [()], FAIL),
    ("one of two has it", [scan(hole())], [[scan(hole())], [scan()]], FAIL),
    ("both have it", [scan(hole())], [[scan(hole())], [scan(hole())]], PASS),
    ("only on the other platform", [scan(hole(), platform=ARM)], [[scan(hole(), platform=AMD)]], FAIL),
    (
        "a platform spelt shorter",
        [scan(hole(), platform=ARM)],
        [[scan(hole(), platform=Platform("linux", "arm64"))]],
        PASS,
    ),
    ("what runs is blind", [scan(hole())], [[scan(hole(), blind="why")]], FAIL),
    ("blind as what runs", [scan(blind="why")], [[scan(blind="why")]], FAIL),
    ("no updates for both", [scan(EOL)], [[scan(EOL)]], PASS),
]


@pytest.mark.parametrize(("image", "running", "verdict"), [row[1:] for row in OTHERS], ids=[row[0] for row in OTHERS])
def test_no_worse(image: list[Scan], running: list[list[Scan]], verdict: GateVerdict) -> None:
    assert weigh(gate(compare="NoWorse"), image, running, TODAY).verdict is verdict
    if verdict is PASS:
        assert weigh(gate(), image, running, TODAY).verdict is FAIL, "without compare all count"


def test_waivers_that_end_soon_are_named_with_their_day() -> None:
    image = [scan(hole(1), hole(2), hole(3))]
    soon, later = TODAY + timedelta(14), TODAY + timedelta(15)
    fields = {"waivers": [waiver(1, soon), waiver(2, later), waiver(3, TODAY - timedelta(1)), waiver(4, soon)]}
    told = weigh(gate(**fields), image, [], TODAY).message
    assert f"the waiver of CVE-1 ends on {soon}" in told
    assert "CVE-2" not in told
    assert "2 waived" in told
    assert f"the waiver of CVE-3 ended on {TODAY - timedelta(1)}" in told
    assert "CVE-4" not in told, "what isn't found needs no waiver"


def test_the_message_names_the_worst_and_counts_the_rest() -> None:
    holes = [hole(number, severity=Severity.HIGH, fixed="2") for number in range(8)]
    worst = hole(9, "zlib", Severity.CRITICAL)
    told = weigh(gate(), [scan(*holes, worst), scan(*holes, platform=ARM)], [], TODAY).message
    assert told.startswith("1 CRITICAL, 8 HIGH: CVE-9 in zlib 1.0 (no fix yet), CVE-0 in openssl 1.0 (fixed in 2), ")
    assert told.endswith(", and 4 more")


def test_new_and_fixed_are_told_apart() -> None:
    image, runs = [scan(hole(1), hole(2))], [[scan(hole(2), hole(3))]]
    assert [one.id for one in new_findings(image, runs)] == ["CVE-1"]
    assert [one.id for one in fixed_findings(image, runs)] == ["CVE-3"]


_WORDS = st.text(max_size=80)
_FINDINGS = st.builds(
    Finding,
    id=st.sampled_from(["CVE-1", "CVE-2", "EOSL"]) | _WORDS,
    package=st.sampled_from(["a", "b"]) | _WORDS,
    installed=_WORDS,
    fixed=_WORDS,
    severity=st.sampled_from(Severity),
    kind=st.sampled_from(FindingKind),
)
_SCANS = st.lists(
    st.builds(
        Scan,
        platform=st.sampled_from([AMD, ARM]),
        findings=st.frozensets(_FINDINGS, max_size=6),
        blind=st.just("") | _WORDS,
    ),
    max_size=2,
)
_GATES = st.builds(
    gate,
    severity=st.lists(st.sampled_from(Severity), min_size=1, max_size=5, unique=True),
    ignoreUnfixed=st.booleans(),
    compare=st.sampled_from([None, "NoWorse"]),
    waivers=st.lists(st.sampled_from([1, 2]), unique=True).map(lambda ids: [waiver(one, TODAY) for one in ids]),
)


@given(_GATES, _SCANS, st.lists(_SCANS, max_size=2))
def test_a_pass_has_looked_at_all_and_leaves_nothing_severe_uncovered(
    one: TrivyGate, image: list[Scan], running: list[list[Scan]]
) -> None:
    found = weigh(one, image, running, TODAY)
    assert found.verdict is not GateVerdict.PENDING
    assert len(found.message) <= 1000
    assert found.message.isprintable()
    assert found == weigh(one, list(reversed(image)), list(reversed(running)), TODAY), "order tells nothing"
    if found.verdict is PASS:
        assert image
        assert not any(each.blind for each in image)
        covered = {waiver.id for waiver in one.waivers}
        old = {each.identity for scans in running for each_scan in scans for each in each_scan.findings}
        for each in (each for each_scan in image for each in each_scan.findings):
            mild = each.severity not in one.severity or (one.ignore_unfixed and not each.fixed)
            if each.kind is FindingKind.END_OF_LIFE or not mild:
                assert each.id in covered or (one.compare and each.identity in old)
