"""Jobs: Pods until one has succeeded, or too many have failed, or the time is up.

Owns the making of their Pods, the status, and the removal of what has ended. Jobs of one Pod at a time only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.controllers.loop import Key
from basetracker.emulators.cluster.controllers.owning import concerned_owner, new_pod, owned_by
from basetracker.emulators.cluster.document import Json, condition_of, dig, moment_of, rfc3339
from basetracker.emulators.cluster.store import Change

_KEY = "jobs.batch"
_LOOK_AGAIN_SECONDS = 0.25
_OVER = ("Succeeded", "Failed")


class Jobs:
    """The controller of Jobs, and of their time to live after their end."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock

    def concerned(self, change: Change) -> Iterable[Key]:
        """The Job itself, or the one that a Pod belongs to."""
        return concerned_owner(change, "Job", _KEY)

    def reconcile(self, key: Key) -> float | None:
        """Make the next Pod, or write down how it ended, or remove what has been there long enough."""
        _, namespace, name = key
        job = self._client.get("Job", namespace, name)
        if job is None or dig(job, "metadata", "deletionTimestamp"):
            return None
        ended = next((one for kind in ("Complete", "Failed") if (one := condition_of(job, kind))), None)
        if ended is not None:
            return self._expire(job, moment_of(ended["lastTransitionTime"]))
        return self._go_on(job)

    def _go_on(self, job: Json) -> float | None:
        spec, now = job["spec"], self._clock()
        pods = owned_by(self._client, job)
        count = {phase: sum(dig(pod, "status", "phase") == phase for pod in pods) for phase in _OVER}
        live = [pod for pod in pods if dig(pod, "status", "phase") not in _OVER]
        begun = moment_of(dig(job, "status", "startTime", default=rfc3339(now)))
        limit = spec.get("activeDeadlineSeconds")
        condition: tuple[str, str, str] | None = None
        if limit is not None and now - begun >= timedelta(seconds=limit):
            for pod in live:
                self._client.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
            live = []
            condition = ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif count["Succeeded"] >= spec.get("completions", 1):
            condition = ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        elif count["Failed"] > spec.get("backoffLimit", 6):
            condition = ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif not live and not spec.get("suspend"):
            live = [self._client.create(new_pod(job, "batch/v1", "Job", longest=57))]
        self._write(job, count, active=len(live), begun=begun, condition=condition)
        return _LOOK_AGAIN_SECONDS if condition is None and limit is not None else None

    def _write(
        self, job: Json, count: dict[str, int], *, active: int, begun: datetime, condition: tuple[str, str, str] | None
    ) -> None:
        now = rfc3339(self._clock())
        status: Json = {
            "startTime": rfc3339(begun),
            "active": active,
            "succeeded": count["Succeeded"],
            "failed": count["Failed"],
        }
        status = {key: value for key, value in status.items() if value}
        if condition is not None:
            kind, reason, message = condition
            said = {"type": kind, "status": "True", "reason": reason, "message": message}
            status["conditions"] = [said | {"lastProbeTime": now, "lastTransitionTime": now}]
            status |= {"completionTime": now} if kind == "Complete" else {}

        def change(copy: Json) -> None:
            copy["status"] = status

        metadata = job["metadata"]
        self._client.edit("Job", metadata["namespace"], metadata["name"], change, status=True)

    def _expire(self, job: Json, ended: datetime) -> float | None:
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is None:
            return None
        left = (ended + timedelta(seconds=seconds) - self._clock()).total_seconds()
        if left > 0:
            return max(min(left, _LOOK_AGAIN_SECONDS), 0.01)
        metadata = job["metadata"]
        self._client.delete("Job", metadata["namespace"], metadata["name"], uid=metadata["uid"])
        return None
