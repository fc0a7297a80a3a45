"""The patch that delivers: what it changes, and what it never touches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from basetracker.adapters.kube import JSON_PATCH
from basetracker.adapters.projection import KINDS, project
from basetracker.adapters.workloads import ClusterWorkloads
from basetracker.core.observed import Workload
from basetracker.errors import (
    ConflictError,
    InvalidError,
    MissingError,
)

from .delivering import APPS, NEW, OLD, REPOSITORY, Eventually, Make, delivery, found, settled


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
