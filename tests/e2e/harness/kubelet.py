"""Emulated nodes for a real control plane.

Owns a few Node objects, kept Ready by their Leases, and the life of every Pod on them: it is bound (there is no
scheduler), its images are resolved to real digests, it becomes Ready, or waits for an image that is missing, or
crashes or ends when its annotations say so, and it ends when it is deleted. No process runs for it; what it has written is an
annotation, too. Talks to the API server through `kubectl proxy`, so it works with whatever authentication a kubeconfig has.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from . import pods
from .api import Api, GoneError
from .podlogs import ADDRESS, PodLogs
from .pulls import Resolve

Object = dict[str, Any]
log = logging.getLogger(__name__)

LEASE_SECONDS = 40
RENEW_SECONDS = 10.0
RETRY_SECONDS = 5.0
NODE_LABEL = "e2e.basetracker.dev/node"
# What a Pod needs to land on an emulated node of a cluster that has real ones and a scheduler.
PLACEMENT: Object = {
    "nodeSelector": {NODE_LABEL: "emulated"},
    "tolerations": [{"key": NODE_LABEL, "operator": "Exists"}],
}


class FakeKubelet:
    """The kubelets of a few nodes, in a thread with an event loop of its own.

    `failures` holds what went wrong in it; a test run should end with none.
    """

    def __init__(self, socket: Path, *, nodes: Sequence[str], resolve: Resolve, binds_pods: bool) -> None:
        self.nodes = tuple(nodes)
        self.failures: list[BaseException] = []
        self._socket = socket
        self._resolve = resolve
        self._binds_pods = binds_pods
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._binding: set[str] = set()
        self._ending: set[str] = set()
        self._annotations: dict[tuple[str, str], dict[str, str]] = {}
        self._logs = PodLogs(self._annotations)
        self._addresses = itertools.count(1)
        self._next_node = itertools.cycle(self.nodes)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-kubelet", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None

    def start(self, *, seconds: float = 30) -> None:
        """Return when the nodes are Ready.

        Raises:
            RuntimeError: they weren't in time.
        """
        self._thread.start()
        if not self._ready.wait(seconds) or self.failures:
            raise RuntimeError("the emulated nodes did not come up") from next(iter(self.failures), None)

    def stop(self) -> None:
        """End all lives; the Node objects stay."""
        if self._loop and self._main and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._main.cancel)
            self._thread.join(10)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.failures.append(error)
            log.exception("the emulated nodes have died")
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        await self._logs.start()
        try:
            async with Api(self._socket) as self._api:
                for node in self.nodes:
                    await self._register(node)
                self._ready.set()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._renew_leases())
                    async for kind, pod in self._api.watch("/api/v1/pods"):
                        self._see(kind, pod, group)
        finally:
            await self._logs.stop()

    # Nodes

    async def _register(self, name: str) -> None:
        await self._api.create("/api/v1/nodes", node_object(name, _now()), again=True)
        # The API server of a cluster that was given is elsewhere, and would ask itself.
        port = self._logs.port if self._binds_pods else None
        await self._api.patch(f"/api/v1/nodes/{name}/status", {"status": node_status(_now(), port=port)})
        lease = {"metadata": {"name": name}, "spec": self._lease_spec(name)}
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        await self._api.create(leases, lease, again=True)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            for name in self.nodes:
                path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
                try:
                    await self._api.patch(path, {"spec": self._lease_spec(name)}, merge="merge")
                except (aiohttp.ClientError, TimeoutError, GoneError) as error:
                    log.warning("lease of %s not renewed: %s", name, error)

    def _lease_spec(self, name: str) -> Object:
        renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renewed}

    # Pods

    def _see(self, kind: str, pod: Object, group: asyncio.TaskGroup) -> None:
        """Take up what the watch has shown; a life that is under way goes on."""
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        place = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        self._annotations[place] = pod["metadata"].get("annotations") or {}
        if kind == "DELETED":
            del self._annotations[place]
            self._binding.discard(uid)
            self._ending.discard(uid)
            if life := self._lives.pop(uid, None):
                life.cancel()
        elif not node:
            if self._binds_pods and uid not in self._binding:
                self._binding.add(uid)
                group.create_task(self._guarded(self._bind, pod))
        elif node in self.nodes and pod["metadata"].get("deletionTimestamp"):
            if uid not in self._ending:
                self._ending.add(uid)
                if life := self._lives.pop(uid, None):
                    life.cancel()
                self._lives[uid] = group.create_task(self._guarded(self._end, pod))
        elif node in self.nodes and uid not in self._lives and not pods.is_over(pod):
            self._lives[uid] = group.create_task(self._guarded(self._live, pod))

    async def _guarded(self, life: Callable[[Object], Awaitable[None]], pod: Object) -> None:
        """One Pod's trouble is written down and doesn't end the others."""
        try:
            await life(pod)
        except GoneError:
            return
        except Exception as error:
            self.failures.append(error)
            log.exception("an emulated node has failed")

    async def _bind(self, pod: Object) -> None:
        metadata = pod["metadata"]
        target = pinned_node(pod) or next(self._next_node)
        body = {
            "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
            "target": {"kind": "Node", "name": target},
        }
        await self._api.create(f"{_path(pod)}/binding", body)

    async def _live(self, pod: Object) -> None:
        address = self._address()
        digests = await self._pull(pod, address)
        if pods.ends_by_itself(pod):
            await self._report(pod, pods.running(pod, digests, now=_now(), address=address))
            code = pods.exit_code(pod)
            if code is not None:
                await self._report(pod, pods.ended(pod, digests, now=_now(), address=address, code=code))
        elif pods.crashes(pod):
            for restarts in itertools.count():
                status = pods.crash_looping(pod, digests, now=_now(), address=address, restarts=restarts)
                await self._report(pod, status)
                await self._tell(pod, "Warning", "BackOff", "Back-off restarting failed container")
                await asyncio.sleep(RETRY_SECONDS)
        else:
            await self._report(pod, pods.running(pod, digests, now=_now(), address=address))
            await self._tell(pod, "Normal", "Started", "Container started")

    async def _pull(self, pod: Object, address: str) -> pods.Digests:
        """The digests of all its images; waits, and says so, while one is missing."""
        for attempt in itertools.count():
            digests = {image: await self._digest(image) for image in pods.images(pod)}
            missing = [image for image, digest in digests.items() if digest is None]
            if not missing:
                return digests
            for backing_off in (False, True):
                status = pods.pull_failed(pod, digests, now=_now(), address=address, backing_off=backing_off)
                await self._report(pod, status)
                if not attempt and not backing_off:
                    await self._tell(pod, "Warning", "Failed", pods.pull_error(missing[0]))
            await asyncio.sleep(min(RETRY_SECONDS, 1.0 + attempt))
        raise AssertionError("unreachable: the loop above has no end")

    async def _digest(self, image: str) -> str | None:
        try:
            return await self._resolve(image)
        except (aiohttp.ClientError, OSError) as error:
            log.warning("pull of %s failed: %s", image, error)
            return None

    async def _end(self, pod: Object) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        await self._api.delete(_path(pod), options)

    async def _report(self, pod: Object, status: Object) -> None:
        await self._api.patch(f"{_path(pod)}/status", {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status})

    async def _tell(self, pod: Object, kind: str, reason: str, message: str) -> None:
        """One Event about the Pod."""
        metadata, now = pod["metadata"], _now()
        event = {
            "metadata": {"generateName": f"{metadata['name']}."},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": pod["spec"]["nodeName"]},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._api.create(f"/api/v1/namespaces/{metadata['namespace']}/events", event)

    def _address(self) -> str:
        number = next(self._addresses)
        return f"10.244.{number // 250 % 250}.{number % 250 + 1}"


def node_object(name: str, now: str) -> Object:
    """A Node that only Pods which ask for it land on, where there is a scheduler."""
    return {
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                NODE_LABEL: "emulated",
            },
        },
        "spec": {"taints": [{"key": NODE_LABEL, "value": "emulated", "effect": "NoSchedule"}]},
        "status": node_status(now),
    }


def node_status(now: str, *, port: int | None = None) -> Object:
    """A Ready node with room for many Pods; at `port` of this machine it can be asked for logs."""
    room = {"cpu": "16", "memory": "64Gi", "pods": "250"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "emulated"}
    info = dict.fromkeys(("machineID", "systemUUID", "bootID", "kernelVersion", "containerRuntimeVersion"), "none")
    info |= {"kubeletVersion": "emulated", "kubeProxyVersion": "none", "osImage": "none"}
    reached = {} if port is None else {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
    addresses = {} if port is None else {"addresses": [{"type": "InternalIP", "address": ADDRESS}]}
    return {
        **reached,
        **addresses,
        "nodeInfo": {**info, "operatingSystem": "linux", "architecture": "amd64"},
        "capacity": room,
        "allocatable": room,
        "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
    }


def pinned_node(pod: Object) -> str | None:
    """The one node that a DaemonSet's Pod is for; None for all others."""
    affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
    for term in required.get("nodeSelectorTerms", []):
        for field in term.get("matchFields", []):
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return None


def _path(pod: Object) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
