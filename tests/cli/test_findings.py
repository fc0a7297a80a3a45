"""`basetracker findings` with the real Trivy: what it shows in each form, and what it ends with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ..adapters.gates.trivy.conftest import DATABASE, NO_TRIVY, TRIVY
from ..adapters.gates.trivy.scanned import HOLES, alpine, both
from ..adapters.gates.trivy.vulnerability_database import MADE, artifact
from .shop import CHECKOUT, Json, Ran, Shop, tracker

needs_trivy = pytest.mark.skipif(shutil.which(TRIVY) is None, reason=NO_TRIVY)
OLD = alpine({"openssl": "3.5.0-r0", "zlib": "1.3.1-r0"})
NEW = alpine({"curl": "8.14.0-r0", "zlib": "1.3.1-r0"})
WAIVED = [{"id": "CVE-2026-5", "until": "2999-12-31", "reason": "not reachable"}]


async def findings(shop: Shop, *arguments: str, **environment: str) -> Ran:
    shop.cloud.push(DATABASE, artifact(HOLES))
    set_so = {
        "BASETRACKER_TRIVY": TRIVY,
        "BASETRACKER_TRIVY_CACHE": str(shop.directory / "trivy"),
        "BASETRACKER_TRIVY_DB_REPOSITORY": DATABASE,
        "BASETRACKER_CA_FILE": shop.environment["SSL_CERT_FILE"],
    }
    return await shop.run("findings", "python", "checkout", *arguments, environment=set_so | environment)


async def tracked(shop: Shop, image: Any, runs: Any = None, **gate: Any) -> str:
    """A tracker with a Trivy gate that was asked about the image; its digest."""
    digest = shop.cloud.push(CHECKOUT, image)
    await shop.cluster.apply(tracker(gates=[{"lineage": {}}, {"trivy": gate}]))
    item: Json = {"name": "checkout", "state": "Blocked", "latest": {"digest": "sha256:" + "1" * 64}}
    item["gates"] = [
        {"name": "lineage", "verdict": "Pass", "reason": "Proven"},
        {"name": "trivy", "verdict": "Fail", "reason": "FindingsPresent", "digest": digest},
    ]
    if runs is not None:
        running = shop.cloud.push("contoso.azurecr.io/shop/checkout:before", runs)
        item["workloads"] = [
            {"kind": "Deployment", "name": "checkout", "container": "app", "digest": running, "state": "Healthy"}
        ]
    item |= {"reason": "GateFailed", "message": "a sentence"}
    await shop.set_status({"observedGeneration": 1, "downstream": [item]})
    return digest


@needs_trivy
async def test_the_table_shows_all_and_compares_with_what_runs(shop: Shop) -> None:
    digest = await tracked(shop, NEW, OLD)
    ran = await findings(shop)
    assert (ran.code, ran.err) == (1, "")
    short = digest.removeprefix("sha256:")[:12]
    lines = ran.out.splitlines()
    assert lines[0] == f"checkout of shop/python: contoso.azurecr.io/shop/checkout {short} (asked about by the gate)"
    assert lines[1] == f"database: 2 of {MADE.isoformat()}"
    assert lines[2] == "Fail: 1 CRITICAL: CVE-2026-5 in curl 8.14.0-r0 (fixed in 8.15.0-r0)"
    assert [line.split() for line in lines[3:6]] == [
        ["SEVERITY", "ID", "WHERE", "INSTALLED", "FIXED", "GATE", "NEW"],
        ["CRITICAL", "CVE-2026-5", "curl", "8.14.0-r0", "8.15.0-r0", "counts", "new"],
        ["MEDIUM", "CVE-2026-4", "zlib", "1.3.1-r0", "1.3.2-r0"],
    ]
    assert lines[6].endswith(": 1 new, 1 fixed")
    assert lines[8].split() == ["CRITICAL", "CVE-2026-1", "openssl", "3.5.0-r0"]
    assert shop.writes() == []


@needs_trivy
async def test_the_json_document_has_every_finding(shop: Shop) -> None:
    digest = await tracked(shop, both({"curl": "8.14.0-r0"}, {"zlib": "1.3.1-r0"}), OLD, waivers=WAIVED)
    ran = await findings(shop, "--output", "json")
    assert ran.code == 0, ran.out + ran.err
    found = ran.json
    assert (found["digest"], found["verdict"], found["reason"]) == (digest, "Pass", "FindingsWaived")
    assert found["counts"] == {"CRITICAL": 1, "MEDIUM": 1}
    assert [(one["id"], one["platforms"], one["new"], one["counts"]) for one in found["findings"]] == [
        ("CVE-2026-5", ["linux/amd64"], True, False),
        ("CVE-2026-4", ["linux/arm64"], True, False),
    ]
    assert found["findings"][0]["waiver"] == {"until": "2999-12-31", "reason": "not reachable"}
    assert [one["id"] for one in found["fixed"]] == ["CVE-2026-1"]
    assert [one["platform"] for one in found["platforms"]] == ["linux/amd64", "linux/arm64"]


@needs_trivy
async def test_sarif_names_rules_results_and_what_is_new(shop: Shop) -> None:
    await tracked(shop, NEW, OLD, waivers=WAIVED)
    ran = await findings(shop, "-o", "sarif")
    assert ran.code == 0, ran.out + ran.err
    log = ran.json
    assert log["version"] == "2.1.0"
    (only,) = log["runs"]
    rules = [rule["id"] for rule in only["tool"]["driver"]["rules"]]
    assert rules == ["CVE-2026-4", "CVE-2026-5"]
    assert [(one["ruleId"], rules[one["ruleIndex"]], one["level"]) for one in only["results"]] == [
        ("CVE-2026-5", "CVE-2026-5", "error"),
        ("CVE-2026-4", "CVE-2026-4", "warning"),
    ]
    assert [one["baselineState"] for one in only["results"]] == ["new", "unchanged"]
    assert ["suppressions" in one for one in only["results"]] == [True, False]


@needs_trivy
async def test_without_a_gate_the_default_one_speaks(shop: Shop) -> None:
    digest = shop.cloud.push(CHECKOUT, alpine())
    await shop.cluster.apply(tracker())
    item = {"name": "checkout", "state": "Current", "reason": "Current", "message": "m"}
    validated = {"digest": digest, "baseDigest": shop.base_digest, "at": "2026-11-22T07:00:00Z"}
    await shop.set_status({"downstream": [{**item, "latest": {"digest": shop.image_digest}, "validated": validated}]})
    ran = await findings(shop)
    assert (ran.code, ran.err) == (0, "")
    assert "(validated)" in ran.out
    assert "the tracker has no Trivy gate" in ran.out


@needs_trivy
async def test_what_runs_everywhere_is_compared_with_what_ran_before(shop: Shop) -> None:
    digest = await tracked(shop, alpine({"openssl": "3.5.0-r0"}), compare="NoWorse")
    before = shop.cloud.push("contoso.azurecr.io/shop/checkout:before", OLD)
    row = {"kind": "Deployment", "name": "checkout", "container": "app", "state": "Healthy"}
    item = {"name": "checkout", "state": "Current", "reason": "Current", "message": "m"}
    item |= {"latest": {"digest": digest}}  # type: ignore[dict-item]  # a status in JSON
    rows = [row | {"digest": digest, "previousDigest": before}]
    await shop.set_status({"observedGeneration": 1, "downstream": [{**item, "workloads": rows, "gates": []}]})
    ran = await findings(shop)
    assert (ran.code, ran.err) == (0, "")
    assert f"against what ran before ({before.removeprefix('sha256:')[:12]}): 0 new, 1 fixed" in ran.out


@needs_trivy
async def test_what_runs_and_is_gone_from_the_registry_is_named(shop: Shop) -> None:
    await tracked(shop, NEW, OLD, compare="NoWorse")
    shop.contoso.storage.repositories["shop/checkout"].manifests.pop(OLD.digest)
    ran = await findings(shop)
    assert ran.code == 1
    assert f"{OLD.digest.removeprefix('sha256:')[:12]} runs, and contoso.azurecr.io hasn't got it any more" in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing", "checkout"), "there is no BaseImageTracker shop/nothing"),
        (("python", "nothing"), "has no downstream image nothing; it has checkout"),
        (("python", "checkout"), "the status of shop/python names no digest of checkout yet"),
    ],
)
async def test_what_doesnt_exist_is_told(shop: Shop, arguments: tuple[str, str], words: str) -> None:
    await shop.cluster.apply(tracker())
    ran = await shop.run("findings", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err


async def test_without_trivy_it_says_what_to_install(shop: Shop, tmp_path: Path) -> None:
    await tracked(shop, NEW)
    ran = await findings(shop, BASETRACKER_TRIVY=str(tmp_path / "nowhere"))
    assert (ran.code, ran.out) == (2, "")
    assert "there is no Trivy here" in ran.err
    assert "BASETRACKER_TRIVY" in ran.err


async def test_an_unknown_form_is_a_wrong_call(shop: Shop) -> None:
    assert (await shop.run("findings", "python", "checkout", "-o", "xml")).code == 2
