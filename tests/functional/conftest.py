"""A world for each test, and what must hold at the end of each: no secret shown to the wrong host, no right that lacks."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from basetracker.emulators.authority import Authority
from basetracker.emulators.timeline import Clock, utcnow

from .world import World, opened


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def clock() -> Clock:
    """The time of Azure; a test may set it."""
    return utcnow


@pytest.fixture
async def world(
    tmp_path: Path,
    authority: Authority,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator[World]:
    """A world without an operator; the environment is the operator's."""
    async with opened(tmp_path, authority, clock) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made
    assert made.cloud.faults.leaks == []
    assert list(made.cluster.denied) == []
    told = [*caplog.get_records("setup"), *caplog.get_records("call")]
    assert [
        one.getMessage() for one in told if one.name.startswith("basetracker") and one.levelno >= logging.ERROR
    ] == []
