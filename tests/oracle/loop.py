"""An event loop whose time is virtual, and processes on it that can be stopped between any two of their steps.

Time stands still while anything can go on, and jumps to the next timer when nothing can: minutes of a story take
milliseconds, with real sockets and real TLS between the parts. What runs in a process's context belongs to the process: frozen,
not one callback of it runs, as after SIGSTOP; one that is never thawed has died as after SIGKILL. Knows nothing of what runs on it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 24, 8, 0, tzinfo=UTC)
_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """Callbacks that belong together: a task that was spawned and all that came of it."""

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.name = name
        self.is_frozen = False
        self._loop = loop
        self._held: list[asyncio.Handle] = []
        self._steps_left: int | None = None

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let `work` run as part of this process."""
        context = copy_context()
        context.run(_PROCESS.set, self)
        return self._loop.create_task(work, name=self.name, context=context)

    def freeze(self, after: int = 0) -> None:
        """Let nothing of it go on, after so many more of its steps."""
        if after:
            self._steps_left = after
        else:
            self.is_frozen, self._steps_left = True, None

    def thaw(self) -> None:
        """Let it go on where it stood; what has come in meanwhile waits for it in the order in which it came."""
        self.is_frozen, self._steps_left = False, None
        held, self._held = self._held, []
        self._loop.resume(held)

    def holds(self, handle: asyncio.Handle) -> bool:
        """Whether this callback can't run now; then it is kept."""
        if not self.is_frozen and self._steps_left is not None:
            self._steps_left -= 1
            if self._steps_left <= 0:
                self.freeze()
        if self.is_frozen:
            self._held.append(handle)
        return self.is_frozen


class _Ready(deque[asyncio.Handle]):
    """The loop's ready queue, in which the callbacks of frozen processes are passed over."""

    nothing: asyncio.Handle

    def popleft(self) -> asyncio.Handle:
        handle = super().popleft()
        process = _owner(handle)
        return self.nothing if process is not None and process.holds(handle) else handle


def _owner(handle: asyncio.Handle | None) -> Process | None:
    context: Context | None = getattr(handle, "_context", None)
    return context.get(_PROCESS) if context is not None else None


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: where a loop would wait, its time jumps."""

    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> Any:
        found = self._found(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        # Loopback traffic is there at once but for rare moments; then the network was slow for a while.
        found = self._found(0)
        if found:
            return found
        if timeout is None:
            return self._found(5)
        self.jump(timeout)
        return []

    def _found(self, seconds: float) -> list[Any]:
        """What is ready, but for what belongs to a frozen process: it stays in the sockets."""
        return [one for one in super().select(seconds) if not self._is_asleep(one[0].data)]

    @staticmethod
    def _is_asleep(handles: Any) -> bool:
        owners = (_owner(handle) for handle in handles if handle is not None)
        return any(owner is not None and owner.is_frozen for owner in owners)


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `time()` is in virtual seconds; the clock on the wall began at `START`."""

    def __init__(self) -> None:
        self._virtual = 0.0
        selector = _Selector()
        selector.jump = self._jump
        super().__init__(selector)
        ready = _Ready()
        ready.nothing = asyncio.Handle(lambda: None, (), self)
        self._ready = ready

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._virtual

    def utcnow(self) -> datetime:
        """The time of the virtual wall clock."""
        return START + timedelta(seconds=self._virtual)

    def resume(self, handles: list[asyncio.Handle]) -> None:
        """Run callbacks that were held."""
        self._ready.extend(handles)

    def run_in_executor(  # type: ignore[override]  # a *args of the same types takes a Python newer than the oldest served
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """At once and here: a thread would live in another time."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _jump(self, seconds: float) -> None:
        # As far as the timer and a little more, or it would not be due for want of precision.
        self._virtual += seconds + 1e-6


class VirtualClock:
    """The loop's time as the operator's `Clock`: whole seconds on the wall, as its own clock has them."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return self._loop.utcnow().replace(microsecond=0)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
