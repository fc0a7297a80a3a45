"""The status: what is written is read back, and what can't be read is as if it weren't there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from basetracker.api import status as api
from basetracker.api.names import BuildState, ConditionType, GateVerdict, HistoryEvent, Reason, State, WorkloadState
from basetracker.api.status import Status, format_time
from basetracker.oci.lineage import Verdict
from basetracker.oci.refs import Digest

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
SEOUL = timezone(timedelta(hours=9))
BASE = {"digest": str(ONE), "shortDigest": ONE.short, "since": "2026-11-22T07:00:00Z"}

_TEXT = st.text(max_size=5)
_COUNTS = st.integers(0, 2**31)
_DIGESTS = st.sampled_from([ONE, TWO, Digest("sha512:" + "0" * 128)])


@st.composite
def times(draw: st.DrawFn) -> datetime:
    """Any time from the year 1 to the year 9948, to the microsecond and in any zone."""
    time = NOW + timedelta(seconds=draw(st.integers(-63_900_000_000, 250_000_000_000)))
    zone = timezone(timedelta(minutes=draw(st.integers(-14 * 60, 14 * 60))))
    return (time + timedelta(microseconds=draw(st.integers(0, 999_999)))).astimezone(zone)


def some(things: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One of them, or nothing."""
    return st.none() | things


def few(things: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(things, max_size=2).map(tuple)


def made(model: type[BaseModel], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Models of these fields; by hand, since `builds` would add every field again by its public name."""
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


_TIMES = times()
_BUILDS = made(
    api.BuildStatus,
    run_id=some(_TEXT.filter(bool)),
    state=st.sampled_from(BuildState),
    base_digest=_DIGESTS,
    attempt=_COUNTS,
    requested_at=some(_TIMES),
    finished_at=some(_TIMES),
    next_attempt_at=some(_TIMES),
    adopted=st.booleans(),
    digest=some(_DIGESTS),
    message=_TEXT,
)
_GATES = made(api.GateStatus, name=_TEXT, verdict=st.sampled_from(GateVerdict), reason=_TEXT, message=_TEXT)
_WORKLOADS = made(
    api.WorkloadStatus,
    kind=_TEXT,
    name=_TEXT,
    container=_TEXT,
    digest=some(_DIGESTS),
    previous_digest=some(_DIGESTS),
    state=st.sampled_from(WorkloadState),
    since=some(_TIMES),
)
_DOWNSTREAM = made(
    api.DownstreamStatus,
    name=_TEXT,
    state=st.sampled_from(State),
    reason=st.sampled_from(Reason),
    message=_TEXT,
    lineage=some(st.sampled_from(Verdict)),
    stale_since=some(_TIMES),
    latest=some(made(api.Latest, digest=_DIGESTS)),
    validated=some(made(api.Validated, digest=_DIGESTS, base_digest=_DIGESTS, at=_TIMES)),
    build=some(_BUILDS),
    gates=few(_GATES),
    workloads=few(_WORKLOADS),
    rejected=few(made(api.Rejected, digest=_DIGESTS, reason=_TEXT, at=_TIMES)),
)
_HISTORY = made(
    api.HistoryEntry,
    at=_TIMES,
    downstream=_TEXT,
    event=st.sampled_from(HistoryEvent),
    from_=_TEXT,
    to=_TEXT,
    reason=_TEXT,
)
_CONDITIONS = made(
    api.Condition,
    type=st.sampled_from(ConditionType),
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=_TEXT,
    message=_TEXT,
    observed_generation=_COUNTS,
    last_transition_time=_TIMES,
)
_STATUSES = made(
    Status,
    observed_generation=_COUNTS,
    conditions=few(_CONDITIONS),
    base=some(made(api.BaseStatus, digest=_DIGESTS, short_digest=_TEXT, since=_TIMES)),
    summary=some(made(api.Summary, current=_COUNTS, total=_COUNTS, text=_TEXT, state=st.sampled_from(State))),
    downstream=few(_DOWNSTREAM),
    history=few(_HISTORY),
    last_handled=made(api.LastHandled, requested_at=_TEXT, resume=_TEXT),
)


@given(_STATUSES)
def test_what_is_written_is_read_back(status: Status) -> None:
    stored = status.document()
    assert Status.read(json.loads(json.dumps(stored))) == status
    assert Status.read(stored).document() == stored


def _texts(value: Any, key: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [found for name, item in value.items() for found in _texts(item, name)]
    if isinstance(value, list):
        return [found for item in value for found in _texts(item, key)]
    return [(key, value)] if isinstance(value, str) else []


_TIME_FIELDS = {"since", "at", "staleSince", "finishedAt", "nextAttemptAt", "lastTransitionTime"}


@given(_STATUSES)
def test_times_are_whole_seconds_in_utc(status: Status) -> None:
    written = [text for key, text in _texts(status.document()) if key in _TIME_FIELDS]
    for text in written:
        assert datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").utcoffset() == timedelta()
        assert len(text) == len("2026-11-22T07:00:00Z")
        assert text.endswith("Z")


@given(_STATUSES)
def test_nothing_optional_is_written_empty(status: Status) -> None:
    def absent(value: Any) -> bool:
        if isinstance(value, dict):
            return any(item is None or item in ([], {}) or absent(item) for item in value.values())
        return isinstance(value, list) and any(absent(item) for item in value)

    assert not absent(status.document())


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (NOW, "2026-11-22T07:00:00Z"),
        (NOW + timedelta(microseconds=999_999), "2026-11-22T07:00:00Z"),
        (datetime(2026, 11, 22, 16, 0, tzinfo=SEOUL), "2026-11-22T07:00:00Z"),
        (datetime(987, 1, 2, 3, 4, 5, tzinfo=UTC), "0987-01-02T03:04:05Z"),
    ],
)
def test_how_a_time_is_written(time: datetime, text: str) -> None:
    assert format_time(time) == text
    assert format_time(api.BaseStatus(digest=ONE, short_digest="1", since=time).since) == text


def test_a_computed_status_is_the_stored_one() -> None:
    """Else every turn would find a difference of microseconds and write."""
    late = NOW + timedelta(microseconds=123_456)
    status = Status(base=api.BaseStatus(digest=ONE, short_digest=ONE.short, since=late))
    assert Status.read(status.document()) == status


@pytest.mark.parametrize(
    "time", [datetime.min.replace(tzinfo=SEOUL), datetime.max.replace(tzinfo=timezone(-timedelta(hours=9)))]
)
def test_a_time_outside_of_the_calendar_is_refused(time: datetime) -> None:
    with pytest.raises(ValidationError, match="outside of the calendar"):
        api.BaseStatus(digest=ONE, short_digest="1", since=time)
    assert Status.read({"base": BASE | {"since": time.isoformat()}}) == Status()


@pytest.mark.parametrize("nothing", [None, {}, [], "", 0, {"conditions": [], "observedGeneration": 0}])
def test_no_status_is_an_empty_one(nothing: Any) -> None:
    assert Status.read(nothing) == Status()
    assert Status().document() == {}


@pytest.mark.parametrize(
    "garbage",
    [
        "text",
        7,
        ["a"],
        {"base": "sha256"},
        {"base": BASE | {"digest": "sha256:short"}},
        {"base": BASE | {"digest": None}},
        {"base": BASE | {"since": "2026-11-22T07:00:00"}},
        {"base": BASE | {"since": "yesterday"}},
        {"base": {"digest": str(ONE)}},
        {"summary": {"current": 1, "total": 1, "text": "1/1", "state": "Splendid"}},
        {"history": [{"at": "2026-11-22T07:00:00Z", "event": "Miracle"}]},
        {"downstream": {"name": "a"}},
        {"observedGeneration": "three"},
    ],
)
def test_garbage_is_an_empty_status(garbage: Any) -> None:
    assert Status.read(garbage) == Status()


_KEYS = st.sampled_from(
    ["base", "digest", "since", "shortDigest", "downstream", "name", "state", "history", "at", "event", "conditions"]
)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.sampled_from([str(ONE), "Current"])
)
_GARBAGE = st.recursive(
    _LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=4), max_leaves=10
)


@given(_GARBAGE)
def test_whatever_is_stored_is_read_and_can_be_written_again(document: Any) -> None:
    status = Status.read(document)
    assert Status.read(status.document()) == status


@given(_STATUSES, st.data())
def test_one_broken_field_gives_an_empty_status_or_is_passed_over(status: Status, data: st.DataObject) -> None:
    stored = status.document()
    if not stored:
        return
    key = data.draw(st.sampled_from(sorted(stored)))
    stored[key] = data.draw(_GARBAGE)
    found = Status.read(stored)
    assert Status.read(found.document()) == found


def test_unknown_fields_of_a_newer_version_are_passed_over() -> None:
    stored = {
        "base": BASE | {"signedBy": "somebody"},
        "weather": "fine",
        "lastHandled": {"approve": "x", "resume": "1"},
    }
    status = Status.read(stored)
    assert status.document() == {"base": BASE, "lastHandled": {"resume": "1"}}


def test_the_entry_of_an_image_is_found_by_its_name() -> None:
    first, second = (
        api.DownstreamStatus(name=name, state=State.CURRENT, reason=Reason.CURRENT, message="it is current")
        for name in ("checkout", "cart")
    )
    status = Status(downstream=(first, second))
    assert status.of("cart") is second
    assert status.of("till") is None


def test_the_names_of_the_fields_are_those_of_the_contract() -> None:
    build = api.BuildStatus(run_id="cf12", state=BuildState.RUNNING, base_digest=ONE, attempt=1, requested_at=NOW)
    item = api.DownstreamStatus(
        name="checkout", state=State.BUILDING, reason=Reason.BUILD_RUNNING, message="", build=build, stale_since=NOW
    )
    entry = api.HistoryEntry(at=NOW, event=HistoryEvent.BASE_MOVED, from_="a", to="b")
    time = "2026-11-22T07:00:00Z"
    assert Status(observed_generation=3, downstream=(item,), history=(entry,)).document() == {
        "observedGeneration": 3,
        "downstream": [
            {
                "name": "checkout",
                "state": "Building",
                "reason": "BuildRunning",
                "message": "",
                "staleSince": time,
                "build": {
                    "runID": "cf12",
                    "state": "Running",
                    "baseDigest": str(ONE),
                    "attempt": 1,
                    "requestedAt": time,
                    "adopted": False,
                },
            }
        ],
        "history": [{"at": time, "event": "BaseMoved", "from": "a", "to": "b"}],
    }
