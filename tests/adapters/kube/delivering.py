"""Deployments of the cluster as the adapter of workloads has them, and what is delivered to them. Used by its tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from basetracker.adapters.workloads import ClusterWorkloads
from basetracker.core.actions import ContainerChange, Deliver
from basetracker.core.observed import Workload
from basetracker.oci.refs import Digest

OLD, NEW = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)
REPOSITORY = "contoso.azurecr.io/shop/checkout"
APPS = ("apps/v1", "deployments", "checkout")
Make = Callable[..., dict[str, Any]]
Eventually = Callable[..., Awaitable[None]]


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
