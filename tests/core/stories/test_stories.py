"""Stories: what trackers do in a world that moves, compared with a log that people can read.

Each story ends with nothing left to do, and its promises (budgets, one run for one base, one delivery of a digest) are
looked at after every turn. With `BASETRACKER_WRITE_STORIES=1` the logs are written anew; read the difference then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .stories_of_builds import BUILDS
from .stories_of_deliveries import DELIVERIES
from .turns import Story

GOLDEN = Path(__file__).parent / "golden"
STORIES = (*BUILDS, *DELIVERIES)


@pytest.mark.parametrize("play", STORIES, ids=lambda play: play.__name__)
def test_story(play: Callable[[Story], None]) -> None:
    story = Story()
    play(story)
    log = "\n".join(story.lines) + "\n"
    file = GOLDEN / f"{play.__name__}.txt"
    if os.environ.get("BASETRACKER_WRITE_STORIES"):
        file.write_text(log)
    assert log == file.read_text()


def test_each_log_has_a_story() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == {play.__name__ for play in STORIES}
