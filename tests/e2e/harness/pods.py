"""What a kubelet says of a Pod: its status in each stage of its life.

Owns the shape of `Pod.status`, as strategic merge patches. Pure: no clock, no network. Used by `kubelet.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = dict[str, Any]
Digests = Mapping[str, str | None]

CRASH_ANNOTATION = "emulator.basetracker.dev/crash"
EXIT_CODE_ANNOTATION = "emulator.basetracker.dev/exit-code"


def images(pod: Object) -> list[str]:
    """The images of all its containers, init containers first, each once."""
    return list(dict.fromkeys(container["image"] for container in [*_init(pod), *_main(pod)]))


def crashes(pod: Object) -> bool:
    """Whether its annotation asks for a process that fails."""
    return bool((pod["metadata"].get("annotations") or {}).get(CRASH_ANNOTATION) == "true")


def ends_by_itself(pod: Object) -> bool:
    """Whether it is a Job's kind of Pod, whose process is expected to end."""
    return bool(pod["spec"].get("restartPolicy", "Always") != "Always")


def exit_code(pod: Object) -> int | None:
    """What the process of a Job's kind of Pod ends with, by its annotations; None for `never`."""
    told = (pod["metadata"].get("annotations") or {}).get(EXIT_CODE_ANNOTATION, str(int(crashes(pod))))
    return None if told == "never" else int(told)


def is_over(pod: Object) -> bool:
    """Whether it has ended for good."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def running(pod: Object, digests: Digests, *, now: str, address: str) -> Object:
    """Every container runs and is ready."""
    return {
        **_placed(pod, now=now, address=address),
        "phase": "Running",
        "conditions": _conditions(now, initialized=True, ready=True),
        "initContainerStatuses": _statuses(_init(pod), digests, _terminated(now, 0)),
        "containerStatuses": _statuses(_main(pod), digests, {"running": {"startedAt": now}}, ready=True),
    }


def pull_failed(pod: Object, digests: Digests, *, now: str, address: str, backing_off: bool) -> Object:
    """The containers whose image is missing wait for it, and so does everything else."""
    missing = next(image for image, digest in digests.items() if digest is None)

    def state(container: Object) -> Object:
        if digests[container["image"]] is not None:
            return {"waiting": {"reason": "ContainerCreating"}}
        if backing_off:
            message = f'Back-off pulling image "{container["image"]}"'
            return {"waiting": {"reason": "ImagePullBackOff", "message": message}}
        return {"waiting": {"reason": "ErrImagePull", "message": pull_error(missing)}}

    nothing: Digests = dict.fromkeys(digests)
    return {
        **_placed(pod, now=now, address=address),
        "phase": "Pending",
        "conditions": _conditions(now, initialized=not _init(pod), ready=False),
        "initContainerStatuses": [s for c in _init(pod) for s in _statuses([c], nothing, state(c))],
        "containerStatuses": [s for c in _main(pod) for s in _statuses([c], nothing, state(c))],
    }


def crash_looping(pod: Object, digests: Digests, *, now: str, address: str, restarts: int) -> Object:
    """Every container has failed `restarts` + 1 times and waits for the next start."""
    waiting = {
        "waiting": {
            "reason": "CrashLoopBackOff",
            "message": f"back-off restarting failed container in pod {pod['metadata']['name']}",
        }
    }
    statuses = _statuses(_main(pod), digests, waiting)
    for status in statuses:
        status |= {"restartCount": restarts, "lastState": _terminated(now, 1)}
    return {
        **_placed(pod, now=now, address=address),
        "phase": "Running",
        "conditions": _conditions(now, initialized=True, ready=False),
        "initContainerStatuses": _statuses(_init(pod), digests, _terminated(now, 0)),
        "containerStatuses": statuses,
    }


def ended(pod: Object, digests: Digests, *, now: str, address: str, code: int) -> Object:
    """Every container has ended with `code`, for good."""
    return {
        **_placed(pod, now=now, address=address),
        "phase": "Failed" if code else "Succeeded",
        "conditions": _conditions(now, initialized=True, ready=False),
        "initContainerStatuses": _statuses(_init(pod), digests, _terminated(now, 0)),
        "containerStatuses": _statuses(_main(pod), digests, _terminated(now, code)),
    }


def pull_error(image: str) -> str:
    """What a container runtime says of an image that its registry doesn't have."""
    return f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'


def repository(image: str) -> str:
    """The image without its tag and digest."""
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]


def _init(pod: Object) -> list[Object]:
    return list(pod["spec"].get("initContainers") or [])


def _main(pod: Object) -> list[Object]:
    return list(pod["spec"]["containers"])


def _placed(pod: Object, *, now: str, address: str) -> Object:
    return {
        "hostIP": "192.0.2.1",
        "hostIPs": [{"ip": "192.0.2.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": pod.get("status", {}).get("startTime") or now,
    }


def _conditions(now: str, *, initialized: bool, ready: bool) -> list[Object]:
    truth = {
        "PodReadyToStartContainers": True,
        "Initialized": initialized,
        "ContainersReady": ready,
        "Ready": ready,
    }
    reason = {} if ready else {"reason": "ContainersNotReady"}
    return [
        {"type": kind, "status": str(value), "lastTransitionTime": now, **({} if value else reason)}
        for kind, value in truth.items()
    ]


def _statuses(containers: Iterable[Object], digests: Digests, state: Object, *, ready: bool = False) -> list[Object]:
    """One status a container; a container that has its image is told by the image's digest, as a node does."""
    found = []
    for container in containers:
        image, digest = container["image"], digests[container["image"]]
        done = state.get("terminated", {}).get("exitCode") == 0
        found.append(
            {
                "name": container["name"],
                "image": image,
                "imageID": f"{repository(image)}@{digest}" if digest else "",
                "ready": ready or done,
                "started": ready,
                "restartCount": 0,
                "state": state,
                "lastState": {},
            }
        )
    return found


def _terminated(now: str, code: int) -> Object:
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}}
