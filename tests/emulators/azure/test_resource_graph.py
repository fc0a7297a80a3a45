"""The emulated Resource Graph against Azure's own client, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.resourcegraph.aio import ResourceGraphClient
from azure.mgmt.resourcegraph.models import QueryRequest, QueryRequestOptions, QueryResponse

from basetracker.emulators.cloud import SUBSCRIPTION
from basetracker.emulators.identities import Identity
from basetracker.emulators.resource_graph import assessment

from .conftest import World, bearer

SCOPE = f"/subscriptions/{SUBSCRIPTION}"
ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
QUERY = (
    "securityresources | extend image = parse_json(tostring(properties.resourceAdditionalData)) "
    '| where tostring(image.Digest) in ("{}") | project id, name = image.RepositoryDetails.RepositoryName | order by id asc'
)


@pytest.fixture
def reader(world: World) -> Identity:
    """An identity that may read findings; there are some of two images."""
    for digest, packages in ((ONE, "abc"), (TWO, "d")):
        for package in packages:
            found = assessment(digest=digest, subscription=SUBSCRIPTION, software=package, cves=[("CVE-2026-1", "Low")])
            world.cloud.graph.add(found)
    world.operator.assign("Security Reader", SCOPE)
    return world.operator


async def _ask(world: World, query: str = QUERY.format(ONE), **options: Any) -> QueryResponse:
    settings = {"transport": world.transport(), "retry_total": 0}
    async with ResourceGraphClient(world.credential(), **settings) as client:
        told = QueryRequestOptions(result_format="objectArray", **options)
        return await client.resources(QueryRequest(query=query, subscriptions=[SUBSCRIPTION], options=told))


async def test_rows_come_page_by_page(world: World, reader: Identity) -> None:
    first = await _ask(world, top=2)
    assert (first.total_records, first.count, first.result_truncated) == (3, 2, "false")
    assert [row["name"] for row in first.data] == ["shop/checkout"] * 2
    rest = await _ask(world, top=2, skip_token=first.skip_token)
    assert (rest.count, rest.skip_token) == (1, None)
    assert len({row["id"] for row in first.data + rest.data}) == 3


async def test_what_a_caller_may_not_read_is_left_out(world: World, reader: Identity) -> None:
    assert (await _ask(world)).total_records == 3
    reader.unassign("Security Reader")
    assert (await _ask(world)).total_records == 0


async def test_no_more_queries_than_the_quota(world: World, reader: Identity) -> None:
    world.cloud.graph.quota = 2
    world.clock.now = world.clock.now.replace(second=0, microsecond=0)
    await _ask(world)
    await _ask(world)
    with pytest.raises(HttpResponseError) as refused:
        await _ask(world)
    assert refused.value.status_code == 429
    assert refused.value.response is not None
    headers = refused.value.response.headers
    assert (headers["x-ms-user-quota-remaining"], headers["Retry-After"]) == ("0", "5")
    assert headers["x-ms-user-quota-resets-after"] == "00:00:05"
    world.clock.advance(5)
    assert (await _ask(world)).total_records == 3


@pytest.mark.parametrize(
    "query",
    ["", "resources", "securityresources | take 1", "securityresources | where id has 'x'", QUERY + " | project f(id)"],
)
async def test_a_query_that_is_not_understood_is_refused(world: World, reader: Identity, query: str) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await _ask(world, query)
    assert refused.value.status_code == 400


async def test_nobody_asks_without_a_token(world: World) -> None:
    url = "https://management.azure.com/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01"
    (await world.ask("POST", url, json={"query": "securityresources"})).expect(401)
    token = await world.acr_token("repository:base/python:pull")
    (await world.ask("POST", url, json={"query": "securityresources"}, headers=bearer(token))).expect(401)
