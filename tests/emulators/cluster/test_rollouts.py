"""Deployments, their ReplicaSets and their Pods on the fake kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from basetracker.emulators.authority import Authority
from basetracker.emulators.cluster import Cluster

from .conftest import deployment

DIGEST = "sha256:" + "a" * 64


class Shop:
    """A cluster with a namespace `shop`; images whose name has `missing` in it aren't found."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def deploy(self, **options: Any) -> None:
        document = deployment(**options)
        document["metadata"]["namespace"] = "shop"
        await self.cluster.apply(document)

    def pods(self) -> list[Any]:
        return self.cluster.list("Pod", "shop")

    def deployment(self) -> Any:
        return self.cluster.get("Deployment", "shop", "web")

    def condition(self, kind: str) -> Any:
        conditions = self.deployment().get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == kind), {})

    async def until(self, holds: Callable[[], Any], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110  # what is waited for is the state of a server
                await asyncio.sleep(0.01)

    async def rolled_out(self) -> None:
        def done() -> bool:
            found = self.deployment()
            seen = found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
            return seen and self.condition("Progressing").get("reason") == "NewReplicaSetAvailable"

        await self.until(done)


@pytest.fixture
async def shop(authority: Authority) -> Any:
    async def resolve(image: str) -> str | None:
        return None if "missing" in image else DIGEST

    async with Cluster(authority, resolve_image=resolve, pod_start_seconds=0.02) as cluster:
        await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        yield Shop(cluster)


async def test_a_pod_that_is_only_bound_is_of_its_first_generation(shop: Shop) -> None:
    await shop.deploy()
    await shop.rolled_out()
    assert {(pod["metadata"]["generation"], bool(pod["spec"]["nodeName"])) for pod in shop.pods()} == {(1, True)}


async def test_a_deployment_runs_pods_with_real_image_ids(shop: Shop) -> None:
    await shop.deploy(replicas=3)
    await shop.rolled_out()
    assert len(shop.pods()) == 3
    status = shop.pods()[0]["status"]
    assert status["phase"] == "Running"
    assert status["containerStatuses"][0]["imageID"] == f"registry.example.com/web@{DIGEST}"
    assert shop.deployment()["status"]["availableReplicas"] == 3
    assert shop.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert shop.condition("Available")["status"] == "True"


async def test_old_pods_stay_until_new_ones_are_ready(shop: Shop) -> None:
    await shop.deploy(replicas=2)
    await shop.rolled_out()
    ready: list[int] = []

    def watch() -> bool:
        conditions = [pod["status"].get("conditions", []) for pod in shop.pods() if pod.get("status")]
        ready.append(sum(any(c["type"] == "Ready" and c["status"] == "True" for c in found) for found in conditions))
        return (
            "2"
            in {
                item["metadata"]["annotations"].get("deployment.kubernetes.io/revision")
                for item in shop.cluster.list("ReplicaSet", "shop")
            }
            and shop.condition("Progressing").get("reason") == "NewReplicaSetAvailable"
        )

    await shop.deploy(replicas=2, image="registry.example.com/web:2")
    await shop.until(watch)
    assert min(ready) >= 2
    images = {
        pod["spec"]["containers"][0]["image"] for pod in shop.pods() if "deletionTimestamp" not in pod["metadata"]
    }
    assert images == {"registry.example.com/web:2"}


async def test_a_missing_image_stops_the_rollout(shop: Shop) -> None:
    await shop.deploy(replicas=2)
    await shop.rolled_out()
    await shop.deploy(replicas=2, image="registry.example.com/missing:1")

    def waiting() -> set[str]:
        statuses = [pod.get("status", {}).get("containerStatuses", [{}])[0] for pod in shop.pods()]
        return {status.get("state", {}).get("waiting", {}).get("reason", "") for status in statuses}

    await shop.until(lambda: "ImagePullBackOff" in waiting())
    assert shop.deployment()["status"]["availableReplicas"] == 2
    reasons = {event["reason"] for event in shop.cluster.list("Event", "shop")}
    assert {"Failed", "BackOff"} <= reasons


async def test_a_crashing_image_never_gets_ready(shop: Shop) -> None:
    async def crashes(image: str) -> bool:
        return image.endswith(":bad")

    shop.cluster.crashes = crashes
    await shop.deploy(replicas=1, image="registry.example.com/web:bad")

    def restarted() -> bool:
        return any(
            status["restartCount"] > 1 and status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            for pod in shop.pods()
            for status in pod.get("status", {}).get("containerStatuses", [])
            if "waiting" in status["state"]
        )

    await shop.until(restarted)
    assert not shop.deployment()["status"].get("availableReplicas")


async def test_a_healthy_image_can_begin_to_crash(shop: Shop) -> None:
    broken = False

    async def crashes(image: str) -> bool:
        return broken

    shop.cluster.crashes = crashes
    await shop.deploy(replicas=1)
    await shop.rolled_out()
    broken = True
    shop.cluster.look_at_pods()
    await shop.until(lambda: not shop.deployment()["status"].get("availableReplicas"))
    broken = False
    await shop.until(lambda: shop.deployment()["status"].get("availableReplicas") == 1)


async def test_the_crash_annotation_counts(shop: Shop) -> None:
    document = deployment(replicas=1)
    document["metadata"]["namespace"] = "shop"
    marks = {"emulator.basetracker.dev/crash": "true"}
    document["spec"]["template"]["metadata"]["annotations"] = marks
    await shop.cluster.apply(document)
    await shop.until(lambda: any(event["reason"] == "BackOff" for event in shop.cluster.list("Event", "shop")))
    assert not shop.deployment()["status"].get("readyReplicas")


async def test_going_back_takes_the_old_replica_set(shop: Shop) -> None:
    await shop.deploy(replicas=1)
    await shop.rolled_out()
    await shop.deploy(replicas=1, image="registry.example.com/web:2")
    await shop.rolled_out()
    await shop.deploy(replicas=1)
    await shop.rolled_out()
    sets = shop.cluster.list("ReplicaSet", "shop")
    by_revision = {item["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: item for item in sets}
    assert set(by_revision) == {"2", "3"}
    assert by_revision["3"]["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com/web:1"


async def test_the_history_is_limited(shop: Shop) -> None:
    document = deployment(replicas=1)
    document["metadata"]["namespace"] = "shop"
    document["spec"]["revisionHistoryLimit"] = 1
    for number in range(4):
        document["spec"]["template"]["spec"]["containers"][0]["image"] = f"registry.example.com/web:{number}"
        await shop.cluster.apply(document)
        await shop.rolled_out()
    await shop.until(lambda: len(shop.cluster.list("ReplicaSet", "shop")) == 2)


async def test_a_paused_deployment_waits(shop: Shop) -> None:
    await shop.deploy(replicas=1)
    await shop.rolled_out()
    await shop.cluster.patch("Deployment", "shop", "web", {"spec": {"paused": True}})
    await shop.deploy(replicas=1, image="registry.example.com/web:2")
    await shop.until(lambda: shop.condition("Progressing").get("reason") == "DeploymentPaused")
    assert len(shop.cluster.list("ReplicaSet", "shop")) == 1
    await shop.cluster.patch("Deployment", "shop", "web", {"spec": {"paused": False}})
    await shop.rolled_out()
    assert len(shop.cluster.list("ReplicaSet", "shop")) == 2


async def test_recreate_takes_down_before_it_brings_up(shop: Shop) -> None:
    document = deployment(replicas=2)
    document["metadata"]["namespace"] = "shop"
    document["spec"]["strategy"] = {"type": "Recreate"}
    await shop.cluster.apply(document)
    await shop.rolled_out()
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, sum("deletionTimestamp" not in pod["metadata"] for pod in shop.pods()))
        images = {pod["spec"]["containers"][0]["image"] for pod in shop.pods()}
        return images == {"registry.example.com/web:2"} and bool(shop.deployment()["status"].get("availableReplicas"))

    document["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/web:2"
    await shop.cluster.apply(document)
    await shop.until(done)
    assert most == 2


async def test_the_change_cause_reaches_the_history(shop: Shop) -> None:
    document = deployment(replicas=1)
    document["metadata"] |= {"namespace": "shop", "annotations": {"kubernetes.io/change-cause": "first"}}
    await shop.cluster.apply(document)
    await shop.rolled_out()
    (replica_set,) = shop.cluster.list("ReplicaSet", "shop")
    assert replica_set["metadata"]["annotations"]["kubernetes.io/change-cause"] == "first"


async def test_pods_come_back_when_they_are_deleted(shop: Shop) -> None:
    await shop.deploy(replicas=1)
    await shop.rolled_out()
    name = shop.pods()[0]["metadata"]["name"]
    await shop.cluster.delete("Pod", "shop", name)
    await shop.until(lambda: name not in {pod["metadata"]["name"] for pod in shop.pods()})
    await shop.rolled_out()
    assert len(shop.pods()) == 1


async def test_everything_goes_with_the_deployment(shop: Shop) -> None:
    await shop.deploy(replicas=2)
    await shop.rolled_out()
    await shop.cluster.delete("Deployment", "shop", "web")
    await shop.until(lambda: not shop.pods() and not shop.cluster.list("ReplicaSet", "shop"))


async def test_no_progress_is_told_at_the_deadline(authority: Authority) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    async def nothing(image: str) -> str | None:
        return None

    async with Cluster(authority, resolve_image=nothing, clock=lambda: now, pod_start_seconds=0.02) as cluster:
        shop = Shop(cluster)
        await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        await shop.deploy(replicas=1)
        await shop.until(lambda: shop.deployment().get("status", {}).get("updatedReplicas") == 1)
        assert shop.condition("Progressing")["status"] == "True"
        now += timedelta(seconds=599)
        await asyncio.sleep(0.4)
        assert shop.condition("Progressing")["status"] == "True"
        now += timedelta(seconds=3)
        await shop.until(lambda: shop.condition("Progressing").get("reason") == "ProgressDeadlineExceeded")


def _with_init(image: str) -> Any:
    document = deployment(replicas=1)
    document["metadata"]["namespace"] = "shop"
    document["spec"]["template"]["spec"]["initContainers"] = [{"name": "first", "image": image}]
    return document


async def test_init_containers_come_first(shop: Shop) -> None:
    await shop.cluster.apply(_with_init("registry.example.com/init:1"))
    await shop.rolled_out()
    (status,) = shop.pods()[0]["status"]["initContainerStatuses"]
    assert status["imageID"] == f"registry.example.com/init@{DIGEST}"
    assert status["state"]["terminated"]["reason"] == "Completed"


async def test_a_missing_init_image_holds_the_pod(shop: Shop) -> None:
    await shop.cluster.apply(_with_init("registry.example.com/missing-init:1"))

    def held() -> bool:
        statuses = [status for pod in shop.pods() for status in pod.get("status", {}).get("initContainerStatuses", [])]
        return any(status["state"].get("waiting", {}).get("reason") == "ImagePullBackOff" for status in statuses)

    await shop.until(held)
    (status,) = shop.pods()[0]["status"]["containerStatuses"]
    assert status["state"]["waiting"]["reason"] == "PodInitializing"
    assert not shop.deployment()["status"].get("readyReplicas")
