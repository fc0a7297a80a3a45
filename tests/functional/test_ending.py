"""The end of the work: every part of it is told, and none is waited for for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from basetracker.adapters.lease import StillWorkingError
from basetracker.handlers.lifecycle import end_all


async def test_parts_that_end_are_waited_for_whatever_they_end_with() -> None:
    ended = []

    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("failed")
            raise ZeroDivisionError

    async def end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    tasks = [asyncio.create_task(fail()), asyncio.create_task(end())]
    await asyncio.sleep(0)
    await end_all(tasks, 10)
    assert sorted(ended) == ["ended", "failed"]


async def test_a_part_that_goes_on_is_named_and_not_waited_for_for_ever() -> None:
    may_end = asyncio.Event()

    async def go_on() -> None:
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await may_end.wait()

    task = asyncio.create_task(go_on(), name="turns")
    await asyncio.sleep(0)
    with pytest.raises(StillWorkingError, match="turns"):
        await end_all([task], 0.05)
    may_end.set()
    await task


async def test_a_cancellation_meanwhile_leaves_nothing_behind() -> None:
    may_end, ended = asyncio.Event(), []

    async def end_later() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            ended.append("ended")

    task = asyncio.create_task(end_later())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end_all([task], 10))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.sleep(0)
    assert not ending.done()
    may_end.set()
    await asyncio.wait({ending})
    assert ending.cancelled()
    assert ended == ["ended"]
