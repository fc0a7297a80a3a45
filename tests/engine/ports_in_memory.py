"""The engine's ports over the simulated world, with virtual time and faults at any call.

Every call of a port is one await point: it can be made to raise before or after its effect. Used by the tests of the
engine; the world itself is the one of the core's stories.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from basetracker.api.gates import GateKind
from basetracker.api.status import Status
from basetracker.api.tracker import AcrTask, Key, Tracker, parse_tracker
from basetracker.core.actions import Deliver
from basetracker.core.observed import Run, TaskFacts, TaskRef, Workload
from basetracker.engine.desk import Desk
from basetracker.engine.poller import Poller
from basetracker.engine.reconcile import Reconciler
from basetracker.engine.world import World as EngineWorld
from basetracker.errors import BasetrackerError, ConflictError, MissingError
from basetracker.oci.lineage import Image
from basetracker.oci.refs import Digest, ImageRef
from basetracker.ports import BuildRequest, Credential, JudgesImages, ObjectRef
from basetracker.telemetry import Metrics

from ..core.stories.world import ARM, START, World

T = TypeVar("T")


class CrashError(Exception):
    """The process dies here: no error that an adapter may raise."""


class VirtualClock:
    """Time that stands still until `advance`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seconds = 0.0
        """Kept apart from the wall clock, which counts in whole microseconds."""
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._world.now

    def monotonic(self) -> float:
        return max(self._seconds, (self._world.now - START).total_seconds())

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.monotonic() + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let this time pass, waking each sleeper at its time and letting all run until they wait again."""
        end = self.monotonic() + seconds
        await quiet()
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self._move(max(when, self.monotonic()))
                future.set_result(None)
                await quiet()
        self._move(end)

    def _move(self, seconds: float) -> None:
        self._seconds = seconds
        self._world.advance(START + timedelta(seconds=seconds))


async def quiet() -> None:
    """Until every task waits for something."""
    for _ in range(60):
        await asyncio.sleep(0)


@dataclass
class Faults:
    """What goes wrong: at the nth call of all, or of one method, an error before or after the effect."""

    calls: list[str] = field(default_factory=list)
    at_call: dict[int, tuple[str, Exception]] = field(default_factory=dict)
    at_method: dict[tuple[str, int], tuple[str, Exception]] = field(default_factory=dict)
    deeds: dict[tuple[str, int], Callable[[], object]] = field(default_factory=dict)
    """What somebody else does just before the nth call of a method."""
    always: dict[str, Exception] = field(default_factory=dict)
    """The error of every call of a method, before its effect."""
    met: int = 0

    async def around(self, method: str, effect: Callable[[], T]) -> T:
        index, number = len(self.calls), self.calls.count(method)
        self.calls.append(method)
        await asyncio.sleep(0)
        if (method, number) in self.deeds:
            self.deeds[method, number]()
        when, error = self.at_call.get(index) or self.at_method.get((method, number)) or ("", CrashError())
        if method in self.always:
            when, error = "before", self.always[method]
        if when == "before":
            self.met += 1
            raise error
        found = effect()
        if when == "after":
            self.met += 1
            raise error
        return found


@dataclass
class RegistryInMemory:
    world: World
    faults: Faults
    heads: Counter[ImageRef] = field(default_factory=Counter)

    async def digest(self, image: ImageRef, credential: Credential | None) -> Digest | None:
        self.heads[image] += 1
        return await self.faults.around("registry.digest", lambda: self.world.registry.head(image))

    async def image(self, image: ImageRef, credential: Credential | None) -> Image | None:
        return await self.faults.around("registry.image", lambda: self._content(image))

    def _content(self, image: ImageRef) -> Image | None:
        """What the digest names in the repository that it was pushed to; no other one has it."""
        home = self.world.registry.readable(str(image.digest)).partition("#")[0]
        found = self.world.registry.content(image)
        return found if image.repository.path.endswith(f"/{home}") else None


@dataclass
class CredentialsInMemory:
    faults: Faults

    async def find(self, namespace: str, secret: str, host: str) -> Credential:
        return await self.faults.around("credentials.find", lambda: Credential(username="reader", password="pull"))


@dataclass
class BuilderInMemory:
    world: World
    faults: Faults
    lag: timedelta = timedelta()
    """How long a new run is missing in the list of runs."""

    async def resolve(self, task: AcrTask, image: ImageRef) -> TaskRef:
        return await self.faults.around("builder.resolve", lambda: TaskRef(task.registry or ARM, task.name))

    async def facts(self, task: TaskRef, *, max_age: float = 0) -> TaskFacts | None:
        return await self.faults.around("builder.facts", lambda: self.world.builder.facts(task.name))

    async def start(self, request: BuildRequest) -> Run:
        return await self.faults.around("builder.start", lambda: self.world.builder.start(request, self.world.now))

    async def run(self, task: TaskRef, run_id: str) -> Run | None:
        return await self.faults.around("builder.run", lambda: self.world.builder.run(run_id))

    async def recent(self, task: TaskRef, since: datetime) -> Sequence[Run]:
        return await self.faults.around("builder.recent", lambda: self._recent(task, since))

    def _recent(self, task: TaskRef, since: datetime) -> Sequence[Run]:
        found = self.world.builder.recent(task.name, since)
        return [run for run in found if run.created and run.created <= self.world.now - self.lag]

    async def cancel(self, task: TaskRef, run_id: str) -> None:
        await self.faults.around("builder.cancel", lambda: self.world.builder.cancel(run_id, self.world.now))

    async def log(self, task: TaskRef, run_id: str, *, follow: bool = False) -> AsyncIterator[bytes]:
        yield b"built"


@dataclass
class TrackersInMemory:
    """Trackers as a cluster stores them: every write comes back through the document."""

    faults: Faults
    stored: dict[Key, Tracker] = field(default_factory=dict)
    writes: int = 0

    def add(self, body: Mapping[str, Any]) -> Key:
        tracker = parse_tracker(body)
        self.stored[tracker.key] = tracker
        return tracker.key

    def change(self, key: Key, **values: Any) -> None:
        """Somebody else's change."""
        now = self.stored[key]
        version = str(int(now.resource_version) + 1)
        self.stored[key] = now.model_copy(update={**values, "resource_version": version})

    def get(self, key: Key) -> Tracker | None:
        return self.stored.get(key)

    def in_namespace(self, namespace: str) -> Sequence[Tracker]:
        return tuple(one for one in self.stored.values() if one.key.namespace == namespace)

    def everywhere(self) -> Iterator[Tracker]:
        return iter(tuple(self.stored.values()))

    async def write_status(self, tracker: Tracker, status: Status, *, guarded: bool) -> Tracker:
        method = "trackers.write_intent" if guarded else "trackers.write_status"
        return await self.faults.around(method, lambda: self._write(tracker, status, guarded))

    def _write(self, tracker: Tracker, status: Status, guarded: bool) -> Tracker:
        now = self.stored.get(tracker.key)
        if now is None:
            raise MissingError("it is gone")
        if now.uid != tracker.uid or (guarded and now.resource_version != tracker.resource_version):
            raise ConflictError("it has moved")
        self.change(tracker.key, status=Status.read(status.document()))
        self.writes += 1
        return self.stored[tracker.key]


@dataclass
class WorkloadsInMemory:
    world: World
    faults: Faults

    async def find(self, namespace: str, kind: str, name: str) -> Workload | None:
        return await self.faults.around("workloads.find", lambda: self._find(name))

    async def deliver(self, delivery: Deliver) -> Workload:
        return await self.faults.around(
            "workloads.deliver", lambda: self.world.cluster.deliver(delivery, self.world.now)
        )

    def _find(self, name: str) -> Workload | None:
        one = self.world.cluster.deployments.get(name)
        return one.seen() if one is not None else None


@dataclass
class LocksInMemory:
    """`locked` is what can't be deleted, as repository@digest; `done` each effect, in order."""

    faults: Faults
    locked: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    async def is_locked(self, image: ImageRef) -> bool:
        return await self.faults.around("locks.is_locked", lambda: _place(image) in self.locked)

    async def lock(self, image: ImageRef) -> None:
        await self.faults.around("locks.lock", lambda: self._set(image, True))

    async def unlock(self, image: ImageRef) -> None:
        await self.faults.around("locks.unlock", lambda: self._set(image, False))

    def _set(self, image: ImageRef, locks: bool) -> None:
        self.done.append(f"{'lock' if locks else 'unlock'} {image.digest and image.digest.short}")
        if locks:
            self.locked.add(_place(image))
        else:
            self.locked.discard(_place(image))


def _place(image: ImageRef) -> str:
    return f"{image.repository}@{image.digest}"


@dataclass
class EventsInMemory:
    faults: Faults
    told: list[tuple[str, str, str]] = field(default_factory=list)

    async def tell(self, about: ObjectRef, *, reason: str, message: str, warning: bool = False) -> None:
        told = (f"{about.kind}/{about.name}", reason, message)
        await self.faults.around("events.tell", lambda: self.told.append(told))


@dataclass
class AllowListInMemory:
    world: World
    faults: Faults

    async def allows(self, namespace: str, registry: str, task: str) -> bool:
        return await self.faults.around("allow_list.allows", lambda: self.world.allowed)


@dataclass
class LeadInMemory:
    """Held until it has been asked for this many times; None is for ever."""

    asks_left: int | None = None
    asked: int = 0

    def is_held(self) -> bool:
        self.asked += 1
        return self.asks_left is None or self.asked <= self.asks_left


class House:
    """The whole engine over one simulated world; `restart` is a new process over the same world."""

    def __init__(self) -> None:
        self.world = World()
        self.faults = Faults()
        self.clock = VirtualClock(self.world)
        self.trackers = TrackersInMemory(self.faults)
        self.builder = BuilderInMemory(self.world, self.faults)
        self.events = EventsInMemory(self.faults)
        self.lead = LeadInMemory()
        self.wakes: dict[Key, datetime] = {}
        self.crashes = 0
        self.locks = LocksInMemory(self.faults)
        self.gates: dict[GateKind, JudgesImages] = {}
        self.restart()

    def restart(self) -> None:
        self.metrics = Metrics()
        self.registry = RegistryInMemory(self.world, self.faults)
        self.poller = Poller(self.registry, self.clock, self.metrics, rng=random.Random(7))
        credentials = CredentialsInMemory(self.faults)
        self.desk = Desk(self.gates, credentials, self.clock, self.metrics, poke=self.poke, may=self.lead.is_held)
        self.engine = EngineWorld(
            trackers=self.trackers,
            registry=self.registry,
            poller=self.poller,
            desk=self.desk,
            locks=self.locks,
            credentials=credentials,
            builder=self.builder,
            allow_list=AllowListInMemory(self.world, self.faults),
            workloads=WorkloadsInMemory(self.world, self.faults),
            events=self.events,
            lead=self.lead,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.reconciler = Reconciler(self.engine, self.poke)
        for key in self.trackers.stored:
            self.poke(key)

    def poke(self, key: Key) -> None:
        self.wakes[key] = self.world.now

    def track(self, body: Mapping[str, Any]) -> Key:
        key = self.trackers.add(body)
        self.poke(key)
        return key

    async def turn(self, key: Key) -> datetime | None:
        """One turn, asked for again when it says so."""
        self.wakes.pop(key, None)
        wake = await self.reconciler.turn(key)
        if self.gates:
            await quiet()  # what the desk has begun ends before anything else happens
        if wake is not None:
            self.wakes[key] = min(wake, self.wakes.get(key, wake))
        return wake

    async def run(self, minutes: float) -> None:
        """Take all turns of this time; a turn that crashes is a process that dies, and a new one begins."""
        end = self.world.now + timedelta(minutes=minutes)
        while True:
            due = min(((wake, key.name, key) for key, wake in self.wakes.items()), default=None)
            event = self.world.next_event
            if event is not None and event <= end and (due is None or event < due[0]):
                if self.world.advance(event):
                    for key in self.trackers.stored:
                        self.poke(key)
                continue
            if due is None or due[0] > end:
                break
            self.world.advance(due[0])
            try:
                await self.turn(due[2])
            except CrashError:
                self.crashes += 1
                self.restart()
            except BasetrackerError:
                self.wakes[due[2]] = self.world.now + timedelta(seconds=1)
        self.world.advance(end)
