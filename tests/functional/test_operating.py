"""Operating it: probes and metrics, one namespace with its own rights, and many trackers at once."""

from __future__ import annotations

import aiohttp
import pytest
import yaml

from basetracker.api.names import REQUESTED_AT
from basetracker.demo.files import SYSTEM, documents
from basetracker.emulators.images import Step

from .world import BASE, NAMESPACE, Json, World, a_tracker


async def test_probes_and_metrics(world: World) -> None:
    await world.begin()
    await world.catches_up(await world.move_base())
    port = world.operators[0].port
    async with aiohttp.ClientSession() as session:
        for path in ("healthz", "readyz"):
            async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                assert (answer.status, await answer.text()) == (200, "ok")
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
    assert 'basetracker_builds_total{outcome="Started"} 1.0' in lines
    assert 'basetracker_deliveries_total{outcome="Delivered"} 2.0' in lines
    assert "basetracker_leader 1.0" in lines


async def test_one_namespace_with_no_right_elsewhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await world.cluster.delete("ClusterRoleBinding", "", "basetracker")
    for item in documents("manifests/overlays/single-namespace/role.yaml"):
        item["metadata"]["namespace"] = NAMESPACE
        for subject in item.get("subjects", []):
            subject["namespace"] = SYSTEM
        await world.cluster.apply(item)
    monkeypatch.setenv("BASETRACKER_NAMESPACES", NAMESPACE)
    await world.begin()
    new = await world.move_base()
    digest = await world.catches_up(new)
    assert world.runs_digests() == {digest}


async def test_a_tracker_of_another_namespace_is_another_tracker(world: World) -> None:
    await world.begin()
    await world.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    document = yaml.safe_load(a_tracker())
    document["metadata"]["namespace"] = "other"
    await world.cluster.apply(document)

    def row() -> dict[str, object]:
        found = world.cluster.get("BaseImageTracker", "other", "python") or {}
        return next(iter(found.get("status", {}).get("downstream", [])), {})

    await world.until(lambda: row().get("reason") == "WorkloadNotFound", "it looks in its own namespace")
    await world.catches_up(await world.move_base())
    assert row()["reason"] == "WorkloadNotFound"


async def test_two_namespaces_that_build_one_image_share_the_run(world: World) -> None:
    world.allow([{"namespaces": ["*"], "registries": ["contoso"], "tasks": ["build-*"]}])
    await world.begin()
    await world.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    document = yaml.safe_load(a_tracker())
    document["metadata"]["namespace"] = "other"
    document["spec"]["downstream"][0]["deploy"] = []
    await world.cluster.apply(document)

    def base() -> str:
        found = world.cluster.get("BaseImageTracker", "other", "python") or {}
        row: Json = next(iter(found.get("status", {}).get("downstream", [])), {})
        return str(row.get("validated", {}).get("baseDigest")) if row.get("state") == "Current" else ""

    await world.until(lambda: base() == world.digest(BASE), "the other tracker is current")
    new = world.push_base("3.12.12")
    asking = {"metadata": {"annotations": {REQUESTED_AT: "now"}}}
    for namespace in ("other", NAMESPACE):
        await world.cluster.patch("BaseImageTracker", namespace, "python", asking)
    digest = await world.catches_up(new)
    await world.until(lambda: base() == new, "the other tracker has caught up")
    assert len(world.runs("checkout")) == 1
    assert world.runs_digests() == {digest}


async def test_six_images_of_one_base(world: World) -> None:
    names = [f"service-{number}" for number in range(6)]
    await world.furnish(*names)
    await world.operate()
    await world.apply(a_tracker(*names, rollout="{maxConcurrent: 6}"))
    for name in names:
        await world.becomes("Current", name)
    new = await world.move_base()
    for name in names:
        digest = await world.catches_up(new, name)
        assert world.runs_digests(name) == {digest}
    assert world.schedulings() == len(names)
    assert [len(world.runs(name)) for name in names] == [1] * len(names)


async def test_the_history_stays_short(world: World) -> None:
    await world.begin()
    for number in range(5):
        await world.catches_up(await world.move_base(f"3.12.{20 + number}"))
    history = world.status()["history"]
    assert len(history) == 20
    assert [entry["at"] for entry in history] == sorted((entry["at"] for entry in history), reverse=True)


async def test_what_a_build_adds_doesnt_matter(world: World) -> None:
    """Lineage looks at the base's layers alone."""
    steps = tuple(Step(line=f"RUN step {number}", files={f"/layer-{number}": str(number)}) for number in range(40))
    await world.begin(steps=steps)
    new = await world.move_base()
    await world.catches_up(new)
    assert world.image()["lineage"] == "Proven"
