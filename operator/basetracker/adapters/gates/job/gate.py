"""The gate that asks a Job: `ports.JudgesImages`.

Owns creating the Job once, finding it again, and turning its end into an answer. What the Job looks like is `template.py`'s,
what its end means `ending.py`'s. Waits for nothing: a Job that runs is Pending, so a restart finds it and goes on.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from basetracker.adapters.fence import May, always, only_while
from basetracker.adapters.gates.job.ending import Ending, How, ending, is_over
from basetracker.adapters.gates.job.template import job_of, strangeness
from basetracker.adapters.gates.walk import below
from basetracker.adapters.kube import Json, Kube, path_of
from basetracker.api.names import FIELD_MANAGER, GateVerdict
from basetracker.core.one_line import one_line
from basetracker.errors import BasetrackerError, ConflictError, DeniedError, InvalidError, UnavailableError
from basetracker.oci.refs import Digest
from basetracker.ports import Answer, Clock, Credential, Question

AGAIN: Final = timedelta(seconds=10)
TRIES: Final = 3
"""How often a Job is created within `TRIES_SECONDS` without a verdict."""
TRIES_SECONDS: Final = 24 * 3600.0
REMEMBERED: Final = 5_000
PODS: Final = 50
LOG_LINES: Final = 20
LARGEST_LOG: Final = 64 << 10
LONGEST_LOG: Final = 600
_ESCAPES: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
# Strict: what the API server would leave out would look like a Job of somebody else's.
_CREATION: Final = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
_TRIAL: Final = "-trial"
_HINT: Final = (
    "the operator may not {what} in the namespace {namespace}; bind it to a Role there, as "
    "manifests/samples/job-gate.yaml does: {why}"
)


@dataclass(slots=True)
class _Tries:
    """How often a Job was created since `at`, by the monotonic clock, without a verdict."""

    at: float
    count: int = 0


class JobGates:
    """Asks Jobs; safe for any number of questions at once."""

    def __init__(self, kube: Kube, *, clock: Clock, may: May = always) -> None:
        self._kube = kube
        self._clock = clock
        self._may = may
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def edition(self) -> str:
        """Nothing that is known here: a scanner's data are its own."""
        return ""

    async def judge(self, question: Question, credential: Credential | None) -> Answer:
        """The verdict of the Job for this question, which is created when there is none.

        The Job finds its own way into the registry: `credential` stays here.

        Raises:
            InvalidError: the template can't be used, another Job has the name, or the Job vanishes again and again.
            DeniedError: a right is missing in the tracker's namespace.
            MissingError, UnavailableError: as named.
        """
        gate, digest = question.gate.job, question.image.digest
        if gate is None or digest is None:
            raise InvalidError("a Job is asked about the digest of an image, and by a gate that has a template")
        wanted = job_of(question, gate)
        job = await self._found(wanted) or await self._created(wanted)
        if why := strangeness(job, wanted) and strangeness(job, await self._admitted(wanted)):
            raise InvalidError(f"there is a Job {_name(job)}, but {why}; delete it, so that the gate can make its own")
        return await self._answer(digest, job, ending(job, await self._pods(job)))

    # -- the Job

    async def _found(self, wanted: Json) -> Json | None:
        namespace = wanted["metadata"]["namespace"]
        try:
            return await self._kube.get(path_of("batch/v1", "jobs", namespace, _name(wanted)))
        except DeniedError as error:
            raise _denied("get Jobs", namespace, error) from error

    async def _created(self, wanted: Json) -> Json:
        """The Job, as stored; of two that create it at once, one finds the other's."""
        namespace, name = wanted["metadata"]["namespace"], _name(wanted)
        tries = self._tried(name)
        if tries.count >= TRIES:
            raise InvalidError(
                f"the Job {name} has ended {TRIES} times within a day without a verdict, or was deleted before its end; see "
                "its Pods and events, mend the gate's template, or wait a day"
            )
        try:
            with only_while(self._may):
                job = await self._kube.post(path_of("batch/v1", "jobs", namespace), wanted, _CREATION)
        except ConflictError:
            found = await self._found(wanted)
            if found is None:
                raise UnavailableError(f"the Job {name} is just being deleted") from None
            return found
        except DeniedError as error:
            raise _denied("create Jobs", namespace, error) from error
        except InvalidError as error:
            raise InvalidError(f"the gate's Job can't be created: {error}") from error
        tries.count += 1
        return job

    async def _admitted(self, wanted: Json) -> Json:
        """The Job as admission would let it in and the API server store it; nothing is stored."""
        name = _name(wanted)
        trial = wanted | {"metadata": wanted["metadata"] | {"name": name[: -len(_TRIAL)] + _TRIAL}}
        path = path_of("batch/v1", "jobs", wanted["metadata"]["namespace"])
        try:
            found = await self._kube.post(path, trial, _CREATION | {"dryRun": "All"})
        except (DeniedError, InvalidError):  # such as a webhook that can't be asked without an effect
            return wanted
        spec = below(found, "spec")
        is_whole = isinstance(below(spec, "template", "spec", "containers"), list)
        return wanted | {"spec": spec} if is_whole else wanted

    def _tried(self, name: str) -> _Tries:
        now = self._clock.monotonic()
        tries = self._tries.get(name)
        if tries is None or now - tries.at > TRIES_SECONDS:
            tries = self._tries[name] = _Tries(at=now)
        self._tries.move_to_end(name)
        while len(self._tries) > REMEMBERED:
            self._tries.popitem(last=False)
        return tries

    async def _pods(self, job: Json) -> list[Json]:
        """The Job's Pods, but for one that has succeeded, whose end needs no more than the Job itself."""
        namespace = job["metadata"]["namespace"]
        if is_over(job) and ending(job, ()).how is How.PASSED:
            return []
        selector = f"batch.kubernetes.io/controller-uid={job['metadata']['uid']}"
        try:
            page = await self._kube.get(
                path_of("v1", "pods", namespace), {"labelSelector": selector, "limit": str(PODS)}
            )
        except DeniedError as error:
            raise _denied("list Pods", namespace, error) from error
        items = (page or {}).get("items")
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    # -- the answer

    async def _answer(self, digest: Digest, job: Json, found: Ending) -> Answer:
        name = _name(job)
        because = f": {found.why}" if found.why else ""
        verdict, again = GateVerdict.PENDING, None
        match found.how:
            case How.RUNS:
                reason, again = "JobRuns", AGAIN
                message = f"the Job {name} isn't done yet{because}"
            case How.PASSED:
                verdict, reason, message = GateVerdict.PASS, "JobSucceeded", f"the Job {name} has succeeded"
            case How.FAILED:
                verdict, reason = GateVerdict.FAIL, "JobFailed"
                message = f"the Job {name} has failed with {found.why}{await self._log(job, found)}"
            case How.TIMED_OUT:
                reason = "JobTimedOut"
                message = f"the Job {name} took longer than its timeout and was ended{because}; {_AFTERWARDS}"
            case How.LOST:
                reason = "JobLost"
                said = await self._log(job, found)
                message = f"the Job {name} has failed without a verdict{because}{said}; {_AFTERWARDS}"
            case How.BROKEN:
                raise InvalidError(f"the Job {name} can't judge anything{because}{await self._log(job, found)}")
        if verdict is not GateVerdict.PENDING:
            self._tries.pop(name, None)
        return Answer(digest=digest, verdict=verdict, reason=reason, message=message, again=again)

    async def _log(self, job: Json, found: Ending) -> str:
        """The last lines that the container wrote, as the end of a sentence; why not, where they can't be read."""
        if not found.pod:
            return ""
        path = path_of("v1", "pods", job["metadata"]["namespace"], found.pod, "log")
        params = {"container": found.container, "tailLines": str(LOG_LINES), "limitBytes": str(LARGEST_LOG)}
        try:
            text = await self._kube.text(path, params, largest=LARGEST_LOG)
        except DeniedError:
            return "; its log can't be read, since the operator may not get pods/log"
        except BasetrackerError:
            return "; its log can't be read"
        line = last_words(text or "")
        return f": {line}" if line else "; it wrote nothing"


_AFTERWARDS: Final = "it is made anew when it is gone"


def last_words(text: str) -> str:
    """The last lines of a log as one line of at most `LONGEST_LOG` characters, without anything that isn't printed."""
    lines = [one_line(line) for line in _ESCAPES.sub("", text).splitlines()]
    kept: list[str] = []
    left = LONGEST_LOG
    for line in reversed([line for line in lines if line]):
        kept.append(line if len(line) <= left else "…" + line[len(line) - left + 1 :])
        left -= len(line) + len(_BETWEEN)
        if left <= 1:
            break
    return _BETWEEN.join(reversed(kept))


_BETWEEN: Final = " | "


def _denied(what: str, namespace: str, error: DeniedError) -> DeniedError:
    return DeniedError(_HINT.format(what=what, namespace=namespace, why=error))


def _name(job: Json) -> str:
    return str(job["metadata"]["name"])
