"""What the Defender gate answers, over HTTP: only findings that are known, read whole and not severe are a pass."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from basetracker.api.names import GateVerdict
from basetracker.emulators.faults import Fault
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import Digest

from .conftest import DIGEST, OTHER, QUERIES, SCOPE, World

PASS, FAIL, PENDING = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.PENDING


async def test_a_severe_finding_fails_the_digest(world: World) -> None:
    world.found(("CVE-2026-2", "High"), ("CVE-2026-1", "Critical"), ("CVE-2026-3", "Low"), fixed="3.0.9")
    world.found(("CVE-2026-4", "High"), software="zlib")
    answer = await world.judge()
    assert (answer.digest, answer.verdict, answer.reason) == (DIGEST, FAIL, "Vulnerable")
    assert answer.message == (
        "Defender for Cloud has found 1 CRITICAL, 2 HIGH: CVE-2026-1 in openssl (fixed in 3.0.9), "
        "CVE-2026-2 in openssl (fixed in 3.0.9), CVE-2026-4 in zlib"
    )


async def test_a_scanned_image_without_severe_findings_passes(world: World) -> None:
    world.found(("CVE-2026-2", "Medium"), ("CVE-2026-3", "Unknown"))
    world.wait(hours=6)
    answer = await world.judge()
    assert (answer.digest, answer.verdict, answer.reason) == (DIGEST, PASS, "NothingSoSevere")
    assert answer.message == (
        "Defender for Cloud has found nothing of CRITICAL or HIGH in this digest; besides 1 MEDIUM, 1 UNKNOWN"
    )


@pytest.mark.parametrize(("severity", "verdict"), [(["CRITICAL"], PASS), (["HIGH"], FAIL), (["UNKNOWN"], PASS)])
async def test_the_tracker_says_what_is_severe(world: World, severity: list[str], verdict: GateVerdict) -> None:
    world.found(("CVE-2026-2", "High"))
    world.wait(hours=6)
    assert (await world.judge(severity=severity)).verdict is verdict


async def test_a_first_harmless_finding_is_no_pass_before_the_wait_is_over(world: World) -> None:
    """Rows are written package by package: the severe one may be the last."""
    world.found(("CVE-2026-2", "Low"))
    answer = await world.judge(waitAtLeast="1h", onUnknown="Pass")
    assert (answer.verdict, answer.reason) == (PENDING, "AwaitingDefender")
    assert answer.message == (
        "Defender for Cloud has found nothing of CRITICAL or HIGH in this digest so far; besides 1 LOW; it writes "
        "package by package, and is given waitAtLeast for all of them"
    )
    assert answer.again == timedelta(minutes=10)
    world.wait(minutes=58)
    soon = await world.judge(waitAtLeast="1h", onUnknown="Pass")
    assert soon.message == answer.message, "the same evidence, the same words"
    assert soon.again is not None
    assert soon.again < timedelta(minutes=3), "asked again when the wait ends"
    world.wait(minutes=2)
    assert (await world.judge(waitAtLeast="1h")).verdict is PASS


async def test_a_severe_finding_that_follows_a_harmless_one_fails_at_once(world: World) -> None:
    world.found(("CVE-2026-2", "Low"))
    assert (await world.judge()).verdict is PENDING
    world.wait(minutes=10)
    world.found(("CVE-2026-1", "Critical"), software="zlib")
    assert (await world.judge()).verdict is FAIL


async def test_silence_is_no_pass_before_the_wait_is_over(world: World) -> None:
    answer = await world.judge(waitAtLeast="1h", onUnknown="Pass")
    assert (answer.verdict, answer.reason) == (PENDING, "AwaitingDefender")
    assert answer.again == timedelta(minutes=10)
    world.wait(minutes=58)
    soon = await world.judge(waitAtLeast="1h", onUnknown="Pass")
    assert soon.message == answer.message, "the same evidence, the same words"
    assert soon.again is not None
    assert soon.again < timedelta(minutes=3), "asked again when the wait ends"


async def test_after_the_wait_the_tracker_decides_what_silence_means(world: World) -> None:
    world.wait(hours=6)
    held = await world.judge()
    assert (held.verdict, held.reason) == (PENDING, "UnknownToDefender")
    assert "Security Reader" in held.message
    let = await world.judge(onUnknown="Pass")
    assert (let.verdict, let.reason) == (PASS, "UnknownToDefender")
    assert "isn't known" in let.message


async def test_findings_count_for_their_own_digest_only(world: World) -> None:
    world.found(("CVE-2026-1", "Critical"), digest=OTHER)
    world.found(("CVE-2026-2", "Low"), digest=OTHER, software="zlib")
    assert (await world.judge()).verdict is PENDING
    assert (await world.judge(OTHER)).verdict is FAIL


async def test_a_finding_in_another_registry_is_about_these_bytes_too(world: World) -> None:
    world.found(("CVE-2026-1", "Critical"), registry="staging.azurecr.io", repository="copies/checkout")
    world.found(("CVE-2026-1", "Critical"), registry="contoso.azurecr.io")
    answer = await world.judge()
    assert answer.verdict is FAIL
    assert "has found 1 CRITICAL:" in answer.message, "one hole, in two places"


@pytest.mark.parametrize(
    "place",
    [{"registry": "staging.azurecr.io"}, {"repository": "shop/cart"}],
    ids=["another registry", "another repository"],
)
async def test_a_scan_elsewhere_is_no_scan_of_this_place(world: World, place: dict[str, str]) -> None:
    world.wait(hours=6)
    world.found(("CVE-2026-1", "Low"), **place)
    assert (await world.judge()).reason == "UnknownToDefender"
    world.found(("CVE-2026-1", "Low"))
    assert (await world.judge()).verdict is PASS


async def test_what_was_mended_or_exempted_fails_nothing(world: World) -> None:
    world.wait(hours=6)
    world.found(("CVE-2026-1", "Critical"), code="Healthy")
    assert (await world.judge()).verdict is PASS
    world.found(("CVE-2026-2", "Critical"), code="NotApplicable", software="zlib")
    world.cloud.graph.assessments[-1]["properties"]["status"]["cause"] = "Exempt"
    assert (await world.judge()).verdict is PASS


async def test_an_image_that_could_not_be_assessed_was_not_scanned(world: World) -> None:
    world.found(("CVE-2026-1", "Critical"), code="NotApplicable")
    assert (await world.judge()).reason == "AwaitingDefender"


async def test_a_row_that_cannot_be_read_is_never_clean(world: World) -> None:
    world.found(("CVE-2026-1", "Low"))
    world.found(("CVE-2026-2", "Severe"), software="zlib")
    world.wait(hours=7)
    answer = await world.judge(onUnknown="Pass")
    assert (answer.verdict, answer.reason) == (PENDING, "FindingsUnreadable")
    world.found(("CVE-2026-3", "Critical"), software="bash")
    assert (await world.judge(onUnknown="Pass")).verdict is FAIL, "what can be read counts"


async def test_who_may_not_read_findings_sees_none_and_passes_none(world: World) -> None:
    world.wait(hours=6)
    world.found(("CVE-2026-1", "Low"))
    world.operator.unassign("Security Reader")
    assert (await world.judge()).verdict is PENDING
    world.operator.assign("Reader", SCOPE)
    assert (await world.judge()).verdict is PASS


async def test_without_an_azure_identity_nothing_is_asked(world: World) -> None:
    with pytest.raises(DeniedError, match="Azure Resource Graph can't be asked"):
        await world.gate(anonymous=True).judge(world.question(), None)
    assert world.queries() == []


async def test_a_digest_of_another_kind_enters_no_query(world: World) -> None:
    longer = Digest("sha512:" + "a" * 128)
    world.platforms[longer] = (longer,)
    world.platforms[OTHER] = (DIGEST, longer)
    for digest in (longer, OTHER):
        with pytest.raises(InvalidError, match="sha256"):
            await world.judge(digest)
    assert world.queries() == []


async def test_a_digest_that_the_registry_lacks_is_not_asked_about(world: World) -> None:
    with pytest.raises(MissingError, match="has no image"):
        await world.judge(Digest.of(b"gone"))
    assert world.queries() == []


@pytest.fixture
def index(world: World) -> Digest:
    """An image of two platforms."""
    digest = Digest.of(b"index")
    world.platforms[digest] = (DIGEST, OTHER)
    return digest


async def test_a_finding_in_one_platform_fails_the_whole_image(world: World, index: Digest) -> None:
    world.found(("CVE-2026-1", "Low"), digest=index)
    world.found(("CVE-2026-2", "Critical"), digest=OTHER)
    answer = await world.judge(index)
    assert (answer.digest, answer.verdict) == (index, FAIL)
    assert len(world.queries()) == 1


async def test_an_image_is_scanned_when_itself_or_each_platform_is(world: World, index: Digest) -> None:
    world.wait(hours=6)
    world.found(("CVE-2026-1", "Low"), digest=DIGEST)
    half = await world.judge(index)
    assert (half.verdict, half.reason) == (PENDING, "UnknownToDefender")
    assert "or some of its platforms" in half.message
    world.found(("CVE-2026-1", "Low"), digest=OTHER)
    assert (await world.judge(index)).verdict is PASS
    del world.cloud.graph.assessments[:]
    world.found(("CVE-2026-1", "Low"), digest=index)
    assert (await world.judge(index)).verdict is PASS


async def test_a_platform_that_cannot_be_read_is_never_clean(world: World, index: Digest) -> None:
    world.found(("CVE-2026-1", "Low"), digest=index)
    world.found(("CVE-2026-1", "Severe"), digest=OTHER)
    assert (await world.judge(index)).reason == "FindingsUnreadable"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(match=QUERIES, status=500), UnavailableError),
        (Fault(match=QUERIES, status=503, headers={"Retry-After": "7"}), UnavailableError),
        (Fault(match=QUERIES, drop=True), UnavailableError),
        (Fault(match=QUERIES, torn=True), UnavailableError),
        (Fault(match=QUERIES, truncate=40), UnavailableError),
        (Fault(match=QUERIES, status=403), DeniedError),
        (Fault(match=QUERIES, status=400), InvalidError),
        (Fault(match=QUERIES, status=200, body="[]"), InvalidError),
        (Fault(match=QUERIES, status=200, body="{}"), InvalidError),
        (Fault(match=QUERIES, status=200, body={"data": "none", "count": 0, "totalRecords": 0}), InvalidError),
        (Fault(match=QUERIES, status=200, body={"data": [], "count": "many"}), InvalidError),
        (Fault(match=QUERIES, status=200, body="<html>"), (InvalidError, UnavailableError)),
    ],
    ids=lambda one: (
        "" if not isinstance(one, Fault) else f"{one.status} {one.body} {one.drop} {one.torn} {one.truncate}"
    ),
)
async def test_no_answer_and_a_broken_one_are_errors(world: World, fault: Fault, error: type[Exception]) -> None:
    world.wait(hours=6)
    world.found(("CVE-2026-1", "Low"))
    world.cloud.faults.add(fault)
    gate = world.gate()
    with pytest.raises(error):
        await gate.judge(world.question(), None)
    world.wait(seconds=60)
    assert (await gate.judge(world.question(), None)).verdict is PASS, "and it goes on after it"


async def test_an_answer_that_takes_too_long_is_no_verdict(world: World) -> None:
    world.wait(hours=6)
    world.found(("CVE-2026-1", "Low"))
    world.cloud.faults.add(Fault(match=QUERIES, delay=30.0))
    gate = world.gate()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await gate.judge(world.question(onUnknown="Pass"), None)
    assert (await world.judge()).verdict is PASS, "and a gate that isn't held up goes on"


@pytest.mark.parametrize("on_unknown", ["Hold", "Pass"])
async def test_rows_of_another_digest_say_nothing_about_this_one(world: World, on_unknown: str) -> None:
    """Even when Azure answers with them to a question about this one."""
    world.wait(hours=6)
    world.found(("CVE-2026-1", "Low"), digest=OTHER)
    row = {"digest": str(OTHER), "id": "a", "code": "Healthy", "cause": "", "software": "zlib", "fixed": "", "cves": []}
    body = {"totalRecords": 1, "count": 1, "data": [row], "facets": [], "resultTruncated": "false"}
    world.cloud.faults.add(Fault(match=QUERIES, status=200, body=body))
    answer = await world.judge(onUnknown=on_unknown)
    assert (answer.digest, answer.reason) == (DIGEST, "UnknownToDefender")
    assert answer.verdict is {"Hold": PENDING, "Pass": PASS}[on_unknown]


async def test_many_digests_of_one_moment_are_each_judged_by_their_own_rows(world: World) -> None:
    world.wait(hours=6)
    digests = [Digest.of(str(number).encode()) for number in range(12)]
    world.platforms |= {digest: (digest,) for digest in digests}
    for number, digest in enumerate(digests):
        if number % 3:
            world.found((f"CVE-2026-{number}", "Critical" if number % 3 == 1 else "Low"), digest=digest)
    gate = world.gate()
    answers = await asyncio.gather(*(gate.judge(world.question(digest), None) for digest in digests))
    assert [(one.digest, one.verdict) for one in answers] == [
        (digest, (PENDING, FAIL, PASS)[number % 3]) for number, digest in enumerate(digests)
    ]
    assert len(world.queries()) == 1


async def test_a_wait_of_nothing_passes_what_was_seen_at_once(world: World) -> None:
    world.found(("CVE-2026-1", "Low"))
    assert (await world.judge(waitAtLeast="0s")).verdict is PASS
    assert (await world.judge(OTHER, waitAtLeast="0s")).verdict is PENDING
