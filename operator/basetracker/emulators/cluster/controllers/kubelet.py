"""A fake kubelet: Pods start, fail to pull, crash and stop, without any container.

Owns the life of every Pod: its node, the digest behind each image, readiness, back-off, deletion. An image is asked
for through `resolve_image`; a Pod with the annotation `emulator.basetracker.dev/crash: "true"`, or whose image
`crashes` says so, never gets ready. A Pod that is expected to end, such as a Job's, ends at once, with 0 or with the exit
code that its annotation `emulator.basetracker.dev/exit-code` says; `never` lets it go on. What the status looks like is
`podstatus.py`'s.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.controllers.podstatus import ContainerLook, ended_status, pod_status
from basetracker.emulators.cluster.controllers.recorder import Recorder
from basetracker.emulators.cluster.document import Json, dig, rfc3339, same
from basetracker.emulators.cluster.refusals import Refusal
from basetracker.emulators.cluster.store import Change, Name

_LOG = logging.getLogger(__name__)
CRASH = "emulator.basetracker.dev/crash"
EXIT_CODE = "emulator.basetracker.dev/exit-code"
NODE = "emulated-node-1"
_LONGEST_PAUSE = 5.0

ResolveImage = Callable[[str], Awaitable[str | None]]
Crashes = Callable[[str], Awaitable[bool]]


async def any_image(image: str) -> str | None:
    """Every image is there; its digest is the pinned one, or made from its name."""
    _, _, pinned = image.partition("@")
    return pinned or "sha256:" + hashlib.sha256(image.encode()).hexdigest()


async def never_crashes(image: str) -> bool:
    """Every image runs."""
    return False


class Kubelet:
    """Runs the Pods of a cluster on its one node; times are seconds of the real clock."""

    def __init__(
        self,
        client: Client,
        recorder: Recorder,
        clock: Callable[[], datetime],
        *,
        resolve_image: ResolveImage,
        start_seconds: float,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._resolve = resolve_image
        self.start_seconds = start_seconds
        self.crashes: Crashes = never_crashes
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._nudges: dict[Name, asyncio.Event] = {}
        self._running = False
        client.objects.store.listen(self._heard)

    def start(self) -> None:
        """Bring up the node and every Pod that is there."""
        self._running = True
        if self._client.get("Node", "", NODE) is None:
            self._client.apply(_node(rfc3339(self._clock())))
        for pod in self._client.list("Pod"):
            self._begin((pod["metadata"]["namespace"], pod["metadata"]["name"]))

    async def stop(self) -> None:
        """Leave all Pods as they are."""
        self._running = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def look_again(self) -> None:
        """Ask again of every running Pod whether its images crash: for what breaks after it was healthy."""
        for nudge in self._nudges.values():
            nudge.set()

    def _heard(self, change: Change) -> None:
        if change.key != "pods" or not self._running:
            return
        if change.type == "DELETED":
            if task := self._tasks.pop(change.name, None):
                task.cancel()
            self._nudges.pop(change.name, None)
        elif change.name not in self._tasks:
            self._begin(change.name)
        elif change.old is not None and _concerns(change.old.document, change.new.document):
            self._nudges[change.name].set()

    def _begin(self, name: Name) -> None:
        self._nudges[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._live(name))

    # ------------------------------------------------------------------------------------------ one Pod

    async def _live(self, name: Name) -> None:
        try:
            await self._run(name)
        except Refusal as refusal:
            if refusal.code != 404:
                _LOG.warning("the fake kubelet lets go of %s: %s", name, refusal)
        except Exception:
            _LOG.exception("the fake kubelet failed at %s", name)

    async def _run(self, name: Name) -> None:
        nudge = self._nudges[name]
        if not self._bind(name):
            return
        if dig(self._client.get("Pod", *name), "status", "phase") not in ("Succeeded", "Failed"):
            self._write(name, [])
        await _pause(nudge, self.start_seconds)
        pause = max(self.start_seconds * 2, 0.05)
        failed = 0
        while (pod := self._client.get("Pod", *name)) is not None:
            nudge.clear()
            if dig(pod, "metadata", "deletionTimestamp"):
                self._client.delete("Pod", *name, grace=0, uid=pod["metadata"]["uid"])
                return
            if dig(pod, "status", "phase") in ("Succeeded", "Failed"):
                await nudge.wait()
                continue
            looks = await self._looks(pod, failed)
            if not self._write(name, looks):
                return
            for look in looks:
                self._tell(pod, look)
            if all(look.is_running for look in looks):
                failed = 0
                if (code := _exit_code(pod)) is not None:
                    self._end(name, code)
                await nudge.wait()
                continue
            failed += 1
            await _pause(nudge, 0 if failed == 1 else pause)
            pause = min(pause * 2, _LONGEST_PAUSE) if failed > 1 else pause

    def _bind(self, name: Name) -> bool:
        """Schedule the Pod onto the node, where it isn't yet."""

        def change(copy: Json) -> None:
            copy["spec"].setdefault("nodeName", NODE)

        pod = self._client.get("Pod", *name)
        scheduled = dig(pod, "spec", "nodeName")
        pod = self._client.edit("Pod", *name, change)
        if pod is not None and not scheduled:
            message = f"Successfully assigned {name[0]}/{name[1]} to {NODE}"
            self._recorder.record(pod, "Normal", "Scheduled", message, "default-scheduler")
        return pod is not None

    async def _looks(self, pod: Json, failed: int) -> list[ContainerLook]:
        """What becomes of every container: the others wait until the init containers have done their work."""
        inits = dig(pod, "spec", "initContainers", default=[])
        first = [replace(await self._look(pod, container, failed), init=True) for container in inits]
        if all(look.is_running for look in first):
            return first + [await self._look(pod, container, failed) for container in _containers(pod)]
        waiting = [ContainerLook(c["name"], c["image"], reason="PodInitializing") for c in _containers(pod)]
        return first + waiting

    async def _look(self, pod: Json, container: Json, failed: int) -> ContainerLook:
        """What becomes of a container now; the first failure and the back-off after it have names of their own."""
        image = container["image"]
        try:
            digest = await self._resolve(image)
        except Exception as error:
            digest, why = None, str(error)
        else:
            why = f'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": not found'
        if digest is None:
            reason = "ImagePullBackOff" if failed else "ErrImagePull"
            message = f'Back-off pulling image "{image}": ErrImagePull: {why}' if failed else why
            return ContainerLook(container["name"], image, reason=reason, message=message)
        told = dig(pod, "metadata", "annotations", CRASH) == "true"
        if _exit_code(pod) is None and (told or await self.crashes(image)):
            where = f"{container['name']} pod={pod['metadata']['name']}_{pod['metadata']['namespace']}"
            message = f"back-off 10s restarting failed container={where}({pod['metadata']['uid']})"
            reason = "CrashLoopBackOff" if failed else "Error"
            return ContainerLook(container["name"], image, digest, reason, message, crashed=True)
        return ContainerLook(container["name"], image, digest)

    def _write(self, name: Name, looks: list[ContainerLook]) -> bool:
        """Write the Pod's status; False where it is gone."""

        def change(copy: Json) -> None:
            copy["status"] = pod_status(copy, looks, rfc3339(self._clock()))

        return self._client.edit("Pod", *name, change, status=True) is not None

    def _end(self, name: Name, code: int) -> None:
        """Write that every container has ended with this exit code, for good."""

        def change(copy: Json) -> None:
            copy["status"] = ended_status(copy, code, rfc3339(self._clock()))

        self._client.edit("Pod", *name, change, status=True)

    def _tell(self, pod: Json, look: ContainerLook) -> None:
        field = f"spec.{'initContainers' if look.init else 'containers'}{{{look.name}}}"
        match look.reason:
            case "PodInitializing":
                return
            case "":
                pulled = f'Container image "{look.image}" already present on machine'
                told = [("Normal", "Pulled", pulled), ("Normal", "Started", "Started container " + look.name)]
            case "ErrImagePull":
                told = [("Warning", "Failed", f'Failed to pull image "{look.image}": {look.message}')]
            case "ImagePullBackOff":
                told = [("Warning", "BackOff", f'Back-off pulling image "{look.image}"')]
            case "CrashLoopBackOff":
                told = [("Warning", "BackOff", f"Back-off restarting failed container {look.name}")]
            case _:
                told = [("Normal", "Started", "Started container " + look.name)]
        key = "initContainerStatuses" if look.init else "containerStatuses"
        seen = dig(pod, "status", key, default=[])
        before: Json = next((status for status in seen if status["name"] == look.name), {})
        again = look.is_running and before.get("ready") and before.get("image") == look.image
        for kind, reason, message in [] if again else told:
            self._recorder.record(pod, kind, reason, message, "kubelet", field)


def _exit_code(pod: Json) -> int | None:
    """What the Pod's processes end with; None where they go on for ever."""
    if dig(pod, "spec", "restartPolicy", default="Always") == "Always":
        return None
    annotations = dig(pod, "metadata", "annotations", default={})
    told = annotations.get(EXIT_CODE) or ("1" if annotations.get(CRASH) == "true" else "0")
    return None if told == "never" else int(told)


def _containers(pod: Json) -> list[Json]:
    found: list[Json] = dig(pod, "spec", "containers", default=[])
    return found


def _concerns(old: Json, new: Json) -> bool:
    """Whether a change of a Pod is one that its kubelet acts on, rather than its own status."""
    marks = ("annotations", "deletionTimestamp")
    if any(not same(dig(old, "metadata", mark), dig(new, "metadata", mark)) for mark in marks):
        return True
    return _images(old) != _images(new)


def _images(pod: Json) -> list[str]:
    return [c["image"] for c in [*dig(pod, "spec", "initContainers", default=[]), *_containers(pod)]]


async def _pause(nudge: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(nudge.wait(), timeout=seconds)
    except TimeoutError:
        return


def _node(now: str) -> Json:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    info = {
        "kubeletVersion": "v1.36.2",
        "kubeProxyVersion": "v1.36.2",
        "operatingSystem": "linux",
        "architecture": "amd64",
        "osImage": "emulated",
        "kernelVersion": "0",
        "containerRuntimeVersion": "emulated://1",
        "machineID": "0",
        "systemUUID": "0",
        "bootID": "0",
    }
    labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    addresses = [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": NODE}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": labels},
        "status": {
            "conditions": [ready],
            "nodeInfo": info,
            "addresses": addresses,
            "capacity": {"cpu": "64", "memory": "256Gi", "pods": "1100"},
            "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "1100"},
        },
    }
