"""Builds: how a build record follows its run, which runs count as ours, and when to try again. Pure.

The promise kept here: never two runs of ours live or succeeded for one (task, image, base), nor for one digest that is to be
replaced on the same base. The record is written before the call; a record without a run is searched for among the task's runs and never simply repeated.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeGuard

from basetracker.api.names import REQUESTED_AT, BuildState, Reason
from basetracker.api.status import BuildStatus
from basetracker.core.actions import StartBuild, build_key
from basetracker.core.observed import BuildSeen, Run
from basetracker.oci.refs import Digest, ImageRef

MAX_ATTEMPTS: Final = 5
FIRST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(minutes=30)
REFUSED_WAIT: Final = timedelta(minutes=10)
"""How long to wait after a request that was refused for want of rights."""
BUSY_WAIT: Final = timedelta(minutes=1)
"""How long to wait for a builder that can't take a request now and doesn't say for how long."""
SETTLE: Final = timedelta(minutes=2)
"""How long a run that was asked for may take to appear among the task's runs."""
SKEW: Final = timedelta(minutes=2)
"""How far the builder's clock may be from ours."""


def run_token(key: str) -> str:
    """The token that a run is started with and found again by; base64, as `updateTriggerToken` must be."""
    return base64.b64encode(hashlib.sha256(key.encode()).hexdigest().encode()).decode()


def wait_after(attempt: int) -> timedelta:
    """How long to wait after the failed attempt with this number, counted from 1."""
    return min(FIRST_WAIT * int(2 ** (attempt - 1)), LONGEST_WAIT)


def followed(
    record: BuildStatus, *, seen: BuildSeen, image: ImageRef, base: ImageRef, timeout: timedelta, now: datetime
) -> BuildStatus:
    """The record after what was seen of its run; unchanged while nothing is known."""
    if not record.state.is_live:
        return record
    if record.run_id is None:
        found = own_run(record, seen, image, base)
        if found is not None:
            return _absorbed(record.model_copy(update={"run_id": found.run_id}), found, image, timeout, now)
        if _is_settled(record, seen, now):
            return failed(record, "no run was started by the last request", BuildState.FAILED, now)
        return record
    if seen.run is not None:
        return _absorbed(record, seen.run, image, timeout, now)
    if seen.task is not None and seen.problem is None:
        return failed(record, f"run {record.run_id} is gone", BuildState.FAILED, now)
    return record


def own_run(record: BuildStatus, seen: BuildSeen, image: ImageRef, base: ImageRef) -> Run | None:
    """The run that a request without an answer has started: by its token, else by time where tokens aren't echoed."""
    if seen.task is None:
        return None
    key = build_key(seen.task, image, base.pinned(record.base_digest).digest, record.attempt, record.replaces)
    earliest = record.requested_at - SKEW if record.requested_at else None
    since = [run for run in seen.recent if earliest is None or (run.created and run.created >= earliest)]
    by_token = next((run for run in since if run.token == run_token(key)), None)
    if by_token is not None or earliest is None:
        return by_token
    silent = [run for run in since if not run.token and not run.automatic]
    return silent[-1] if silent else None


def existing_run(runs: Sequence[Run], action: StartBuild) -> Run | None:
    """A run that makes another one needless: ours for this very build, or one that ACR's base trigger started for the base.

    ACR's run builds on what the base's tag points to when it begins. Where the base isn't followed `by_tag` that may be
    another digest for ever, so such a run is nobody's until its result has been judged. Nor is it the one that is to replace
    a digest which has the base.
    """
    numbers = range(1, max(action.attempt, MAX_ATTEMPTS) + 1)
    tokens = {run_token(replace(action, attempt=number).key) for number in numbers}
    ours = [run for run in runs if run.token in tokens and not run.state.is_failure]
    if ours or not action.by_tag or action.replaces is not None:
        return ours[0] if ours else None
    return next((run for run in runs if run.state.is_live and is_triggered_by(run, action.base)), None)


def is_triggered_by(run: Run, base: ImageRef) -> bool:
    """Whether ACR started the run because this digest of the base was pushed."""
    return any(ref.repository == base.repository and ref.digest == base.digest for ref in run.triggered_by)


def live_run(runs: Iterable[Run]) -> Run | None:
    """A run that is still going on, whoever started it."""
    return next((run for run in runs if run.state.is_live), None)


def output_digest(run: Run, image: ImageRef) -> Digest | None:
    """The digest that the run reports for this image: the one under its tag, else the only one of its repository."""
    same = [ref for ref in run.outputs if ref.repository == image.repository and ref.digest is not None]
    tagged = [ref.digest for ref in same if ref.tag == image.tag]
    if tagged:
        return tagged[0]
    digests = {ref.digest for ref in same}
    return digests.pop() if len(digests) == 1 else None


def is_overdue(record: BuildStatus, timeout: timedelta, now: datetime) -> bool:
    """Whether queueing and running have taken longer than the tracker allows."""
    return record.requested_at is not None and now - record.requested_at > timeout


def progress(record: BuildStatus) -> tuple[Reason, str]:
    """How a live record's run is coming along."""
    run = f"run {record.run_id} for base {record.base_digest.short}"
    if record.replaces is not None:
        run += f" instead of {record.replaces.short}"
    adopted = ", started by ACR's own trigger or somebody else and adopted" if record.adopted else ""
    match record.state:
        case BuildState.REQUESTED:
            return Reason.BUILD_REQUESTED, "a run was asked for and is looked for among the task's runs"
        case BuildState.QUEUED:
            return Reason.BUILD_QUEUED, f"{run} is queued{adopted}"
        case BuildState.RUNNING:
            return Reason.BUILD_RUNNING, f"{run} is running{adopted}"
        case _ if record.run_id is not None:
            return Reason.BUILD_UNKNOWN, f"how {run} goes on isn't known and is looked up"
        case _:
            return Reason.BUILD_UNKNOWN, f"whether a run was started isn't known and is looked up: {record.message}"


def setback(record: BuildStatus) -> str:
    """What became of the last attempt, and what brings the next."""
    what = f"attempt {record.attempt} of {MAX_ATTEMPTS} failed" if record.run_id else "no run could be started"
    return (
        f"{what}: {record.message}; the next attempt comes after a wait, or now with a new value of the annotation "
        f"{REQUESTED_AT}"
    )


def is_record_of(record: BuildStatus | None, base: Digest | None, replaces: Digest | None) -> TypeGuard[BuildStatus]:
    """Whether the record is that of the build for this base and with this cause."""
    return record is not None and (record.base_digest, record.replaces) == (base, replaces)


def refused(
    record: BuildStatus | None, asked: BuildStatus, message: str, now: datetime, wait: timedelta
) -> BuildStatus:
    """The record of a run that the builder wouldn't start now: no attempt is counted."""
    return BuildStatus(
        state=BuildState.FAILED,
        base_digest=asked.base_digest,
        replaces=asked.replaces,
        attempt=record.attempt if is_record_of(record, asked.base_digest, asked.replaces) else 0,
        finished_at=now,
        next_attempt_at=now + wait,
        message=message,
    )


def failed(record: BuildStatus, message: str, state: BuildState, finished: datetime) -> BuildStatus:
    """The record of a failed attempt, with the time of the next one unless it was the last."""
    again = finished + wait_after(record.attempt) if record.attempt < MAX_ATTEMPTS else None
    return record.model_copy(
        update={"state": state, "message": message, "finished_at": finished, "next_attempt_at": again}
    )


def request_of(action: StartBuild, base: Digest, state: BuildState, now: datetime) -> BuildStatus:
    """The record of a run that is asked for now."""
    return BuildStatus(
        state=state, base_digest=base, replaces=action.replaces, attempt=action.attempt, requested_at=now
    )


def record_of(run: Run, asked: BuildStatus, *, adopted: bool) -> BuildStatus:
    """The record of a run that goes on or has been found for what `asked` is of."""
    return asked.model_copy(
        update={
            "run_id": run.run_id,
            "state": BuildState.QUEUED if run.state is BuildState.REQUESTED else _live_or_queued(run.state),
            "requested_at": asked.requested_at if not adopted else (run.created or asked.requested_at),
            "adopted": adopted,
        }
    )


def _live_or_queued(state: BuildState) -> BuildState:
    """A run that has ended by now is taken in by the next turn, from its own account."""
    return state if state.is_live else BuildState.RUNNING


def _is_settled(record: BuildStatus, seen: BuildSeen, now: datetime) -> bool:
    return (
        seen.task is not None
        and seen.problem is None
        and record.requested_at is not None
        and now - record.requested_at > SETTLE
    )


def _absorbed(record: BuildStatus, run: Run, image: ImageRef, timeout: timedelta, now: datetime) -> BuildStatus:
    if run.state.is_live:
        return record.model_copy(update={"state": run.state, "message": ""})
    finished = run.finished or now
    if run.state is BuildState.SUCCEEDED:
        return record.model_copy(
            update={"state": run.state, "finished_at": finished, "digest": output_digest(run, image), "message": ""}
        )
    if run.state is BuildState.CANCELED and is_overdue(record, timeout, finished):
        return failed(record, f"run {run.run_id} was ended because it took too long", BuildState.TIMED_OUT, finished)
    message = run.message or f"run {run.run_id} ended as {run.state}"
    return failed(record, message, run.state, finished)
