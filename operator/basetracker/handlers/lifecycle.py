"""The operator's life: probes, the Lease, then kopf's watch and the loop of turns, until a signal or a lost Lease."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import kopf

from basetracker.adapters.kube_login import Login
from basetracker.adapters.lease import StillWorkingError
from basetracker.errors import BasetrackerError, UnavailableError
from basetracker.handlers.health import Health, served
from basetracker.handlers.trackers import operator_settings, registry_of
from basetracker.settings import Settings
from basetracker.telemetry import LOGGER
from basetracker.wiring import Operator, wired_operator

LIST_RETRY_SECONDS = 5.0
ENDING_SECONDS = 15.0
"""How long work may take to end: less than the Lease waits for it, which waits for less than the Pod has."""


async def run_operator(
    settings: Settings,
    login: Login,
    environ: Mapping[str, str],
    *,
    stop: asyncio.Event,
    serving: Callable[[int], None] = lambda port: None,
    watching: Callable[[], None] = lambda: None,
) -> None:
    """Wait for the Lease and work until `stop`; then hand the Lease over.

    `serving` is told the port of the probes; `watching` is called when kopf has begun, which takes the signals for itself.

    Raises:
        BasetrackerError: the cluster can't be reached at the start, or the Lease was lost: the process has to end.
    """
    health = Health()
    async with wired_operator(settings, login, environ) as operator:
        parts = operator.parts
        health.silent_for, health.is_synced = parts.workloads.silent_for, parts.workloads.is_synced
        async with served(health, parts.metrics, settings.listen) as port:
            serving(port)
            health.is_started = True
            leading = asyncio.create_task(operator.lease.run(lambda: _work(operator, settings, stop, watching)))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({leading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
                if not stop.is_set() or not operator.lease.is_held():
                    leading.cancel()  # a leader ends its work by itself and hands the Lease over
                with suppress(asyncio.CancelledError):
                    await leading


async def _work(operator: Operator, settings: Settings, stop: asyncio.Event, watching: Callable[[], None]) -> None:
    """What the leader does; ends with `stop` or when one part fails."""
    parts = operator.parts
    parts.metrics.leader.set(1)
    LOGGER.info("leading; watching %s", ", ".join(settings.namespaces) or "all namespaces")
    tasks = [
        asyncio.create_task(operator.wakeups.run(), name="turns"),
        asyncio.create_task(_resync_for_ever(operator, settings), name="resync"),
        asyncio.create_task(stop.wait(), name="stop"),
        asyncio.create_task(_watch(operator, settings, watching), name="watch"),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        parts.metrics.leader.set(0)
        # Cancelled, kopf ends at once; asked by a flag or a signal, it first waits for whatever was begun since its start.
        await end_all(tasks, ENDING_SECONDS)


async def end_all(tasks: Iterable[asyncio.Task[object]], seconds: float) -> None:
    """Cancel the tasks and wait for their end, whatever they end with; a cancellation meanwhile is raised after that.

    Raises:
        StillWorkingError: one has not ended in so many seconds.
    """
    pending, cancelled = set(tasks), None
    for task in pending:
        task.cancel()
    clock = asyncio.get_running_loop()
    until = clock.time() + seconds
    while pending and (left := until - clock.time()) > 0:
        try:
            done, pending = await asyncio.wait(pending, timeout=left)
        except asyncio.CancelledError as error:
            done, cancelled = set(), error
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio doesn't complain
    if pending:
        raise StillWorkingError(
            f"it was told to end and goes on: {', '.join(sorted(one.get_name() for one in pending))}"
        )
    if cancelled is not None:
        raise cancelled


async def _watch(operator: Operator, settings: Settings, watching: Callable[[], None]) -> None:
    """Let kopf watch the trackers.

    Raises:
        UnavailableError: a log-in brought the credentials that had just been refused. The process has to end, since kopf
            cancels whatever was begun beside it; the next one waits for the Lease until it is let in.
    """
    parts = operator.parts
    await _load(operator, settings)
    ready = _Ready(watching)
    try:
        await kopf.operator(
            registry=registry_of(parts.store, operator.wakeups, parts.kube.connection),
            settings=operator_settings(),
            namespaces=list(settings.namespaces),
            clusterwide=not settings.namespaces,
            standalone=True,
            # By itself kopf asks for the user's name, and a container's user has none.
            identity="basetracker",  # type: ignore[arg-type]  # kopf doesn't export its NewType of str
            ready_flag=ready,
        )
    except kopf.LoginError as error:
        raise UnavailableError("the Kubernetes API server doesn't accept the operator's credentials") from error


async def _load(operator: Operator, settings: Settings) -> None:
    """Know all trackers before any of them has its turn: kopf tells of them one by one, and a turn that doesn't know the
    others takes a chain's middle for its root, builds in a circle, or takes a container that another one claims."""
    while True:
        try:
            keys = await operator.parts.store.load(settings.namespaces or ("",))
            break
        except BasetrackerError as error:
            LOGGER.warning("the trackers can't be listed: %s", error)
            await asyncio.sleep(LIST_RETRY_SECONDS)
    for key in keys:
        operator.wakeups.poke(key)


class _Ready(asyncio.Event):
    """kopf's ready flag, which also tells that it is set."""

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__()
        self._told = told

    def set(self) -> None:
        super().set()
        # kopf takes the signals in the turn of the loop in which it sets this flag, or in the next one.
        asyncio.get_running_loop().call_later(0.1, self._told)


async def _resync_for_ever(operator: Operator, settings: Settings) -> None:
    """Close the hole that a watch which begins anew doesn't tell of deletions."""
    parts = operator.parts
    while True:
        seconds = settings.resync_interval.total_seconds()
        await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311  spreads requests, protects nothing
        try:
            found = await parts.store.resync(settings.namespaces or ("",))
        except BasetrackerError as error:
            LOGGER.warning("the trackers can't be compared with the cluster: %s", error)
            continue
        for key in (*found.changed, *found.gone):
            operator.wakeups.poke(key)
        parts.workloads.retain(parts.store.namespaces())


def stop_on_signals(stop: asyncio.Event) -> None:
    """Let SIGINT and SIGTERM set `stop`; before kopf runs and after."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
