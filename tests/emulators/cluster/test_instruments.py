"""What a test can do to an emulated cluster: faults, cuts, compaction, restart, clocks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from basetracker.emulators.authority import Authority
from basetracker.emulators.cluster import Cluster, Fault, Refusal

from .api import Api
from .conftest import Place, config_map, widget


async def test_a_fault_before_prevents_the_write(cluster: Cluster, api: Api, place: Place) -> None:
    cluster.faults.append(Fault(match=r"POST .*/configmaps", status=503, headers={"Retry-After": "1"}, body=b"{}"))
    answer = await api.post(place.core("configmaps"), config_map())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert cluster.get("ConfigMap", place.name, "plain") is None
    (await api.post(place.core("configmaps"), config_map())).expect(201)
    assert cluster.faults == []


async def test_a_fault_after_lets_the_write_happen(cluster: Cluster, api: Api, place: Place) -> None:
    cluster.faults.append(Fault(match="POST .*/configmaps", status=500, after=True))
    assert (await api.post(place.core("configmaps"), config_map())).status == 500
    assert cluster.get("ConfigMap", place.name, "plain") is not None


@pytest.mark.parametrize("after", [False, True])
async def test_a_connection_can_be_cut(cluster: Cluster, api: Api, place: Place, after: bool) -> None:
    cluster.faults.append(Fault(match="PUT|PATCH|POST .*/configmaps", drop=True, after=after))
    with pytest.raises(aiohttp.ClientError):
        await api.post(place.core("configmaps"), config_map())
    assert (cluster.get("ConfigMap", place.name, "plain") is not None) is after


async def test_a_fault_strikes_as_often_as_told(cluster: Cluster, api: Api) -> None:
    cluster.faults.append(Fault(match="GET /version", times=2, status=500))
    statuses = [(await api.get("/version")).status for _ in range(3)]
    assert statuses == [500, 500, 200]
    cluster.faults.append(Fault(match="GET /version", times=None, status=500))
    assert {(await api.get("/version")).status for _ in range(4)} == {500}


async def test_a_delay_only_delays(cluster: Cluster, api: Api) -> None:
    cluster.faults.append(Fault(match="GET /version", delay=0.05))
    assert (await api.get("/version")).status == 200
    assert cluster.faults == []


async def test_requests_and_writes_are_counted(cluster: Cluster, api: Api, place: Place) -> None:
    (await api.post(place.core("configmaps"), config_map(a="1"), dryRun="All")).expect(201)
    (await api.post(place.core("configmaps"), config_map(a="1"))).expect(201)
    (await api.patch(f"{place.core('configmaps')}/plain", {"data": {"a": "2"}})).expect(200)
    assert cluster.writes["create configmaps"] == 1
    assert cluster.writes["patch configmaps"] == 1
    last = cluster.requests[-1]
    assert (last.method, last.status, last.user) == ("PATCH", 200, "kubernetes-admin")
    assert last.path == f"{place.core('configmaps')}/plain"
    assert last.content_type == "application/merge-patch+json"
    assert last.user_agent == "contract/1"


async def test_dropped_watches_can_go_on(cluster: Cluster, api: Api, widgets: Place) -> None:
    version = cluster.resource_version
    watching = asyncio.create_task(api.watch(widgets.widgets, 1, resourceVersion=version))
    async with asyncio.timeout(5):
        while cluster.drop_watches() == 0:  # noqa: ASYNC110  # what is waited for is the state of a server
            await asyncio.sleep(0.02)
    with pytest.raises(aiohttp.ClientError):
        await watching
    (await api.post(widgets.widgets, widget())).expect(201)
    (event,) = await api.watch(widgets.widgets, 1, resourceVersion=version)
    assert event["type"] == "ADDED"


async def test_compaction_makes_old_versions_expire(cluster: Cluster, api: Api, widgets: Place) -> None:
    version = cluster.resource_version
    (await api.post(widgets.widgets, widget())).expect(201)
    cluster.compact()
    (event,) = await api.watch(widgets.widgets, 5, resourceVersion=version)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert "too old resource version" in event["object"]["message"]


async def test_compaction_does_not_disturb_a_running_watch(cluster: Cluster, api: Api, widgets: Place) -> None:
    version = cluster.resource_version
    watching = asyncio.create_task(api.watch(widgets.widgets, 1, resourceVersion=version))
    await asyncio.sleep(0.1)
    (await api.post(widgets.core("configmaps"), config_map())).expect(201)
    cluster.compact()
    (await api.post(widgets.widgets, widget())).expect(201)
    (event,) = await watching
    assert event["type"] == "ADDED"


async def test_the_history_is_bounded(authority: Authority) -> None:
    async with Cluster(authority, history=10) as cluster, Api(cluster.kubeconfig()) as api:
        version = cluster.resource_version
        for number in range(40):
            await cluster.apply(config_map(a=str(number)) | {"metadata": {"name": "x", "namespace": "default"}})
        path = "/api/v1/namespaces/default/configmaps"
        (event,) = await api.watch(path, 50, resourceVersion=version)
        assert event["object"]["code"] == 410


async def test_bookmarks_come_where_they_are_wanted(cluster: Cluster, api: Api, widgets: Place) -> None:
    query = {"resourceVersion": cluster.resource_version, "timeoutSeconds": 1}
    events = await api.watch(widgets.widgets, 10, allowWatchBookmarks="true", **query)
    assert {event["type"] for event in events} == {"BOOKMARK"}
    assert await api.watch(widgets.widgets, 10, **query) == []


async def test_a_restart_keeps_everything(cluster: Cluster, api: Api, place: Place) -> None:
    url = cluster.url
    (await api.post(place.core("configmaps"), config_map())).expect(201)
    await cluster.restart()
    assert cluster.url == url
    (await api.get(f"{place.core('configmaps')}/plain")).expect(200)


async def test_an_expired_continue_token(cluster: Cluster, api: Api, place: Place) -> None:
    for index in range(3):
        (await api.post(place.core("configmaps"), config_map(f"cm-{index}"))).expect(201)
    first = (await api.get(place.core("configmaps"), limit=1)).expect(200)
    (await api.post(place.core("configmaps"), config_map("later"))).expect(201)
    cluster.compact()
    token = first["metadata"]["continue"]
    assert (await api.get(place.core("configmaps"), **{"continue": token})).expect(410)["reason"] == "Expired"


async def test_tokens_expire_by_the_clock(authority: Authority) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with Cluster(authority, clock=lambda: now) as cluster:
        token = cluster.token("default", "default", seconds=600)
        async with Api(cluster.kubeconfig(token=token)) as bot:
            (await bot.get("/api")).expect(200)
            now += timedelta(seconds=601)
            (await bot.get("/api")).expect(401)
        with pytest.raises(Refusal):
            cluster.token("default", "nobody")


async def test_denials_are_remembered(cluster: Cluster) -> None:
    async with Api(cluster.kubeconfig(token=cluster.token("default", "default"))) as bot:
        assert list(cluster.denied) == []
        (await bot.get("/api/v1/secrets")).expect(403)
    (denial,) = cluster.denied
    assert (denial.user, denial.verb, denial.resource) == ("system:serviceaccount:default:default", "list", "secrets")


async def test_in_process_writes_take_the_same_path(cluster: Cluster, api: Api, widgets: Place) -> None:
    version = cluster.resource_version
    body = widget(replicas=4)
    body["metadata"]["namespace"] = widgets.name
    await cluster.apply(body | {"status": {"replicas": 4}})
    (event,) = await api.watch(widgets.widgets, 1, resourceVersion=version)
    assert event["object"]["spec"]["mode"] == "Apply"
    found = cluster.get("Widget", widgets.name, "one")
    assert found is not None
    assert found["status"] == {"replicas": 4}
    with pytest.raises(Refusal, match="should be less than or equal to 10"):
        await cluster.patch("Widget", widgets.name, "one", {"spec": {"replicas": 99}})


async def test_protobuf_that_is_not_known_is_refused_with_words(cluster: Cluster, api: Api, place: Place) -> None:
    answer = await api.call("POST", place.core("pods"), b"k8s\x00", media_type="application/vnd.kubernetes.protobuf")
    assert answer.expect(415)["reason"] == "UnsupportedMediaType"
    assert "application/json" in answer.body["message"]
