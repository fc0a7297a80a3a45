"""Reports of any form: what can't be read whole never becomes a scan without findings."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basetracker.adapters.gates.trivy.report import read_report
from basetracker.api.gate_trivy import Scanner
from basetracker.errors import InvalidError
from basetracker.oci.lineage import PlatformImage
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest, parse_image

from .stand_in import report

LAYERS = [str(Digest.of(b"layer"))]
DIGEST = Digest.of(b"image")
IMAGE = PlatformImage(
    digest=DIGEST,
    platform=Platform("linux", "amd64"),
    diff_ids=tuple(Digest(one) for one in LAYERS),
    history=(),
    annotations={},
)
HOLE = {"VulnerabilityID": "CVE-1", "PkgName": "musl", "Severity": "CRITICAL"}
VULN = frozenset({Scanner.VULN})


def whole() -> dict[str, Any]:
    document = report(parse_image("h.io/a:1").pinned(DIGEST), LAYERS)
    document["Results"][0]["Vulnerabilities"] = [HOLE]
    return document


def test_a_whole_report_is_read() -> None:
    found = read_report(json.dumps(whole()).encode(), "", IMAGE, VULN).scan
    assert [one.id for one in found.findings] == ["CVE-1"]
    assert found.blind == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=6,
)
_PLACES: list[tuple[Any, ...]] = [
    ("SchemaVersion",),
    ("ArtifactType",),
    ("Metadata",),
    ("Metadata", "RepoDigests"),
    ("Metadata", "DiffIDs"),
    ("Results",),
    ("Results", 0),
    ("Results", 0, "Vulnerabilities"),
    ("Results", 0, "Vulnerabilities", 0),
    ("Results", 0, "Vulnerabilities", 0, "VulnerabilityID"),
    ("Results", 0, "Vulnerabilities", 0, "PkgName"),
    ("Results", 0, "Vulnerabilities", 0, "Severity"),
]


@settings(max_examples=400)
@given(st.sampled_from(_PLACES), _JSON)
def test_whatever_stands_in_a_place_of_it_hides_nothing_but_by_being_absent(place: tuple[Any, ...], value: Any) -> None:
    document = copy.deepcopy(whole())
    target: Any = document
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    try:
        found = read_report(json.dumps(document).encode(), "", IMAGE, VULN).scan
    except InvalidError:
        return
    is_empty = not value and place[0] == "Results" and place[-1] not in {"VulnerabilityID", "PkgName"}
    no_holes = place in {("Results", 0), ("Results",)} or is_empty
    assert found.findings or found.blind or no_holes
    if place in {("Results",), ("Results", 0)}:
        assert found.blind, "no list of packages is left"


@given(st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_never_a_scan(content: bytes) -> None:
    with pytest.raises(InvalidError):
        read_report(content, "", IMAGE, VULN)


@given(st.text(max_size=50))
def test_what_is_logged_can_only_make_it_blind(complaint: str) -> None:
    with suppress(InvalidError):
        assert read_report(json.dumps(whole()).encode(), complaint, IMAGE, VULN).scan.findings


@pytest.mark.parametrize(
    ("scanners", "blind"),
    [({"secret"}, False), ({"vuln"}, True), ({"license"}, True), ({"misconfig"}, True), ({"secret", "vuln"}, True)],
)
def test_without_packages_only_files_can_be_looked_at(scanners: set[str], blind: bool) -> None:
    document = whole() | {"Results": []}
    document["Metadata"].pop("OS")
    chosen = frozenset(Scanner(one) for one in scanners)
    assert bool(read_report(json.dumps(document).encode(), "", IMAGE, chosen).scan.blind) is blind
