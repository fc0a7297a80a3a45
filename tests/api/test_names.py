"""The words of the public contract, and which of them need somebody."""

from __future__ import annotations

import re
from enum import StrEnum

import pytest

from basetracker.api import names
from basetracker.api.names import (
    BuildState,
    ConditionType,
    GateVerdict,
    HistoryEvent,
    Reason,
    State,
    WorkloadState,
)
from basetracker.errors import BasetrackerError, InvalidError, UnavailableError


def test_the_fixed_names() -> None:
    assert (names.API_VERSION, names.KIND, names.PLURAL) == (
        "basetracker.dev/v1alpha1",
        "BaseImageTracker",
        "baseimagetrackers",
    )
    assert (names.REQUESTED_AT, names.RESUME) == ("basetracker.dev/requested-at", "basetracker.dev/resume")
    assert (names.DELIVERED, names.CHANGE_CAUSE) == ("basetracker.dev/delivered", "kubernetes.io/change-cause")
    assert names.FIELD_MANAGER == "basetracker"


def test_the_states_from_most_to_least_urgent() -> None:
    said = (
        "Failed, Blocked, RolledBack, RollingOut, Soaking, Validating, Building, AwaitingApproval, AwaitingWindow, "
        "Stale, Unknown, Suspended, Current"
    )
    assert [str(state) for state in sorted(State, key=lambda state: state.urgency)] == said.split(", ")
    assert State.FAILED.urgency == 0


def test_which_states_need_a_person() -> None:
    assert {state for state in State if state.needs_person} == {State.FAILED, State.BLOCKED, State.ROLLED_BACK}


def test_how_far_a_build_is() -> None:
    live = {BuildState.REQUESTED, BuildState.QUEUED, BuildState.RUNNING, BuildState.UNKNOWN}
    failed = {BuildState.FAILED, BuildState.CANCELED, BuildState.TIMED_OUT}
    assert {state for state in BuildState if state.is_live} == live
    assert {state for state in BuildState if state.is_failure} == failed
    assert set(BuildState) - live - failed == {BuildState.SUCCEEDED}


@pytest.mark.parametrize(
    "words",
    [State, Reason, ConditionType, BuildState, WorkloadState, GateVerdict, HistoryEvent],
    ids=lambda e: e.__name__,
)
def test_every_word_is_camel_case(words: type[StrEnum]) -> None:
    assert [word for word in words if not re.fullmatch(r"[A-Z][A-Za-z]+", word)] == []
    assert len({word.lower() for word in words}) == len(words)


def test_every_error_is_one_of_our_own() -> None:
    error = UnavailableError("the registry is busy", retry_after=2.5)
    assert isinstance(error, BasetrackerError)
    assert (str(error), error.retry_after) == ("the registry is busy", 2.5)
    assert UnavailableError("the registry is busy").retry_after is None
    assert not isinstance(InvalidError("wrong"), UnavailableError)
