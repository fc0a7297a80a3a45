"""The story: what has happened on the stage, told from the trackers' own history and states.

Knows nothing of how it is shown. Each happening is told once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from basetracker.api.names import HistoryEvent, State
from basetracker.api.status import HistoryEntry, Status
from basetracker.core.history import sentence

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that has happened: to which tracker, what, and how it is meant (`good`, `bad` or `plain`)."""

    tracker: str
    event: str
    text: str
    mood: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an image stands now."""

    tracker: str
    image: str
    state: State
    message: str
    step: int
    """How far it is on its way, 0 (stale) to 4 (current)."""


STEPS = ("stale", "built", "proved", "rolled out")
_STEP_OF = {
    State.STALE: 0,
    State.BUILDING: 1,
    State.VALIDATING: 2,
    State.ROLLING_OUT: 3,
    State.CURRENT: 4,
}
_FIRST = (str(HistoryEvent.BASE_MOVED), str(State.STALE))
_GOOD = {HistoryEvent.VALIDATED, HistoryEvent.HEALTHY, HistoryEvent.BUILD_SUCCEEDED}
_BAD = {HistoryEvent.REJECTED, HistoryEvent.STUCK, HistoryEvent.BUILD_FAILED, HistoryEvent.OVERRIDDEN}


@dataclass(slots=True)
class Teller:
    """Tells what is new since it was last asked."""

    _told: set[tuple[str, HistoryEntry]] = field(default_factory=set)
    _states: dict[tuple[str, str], State] = field(default_factory=dict)

    def news(self, trackers: list[Document]) -> list[Moment]:
        """What has happened since, oldest first."""
        found: list[Moment] = []
        for tracker in trackers:
            name = tracker["metadata"]["name"]
            status = Status.read(tracker.get("status"))
            for entry in reversed(status.history):
                if (name, entry) not in self._told:
                    self._told.add((name, entry))
                    found.append(Moment(tracker=name, event=str(entry.event), text=sentence(entry), mood=_mood(entry)))
            found += self._state_changes(name, status)
        # What one look finds comes at once: a base moves, then its images are stale, then something is done about it.
        return sorted(found, key=lambda moment: _FIRST.index(moment.event) if moment.event in _FIRST else len(_FIRST))

    def _state_changes(self, tracker: str, status: Status) -> list[Moment]:
        """States that no entry of the history tells: an image that turned stale (and is built at once), or waits."""
        found: list[Moment] = []
        for item in status.downstream:
            before = self._states.get((tracker, item.name))
            self._states[tracker, item.name] = item.state
            is_stale = item.state is State.STALE or (item.state is State.BUILDING and before is State.CURRENT)
            told = is_stale or item.state is State.CURRENT or item.state.needs_person
            if before is item.state or not told or (before is None and item.state is State.CURRENT):
                continue
            mood = "good" if item.state is State.CURRENT else "bad"
            event = State.STALE if is_stale else item.state
            found.append(Moment(tracker=tracker, event=str(event), text=f"{item.name}: {item.message}", mood=mood))
        return found


def standings(trackers: list[Document]) -> list[Standing]:
    """Where each image stands."""
    return [
        Standing(
            tracker=tracker["metadata"]["name"],
            image=item.name,
            state=item.state,
            message=item.message,
            step=_STEP_OF.get(item.state, 0),
        )
        for tracker in trackers
        for item in Status.read(tracker.get("status")).downstream
    ]


def _mood(entry: HistoryEntry) -> str:
    if entry.event in _GOOD:
        return "good"
    return "bad" if entry.event in _BAD else "plain"
