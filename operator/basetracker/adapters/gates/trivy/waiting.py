"""One scan for all who wait for it, ended when nobody does any more.

Owns the sharing only, like `adapters/flights`, whose calls go on without anybody: a scan is dear, and holds a turn that others
wait for. Used by `scanning`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Shared(Generic[T]):
    """A call under way, and how many wait for it."""

    task: asyncio.Task[T]
    waiting: int = 0


class Awaited(Generic[T]):
    """Calls under way, by key; those who come meanwhile get the same answer or the same error."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Shared[T]] = {}
        self._ending: set[asyncio.Task[T]] = set()

    async def join(self, key: Hashable, call: Callable[[], Coroutine[None, None, T]]) -> T:
        """The answer of the call under way for `key`, which is `call` when there is none.

        Somebody who is cancelled leaves the call to the others; the last one ends it.
        """
        shared = self._under_way.get(key)
        if shared is None:
            shared = _Shared(asyncio.create_task(call()))
            self._under_way[key] = shared
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                self._leave(key, shared)

    def _leave(self, key: Hashable, shared: _Shared[T]) -> None:
        """The last one goes: who comes from now on starts anew."""
        self._under_way.pop(key, None)
        if not shared.task.done():
            self._ending.add(shared.task)
            shared.task.add_done_callback(self._ending.discard)
            shared.task.cancel()
