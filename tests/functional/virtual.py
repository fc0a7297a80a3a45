"""The operator's own parts in set time: real adapters over HTTP to the emulators, turns taken one by one, hours in seconds.

What is counted over many polls, or happens after long waits, is tested with this; the rest with the operator as it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from basetracker.adapters.kube import Kube
from basetracker.adapters.kube_login import Login
from basetracker.api.tracker import Key
from basetracker.demo.files import SYSTEM
from basetracker.engine.reconcile import Reconciler
from basetracker.settings import Settings
from basetracker.wiring import Parts, wired

from .world import NAMESPACE, World

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class SetClock:
    """A clock that goes on only when it is told to. Sleeping takes real time: nothing here sleeps long."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return self.now()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Leading:
    """The lead of the only one."""

    def is_held(self) -> bool:
        return True


@dataclass(slots=True, kw_only=True)
class Virtual:
    """Turns over set time."""

    world: World
    clock: SetClock
    parts: Parts
    reconciler: Reconciler
    poked: set[Key]
    wakes: dict[Key, datetime] = field(default_factory=dict)
    turns: int = 0

    async def sight(self) -> None:
        """Let the operator see the trackers as they are now."""
        for body in self.world.cluster.list("BaseImageTracker"):
            if self.parts.store.seen(body):
                self.poked.add(Key(namespace=body["metadata"]["namespace"], name=body["metadata"]["name"]))

    async def advance(self, seconds: float) -> None:
        """Take every turn that is due in the next so many seconds, each at its time."""
        end = self.clock.now() + timedelta(seconds=seconds)
        await self.sight()
        while True:
            while self.poked:
                await self._turn(self.poked.pop())
            due = min(self.wakes.values(), default=end)
            if due >= end:
                break
            self.clock.seconds = max(self.clock.seconds, (due - START).total_seconds())
            for key in [key for key, wake in self.wakes.items() if wake <= self.clock.now()]:
                await self._turn(key)
        self.clock.seconds = (end - START).total_seconds()

    async def settle(self, seconds: float = 30.0) -> None:
        """Let rollouts end, which take real time, and so many seconds go by."""
        await self.advance(seconds / 2)
        await self.world.until(self._is_rolled_out, "every Deployment is rolled out")
        await self.advance(seconds / 2)

    async def _turn(self, key: Key) -> None:
        self.poked.discard(key)
        self.turns += 1
        wake = await self.reconciler.turn(key)
        if wake is None:
            self.wakes.pop(key, None)
        else:
            self.wakes[key] = max(wake, self.clock.now() + timedelta(milliseconds=10))

    def _is_rolled_out(self) -> bool:
        deployments = self.world.cluster.list("Deployment", NAMESPACE)
        pods = self.world.cluster.list("Pod", NAMESPACE)
        wanted = sum(one["spec"].get("replicas", 1) for one in deployments)
        ready = [
            pod
            for pod in pods
            if any(row.get("ready") for row in pod.get("status", {}).get("containerStatuses", []))
            and "deletionTimestamp" not in pod["metadata"]
        ]
        done = all(
            one.get("status", {}).get("updatedReplicas") == one["spec"].get("replicas", 1) for one in deployments
        )
        observed = all(
            one.get("status", {}).get("observedGeneration") == one["metadata"]["generation"] for one in deployments
        )
        return done and observed and len(pods) == len(ready) == wanted


@asynccontextmanager
async def virtual(world: World, clock: SetClock) -> AsyncIterator[Virtual]:
    """The parts of an operator in a world whose cloud goes by `clock`."""
    environ = world.environment() | {"KUBECONFIG": str(world.directory / "operator.kubeconfig")}
    # A kubelet would renew it every hour.
    world.cloud.federated_token(
        f"system:serviceaccount:{SYSTEM}:basetracker", path=world.directory / "token", seconds=7 * 86400
    )
    poked: set[Key] = set()

    def changed(namespace: str, kind: str, name: str) -> None:
        poked.update(tracker.key for tracker in parts.store.in_namespace(namespace))

    settings = Settings(**{"registry_rate": 100_000.0})  # type: ignore[arg-type]  # the rest comes from the environment
    kube = Kube(Login(environ=environ))
    async with wired(settings, kube, environ, clock=clock, lead=Leading(), changed=changed, cluster_wide=True) as parts:
        reconciler = Reconciler(parts.world, poked.add)
        yield Virtual(world=world, clock=clock, parts=parts, reconciler=reconciler, poked=poked)
