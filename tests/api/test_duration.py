"""Durations as Go writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetracker.api.duration import format_duration, parse_duration

TEN_YEARS = timedelta(days=3660)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h0m5s", 3605),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("1m500ms", 60.5),
        ("5m5m", 600),
        ("30m1h", 5400),
        ("87840h", 87840 * 3600),
    ],
)
def test_what_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "5",
        "m",
        "5 m",
        " 5m",
        "5m\n",
        "5M",
        "1d",
        "1w",
        "-5m",
        "+5m",
        "5m later",
        "1e3s",
        ".5s",
        "1.s",
        "٣m",
        "5µs",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write it like 5m, 1h30m or 90s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["87841h", "87840h1s", "9" * 400 + "h"])
def test_what_is_too_long(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than ten years; write it like"):
        parse_duration(text)


def test_a_long_text_isnt_repeated_whole() -> None:
    with pytest.raises(ValueError, match="is not a duration") as refusal:
        parse_duration("x" * 10_000)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.9, "0s"), (90, "1m30s"), (300, "5m"), (3600, "1h"), (3605, "1h5s"), (90000, "25h")],
)
def test_what_is_written(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@given(st.integers(0, int(TEN_YEARS.total_seconds())))
def test_whole_seconds_are_read_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.text("0123456789hms. ", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert timedelta() <= duration <= TEN_YEARS
    assert format_duration(parse_duration(format_duration(duration))) == format_duration(duration)
