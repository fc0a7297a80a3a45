"""One request for all who ask for the same thing at the same time.

Owns the sharing only; what is fetched and how long it is kept is the caller's matter. Used for tokens, images and
lists of registries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Calls under way, by key; those who come meanwhile get the same answer or the same error."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[T]] = {}

    async def join(self, key: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """The answer of the call under way for `key`, which is `call` when there is none.

        Somebody who is cancelled leaves the call to the others.
        """
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.ensure_future(_run(call))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(task)

    def _land(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, even when everybody who asked was cancelled


async def _run(call: Callable[[], Awaitable[T]]) -> T:
    return await call()
