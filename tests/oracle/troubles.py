"""Troubles: faults of every kind for the servers and the replicas of a story, by chance.

A request that changes something is delayed by less than the gap between what a leader believes of its Lease and what others wait for:
no Lease can promise anything beyond that.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from basetracker.emulators.cluster.instruments import Fault as ClusterFault
from basetracker.emulators.cluster.instruments import RequestRecord
from basetracker.emulators.faults import Asked, Fault
from basetracker.emulators.tasks.service import newest_first

from .gates import KINDS
from .model import Model
from .replicas import Replica
from .shop import HOST, PUBLIC, Shop

START = r"^POST management\.azure\.com .*/scheduleRun\?"
STATUS = r"^PATCH /apis/basetracker.*/status"
DEPLOYMENT = r"^PATCH /apis/apps/v1/namespaces/shop/deployments/"
LEASE = r"/leases"
REGISTRY = rf"^(GET|HEAD) ({re.escape(HOST)}|{re.escape(PUBLIC)}) /v2/."
STEPS = (START, STATUS, STATUS, DEPLOYMENT, REGISTRY, r"^GET management\.azure\.com .*/runs", LEASE, r"^POST .*/events")
LONGEST_DELAY = 6.0


@dataclass(slots=True)
class _Trap:
    """What happens at the nth request that matches."""

    pattern: str
    left: int
    spring: Callable[[], None]


class Troubles:
    """Orders faults; counts them by kind."""

    def __init__(self, shop: Shop, model: Model, rng: random.Random, replicas: int) -> None:
        self._shop = shop
        self._model = model
        self._rng = rng
        self._wanted = replicas
        self._traps: list[_Trap] = []
        self._frozen: list[tuple[float, Replica]] = []
        self._dead: set[str] = set()
        self._next_start = 0.0
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self.counts: Counter[str] = Counter()
        kinds: list[tuple[int, Callable[[], str]]] = [
            (5, self._registry),
            (2, self._stale_tag),
            (2, self._token),
            (4, self._builder),
            (5, self._start),
            (2, self._stale_runs),
            (5, self._status),
            (4, self._deployment),
            (3, self._cluster),
            (2, self._lease),
            (3, self._watches),
            (3, self._outage),
            (5, self._kill_at_step),
            (2, self._kill),
            (3, self._freeze),
            (2, self._freeze_at_step),
            (4, self._gate),
        ]
        self._weights, self._kinds = zip(*kinds, strict=True)
        shop.cloud.faults.listeners.append(self._azure_asked)
        shop.cluster.listeners.append(self._cluster_asked)

    async def strike(self) -> str:
        """Order one more trouble; the answer says which."""
        return str(self._rng.choices(self._kinds, self._weights)[0]())

    async def pass_time(self) -> list[str]:
        """What time brings: outages end, the frozen wake, and for each replica that is lacking another one is started."""
        now, told = self._shop.loop.time(), []
        for due, end in [one for one in self._ends if one[0] <= now]:
            self._ends.remove((due, end))
            end()
        for due, replica in [one for one in self._frozen if one[0] <= now]:
            self._frozen.remove((due, replica))
            replica.process.thaw()
            told.append(f"thaw {replica.name}")
        alive = [one for one in self._shop.replicas if not one.is_over and one.name not in self._dead]
        if len(alive) < self._wanted and now >= self._next_start:
            self._next_start = now + self._rng.choice((1.0, 5.0, 30.0))
            told.append(f"start {self._shop.operate().name}")
        return told

    def end(self) -> None:
        """No more troubles; who is frozen wakes."""
        self._shop.cloud.faults.clear()
        self._shop.cluster.faults.clear()
        self._traps.clear()
        self._ends.clear()
        for _, replica in self._frozen:
            replica.process.thaw()
        self._frozen.clear()
        self._shop.notices.doubled = self._shop.notices.late = 0
        self._shop.gates.calm_down()

    @property
    def attempts_lost(self) -> int:
        """How many attempts to start a run may have been lost to troubles."""
        return self.counts["start"] + self.counts["kill"] + self.counts["freeze"] + self.counts["outage"]

    # -- servers --------------------------------------------------------------------------------------

    def _azure(self, match: str, *faults: Fault) -> str:
        fault = replace(self._rng.choice(faults), match=match, n=self._rng.randint(1, 4))
        self._shop.cloud.faults.add(fault)
        return _told(fault)

    def _registry(self) -> str:
        self.counts["registry"] += 1
        pause = {"Retry-After": str(self._rng.randint(1, 20))}
        return self._azure(
            REGISTRY,
            Fault(match="", status=429, headers=pause),
            Fault(match="", status=429),
            Fault(match="", status=500),
            Fault(match="", status=503, headers=pause),
            Fault(match="", drop=True),
            Fault(match="", delay=self._rng.uniform(1, 45)),
            Fault(match="", truncate=self._rng.randint(0, 400)),
            Fault(match="", torn=True),
            Fault(match="", status=404, body="not JSON"),
        )

    def _stale_tag(self) -> str:
        """A replica of the registry that lags behind: a tag's old digest is told."""
        references = [*self._shop.bases, *(one.image for one in self._shop.products.values())]
        reference = self._rng.choice(references)
        host, _, rest = reference.partition("/")
        path, _, tag = rest.partition(":")
        old = self._rng.choice(list(self._shop.cloud.registries[host].storage.repositories[path].manifests))
        self._model.told_old(reference, old)
        self.counts["stale tag"] += 1
        headers = {"Docker-Content-Digest": old}
        fault = Fault(match=rf"^HEAD {re.escape(host)} /v2/{path}/manifests/{tag}", n=1, headers=headers)
        self._shop.cloud.faults.add(fault)
        return f"tell {old[:19]} of {reference} once"

    def _token(self) -> str:
        self.counts["token"] += 1
        return self._azure(
            rf"^POST ({re.escape(HOST)} /oauth2|login\.microsoftonline\.com)",
            Fault(match="", status=500),
            Fault(match="", status=503),
            Fault(match="", status=429),
            Fault(match="", drop=True),
            Fault(match="", delay=self._rng.uniform(1, 45)),
        )

    def _builder(self) -> str:
        self.counts["builder"] += 1
        return self._azure(
            r"^GET management\.azure\.com ",
            Fault(match="", status=429, headers={"Retry-After": str(self._rng.randint(1, 30))}),
            Fault(match="", status=500),
            Fault(match="", status=503),
            Fault(match="", drop=True),
            Fault(match="", delay=self._rng.uniform(1, 70)),
            Fault(match="", truncate=20),
            Fault(match="", torn=True),
        )

    def _start(self) -> str:
        self.counts["start"] += 1
        return self._azure(
            START,
            Fault(match="", status=429, headers={"Retry-After": str(self._rng.randint(1, 30))}),
            Fault(match="", status=500),
            Fault(match="", status=503),
            Fault(match="", drop=True),
            Fault(match="", after=True, status=500),
            Fault(match="", after=True, status=503),
            Fault(match="", after=True, drop=True),
            Fault(match="", truncate=20),
            Fault(match="", torn=True),
            Fault(match="", delay=self._rng.uniform(1, LONGEST_DELAY)),
        )

    def _stale_runs(self) -> str:
        """For half a minute the list of a task's runs doesn't tell of those that are new."""
        product = self._rng.choice(list(self._shop.products.values()))
        known = [run.resource() for run in newest_first(self._shop.cloud.tasks.runs) if run.task is product.task]
        self.counts["stale runs"] += 1
        fault = Fault(
            match=rf"^GET management\.azure\.com .*/runs\?.*{product.task.name}(%27|')",
            n=None,
            status=200,
            body={"value": known},
        )
        self._order_for(30.0, fault, self._shop.cloud.faults.pending)
        return f"list the runs of {product.task.name} as they are now for half a minute"

    def _order_for(self, seconds: float, fault: Any, pending: list[Any]) -> None:
        pending.append(fault)

        def end() -> None:
            if fault in pending:
                pending.remove(fault)

        self._ends.append((self._shop.loop.time() + seconds, end))

    def _cluster_fault(self, match: str, *faults: ClusterFault) -> str:
        fault = replace(self._rng.choice(faults), match=match, times=self._rng.randint(1, 4))
        self._shop.cluster.faults.append(fault)
        return _told(fault)

    def _writing(self, match: str) -> str:
        return self._cluster_fault(
            match,
            ClusterFault(match="", status=500),
            ClusterFault(match="", status=429, headers={"Retry-After": "3"}),
            ClusterFault(match="", status=503),
            ClusterFault(match="", drop=True),
            ClusterFault(match="", drop=True, after=True),
            ClusterFault(match="", status=500, after=True),
            ClusterFault(match="", delay=self._rng.uniform(1, LONGEST_DELAY)),
        )

    def _status(self) -> str:
        self.counts["status"] += 1
        return self._writing(STATUS)

    def _deployment(self) -> str:
        self.counts["deployment"] += 1
        return self._writing(DEPLOYMENT)

    def _cluster(self) -> str:
        self.counts["cluster"] += 1
        return self._writing(self._rng.choice(("^GET /apis/apps", "^GET /apis/basetracker", "^POST .*/events", "^GET")))

    def _lease(self) -> str:
        self.counts["lease"] += 1
        return self._writing(LEASE)

    def _watches(self) -> str:
        kind = self._rng.choice(("drop", "compact", "doubled", "late"))
        self.counts["watches"] += 1
        match kind:
            case "drop":
                self._shop.cluster.drop_watches()
            case "compact":
                self._shop.cluster.compact()
                self._shop.cluster.drop_watches()
            case "doubled":
                self._shop.notices.doubled = self._rng.choice((0, 50))
            case "late":
                self._shop.notices.late = self._rng.choice((0, 30))
        return f"watches: {kind}"

    def _outage(self) -> str:
        seconds = self._rng.uniform(10, 200)
        self.counts["outage"] += 1
        where = self._rng.choice(("registry", "builder", "cluster", "identity"))
        drop = self._rng.random() < 0.5
        status = None if drop else 503
        if where == "cluster":
            cut = ClusterFault(match="", times=None, status=status, drop=drop)
            self._order_for(min(seconds, 90.0), cut, self._shop.cluster.faults)
            self._shop.cluster.drop_watches()
        else:
            match = {"registry": REGISTRY, "builder": r"management\.azure\.com", "identity": r"login\.micro"}[where]
            self._order_for(
                seconds, Fault(match=match, n=None, status=status, drop=drop), self._shop.cloud.faults.pending
            )
        return f"outage of the {where} for {seconds:.0f} s"

    def _gate(self) -> str:
        self.counts["gate"] += 1
        gates, kind = self._shop.gates, self._rng.choice(KINDS)
        until = self._shop.loop.time() + self._rng.uniform(10, 400)
        match self._rng.choice(("down", "slow", "breaks", "strays")):
            case "down":
                gates.down_until[kind] = until
                return f"gates of kind {kind} are out of reach until {until:.0f}"
            case "slow":
                gates.slow_until[kind] = until
                return f"gates of kind {kind} are slow until {until:.0f}"
            case "breaks":
                gates.breaks[kind] += self._rng.randint(1, 4)
                return f"gates of kind {kind} break {gates.breaks[kind]} times"
            case _:
                gates.strays[kind] += self._rng.randint(1, 4)
                return f"gates of kind {kind} pass another digest {gates.strays[kind]} times"

    # -- replicas ---------------------------------------------------------------------------------------

    def _victim(self) -> Replica | None:
        return self._shop.leader()

    def _kill(self) -> str:
        victim = self._victim()
        if victim is None:
            return "nobody to kill"
        self._die(victim, self._rng.choice((0, 0, 20, 200)))
        return f"kill {victim.name}"

    def _die(self, victim: Replica, steps: int) -> None:
        self.counts["kill"] += 1
        self._dead.add(victim.name)
        self._next_start = self._shop.loop.time() + self._rng.choice((1.0, 5.0, 30.0))
        victim.process.freeze(steps)

    def _kill_at_step(self) -> str:
        """Death at a request: before it has had its effect, right after, or some steps later."""
        pattern, number = self._rng.choice(STEPS), self._rng.randint(1, 4)
        steps = self._rng.choice((0, 0, 0, 1, 2, 3, 5, 8, 13, 30, 100))

        def spring() -> None:
            victim = self._victim()
            if victim is not None:
                self._die(victim, steps)

        self._traps.append(_Trap(pattern, number, spring))
        if self._rng.random() < 0.4:
            self._drop_at(pattern, number)
        return f"kill who leads {steps} steps after request {number} like {pattern}"

    def _drop_at(self, pattern: str, number: int) -> None:
        """Let the request at which it dies not arrive."""
        if "azure" in pattern or "v2" in pattern:
            self._shop.cloud.faults.add(Fault(match=pattern, skip=number - 1, drop=True))
        elif number == 1:
            self._shop.cluster.faults.append(ClusterFault(match=pattern, drop=True))

    def _freeze(self) -> str:
        victim = self._victim()
        if victim is None:
            return "nobody to freeze"
        seconds = self._rng.choice((5.0, 20.0, 28.0, 45.0, 150.0, 400.0))
        self._stop(victim, seconds, 0)
        return f"freeze {victim.name} for {seconds:.0f} s"

    def _stop(self, victim: Replica, seconds: float, steps: int) -> None:
        self.counts["freeze"] += 1
        victim.process.freeze(steps)
        self._frozen.append((self._shop.loop.time() + seconds, victim))

    def _freeze_at_step(self) -> str:
        pattern, number = self._rng.choice(STEPS), self._rng.randint(1, 4)
        steps, seconds = (
            self._rng.choice((0, 0, 1, 2, 3, 5, 8, 13, 30, 100)),
            self._rng.choice((26.0, 28.0, 29.5, 70.0, 150.0)),
        )

        def spring() -> None:
            victim = self._victim()
            if victim is not None and all(victim is not one for _, one in self._frozen):
                self._stop(victim, seconds, steps)

        self._traps.append(_Trap(pattern, number, spring))
        return f"freeze who leads for {seconds:.0f} s, {steps} steps after request {number} like {pattern}"

    def _azure_asked(self, asked: Asked) -> None:
        self._sprung(f"{asked.method} {asked.host} {asked.path}")

    def _cluster_asked(self, asked: RequestRecord) -> None:
        if asked.user.startswith("replica-") or not asked.user:
            self._sprung(f"{asked.method} {asked.path}")

    def _sprung(self, line: str) -> None:
        for trap in list(self._traps):
            if re.search(trap.pattern, line):
                trap.left -= 1
                if trap.left <= 0:
                    self._traps.remove(trap)
                    trap.spring()


def _told(fault: Fault | ClusterFault) -> str:
    parts = [f"status {fault.status}" if fault.status else "", "cut" if fault.drop else ""]
    parts += ["after the effect" if fault.after else "", f"{fault.delay:.0f} s late" if fault.delay else ""]
    if isinstance(fault, Fault):
        parts += ["torn" if fault.torn else "", f"cut to {fault.truncate} bytes" if fault.truncate is not None else ""]
        return f"{fault.n} × {', '.join(filter(None, parts))}: {fault.match}"
    return f"{fault.times} × {', '.join(filter(None, parts))}: {fault.match}"
