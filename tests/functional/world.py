"""The world of a functional test: emulated Azure, a cluster with the shipped installation, and operators in this process.

A test says what lies in registries, tasks and cluster, declares trackers as YAML, and reads what came of it: which digests
Pods run, which runs were started, what was written. It never calls the operator.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from basetracker.api.names import REQUESTED_AT, RESUME
from basetracker.demo.files import SYSTEM, installation
from basetracker.emulators import samples
from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.authority import Authority
from basetracker.emulators.cloud import Cloud
from basetracker.emulators.cluster import Cluster
from basetracker.emulators.identities import Identity
from basetracker.emulators.images import Image, Index, Step, build_on
from basetracker.emulators.references import parse
from basetracker.emulators.tasks.definition import Behaviour, Task
from basetracker.emulators.tasks.run import Run
from basetracker.emulators.timeline import Clock, utcnow

from .operators import Operator

Json = dict[str, Any]
NAMESPACE = "shop"
HOST = "contoso.azurecr.io"
BASE = f"{HOST}/base/python:3.12"
TRACKER = "python"
PATIENCE = 15.0
"""Seconds that anything may take before a test gives up; what is asserted is never a time."""
ALLOWED = [{"namespaces": [NAMESPACE], "registries": ["contoso"], "tasks": ["build-*"]}]


def image_of(name: str) -> str:
    return f"{HOST}/shop/{name}:main"


@dataclass(slots=True, kw_only=True)
class World:
    """Everything around the operator, and the operators."""

    cloud: Cloud
    cluster: Cluster
    registry: AzureRegistry
    identity: Identity
    directory: Path
    operators: list[Operator] = field(default_factory=list)
    _asked: itertools.count[int] = field(default_factory=itertools.count)

    # -- what lies in the registries ------------------------------------------------------------------

    def push_base(self, version: str, *, reference: str = BASE, index: bool = False, docker: bool = False) -> str:
        """Let the base's tag point to this version; the answer is its digest."""
        made = samples.python_index(version, docker=docker) if index else samples.python(version, docker=docker)
        return self.cloud.push(reference, made)

    def digest(self, reference: str) -> str:
        """What a tag points to."""
        named = parse(reference)
        found = self.cloud.registries[named.host].digest(named.repository, named.manifest)
        assert found is not None, f"there is no {reference}"
        return found

    def add_task(self, name: str, *, base: str = BASE, **settings: Any) -> Task:
        """The task `build-<name>`, which pushes `shop/<name>:main`."""
        return self.cloud.tasks.add(f"build-{name}", self.registry, image=f"shop/{name}:main", base=base, **settings)

    async def built(self, task: Task) -> str:
        """Let the task build once as its pipeline would have before the story begins; the answer is the digest."""
        usual, task.behaviour = task.behaviour, Behaviour(queue_seconds=0, run_seconds=0)
        run = self.cloud.tasks.schedule(task, {})
        await self.until(lambda: not run.live, "the first run has ended")
        task.behaviour = usual
        assert run.status == "Succeeded", run.log
        self.cloud.tasks.runs.remove(run)
        return str(run.outputs[0]["digest"])

    async def push_by_hand(self, name: str, base: str, *, version: str = "2.0.0", layers: tuple[Step, ...] = ()) -> str:
        """Push `shop/<name>:main` built on `base` on somebody's machine; the answer is the digest."""
        found = await self.cloud.fetch(base)
        assert isinstance(found, Image | Index)
        bottom = found if isinstance(found, Image) else found.children[0]
        return self.cloud.push(image_of(name), build_on(bottom, *samples.application(name, version), *layers))

    def runs(self, name: str) -> list[Run]:
        """The runs of `build-<name>` since the story began, oldest first."""
        return [run for run in self.cloud.tasks.runs if run.task.name == f"build-{name}"]

    def schedulings(self) -> int:
        """How often ARM was asked to start a run."""
        return len(self.cloud.faults.asked(r"^POST .*/scheduleRun\?"))

    async def furnish(self, *names: str, version: str = "3.12.11", **settings: Any) -> dict[str, Task]:
        """The base, and for each name (by default `checkout`) a task, its first image, and a Deployment that runs it."""
        if BASE.partition(":")[0].partition("/")[2] not in self.registry.storage.repositories:
            self.push_base(version)
        tasks = {name: self.add_task(name, **settings) for name in names or ("checkout",)}
        for name, task in tasks.items():
            await self.built(task)
            await self.deploy(name)
        return tasks

    async def begin(self, text: str = "", **settings: Any) -> Task:
        """The story's usual beginning: `checkout` is built and runs, the tracker is applied, and all is current."""
        tasks = await self.furnish(**settings)
        await self.operate()
        await self.apply(text or a_tracker())
        await self.becomes("Current")
        return tasks["checkout"]

    async def move_base(self, version: str = "3.12.12") -> str:
        """Push another version of the base and let the tracker look; the answer is its digest."""
        digest = self.push_base(version)
        await self.look()
        return digest

    async def push_and_ask(self, version: str = "3.12.12") -> str:
        """As `move_base`, but don't wait until the look is told."""
        digest = self.push_base(version)
        await self.annotate(REQUESTED_AT, f"look-{next(self._asked)}")
        return digest

    async def catches_up(self, base: str, name: str = "checkout", tracker: str = TRACKER) -> str:
        """Wait until an image is validated for this base and current; the answer is the validated digest."""

        def is_there() -> bool:
            validated = self.image(name, tracker).get("validated", {})
            return bool(validated.get("baseDigest") == base and self.image(name, tracker)["state"] == "Current")

        await self.until(is_there, f"{name} of {tracker} has caught up with its base")
        return str(self.image(name, tracker)["validated"]["digest"])

    # -- what lies in the cluster ---------------------------------------------------------------------

    async def deploy(self, name: str, image: str = "", *, containers: Json | None = None, **spec: Any) -> Json:
        """A Deployment as a team writes it, with its one container `app` unless `containers` (name to image) says else.

        `init` names init containers in the same way; the rest goes into its spec.
        """
        init = spec.pop("init", {})
        found = containers or {"app": image or image_of(name)}
        labels = {"app": name}
        pods: Json = {"containers": [{"name": key, "image": value} for key, value in found.items()]}
        if init:
            pods["initContainers"] = [{"name": key, "image": value} for key, value in init.items()]
        document = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pods},
                **spec,
            },
        }
        return (await self.cluster.apply(document))[0]

    async def apply(self, text: str) -> None:
        """What `kubectl apply -f` does with this YAML. Raises Refusal."""
        documents = [item for item in yaml.safe_load_all(text) if item]
        for item in documents:
            item["metadata"].setdefault("namespace", NAMESPACE)
        await self.cluster.apply(*documents)

    async def annotate(self, name: str, value: str, tracker: str = TRACKER) -> None:
        """Set one of the annotations by which a person asks for something."""
        await self.cluster.patch("BaseImageTracker", NAMESPACE, tracker, {"metadata": {"annotations": {name: value}}})

    async def look(self, tracker: str = TRACKER) -> None:
        """Ask for a look now, and wait until it has been taken and told."""
        value = f"look-{next(self._asked)}"
        await self.annotate(REQUESTED_AT, value, tracker)

        def is_told() -> bool:
            return bool(self.status(tracker).get("lastHandled", {}).get("requestedAt") == value)

        await self.until(is_told, "the look is handled")

    async def resume(self, tracker: str = TRACKER) -> None:
        """Ask to go on after an override."""
        await self.annotate(RESUME, f"resume-{next(self._asked)}", tracker)

    def tracker(self, name: str = TRACKER) -> Json:
        """The tracker as it is stored."""
        found = self.cluster.get("BaseImageTracker", NAMESPACE, name)
        assert found is not None
        return found

    def status(self, name: str = TRACKER) -> Json:
        """The tracker's status; empty while there is none."""
        found: Json = self.tracker(name).get("status", {})
        return found

    def image(self, name: str = "checkout", tracker: str = TRACKER) -> Json:
        """What the tracker tells of one of its images; empty while it tells nothing."""
        rows = self.status(tracker).get("downstream", [])
        return next((row for row in rows if row["name"] == name), {})

    def state(self, name: str = "checkout", tracker: str = TRACKER) -> str:
        """An image's state and reason, as `Blocked TagDiffers`."""
        row = self.image(name, tracker)
        return f"{row.get('state')} {row.get('reason')}"

    def condition(self, kind: str, tracker: str = TRACKER) -> Json:
        """A condition of the tracker; empty when it is absent."""
        return next((one for one in self.status(tracker).get("conditions", []) if one["type"] == kind), {})

    def history(self, event: str, tracker: str = TRACKER) -> list[Json]:
        """What the tracker remembers of this kind, newest first."""
        return [one for one in self.status(tracker).get("history", []) if one["event"] == event]

    def deployment(self, name: str = "checkout") -> Json:
        """The Deployment as it is stored."""
        found = self.cluster.get("Deployment", NAMESPACE, name)
        assert found is not None
        return found

    def runs_digests(self, name: str = "checkout") -> set[str]:
        """The digests that the nodes report for the ready containers of a Deployment's Pods."""
        pods = [
            pod
            for pod in self.cluster.list("Pod", NAMESPACE)
            if pod["metadata"]["labels"].get("app") == name and "deletionTimestamp" not in pod["metadata"]
        ]
        statuses = [row for pod in pods for row in pod.get("status", {}).get("containerStatuses", [])]
        return {row["imageID"].partition("@")[2] for row in statuses if row.get("ready") and row.get("imageID")}

    def deliveries(self, name: str | None = None) -> int:
        """How often the operator has patched Deployments (one of them), whatever came of it."""
        patched = [one.path for one in self.by_operator("PATCH") if one.status == 200 and "/deployments/" in one.path]
        return sum(name is None or path.rpartition("/")[2] == name for path in patched)

    def by_operator(self, *methods: str) -> list[Any]:
        """The operator's requests with these methods, without those for the Lease."""
        user = f"system:serviceaccount:{SYSTEM}:basetracker"
        return [
            one
            for one in self.cluster.requests
            if one.user == user and one.method in methods and "/leases" not in one.path
        ]

    # -- waiting --------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait until `holds`. Fails with the state of the world after `seconds`, or when an operator has died."""
        end = time.monotonic() + seconds
        while not holds():
            for operator in self.operators:
                if operator.error is not None:
                    raise operator.error
            if time.monotonic() > end:
                raise AssertionError(f"it never came true that {what}\n{self._account()}")
            await asyncio.sleep(0.02)

    async def becomes(self, state: str, name: str = "checkout", tracker: str = TRACKER) -> Json:
        """Wait until an image is in this state (`Blocked`, or with its reason `Blocked TagDiffers`)."""
        await self.until(
            lambda: f"{self.state(name, tracker)} ".startswith(f"{state} "), f"{name} of {tracker} is {state}"
        )
        return self.image(name, tracker)

    def _account(self) -> str:
        trackers = self.cluster.list("BaseImageTracker", NAMESPACE)
        rows = [{"name": one["metadata"]["name"], "status": one.get("status")} for one in trackers]
        return yaml.safe_dump(rows, sort_keys=False)

    # -- operators ------------------------------------------------------------------------------------

    async def operate(self, name: str = "one", *, wait: bool = True, azure: bool = True) -> Operator:
        """Start an operator, and wait until it leads unless told otherwise; `azure` gives it its identity."""
        environ = self.environment() | {"KUBECONFIG": str(self.directory / "operator.kubeconfig")}
        operator = Operator(name, {key: value for key, value in environ.items() if azure or "AZURE" not in key})
        self.operators.append(operator)
        if wait:
            await self.until(lambda: self.leader() == name, f"operator {name} leads", 30.0)
        return operator

    def leader(self) -> str:
        """Which operator holds the Lease; empty for none."""
        lease = self.cluster.get("Lease", SYSTEM, "basetracker")
        return str((lease or {}).get("spec", {}).get("holderIdentity") or "").rpartition("_")[0]

    def allow(self, entries: list[Json]) -> None:
        """Write the operator's allow-list of tasks; one that runs reads it again within some seconds."""
        (self.directory / "tasks.yaml").write_text(yaml.safe_dump(entries))

    def environment(self) -> dict[str, str]:
        """The operator's environment, as its Deployment sets it."""
        return self.cloud.environment(self.directory, self.identity) | {
            "BASETRACKER_ALLOW_LIST": str(self.directory / "tasks.yaml"),
            "BASETRACKER_LISTEN": "127.0.0.1:0",
            "BASETRACKER_RUN_INTERVAL": "100ms",
            "BASETRACKER_REGISTRY_RATE": "200",
        }


@asynccontextmanager
async def opened(directory: Path, authority: Authority, clock: Clock = utcnow) -> AsyncIterator[World]:
    """A world with an Azure registry, an identity with the least rights, and the installation; no operator yet.

    `clock` is the time of Azure and of the registries; the cluster's is real.
    """
    cloud = Cloud(authority=authority, clock=clock, queue_seconds=0.05, start_seconds=0.0, run_seconds=0.05)
    cluster = Cluster(authority, resolve_image=cloud.resolve_image, pod_start_seconds=0.05)
    async with cloud, cluster:
        registry = cloud.add_azure_registry("contoso")
        identity = cloud.add_identity("basetracker", subject=f"system:serviceaccount:{SYSTEM}:basetracker")
        identity.assign("AcrPull", registry.id)
        identity.assign("basetracker operator", f"/subscriptions/{cloud.subscription}")
        await cluster.apply(*installation(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        token = cluster.token(SYSTEM, "basetracker")
        config = cluster.kubeconfig("basetracker", SYSTEM, token=token)
        (directory / "operator.kubeconfig").write_text(yaml.safe_dump(config))
        world = World(cloud=cloud, cluster=cluster, registry=registry, identity=identity, directory=directory)
        world.allow(ALLOWED)
        try:
            yield world
        finally:
            for operator in world.operators:
                await operator.killed()


def a_tracker(
    *images: str,
    name: str = TRACKER,
    base: str = BASE,
    rollout: str = "{}",
    build: str = "{}",
    fields: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """A tracker's YAML for images `shop/<image>:main`, each built by `build-<image>` and run by a Deployment of its name.

    `rollout` is YAML, `build` laid over each image's build; `fields` of the spec replace those made here.
    """
    rows = []
    for image in images or ("checkout",):
        row: Json = {
            "name": image,
            "image": image_of(image),
            "build": {"acrTask": {"name": f"build-{image}", "baseArgument": "BASE_IMAGE"}} | yaml.safe_load(build),
            "deploy": [{"kind": "Deployment", "name": image}],
        }
        rows.append(row)
    spec: Json = {"base": {"image": base, "interval": "10s"}, "downstream": rows, "rollout": yaml.safe_load(rollout)}
    spec |= {key: yaml.safe_load(value) for key, value in fields.items()}
    document = {
        "apiVersion": "basetracker.dev/v1alpha1",
        "kind": "BaseImageTracker",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
    return yaml.safe_dump(document, sort_keys=False)
