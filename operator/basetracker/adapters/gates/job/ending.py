"""How a Job ended, from what the API server stores of it and its Pods. Pure.

Owns the difference between a scanner that judged, one that couldn't, and a Job that goes on. Only a Job that is complete,
with a Pod that succeeded, has passed; only a scanner that ran and ended by itself has failed the image. Init containers
prepare and don't judge. Used by `gate.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from basetracker.adapters.gates.walk import below, objects_in, text_below
from basetracker.adapters.kube import Json

PULL_TROUBLE: Final = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"}
CONFIG_TROUBLE: Final = {
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
CANNOT_START: Final = {"StartError", "ContainerCannotRun", "ContainerStatusUnknown"}
FIRST_NOT_A_VERDICT: Final = 126
"""Exit codes of shells and signals: 126 and 127 for what can't be run, 128 and more for what was killed."""


class How(StrEnum):
    """What a Job tells."""

    RUNS = "Runs"
    PASSED = "Passed"
    FAILED = "Failed"
    """The scanner ran and said no."""
    TIMED_OUT = "TimedOut"
    LOST = "Lost"
    """It ended without a verdict, for a reason that may not come again."""
    BROKEN = "Broken"
    """The scanner can't be run as the template has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a Job stands: `why` is one stable phrase; the Pod and the container are those whose log tells more."""

    how: How
    why: str = ""
    pod: str = ""
    container: str = ""


def is_over(job: Json) -> bool:
    """Whether nothing will run for it any more."""
    return _condition(job, "Complete") is not None or _condition(job, "Failed") is not None


def ending(job: Json, pods: Sequence[Json]) -> Ending:
    """How the Job stands; `pods` are those that it made, as far as they are still there."""
    if _condition(job, "Complete") is not None:
        succeeded = below(job, "status", "succeeded")
        if isinstance(succeeded, int) and succeeded > 0 and _condition(job, "Failed") is None:
            return Ending(how=How.PASSED)
        return Ending(how=How.BROKEN, why="it is complete without a Pod that has succeeded")
    failed = _condition(job, "Failed")
    if failed is None:
        return Ending(how=How.RUNS, why=_trouble(pods))
    if failed.get("reason") == "DeadlineExceeded":
        return Ending(how=How.TIMED_OUT, why=_trouble(pods))
    return _failure(pods)


def _failure(pods: Sequence[Json]) -> Ending:
    """Why it failed, by the last Pod that failed."""
    failed = [pod for pod in pods if below(pod, "status", "phase") == "Failed"]
    if not failed:
        return Ending(how=How.LOST, why="its Pod is gone")
    pod = max(
        failed, key=lambda pod: (text_below(pod, "metadata", "creationTimestamp"), text_below(pod, "metadata", "name"))
    )
    if _was_disrupted(pod):
        return Ending(how=How.LOST, why="its Pod was evicted")
    found = [
        end for one in objects_in(below(pod, "status", "containerStatuses")) if (end := _end(pod, one)) is not None
    ]
    # A container that has said no has judged, whatever became of those beside it.
    judged = next((end for end in found if end.how is How.FAILED), None)
    if judged is not None or found:
        return judged or found[0]
    inits = objects_in(below(pod, "status", "initContainerStatuses"))
    prepared = next((end for one in inits if (end := _end(pod, one)) is not None), None)
    if prepared is None:
        return Ending(how=How.LOST, why="no container of its Pod tells how it ended")
    if prepared.how is How.FAILED:  # a registry that it can't reach is no fault of the image
        return replace(prepared, how=How.LOST, why=f"its init container {prepared.container} failed")
    return prepared


def _end(pod: Json, container: Json) -> Ending | None:
    """What the end of one container means; None when it goes on, or ended well."""
    ended = below(container, "state", "terminated")
    code = ended.get("exitCode") if isinstance(ended, dict) else None
    if not isinstance(code, int) or isinstance(code, bool) or code == 0:
        return None
    name, reason = text_below(container, "name"), text_below(ended, "reason")
    where = {"pod": text_below(pod, "metadata", "name"), "container": name}
    if reason == "OOMKilled":
        return Ending(how=How.LOST, why=f"its container {name} ran out of memory", **where)
    if reason in CANNOT_START or code in {126, 127}:
        return Ending(how=How.BROKEN, why=f"its container {name} can't be started", **where)
    if not 0 < code < FIRST_NOT_A_VERDICT:
        return Ending(how=How.LOST, why=f"its container {name} was killed (exit code {code})", **where)
    return Ending(how=How.FAILED, why=f"exit code {code}", **where)


def _was_disrupted(pod: Json) -> bool:
    """Whether the cluster ended the Pod, rather than its process."""
    if text_below(pod, "status", "reason"):  # Evicted, NodeLost, Shutdown, Preempting: a process that ends leaves none
        return True
    return any(
        condition.get("type") == "DisruptionTarget" and condition.get("status") == "True"
        for condition in objects_in(below(pod, "status", "conditions"))
    )


def _trouble(pods: Sequence[Json]) -> str:
    """Why a Pod doesn't come to its work; the same for as long as it is so."""
    found = set()
    for pod in pods:
        for container in _containers(pod):
            reason, name = text_below(container, "state", "waiting", "reason"), text_below(container, "name")
            if reason in PULL_TROUBLE:
                found.add(f"the image of its container {name} can't be pulled")
            elif reason in CONFIG_TROUBLE:
                found.add(f"its container {name} can't be started ({reason})")
    return min(found, default="")


def _containers(pod: Json) -> Iterator[Json]:
    for field in ("initContainerStatuses", "containerStatuses"):
        yield from objects_in(below(pod, "status", field))


def _condition(job: Json, kind: str) -> Json | None:
    conditions = objects_in(below(job, "status", "conditions"))
    return next((one for one in conditions if (one.get("type"), one.get("status")) == (kind, "True")), None)
