"""Whose turn it is to take a lock back, by what the trackers have stored."""

from __future__ import annotations

import itertools

import pytest

from basetracker.api.names import ProtectionState, Reason, State
from basetracker.api.status import DownstreamStatus, Protected, Status, Unlocking
from basetracker.api.tracker import Key, Tracker
from basetracker.core.unlocking import MOST, Standing, is_ours, standing, unlocking_after
from basetracker.oci.refs import Digest

from .builders import IMAGE, NEW, digest, image_spec, tracker

PINNED = IMAGE.pinned(NEW)
HERE = str(IMAGE.repository)


def entry(state: ProtectionState = ProtectionState.LOCKED, *, repository: str = HERE, what: Digest = NEW) -> Protected:
    return Protected(repository=repository, digest=what, state=state)


def keeper(name: str, *entries: Protected, row: str = "checkout", listed: bool = False) -> Tracker:
    item = DownstreamStatus(name=row, state=State.CURRENT, reason=Reason.CURRENT, message="so it is", protected=entries)
    unlocking = (Unlocking(repository=HERE, digest=NEW),) if listed else ()
    return tracker(name, status=Status(downstream=(item,), unlocking=unlocking))


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ([], Standing.LAST),
        ([keeper("zebra", entry())], Standing.HANDED_OVER),
        ([keeper("zebra", entry(ProtectionState.REQUESTED))], Standing.HANDED_OVER),
        ([keeper("aardvark", entry())], Standing.WAITS),
        ([keeper("aardvark", entry()), keeper("zebra", entry())], Standing.HANDED_OVER),
        ([keeper("zebra", entry(ProtectionState.FOREIGN))], Standing.LAST),
        ([keeper("zebra", entry(ProtectionState.UNREAD))], Standing.LAST),
        ([keeper("zebra", entry(repository="contoso.azurecr.io/shop/other"))], Standing.LAST),
        ([keeper("zebra", entry(what=digest("else")))], Standing.LAST),
        ([keeper("zebra", listed=True)], Standing.HANDED_OVER),
        ([keeper("zebra", entry()).model_copy(update={"deleting": True})], Standing.LAST),
    ],
    ids=lambda value: "",
)
def test_who_takes_a_lock_back(others: list[Tracker], wanted: Standing) -> None:
    mine = keeper("python", entry())
    assert standing([mine, *others], mine.key, "checkout", PINNED) is wanted
    assert is_ours([mine, *others], PINNED)
    assert is_ours(others, PINNED) is (wanted is not Standing.LAST)


def test_of_any_that_let_go_at_once_just_one_does_not_leave_it_to_another() -> None:
    """Whatever the order in which their turns are mixed: each looks, and writes down later what it has made of it."""
    names = ("a", "b", "c")
    for looks in itertools.permutations(names):
        stored = {name: keeper(name, entry()) for name in names}
        unlocked = 0
        while any(stored[name].status.downstream[0].protected for name in names):
            seen = {
                name: standing(stored.values(), Key(namespace="shop", name=name), "checkout", PINNED)
                for name in looks
                if stored[name].status.downstream[0].protected
            }
            assert set(seen.values()) != {Standing.WAITS}, "they wait for each other"
            for name, found in seen.items():
                unlocked += found is Standing.LAST
                if found is not Standing.WAITS:
                    stored[name] = keeper(name)
        assert unlocked == 1


def test_the_list_is_bounded() -> None:
    """More than the images of one tracker can leave; what is first on it stays."""
    listed = tuple(Unlocking(repository=HERE, digest=digest(f"old {n}")) for n in range(MOST + 1))
    mine = tracker("python", status=Status(unlocking=listed), downstream=[image_spec()])
    assert unlocking_after(mine, (), ()) == listed[:MOST]


def test_what_can_t_be_read_is_dropped() -> None:
    listed = (Unlocking(repository="not a repository", digest=NEW), Unlocking(repository=HERE, digest=NEW))
    mine = tracker("python", status=Status(unlocking=listed))
    assert unlocking_after(mine, (), ()) == listed[1:]
