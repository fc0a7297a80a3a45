"""The stage: emulated Azure and cluster in this process, and the operator as a process of its own.

The operator is what a user installs: `basetracker run` with the ServiceAccount's token and the shipped RBAC. It finds the
real host names through the emulated proxy; nothing of it knows that it is on a stage.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from basetracker.demo.files import SYSTEM, installation
from basetracker.demo.shop import ALLOWED, BASE, NAMESPACE, PRODUCTS, REGISTRY, deployments, trackers
from basetracker.emulators import samples
from basetracker.emulators.cloud import Cloud
from basetracker.emulators.cluster import Cluster
from basetracker.emulators.identities import Identity
from basetracker.emulators.tasks.definition import Behaviour, Task

TOKEN_SECONDS = 24 * 3600
RENEWAL_SECONDS = 1200.0
START_SECONDS = 60.0
Document = dict[str, Any]


class StageError(Exception):
    """The stage can't be set, or the operator has ended; the text says where to look."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """Everything that is up while the demo plays."""

    cloud: Cloud
    cluster: Cluster
    directory: Path
    tasks: dict[str, Task]
    operator: asyncio.subprocess.Process | None = None

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig, for kubectl beside the demo."""
        return self.directory / "kubeconfig"

    @property
    def profile(self) -> Path:
        """A file to source in another shell: kubeconfig, proxy, CA and Azure identity."""
        return self.directory / "env"

    @property
    def log(self) -> Path:
        """What the operator logs."""
        return self.directory / "operator.log"

    def trackers(self) -> list[Document]:
        return list(self.cluster.list("BaseImageTracker", NAMESPACE))

    def deployments(self) -> list[Document]:
        return list(self.cluster.list("Deployment", NAMESPACE))

    def pods(self) -> list[Document]:
        return list(self.cluster.list("Pod", NAMESPACE))

    def must_run(self) -> None:
        """Raises StageError when the operator has ended."""
        if self.operator is not None and self.operator.returncode is not None:
            raise StageError(f"the operator has ended with code {self.operator.returncode}; its log is {self.log}")


@asynccontextmanager
async def staged(directory: Path, speed: float, told: Callable[[str], None]) -> AsyncIterator[Stage]:
    """The stage, set with the shop as it is before anything moves; `told` hears what is being set up."""
    cloud = Cloud(queue_seconds=0.6 / speed, start_seconds=0.2 / speed, run_seconds=2.0 / speed)
    cluster = Cluster(cloud.authority, resolve_image=cloud.resolve_image, pod_start_seconds=0.7 / speed)
    async with cloud, cluster:
        told("Azure (ACR, Tasks, Entra) and a Kubernetes cluster, emulated on loopback")
        identity, tasks = _furnish_cloud(cloud)
        stage = Stage(cloud=cloud, cluster=cluster, directory=directory, tasks=tasks)
        await _furnish_cluster(stage)
        stage.kubeconfig.write_text(yaml.safe_dump(cluster.kubeconfig(namespace=NAMESPACE)))
        beside = {"KUBECONFIG": str(stage.kubeconfig), **cloud.environment(directory, identity)}
        stage.profile.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in beside.items()))
        told("the operator, as a process of its own with the RBAC that is shipped")
        renewing = asyncio.create_task(_renew_token(cloud, identity, directory))
        try:
            await _start_operator(stage, identity, speed)
            yield stage
        finally:
            renewing.cancel()
            await _stop(stage.operator)


def _furnish_cloud(cloud: Cloud) -> tuple[Identity, dict[str, Task]]:
    """The registry with the base, the tasks, and the images as their first runs built them."""
    registry = cloud.add_azure_registry(REGISTRY)
    subject = f"system:serviceaccount:{SYSTEM}:basetracker"
    identity = cloud.add_identity("basetracker", subject=subject)
    identity.assign("AcrPull", registry.id)
    identity.assign("basetracker operator", f"/subscriptions/{cloud.subscription}")
    cloud.push(BASE, samples.python_index())
    tasks = {
        product.name: cloud.tasks.add(product.task, registry, image=product.path, base=product.base)
        for product in PRODUCTS
    }
    return identity, tasks


async def _furnish_cluster(stage: Stage) -> None:
    for product in PRODUCTS:
        await build_now(stage, product.name)
    await stage.cluster.apply(*installation())
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await stage.cluster.apply(namespace, *deployments())


async def build_now(stage: Stage, name: str) -> None:
    """Let the task build at once, as a pipeline would have before the story begins."""
    task = stage.tasks[name]
    usual, task.behaviour = task.behaviour, Behaviour(queue_seconds=0, run_seconds=0)
    run = stage.cloud.tasks.schedule(task, {})
    while run.live:
        await asyncio.sleep(0.02)
        await stage.cloud.settle()
    task.behaviour = usual


async def apply_trackers(stage: Stage) -> None:
    """Declare the trackers, as `kubectl apply` does."""
    await stage.cluster.apply(*trackers())


async def _start_operator(stage: Stage, identity: Identity, speed: float) -> None:
    directory = stage.directory
    account = directory / "operator.kubeconfig"
    token = stage.cluster.token(SYSTEM, "basetracker", TOKEN_SECONDS)
    account.write_text(yaml.safe_dump(stage.cluster.kubeconfig("basetracker", SYSTEM, token=token)))
    (directory / "tasks.yaml").write_text(ALLOWED)
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "KUBECONFIG": str(account),
        "BASETRACKER_ALLOW_LIST": str(directory / "tasks.yaml"),
        "BASETRACKER_LISTEN": "127.0.0.1:0",
        "BASETRACKER_RUN_INTERVAL": f"{max(int(1000 / speed), 100)}ms",
        **stage.cloud.environment(directory, identity),
    }
    with stage.log.open("wb") as log:
        stage.operator = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "basetracker",
            "run",
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    async with asyncio.timeout(START_SECONDS):
        while not _leads(stage):
            stage.must_run()
            await asyncio.sleep(0.05)


def _leads(stage: Stage) -> bool:
    lease = stage.cluster.get("Lease", SYSTEM, "basetracker")
    return lease is not None and bool(lease["spec"].get("holderIdentity"))


async def _renew_token(cloud: Cloud, identity: Identity, directory: Path) -> None:
    """Keep the projected token fresh, as a kubelet does."""
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        cloud.federated_token(str(identity.subject), path=directory / "token")


async def _stop(process: asyncio.subprocess.Process | None) -> None:
    if process is None or process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(10):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
