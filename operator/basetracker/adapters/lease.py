"""Leadership by a Lease, as client-go's leader election has it: `ports.Lead`.

At most one process leads. The leader renews every 2 s and stops believing that it leads 10 s after the last renewal
that succeeded, by its own monotonic clock; others wait until the Lease has stood unchanged before them for 15 s. So wall
clocks don't matter, and a hung request can't make two leaders. Must not know what the leader does.
Used by `basetracker run`; the engine asks `is_held` before each effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import SystemRandom
from secrets import token_hex
from typing import Any, Final, NoReturn

from basetracker.adapters.kube import Json, Kube, path_of
from basetracker.errors import BasetrackerError, ConflictError, MissingError, UnavailableError
from basetracker.ports import Clock

_log = logging.getLogger(__name__)
_random = SystemRandom()
_API: Final = "coordination.k8s.io/v1"
_DELETED: Final = "somebody has deleted it"


class LeadLostError(UnavailableError):
    """This process led and doesn't any more: it has to end, so that nothing half done goes on."""


class StillWorkingError(UnavailableError):
    """Work that was ended and goes on all the same; the Lease isn't handed over, so that nobody works beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Seconds: `lease` is how long others wait, `renew` how long the leader believes, `retry` between its renewals,
    `look` between two looks of those that wait, `grace` how long cancelled work may take to end.

    `grace` leaves a third of the Pod's `terminationGracePeriodSeconds` (30) to what is closed after it.
    """

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0
    look: float = 0.7
    grace: float = 20.0


class Lease:
    """One candidate for the Lease `namespace/name`."""

    def __init__(
        self, kube: Kube, *, namespace: str, name: str, pod: str, clock: Clock, terms: Terms = Terms()
    ) -> None:
        """`pod` begins the identity; a random part makes a restarted container another candidate."""
        self.identity = f"{pod}_{token_hex(4)}"
        self._kube = kube
        self._collection = path_of(_API, "leases", namespace)
        self._path = path_of(_API, "leases", namespace, name)
        self._name = name
        self._namespace = namespace
        self._clock = clock
        self._terms = terms
        self._held_until = float("-inf")
        self._may_hold = False
        self._lease: Json = {}
        self._seen: tuple[object, float] = (None, 0.0)

    def is_held(self) -> bool:
        """Whether this process still leads; no network is asked."""
        return self._clock.monotonic() < self._held_until

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then do `work` while it is held; cancelled, end the work first and hand the Lease over.

        Work that doesn't end, or raises `StillWorkingError`, isn't waited for for ever: the Lease then runs out.

        Raises:
            LeadLostError: the Lease couldn't be renewed or was taken; the work has been cancelled.
            Exception: what `work` raised.
        """
        try:
            await self._acquire()
        except asyncio.CancelledError:
            await asyncio.shield(self._release())
            raise
        _log.info("leading", extra={"identity": self.identity})
        working = asyncio.ensure_future(work())
        renewing = asyncio.ensure_future(self._renew_for_ever())
        is_lost = False
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A cancellation may come at the very moment at which the Lease is lost, or after it: no work is left behind.
            is_lost = renewing.done()
            try:
                # Under the Lease while it is held, else no longer than others wait for it: nobody else begins before.
                await self._stopped(working, self._terms.lease - self._terms.renew if is_lost else self._terms.grace)
            finally:
                await _ended(renewing)
                await (asyncio.shield(self._release()) if _is_over(working) else self._let_run_out())
        if is_lost:
            renewing.result()
        working.result()

    async def _stopped(self, working: asyncio.Future[None], seconds: float) -> None:
        """Cancel the work, and wait so long for its end."""
        working.cancel()
        grace = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await _one_is_done(working, grace)
        finally:
            await _ended(grace)

    async def _acquire(self) -> None:
        while True:
            try:
                if await self._within(self._terms.renew / 2, self._try_to_take()):
                    return
            except ConflictError:
                pass  # another one was faster
            except BasetrackerError as error:
                _log.warning("the Lease can't be asked for: %s", error)
                await self._clock.sleep(self._terms.retry * _random.uniform(0.8, 1.2))
            await self._clock.sleep(self._terms.look * _random.uniform(0.8, 1.2))

    async def _try_to_take(self) -> bool:
        """Whether the Lease is ours now."""
        found = await self._kube.get(self._path)
        if found is not None and self._is_anothers(found):
            return False
        asked, self._may_hold = self._clock.monotonic(), True
        if found is None:
            body = {"apiVersion": _API, "kind": "Lease", "metadata": {"name": self._name, "namespace": self._namespace}}
            self._lease = await self._kube.post(self._collection, body | {"spec": self._spec({})})
        else:
            self._lease = await self._kube.put(self._path, found | {"spec": self._spec(found.get("spec") or {})})
        self._held_until = asked + self._terms.renew
        return True

    def _is_anothers(self, lease: Json) -> bool:
        """Whether somebody else holds it; so it is until it has stood unchanged before us for its whole time."""
        spec: dict[str, Any] = lease.get("spec") or {}
        now = self._clock.monotonic()
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if self._seen[0] != record:
            self._seen = (record, now)
        if not spec.get("holderIdentity") or spec["holderIdentity"] == self.identity:
            return False
        return now < self._seen[1] + max(self._terms.lease, float(spec.get("leaseDurationSeconds") or 0))

    def _spec(self, old: Json) -> Json:
        """The old spec as ours; taking it over counts as a transition."""
        now = self._now()
        mine = old.get("holderIdentity") == self.identity
        return old | {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._terms.lease)),
            "acquireTime": old.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if mine or not old else 1),
        }

    async def _renew_for_ever(self) -> None:
        while True:
            left = self._held_until - self._clock.monotonic()
            await self._clock.sleep(max(0.0, min(left, self._terms.retry * _random.uniform(0.8, 1.0))))
            left = self._held_until - self._clock.monotonic()
            if left <= 0:
                self._lose("it couldn't be renewed in time")
            try:
                await self._within(min(left, self._terms.renew / 2), self._renew())
            except LeadLostError:
                raise
            except BasetrackerError as error:
                _log.warning("the Lease isn't renewed yet: %s", error)

    async def _renew(self) -> None:
        asked = self._clock.monotonic()
        try:
            self._lease = await self._kube.put(self._path, self._lease | {"spec": self._spec(self._lease["spec"])})
        except MissingError:
            self._lose(_DELETED)
        except ConflictError:
            await self._look_again()
            return
        self._held_until = asked + self._terms.renew

    async def _look_again(self) -> None:
        """Somebody has written to the Lease: only their version tells whether it is still ours."""
        found = await self._kube.get(self._path)
        if found is None:
            self._lose(_DELETED)
        holder = (found.get("spec") or {}).get("holderIdentity")
        if holder != self.identity:
            self._lose(f"{holder or 'nobody'} holds it now")
        self._lease = found
        asked = self._clock.monotonic()
        self._lease = await self._kube.put(self._path, self._lease | {"spec": self._spec(self._lease["spec"])})
        self._held_until = asked + self._terms.renew

    def _lose(self, why: str) -> NoReturn:
        self._held_until, self._may_hold = float("-inf"), False
        raise LeadLostError(f"the Lease {self._namespace}/{self._name} is lost: {why}")

    async def _release(self) -> None:
        """Hand over at once, if it is still ours; failing that, others wait until it has run out."""
        if not self._may_hold:
            return
        self._held_until, self._may_hold = float("-inf"), False
        try:
            await self._within(self._terms.renew / 2, self._give_up())
            _log.info("the Lease is handed over", extra={"identity": self.identity})
        except BasetrackerError as error:
            _log.warning("the Lease can't be handed over and runs out: %s", error)

    async def _let_run_out(self) -> None:
        """Lead no more, without a word to the others: what was begun here may still have its effect."""
        if not self._may_hold:
            return
        self._held_until, self._may_hold = float("-inf"), False
        _log.error("what was begun doesn't end; the Lease isn't handed over and runs out")

    async def _give_up(self) -> None:
        while True:
            found = await self._kube.get(self._path)
            if found is None or (found.get("spec") or {}).get("holderIdentity") != self.identity:
                return
            now = self._now()
            freed = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
            try:
                await self._kube.put(self._path, found | {"spec": found["spec"] | freed})
                return
            except ConflictError:
                continue  # a renewal that was on its way has come through

    async def _within(self, seconds: float, request: Awaitable[Any]) -> Any:
        """The result of `request`, if it comes within so many seconds of this clock."""
        asking = asyncio.ensure_future(request)
        waiting = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({asking, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            raise UnavailableError("the Kubernetes API server doesn't answer in time")
        finally:
            await _ended(waiting)
            await _ended(asking)

    def _now(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _is_over(working: asyncio.Future[None]) -> bool:
    """Whether nothing of the work goes on."""
    if not working.done():
        return False
    return working.cancelled() or not isinstance(working.exception(), StillWorkingError)


async def _one_is_done(*tasks: asyncio.Future[Any]) -> None:
    """Wait until one of them is done; a cancellation meanwhile is raised after that.

    Not with a task of its own: kopf, which the work runs, ends all tasks that were begun after it.
    """
    cancelled: asyncio.CancelledError | None = None
    while not any(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _ended(task: asyncio.Future[Any]) -> None:
    """Cancel and wait until it has ended, whatever it ends with."""
    task.cancel()
    try:
        await _one_is_done(task)
    finally:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio doesn't complain
