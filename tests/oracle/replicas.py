"""Replicas of the operator on the virtual loop: the product's own parts over HTTP, fed by a watch that a test can disturb.

What `basetracker run` does around them is done here without kopf, which takes its loop for its own: wait for the Lease, know all
trackers, watch them, take turns, compare now and then. A replica may end in peace, die at once, or be frozen and thawed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from basetracker.adapters.kube import Kube, WatchEvent, path_of
from basetracker.adapters.kube_login import Login
from basetracker.adapters.lease import Lease, Terms
from basetracker.api.names import API_VERSION, PLURAL
from basetracker.api.tracker import Key
from basetracker.engine.desk import Desk
from basetracker.engine.reconcile import Reconciler
from basetracker.engine.wakeups import Wakeups
from basetracker.errors import BasetrackerError
from basetracker.handlers.trackers import take_sighting
from basetracker.settings import Settings
from basetracker.wiring import Operator, wired

from .gates import Gates
from .loop import Process, VirtualClock, VirtualLoop

TERMS = Terms(lease=24.0, renew=16.0, retry=5.0, look=4.0)
RESYNC_SECONDS = 300.0
PATH = path_of(API_VERSION, PLURAL)


@dataclass(kw_only=True)
class Notices:
    """What becomes of the watch's notices: how many of a hundred come twice, and how many after the next one."""

    rng: random.Random
    doubled: int = 0
    late: int = 0

    def disturbed(self, kept: list[WatchEvent], event: WatchEvent) -> list[WatchEvent]:
        """What is told now; `kept` is what was held back."""
        if not kept and self.rng.randrange(100) < self.late:
            kept.append(event)
            return []
        told = [event, *kept]
        kept.clear()
        return told * 2 if self.rng.randrange(100) < self.doubled else told


class Replica:
    """One process of the operator, named as its user in the cluster and in Azure is."""

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        settings: Mapping[str, Any],
        kubeconfig: Path,
        environ: Mapping[str, str],
        notices: Notices,
        gates: Gates,
    ) -> None:
        self.name = name
        self.process = Process(name, loop)
        self.error: BaseException | None = None
        """What it ended with, if neither in peace nor for the lack of the Lease."""
        self._clock = VirtualClock(loop)
        self._settings = Settings(**settings, pod_name=name)
        self._login = Login(kubeconfig=kubeconfig, environ=environ)
        self._environ = environ
        self._notices = notices
        self._gates = gates
        self._task = self.process.spawn(self._run())

    @property
    def is_over(self) -> bool:
        """Whether it has ended by itself or in peace."""
        return self._task.done()

    @property
    def works(self) -> bool:
        """Whether it goes on."""
        return not self._task.done() and not self.process.is_frozen

    async def ended(self) -> None:
        """End it in peace, as SIGTERM does; a frozen one is thawed for it."""
        self.process.thaw()
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            async with self._operator() as operator:
                await operator.lease.run(lambda: self._work(operator))
        except asyncio.CancelledError:
            raise
        except BasetrackerError:
            pass  # the Lease was lost: the process ends, and its Deployment starts another one
        except BaseException as error:
            self.error = error

    @asynccontextmanager
    async def _operator(self) -> AsyncIterator[Operator]:
        """As `wired_operator` makes it, but for the gates, which are the story's."""
        settings, clock, kube = self._settings, self._clock, Kube(self._login)
        namespace = settings.lease_namespace or await kube.namespace()
        lease = Lease(kube, namespace=namespace, name=settings.lease_name, pod=self.name, clock=clock, terms=TERMS)

        def poke(key: Key) -> None:
            wakeups.poke(key)

        def changed(where: str, kind: str, name: str) -> None:
            for tracker in parts.store.in_namespace(where):
                targets = [target for item in tracker.spec.downstream for target in item.deploy] if tracker.spec else []
                if any((target.kind, target.name) == (kind, name) for target in targets):
                    poke(tracker.key)

        async with wired(
            settings, kube, self._environ, clock=clock, lead=lease, changed=changed, poke=poke, cluster_wide=True
        ) as parts:
            judges = self._gates.judges(self.name)
            desk = Desk(judges, parts.world.credentials, clock, parts.metrics, poke=poke, may=lease.is_held)
            world = replace(parts.world, desk=desk)
            wakeups = Wakeups(Reconciler(world, poke).turn, clock, parts.metrics, workers=settings.workers)
            try:
                yield Operator(parts=replace(parts, world=world), lease=lease, wakeups=wakeups)
            finally:
                await desk.close()

    async def _work(self, operator: Operator) -> None:
        tasks = [
            asyncio.create_task(operator.wakeups.run()),
            asyncio.create_task(self._resync_for_ever(operator)),
            asyncio.create_task(self._watch_for_ever(operator)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch_for_ever(self, operator: Operator) -> None:
        while True:
            try:
                for key in await operator.parts.store.load(("",)):
                    operator.wakeups.poke(key)
                break
            except BasetrackerError:
                await self._clock.sleep(5)
        while True:
            with suppress(BasetrackerError):
                await self._watch(operator)
            await self._clock.sleep(1)

    async def _watch(self, operator: Operator) -> None:
        """List and then watch, as kopf does; a deletion between two of these goes unseen until the trackers are compared."""
        parts, version = operator.parts, ""
        async with aclosing(parts.kube.pages(PATH)) as pages:
            async for page in pages:
                version = page["metadata"]["resourceVersion"]
                for item in page["items"]:
                    take_sighting(parts.store, operator.wakeups, None, item)
        kept: list[WatchEvent] = []
        async with aclosing(parts.kube.watch(PATH, version)) as events:
            async for event in events:
                if event.type == "BOOKMARK":
                    continue
                for told in self._notices.disturbed(kept, event):
                    take_sighting(parts.store, operator.wakeups, told.type, told.object)

    async def _resync_for_ever(self, operator: Operator) -> None:
        while True:
            await self._clock.sleep(RESYNC_SECONDS)
            with suppress(BasetrackerError):
                found = await operator.parts.store.resync(("",))
                for key in (*found.changed, *found.gone):
                    operator.wakeups.poke(key)
