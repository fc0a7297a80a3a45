"""History: what has happened between two statuses, as entries; the Events told are made of the same entries. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from basetracker.api.names import BuildState, GateVerdict, HistoryEvent, Reason, WorkloadState
from basetracker.api.status import DownstreamStatus, GateStatus, HistoryEntry, Status, WorkloadStatus
from basetracker.core.actions import Deliver, Outcome
from basetracker.oci.refs import Digest

WARNINGS = frozenset(
    {
        HistoryEvent.BUILD_FAILED,
        HistoryEvent.REJECTED,
        HistoryEvent.FAILS_SINCE,
        HistoryEvent.STUCK,
        HistoryEvent.OVERRIDDEN,
    }
)
ON_WORKLOAD = frozenset({HistoryEvent.DELIVERED, HistoryEvent.HEALTHY, HistoryEvent.STUCK, HistoryEvent.OVERRIDDEN})


def entries_between(
    before: Status, after: Status, outcomes: Iterable[Outcome], now: datetime
) -> tuple[HistoryEntry, ...]:
    """What has happened, oldest first."""
    found: list[HistoryEntry] = []
    if before.base is not None and after.base is not None and before.base.digest != after.base.digest:
        found.append(
            HistoryEntry(
                at=now, event=HistoryEvent.BASE_MOVED, from_=str(before.base.digest), to=str(after.base.digest)
            )
        )
    for item in after.downstream:
        found.extend(_image_entries(before.of(item.name), item, now))
    for outcome in outcomes:
        if isinstance(outcome.action, Deliver) and outcome.workload is not None:
            found.append(_delivered(outcome.action, now))
    return tuple(found)


def sentence(entry: HistoryEntry) -> str:
    """The entry for people, with old and new digest."""
    what = f"{entry.downstream}: " if entry.downstream else ""
    old, new = _short(entry.from_), _short(entry.to)
    event = entry.event
    match event:
        case HistoryEvent.BASE_MOVED:
            return f"the base moved from {old} to {new}"
        case HistoryEvent.VALIDATED:
            return f"{what}{new} passed every gate for base {_short(entry.reason)}" + (f", after {old}" if old else "")
        case HistoryEvent.BUILD_STARTED:
            return f"{what}run {entry.to} was started, {entry.reason}"
        case HistoryEvent.BUILD_ADOPTED:
            return f"{what}run {entry.to} is adopted, {entry.reason}"
        case HistoryEvent.BUILD_SUCCEEDED:
            return f"{what}run {entry.from_} made {new or 'no image'}"
        case HistoryEvent.DELIVERED:
            return f"{what}{entry.reason} got {new}" + (f" instead of {old}" if old else "")
        case HistoryEvent.HEALTHY:
            return f"{what}{entry.reason} is healthy with {new}"
        case HistoryEvent.TAG_MOVED:
            return f"{what}the tag moved from {old} to {new}; {entry.reason}"
        case (
            HistoryEvent.BUILD_FAILED
            | HistoryEvent.REJECTED
            | HistoryEvent.FAILS_SINCE
            | HistoryEvent.STUCK
            | HistoryEvent.OVERRIDDEN
        ):
            return f"{what}{entry.reason}"
        case _:
            assert_never(event)


def workload_name(entry: HistoryEntry) -> str:
    """The name of the workload that an entry of `ON_WORKLOAD` is about: its reason begins with `Kind name`."""
    words = entry.reason.split()
    return words[1].partition("/")[0] if len(words) > 1 else ""


def _image_entries(before: DownstreamStatus | None, after: DownstreamStatus, now: datetime) -> Iterable[HistoryEntry]:
    yield from _build_entries(before, after, now)
    old = before.validated if before else None
    new = after.validated
    if new is not None and (old is None or (old.digest, old.base_digest) != (new.digest, new.base_digest)):
        yield _entry(
            after, HistoryEvent.VALIDATED, now, str(old.digest) if old else "", str(new.digest), str(new.base_digest)
        )
    was = before.reason if before else None
    rejected = _rejected(after)
    if rejected and rejected != _rejected(before):
        yield _entry(after, HistoryEvent.REJECTED, now, "", rejected, after.message)
    useless = _useless(after)
    if (
        useless is not None
        and useless.digest is not None
        and (useless.digest, useless.name) != _name_of(_useless(before))
    ):
        told = f"the rebuild made {useless.digest.short}, which fails gate {useless.name} too: {useless.message}"
        yield _entry(after, HistoryEvent.REJECTED, now, "", str(useless.digest), told)
    known = {(gate.digest, gate.name) for gate in _failing(before)}
    for gate in _failing(after):
        if (gate.digest, gate.name) not in known:
            digest = str(gate.digest)
            told = f"{_short(digest)} runs or is validated and fails gate {gate.name} by now: {gate.message}"
            yield _entry(after, HistoryEvent.FAILS_SINCE, now, "", digest, told)
    if after.reason is Reason.OVERRIDDEN and was is not after.reason:
        yield _entry(after, HistoryEvent.OVERRIDDEN, now, "", str(new.digest) if new else "", after.message)
    if before is not None and before.latest and after.latest and old == new and new is not None:
        moved = after.latest.digest not in {before.latest.digest, new.digest}
        if moved and not (after.build and after.build.state.is_live):
            reason = f"{new.digest.short} stays delivered"
            yield _entry(
                after, HistoryEvent.TAG_MOVED, now, str(before.latest.digest), str(after.latest.digest), reason
            )
    yield from _workload_entries(before, after, now)


def _rejected(item: DownstreamStatus | None) -> str:
    """The digest that is not delivered for what a gate says of it; empty when it had passed that gate before."""
    if item is None:
        return ""
    if item.reason is Reason.LINEAGE_NOT_PROVEN:
        return _digest_of_build(item)
    if item.reason is not Reason.GATE_FAILED:
        return ""
    told = {gate.digest for gate in _failing(item)}
    failed = (gate.digest for gate in item.gates if gate.verdict is GateVerdict.FAIL and gate.digest is not None)
    return next((str(digest) for digest in failed if digest not in told), "")


def _useless(item: DownstreamStatus | None) -> GateStatus | None:
    """The gate that a digest fails which was built to replace the validated one."""
    if item is None or item.build is None or item.build.replaces is None or item.validated is None:
        return None
    if item.build.replaces != item.validated.digest:
        return None
    failed = (gate for gate in item.gates if gate.verdict is GateVerdict.FAIL and gate.digest == item.build.digest)
    return next(failed, None)


def _name_of(gate: GateStatus | None) -> tuple[Digest | None, str]:
    return (gate.digest, gate.name) if gate is not None else (None, "")


def _failing(item: DownstreamStatus | None) -> tuple[GateStatus, ...]:
    """For each digest that is validated or runs, the gate that it fails by now."""
    if item is None:
        return ()
    validated = (item.validated.failing,) if item.validated is not None and item.validated.failing is not None else ()
    return (*validated, *item.failing)


def _build_entries(before: DownstreamStatus | None, after: DownstreamStatus, now: datetime) -> Iterable[HistoryEntry]:
    old, new = before.build if before else None, after.build
    if new is None:
        return
    is_new_run = new.run_id is not None and (old is None or old.run_id != new.run_id)
    if is_new_run and new.run_id is not None:
        event = HistoryEvent.BUILD_ADOPTED if new.adopted else HistoryEvent.BUILD_STARTED
        reason = f"attempt {new.attempt} for base {new.base_digest.short}"
        if new.replaces is not None:
            reason += f", to replace {new.replaces.short}"
        yield _entry(after, event, now, "", new.run_id, reason)
    was = old.state if old is not None and not is_new_run else None
    if new.state is BuildState.SUCCEEDED and was is not new.state:
        yield _entry(after, HistoryEvent.BUILD_SUCCEEDED, now, new.run_id or "", _digest_of_build(after), "")
    elif new.state.is_failure and (was is not new.state or (old and old.attempt != new.attempt)):
        run = f"run {new.run_id}" if new.run_id else "no run could be started"
        yield _entry(after, HistoryEvent.BUILD_FAILED, now, new.run_id or "", "", f"{run}: {new.message}")


def _workload_entries(
    before: DownstreamStatus | None, after: DownstreamStatus, now: datetime
) -> Iterable[HistoryEntry]:
    rows = {_place(row): row for row in before.workloads} if before else {}
    for row in after.workloads:
        if row.digest is None:
            continue  # it runs what its team put there, without a digest: nothing of ours has happened to it
        old = rows.get(_place(row))
        was = old.state if old is not None and old.digest == row.digest else None
        name = f"{row.kind} {row.name}/{row.container}"
        digest = str(row.digest)
        if row.state is WorkloadState.HEALTHY and was in {WorkloadState.PROGRESSING, WorkloadState.STUCK}:
            yield _entry(after, HistoryEvent.HEALTHY, now, "", digest, name)
        elif row.state is WorkloadState.STUCK and was is not WorkloadState.STUCK:
            yield _entry(after, HistoryEvent.STUCK, now, "", digest, f"{name} didn't become healthy in time")


def _delivered(action: Deliver, now: datetime) -> HistoryEntry:
    names = ",".join(change.container for change in action.containers)
    old = action.containers[0].old.partition("@")[2]
    return HistoryEntry(
        at=now,
        downstream=action.downstream,
        event=HistoryEvent.DELIVERED,
        from_=old,
        to=str(action.digest),
        reason=f"{action.workload.kind} {action.workload.name}/{names}",
    )


def _entry(item: DownstreamStatus, event: HistoryEvent, now: datetime, old: str, new: str, reason: str) -> HistoryEntry:
    return HistoryEntry(at=now, downstream=item.name, event=event, from_=old, to=new, reason=reason[:1024])


def _digest_of_build(item: DownstreamStatus) -> str:
    return str(item.build.digest) if item.build is not None and item.build.digest is not None else ""


def _place(row: WorkloadStatus) -> tuple[str, str, str]:
    return (row.kind, row.name, row.container)


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12] if digest.startswith("sha256:") else digest
