"""The loop that runs the controllers: changes in, one reconciliation of one object at a time.

Owns the queue: a key that is queued twice is looked at once, and a reconciliation that is refused is tried again.
A controller names the objects that a change concerns and brings one of them closer to what is wanted; it does so at
once, without waiting, so that two of them never interleave.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from basetracker.emulators.cluster.refusals import Refusal
from basetracker.emulators.cluster.store import Change, Store

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 0.1

Key = tuple[str, str, str]


class Controller(Protocol):
    """One controller; a key is a kind's storage key, a namespace and a name."""

    def concerned(self, change: Change) -> Iterable[Key]:
        """The objects that should be looked at after this change."""

    def reconcile(self, key: Key) -> float | None:
        """Take the next step for an object; answers in how many seconds to look again, or None."""


class Loop:
    """Runs controllers on the changes of one store."""

    def __init__(self, store: Store, controllers: Sequence[Controller]) -> None:
        self._controllers = controllers
        self._queue: dict[tuple[int, Key], None] = {}
        self._wake = asyncio.Event()
        self._timers: dict[tuple[int, Key], asyncio.TimerHandle] = {}
        self._task: asyncio.Task[None] | None = None
        store.listen(self._heard)

    def start(self) -> None:
        """Begin to work off the queue."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop in the middle of whatever is queued."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _heard(self, change: Change) -> None:
        for index, controller in enumerate(self._controllers):
            for key in controller.concerned(change):
                self._queue[index, key] = None
        if self._queue:
            self._wake.set()

    def _push(self, item: tuple[int, Key]) -> None:
        self._timers.pop(item, None)
        self._queue[item] = None
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                item = next(iter(self._queue))
                del self._queue[item]
                self._look(item)
                await asyncio.sleep(0)  # requests go on between two objects

    def _look(self, item: tuple[int, Key]) -> None:
        index, key = item
        try:
            again = self._controllers[index].reconcile(key)
        except Refusal as refusal:
            level = logging.DEBUG if refusal.code in (403, 404, 409) else logging.WARNING
            _LOG.log(level, "%s is looked at again: %s", key, refusal)
            again = _RETRY_SECONDS
        except Exception:
            _LOG.exception("a controller of the emulated cluster failed at %s", key)
            return
        if again is not None:
            if timer := self._timers.pop(item, None):
                timer.cancel()
            self._timers[item] = asyncio.get_running_loop().call_later(again, self._push, item)
