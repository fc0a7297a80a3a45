"""Reading workloads from the cache, and the patch that delivers: what it changes, and what it never touches."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from basetracker.adapters.kube import JSON_PATCH
from basetracker.adapters.projection import KINDS, project
from basetracker.adapters.workloads import ClusterWorkloads
from basetracker.core.actions import ContainerChange, Deliver
from basetracker.core.observed import Workload
from basetracker.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    MissingError,
    UnavailableError,
)
from basetracker.oci.refs import Digest

OLD, NEW = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)
REPOSITORY = "contoso.azurecr.io/shop/checkout"
APPS = ("apps/v1", "deployments", "checkout")
Make = Callable[..., dict[str, Any]]
Eventually = Callable[..., Awaitable[None]]


@pytest.fixture
def changes() -> Counter[tuple[str, str, str]]:
    return Counter()


@pytest.fixture
async def workloads(
    world: Any, clock: Any, changes: Counter[tuple[str, str, str]], request: pytest.FixtureRequest
) -> AsyncIterator[ClusterWorkloads]:
    def changed(namespace: str, kind: str, name: str) -> None:
        changes[namespace, kind, name] += 1

    wide = getattr(request, "param", False)
    adapter = ClusterWorkloads(world.kube, clock=clock, changed=changed, cluster_wide=wide)
    yield adapter
    await adapter.stop()


async def found(workloads: ClusterWorkloads, world: Any, name: str = "checkout") -> Workload:
    workload = await workloads.find(world.namespace, "Deployment", name)
    assert workload is not None
    return workload


async def settled(workloads: ClusterWorkloads, world: Any, eventually: Eventually) -> Workload:
    """The workload once its controller has nothing more to say."""
    version, since = "", 0.0

    def quiet() -> bool:
        nonlocal version, since
        informer = workloads._informers[world.namespace, "Deployment"]
        workload = informer.items[world.namespace, "checkout"]
        now = asyncio.get_running_loop().time()
        if workload.resource_version != version:
            version, since = workload.resource_version, now
        return workload.rollout.observed_generation == workload.rollout.generation and now - since > 0.6

    await found(workloads, world)
    await eventually(quiet, 30)
    return await found(workloads, world)


def delivery(workload: Workload, container: str = "app", cause: str = "because", **changes: Any) -> Deliver:
    one = next(one for one in workload.containers if one.name == container)
    new = f"{REPOSITORY}:main@{NEW}"
    mark = {"tracker": "python", "base": "b", "image": new, "previous": one.image}
    change: dict[str, Any] = {
        "container": one.name,
        "init": one.init,
        "index": one.index,
        "old": one.image,
        "new": new,
    } | changes
    return Deliver(
        downstream="checkout",
        workload=workload,
        digest=NEW,
        containers=(ContainerChange(**change),),
        delivered=json.dumps({container: mark}, separators=(",", ":")),
        cause=cause,
    )


async def test_a_delivery_changes_the_image_and_the_marks_and_nothing_else(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    document = make_deployment(app=f"{REPOSITORY}:main@{OLD}", side="side:1")
    document["metadata"]["annotations"] = {"team": "shop", "a.b/c": "x"}
    await world.create("deployments", document)
    workload = await settled(workloads, world, eventually)
    before = await world.get(*APPS)
    world.counts.clear()
    stored = await workloads.deliver(delivery(workload))
    assert {name: count for name, count in world.counts.items() if name[0] != "G"} == {"PATCH 200": 1}
    after = await world.get(*APPS)
    containers = after["spec"]["template"]["spec"]["containers"]
    assert [one["image"] for one in containers] == [f"{REPOSITORY}:main@{NEW}", "side:1"]
    annotations = after["metadata"]["annotations"]
    assert json.loads(annotations["basetracker.dev/delivered"])["app"]["tracker"] == "python"
    assert (annotations["kubernetes.io/change-cause"], annotations["team"]) == ("because", "shop")
    containers[0]["image"] = f"{REPOSITORY}:main@{OLD}"
    assert after["spec"] == before["spec"]
    assert (stored.containers[0].writer, stored.containers[1].writer) == ("basetracker", "kubectl-create")
    assert stored.delivered["app"].previous == f"{REPOSITORY}:main@{OLD}"
    assert (await found(workloads, world)).containers == stored.containers, "our own write is known at once"


async def test_a_second_delivery_conflicts_and_writes_nothing(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    await world.create("deployments", make_deployment())
    workload = await settled(workloads, world, eventually)
    await workloads.deliver(delivery(workload))
    generation = (await world.get(*APPS))["metadata"]["generation"]
    with pytest.raises(ConflictError):
        await workloads.deliver(delivery(workload))
    assert (await world.get(*APPS))["metadata"]["generation"] == generation


def named(name: str, **fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": name, **fields}]}}}}


SURVIVING = [
    pytest.param({"spec": {"replicas": 3}}, id="replicas"),
    pytest.param({"metadata": {"labels": {"owner": "somebody"}}}, id="label"),
    pytest.param({"metadata": {"annotations": {"note": "mine"}}}, id="annotation"),
    pytest.param({"spec": {"paused": True}}, id="paused"),
    pytest.param(named("app", env=[{"name": "A", "value": "1"}]), id="env"),
    pytest.param(named("side", image="side:2"), id="other container"),
    pytest.param(named("side", env=[{"name": "A", "value": "1"}]), id="other env"),
]


@pytest.mark.parametrize("edit", SURVIVING)
async def test_what_others_edit_meanwhile_survives_a_delivery(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually, edit: dict[str, Any]
) -> None:
    document = make_deployment(app=f"{REPOSITORY}:main@{OLD}", side="side:1")
    document["metadata"]["annotations"] = {"team": "shop"}
    await world.create("deployments", document)
    workload = await settled(workloads, world, eventually)
    edited = await world.admin.patch(
        world.path(*APPS), edit, {"fieldManager": "somebody"}, content_type="application/strategic-merge-patch+json"
    )
    await workloads.deliver(delivery(workload))
    after = await world.get(*APPS)
    assert after["spec"]["template"]["spec"]["containers"][0]["image"].endswith(str(NEW))
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = f"{REPOSITORY}:main@{NEW}"
    assert after["spec"] == edited["spec"]
    kept = {key: value for key, value in edited["metadata"]["annotations"].items() if "revision" not in key}
    assert kept.items() <= after["metadata"]["annotations"].items()
    assert after["metadata"].get("labels") == edited["metadata"].get("labels")


def _drop_first(document: dict[str, Any]) -> None:
    del document["spec"]["template"]["spec"]["containers"][0]


def _reorder(document: dict[str, Any]) -> None:
    document["spec"]["template"]["spec"]["containers"].reverse()


def _retag(document: dict[str, Any]) -> None:
    document["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1"


def _rename(document: dict[str, Any]) -> None:
    document["spec"]["template"]["spec"]["containers"][0]["name"] = "web"


def _mark(document: dict[str, Any]) -> None:
    document["metadata"].setdefault("annotations", {})["basetracker.dev/delivered"] = '{"side":{}}'


@pytest.mark.parametrize("edit", [_drop_first, _reorder, _retag, _rename, _mark])
async def test_a_workload_that_is_not_what_was_seen_conflicts(
    world: Any,
    workloads: ClusterWorkloads,
    make_deployment: Make,
    eventually: Eventually,
    edit: Callable[[dict[str, Any]], None],
) -> None:
    await world.create("deployments", make_deployment(app=f"{REPOSITORY}:main@{OLD}", side="side:1"))
    workload = await settled(workloads, world, eventually)
    document = await world.get(*APPS)
    edit(document)
    edited = await world.admin.put(world.path(*APPS), document)
    with pytest.raises(ConflictError):
        await workloads.deliver(delivery(workload))
    after = await world.get(*APPS)
    assert after["spec"] == edited["spec"]
    assert after["metadata"].get("annotations", {}).keys() >= edited["metadata"].get("annotations", {}).keys()
    assert "kubernetes.io/change-cause" not in after["metadata"].get("annotations", {})


async def test_marks_that_two_trackers_write_at_once_are_not_lost(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    await world.create("deployments", make_deployment(app=f"{REPOSITORY}:main@{OLD}", side="side:1"))
    workload = await settled(workloads, world, eventually)
    outcomes = await asyncio.gather(
        workloads.deliver(delivery(workload, "app")),
        workloads.deliver(delivery(workload, "side")),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "Workload"]
    winner = next(outcome for outcome in outcomes if isinstance(outcome, Workload))
    document = await world.get(*APPS)
    assert list(json.loads(document["metadata"]["annotations"]["basetracker.dev/delivered"])) == list(winner.delivered)


async def test_a_workload_of_the_same_name_is_another_one(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    await world.create("deployments", make_deployment())
    workload = await settled(workloads, world, eventually)
    await world.delete(*APPS)
    with pytest.raises(MissingError):
        await workloads.deliver(delivery(workload))
    await world.create("deployments", make_deployment())
    with pytest.raises(ConflictError):
        await workloads.deliver(delivery(workload))


async def test_an_image_that_the_cluster_refuses_is_invalid(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    await world.create("deployments", make_deployment())
    workload = await settled(workloads, world, eventually)
    with pytest.raises(InvalidError, match="invalid"):
        await workloads.deliver(delivery(workload, new=""))


async def test_init_containers_are_delivered_to_by_their_own_list(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    document = make_deployment(app="app:1")
    document["spec"]["template"]["spec"]["initContainers"] = [{"name": "setup", "image": f"{REPOSITORY}:main@{OLD}"}]
    await world.create("deployments", document)
    stored = await workloads.deliver(delivery(await settled(workloads, world, eventually), "setup"))
    assert [(one.name, one.init, one.image) for one in stored.containers] == [
        ("setup", True, f"{REPOSITORY}:main@{NEW}"),
        ("app", False, "app:1"),
    ]


async def test_a_workload_without_annotations_gets_them(
    scripted: Any, scripted_kube: Any, clock: Any, make_deployment: Make
) -> None:
    document = make_deployment()
    document["metadata"] |= {"namespace": "shop", "uid": "u", "resourceVersion": "5"}
    scripted.says("PATCH", 200, document)
    adapter = ClusterWorkloads(scripted_kube, clock=clock, changed=lambda *_: None, cluster_wide=False)
    try:
        await adapter.deliver(delivery(project(KINDS["Deployment"], document)))
    finally:
        await adapter.stop()
    (patch,) = [body for body in scripted.bodies if body is not None]
    (request,) = [request for request in scripted.requests if request.method == "PATCH"]
    assert (request.content_type, dict(request.query)) == (JSON_PATCH, {"fieldManager": "basetracker"})
    places = [(step["op"], step["path"]) for step in patch]
    guard = places.index(("test", "/metadata/annotations"))
    assert patch[guard]["value"] is None
    assert places[guard + 1] == ("add", "/metadata/annotations")
    assert {step["op"] for step in patch} == {"test", "replace", "add"}


async def test_our_own_write_is_known_before_the_watch_tells_of_it(
    scripted: Any, scripted_kube: Any, clock: Any, make_deployment: Make
) -> None:
    before = make_deployment(app=f"{REPOSITORY}:main@{OLD}")
    before["metadata"] |= {"namespace": "shop", "uid": "u", "resourceVersion": "5"}
    after = make_deployment(app=f"{REPOSITORY}:main@{NEW}")
    after["metadata"] |= {"namespace": "shop", "uid": "u", "resourceVersion": "6"}

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    scripted.says("GET", 200, {"metadata": {"resourceVersion": "5"}, "items": [before]})
    scripted.on("watch=true", silent)
    scripted.says("PATCH", 200, after)
    told: list[str] = []
    adapter = ClusterWorkloads(
        scripted_kube, clock=clock, changed=lambda _, __, name: told.append(name), cluster_wide=False
    )
    try:
        workload = await adapter.find("shop", "Deployment", "checkout")
        assert workload is not None
        stored = await adapter.deliver(delivery(workload))
        assert await adapter.find("shop", "Deployment", "checkout") == stored
        assert stored.containers[0].image.endswith(str(NEW))
        assert told == ["checkout"], "other trackers of the workload hear of it"
    finally:
        await adapter.stop()


async def test_an_unchanged_cluster_costs_nothing(
    world: Any,
    workloads: ClusterWorkloads,
    make_deployment: Make,
    eventually: Eventually,
    changes: Counter[tuple[str, str, str]],
) -> None:
    await world.create("deployments", make_deployment())
    await settled(workloads, world, eventually)
    world.counts.clear()
    changes.clear()
    for _ in range(200):
        await found(workloads, world)
        assert await workloads.find(world.namespace, "Deployment", "absent") is None
    assert (dict(world.counts), dict(changes)) == ({}, {})


async def test_changes_are_told_once_and_only_when_they_matter(
    world: Any,
    workloads: ClusterWorkloads,
    make_deployment: Make,
    eventually: Eventually,
    changes: Counter[tuple[str, str, str]],
) -> None:
    await world.create("deployments", make_deployment())
    before = await settled(workloads, world, eventually)
    key = (world.namespace, "Deployment", "checkout")
    changes.clear()
    await world.merge(*APPS, {"metadata": {"labels": {"a": "b"}}})
    informer = workloads._informers[world.namespace, "Deployment"]
    await eventually(lambda: informer.items[key[0], "checkout"].resource_version != before.resource_version)
    assert not changes, "a label is none of our business"
    await world.merge(*APPS, {"spec": {"paused": True}})
    await eventually(lambda: changes[key] > 0)
    changes.clear()
    await world.delete(*APPS)
    await eventually(lambda: (key[0], "checkout") not in informer.items)
    assert await workloads.find(world.namespace, "Deployment", "checkout") is None
    assert changes[key] >= 1


async def test_the_writer_of_an_override_is_known(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    await world.create("deployments", make_deployment())
    stored = await workloads.deliver(delivery(await settled(workloads, world, eventually)))
    assert stored.containers[0].writer == "basetracker"
    await asyncio.sleep(1.1)  # managed fields tell time by the second
    containers = [{"name": "app", "image": "other:1"}]
    await world.merge(*APPS, {"spec": {"template": {"spec": {"containers": containers}}}})
    informer = workloads._informers[world.namespace, "Deployment"]
    await eventually(lambda: informer.items[world.namespace, "checkout"].containers[0].image == "other:1")
    assert (await found(workloads, world)).containers[0].writer == "somebody"


@pytest.mark.parametrize("workloads", [True], indirect=True)
async def test_one_watch_serves_the_whole_cluster(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make
) -> None:
    await world.create("deployments", make_deployment())
    await found(workloads, world)
    assert await workloads.find("elsewhere", "Deployment", "checkout") is None
    workloads.start(["a", "b"])
    workloads.retain([])
    await found(workloads, world)
    assert len(workloads._tasks) == 1
    assert world.requests() <= 2 + 1  # list and watch; one more page on a large cluster


async def test_namespaces_are_watched_as_long_as_they_are_needed(
    world: Any, workloads: ClusterWorkloads, make_deployment: Make, eventually: Eventually
) -> None:
    await world.create("deployments", make_deployment())
    assert workloads.is_synced()
    workloads.start([world.namespace, "other"])
    await eventually(workloads.is_synced)
    tasks = dict(workloads._tasks)
    workloads.retain([world.namespace])
    await eventually(tasks["other", "Deployment"].done)
    assert not tasks[world.namespace, "Deployment"].done()
    world.counts.clear()
    await found(workloads, world)
    assert world.requests() == 0
    assert workloads.silent_for() < 60


async def test_a_cache_that_may_not_list_says_so(scripted: Any, scripted_kube: Any, fast_clock: Any) -> None:
    scripted.says("GET", 403, {"message": 'forbidden: User "x" cannot list resource "deployments"'})
    adapter = ClusterWorkloads(scripted_kube, clock=fast_clock, changed=lambda *_: None, cluster_wide=False)
    try:
        with pytest.raises(DeniedError, match="cannot list"):
            await adapter.find("shop", "Deployment", "checkout")
    finally:
        await adapter.stop()


async def test_a_cache_that_is_slow_is_waited_for_and_then_given_up(
    scripted: Any, scripted_kube: Any, fast_clock: Any, eventually: Eventually, make_deployment: Make
) -> None:
    gate = asyncio.Event()
    document = make_deployment()
    document["metadata"] |= {"namespace": "shop", "uid": "u", "resourceVersion": "5"}
    told: list[str] = []

    async def slow(request: Any) -> Any:
        if "watch" in request.query:
            await asyncio.sleep(5)
        await gate.wait()
        return web.json_response({"metadata": {"resourceVersion": "9"}, "items": [document]})

    scripted.on("GET", slow)
    adapter = ClusterWorkloads(
        scripted_kube, clock=fast_clock, changed=lambda _, __, name: told.append(name), cluster_wide=False
    )
    try:
        with pytest.raises(UnavailableError, match="aren't listed yet"):
            await adapter.find("shop", "Deployment", "checkout")
        gate.set()
        await eventually(lambda: told == ["checkout"])
        assert await adapter.find("shop", "Deployment", "checkout") is not None
    finally:
        await adapter.stop()
