"""How Resource Graph is asked: batches, pages, the quota; and that nothing but digests gets into a query."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from basetracker.adapters.gates.defender.asking import Known
from basetracker.emulators.cloud import SUBSCRIPTION
from basetracker.emulators.faults import Fault
from basetracker.errors import UnavailableError
from basetracker.oci.refs import Digest

from .conftest import DIGEST, OTHER, QUERIES, World


def _many(count: int) -> list[Digest]:
    return [Digest.of(str(number).encode()) for number in range(count)]


async def test_questions_of_a_moment_are_one_query(world: World) -> None:
    findings = world.findings()
    digests = _many(20)
    world.found(("CVE-2026-1", "Low"), digest=digests[7])
    known = await asyncio.gather(*(findings.about(digest) for digest in [*digests, digests[7]]))
    assert len(world.queries()) == 1
    assert [len(one.rows) for one in known] == [int(digest == digests[7]) for digest in [*digests, digests[7]]]
    await findings.about(DIGEST)
    assert len(world.queries()) == 2, "a later question is another query"


async def test_a_query_holds_a_bounded_number_of_digests(world: World) -> None:
    findings = world.findings(most=8)
    await asyncio.gather(*(findings.about(digest) for digest in _many(20)))
    assert len(world.queries()) == 3


async def test_somebody_who_goes_away_leaves_the_answer_to_the_others(world: World) -> None:
    findings = world.findings()
    gone, stays = asyncio.create_task(findings.about(DIGEST)), asyncio.create_task(findings.about(OTHER))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == Known()


async def test_all_pages_are_read(world: World) -> None:
    for number in range(25):
        world.found((f"CVE-2026-{number}", "Low"), software=f"package-{number}")
    world.cloud.graph.page_size = 10
    known = await world.findings().about(DIGEST)
    assert (len(known.rows), known.whole) == (25, True)
    assert len(world.queries()) == 3


async def test_an_image_with_too_many_pages_hides_only_its_own(world: World) -> None:
    for number in range(30):
        world.found((f"CVE-2026-{number}", "Low"), software=f"package-{number:02}")
    world.found(("CVE-2026-1", "Low"), digest=OTHER)
    world.cloud.graph.page_size = 1
    findings = world.findings()
    many, one = await asyncio.gather(findings.about(DIGEST), findings.about(OTHER))
    assert not many.whole
    assert (len(one.rows), one.whole) == (1, True)


async def test_rows_that_azure_keeps_back_are_missed(world: World) -> None:
    for number in range(3):
        world.found((f"CVE-2026-{number}", "Low"), software=f"package-{number}")
    world.cloud.graph.page_size, world.cloud.graph.pages_end_early = 2, True
    assert not (await world.findings().about(DIGEST)).whole


@pytest.mark.parametrize(("total", "truncated"), [(0, "true"), (1, "false")])
async def test_either_sign_that_rows_are_missing_is_enough(world: World, total: int, truncated: str) -> None:
    body = {"totalRecords": total, "count": 0, "data": [], "facets": [], "resultTruncated": truncated}
    world.cloud.faults.add(Fault(match=QUERIES, status=200, body=body))
    assert not (await world.findings().about(DIGEST)).whole


@pytest.mark.parametrize("rows", ["null", "7", '{"digest": "sha256:0"}', "[]"])
async def test_a_row_of_nobody_spoils_all_that_were_asked_about(world: World, rows: str) -> None:
    body = f'{{"totalRecords": 1, "count": 1, "data": [{rows}], "facets": [], "resultTruncated": "false"}}'
    world.cloud.faults.add(Fault(match=QUERIES, status=200, body=body))
    findings = world.findings()
    known = await asyncio.gather(findings.about(DIGEST), findings.about(OTHER))
    assert [one.whole for one in known] == [False, False]


async def test_a_row_that_cannot_be_read_spoils_its_own_digest_only(world: World) -> None:
    world.found(("CVE-2026-1", "Severe"))
    world.found(("CVE-2026-1", "Low"), digest=OTHER)
    findings = world.findings()
    bad, good = await asyncio.gather(findings.about(DIGEST), findings.about(OTHER))
    assert (bad.whole, good.whole) == (False, True)


async def test_an_empty_quota_is_waited_out_without_being_refused(world: World) -> None:
    world.cloud.graph.quota = 2
    for number in range(10):
        world.found((f"CVE-2026-{number}", "Low"), software=f"package-{number}")
    world.cloud.graph.page_size = 1
    known = await world.findings().about(DIGEST)
    assert (len(known.rows), known.whole) == (10, True)
    assert [one for one in world.queries() if not one.endswith("200")] == []


async def test_a_refusal_holds_all_queries_as_long_as_it_says(world: World) -> None:
    headers = {"Retry-After": "300", "x-ms-user-quota-remaining": "0", "x-ms-user-quota-resets-after": "00:00:05"}
    world.cloud.faults.add(Fault(match=QUERIES, status=429, headers=headers))
    findings = world.findings()
    with pytest.raises(UnavailableError) as refused:
        await findings.about(DIGEST)
    assert refused.value.retry_after == 300
    world.wait(seconds=100)
    with pytest.raises(UnavailableError) as held:
        await findings.about(OTHER)
    assert held.value.retry_after is not None
    assert 150 < held.value.retry_after < 200
    assert len(world.queries()) == 1, "nothing was sent meanwhile"
    world.wait(seconds=200)
    assert await findings.about(OTHER) == Known()


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (200, {"x-ms-user-quota-remaining": "0", "x-ms-user-quota-resets-after": "00:00:09"}, 9),
        (200, {"x-ms-user-quota-remaining": "-1", "x-ms-user-quota-resets-after": "00:00:09.5"}, 9),
        (200, {"x-ms-user-quota-remaining": "0"}, 5),
        (200, {"x-ms-user-quota-remaining": "0", "x-ms-user-quota-resets-after": "soon"}, 5),
        (200, {"x-ms-user-quota-remaining": "0", "x-ms-user-quota-resets-after": "99:99"}, 5),
        (200, {"x-ms-user-quota-remaining": "none", "x-ms-user-quota-resets-after": "00:00:09"}, 0),
        (200, {"x-ms-user-quota-remaining": "9", "x-ms-user-quota-resets-after": "00:00:09"}, 0),
        (200, {"x-ms-user-quota-resets-after": "00:00:09"}, 0),
        (200, {"Retry-After": "9"}, 0),
        (429, {"Retry-After": "9"}, 9),
    ],
)
async def test_the_next_query_waits_as_long_as_the_headers_say(
    world: World, status: int, headers: dict[str, str], seconds: int
) -> None:
    body = {"totalRecords": 0, "count": 0, "data": [], "facets": [], "resultTruncated": "false"}
    fault = Fault(match=QUERIES, status=status, headers=headers, body=body if status == 200 else None)
    world.cloud.faults.add(fault)
    findings = world.findings()
    with contextlib.nullcontext() if status == 200 else pytest.raises(UnavailableError):
        await findings.about(DIGEST)
    world.time.slept.clear()
    assert await findings.about(OTHER) == Known()
    window, *pauses = world.time.slept
    assert sum(pauses) == pytest.approx(max(seconds - window, 0), abs=0.5)


@pytest.mark.parametrize("headers", [{}, {"x-ms-user-quota-resets-after": "00:00:09"}, {"Retry-After": "soon"}])
async def test_a_refusal_that_names_no_time_holds_queries_all_the_same(world: World, headers: dict[str, str]) -> None:
    world.cloud.faults.add(Fault(match=QUERIES, status=429, headers=headers))
    findings = world.findings()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await findings.about(DIGEST)
    assert len(world.queries()) == 1
    world.wait(seconds=300)
    assert await findings.about(DIGEST) == Known()


async def test_a_quota_that_is_empty_for_long_is_told_and_not_waited_out(world: World) -> None:
    headers = {"x-ms-user-quota-remaining": "0", "x-ms-user-quota-resets-after": "00:10:00"}
    body = {"totalRecords": 0, "count": 0, "data": [], "facets": [], "resultTruncated": "false"}
    world.cloud.faults.add(Fault(match=QUERIES, status=200, headers=headers, body=body))
    findings = world.findings()
    assert await findings.about(DIGEST) == Known()
    with pytest.raises(UnavailableError) as told:
        await findings.about(OTHER)
    assert told.value.retry_after == pytest.approx(598, abs=3)
    assert len(world.queries()) == 1
    world.wait(seconds=600)
    assert await findings.about(OTHER) == Known()


async def test_only_the_subscriptions_of_the_settings_are_looked_at(world: World) -> None:
    world.found(("CVE-2026-1", "Low"))
    elsewhere = world.findings(subscriptions=("00000000-0000-0000-0000-000000000009",))
    assert (await elsewhere.about(DIGEST)).rows == ()
    here = world.findings(subscriptions=(SUBSCRIPTION,))
    assert len((await here.about(DIGEST)).rows) == 1


async def test_the_token_goes_to_azure_resource_manager_only(world: World) -> None:
    await world.findings().about(DIGEST)
    assert world.cloud.faults.leaks == []
    assert {one.authorization for one in world.cloud.faults.asked(QUERIES)} == {"Bearer"}
