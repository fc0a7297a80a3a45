"""Wiring: the only file that knows concrete adapters. From settings to a world that turns can be taken in."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from basetracker.adapters.allow_list import FileAllowList
from basetracker.adapters.azure_identity import AzureSettings, azure_identity
from basetracker.adapters.builders.acr_tasks import AcrTasks
from basetracker.adapters.builders.arm import Arm
from basetracker.adapters.cluster_data import ClusterData
from basetracker.adapters.events import ClusterEvents
from basetracker.adapters.gates.defender.asking import Findings
from basetracker.adapters.gates.defender.gate import Defender
from basetracker.adapters.gates.job.gate import JobGates
from basetracker.adapters.gates.reports.gate import ReportsJudge
from basetracker.adapters.gates.signature.gate import SignatureGate
from basetracker.adapters.gates.trivy.bounds import Bounds
from basetracker.adapters.gates.trivy.gate import TrivyJudge
from basetracker.adapters.gates.trivy.making import TrivySettings, make_trivy
from basetracker.adapters.gates.trivy.scanning import Trivy
from basetracker.adapters.host_limits import HostLimits
from basetracker.adapters.http import Http
from basetracker.adapters.kube import Kube
from basetracker.adapters.kube_login import Login
from basetracker.adapters.lease import Lease, Terms
from basetracker.adapters.registries.locks import AcrLocks
from basetracker.adapters.registries.oci import OciRegistry
from basetracker.adapters.secrets import SecretCredentials
from basetracker.adapters.trackers import TrackerStore
from basetracker.adapters.workloads import ClusterWorkloads
from basetracker.api.gates import GateKind
from basetracker.api.tracker import Key
from basetracker.engine.desk import Desk
from basetracker.engine.poller import Poller
from basetracker.engine.reconcile import Reconciler
from basetracker.engine.wakeups import Wakeups
from basetracker.engine.world import World
from basetracker.ports import Clock, JudgesImages, Lead
from basetracker.settings import Settings
from basetracker.telemetry import Metrics


class SystemClock:
    """The machine's clocks; whole seconds, as statuses are written."""

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class NeverLeading:
    """The lead of those who only look."""

    def is_held(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of one process, wired."""

    kube: Kube
    store: TrackerStore
    workloads: ClusterWorkloads
    world: World
    metrics: Metrics
    trivy: Trivy


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The parts of an operator with the loop around them."""

    parts: Parts
    lease: Lease
    wakeups: Wakeups[Key]


@asynccontextmanager
async def wired(
    settings: Settings,
    kube: Kube,
    environ: Mapping[str, str],
    *,
    clock: Clock,
    lead: Lead,
    changed: Callable[[str, str, str], None] = lambda namespace, kind, name: None,
    poke: Callable[[Key], None] = lambda key: None,
    cluster_wide: bool = False,
) -> AsyncIterator[Parts]:
    """The parts, closed at the end, `kube` with them.

    `changed` is told of workloads that change, `poke` of trackers about whose images a gate has more to say.
    """
    metrics = Metrics()
    limits = HostLimits(clock, rate=settings.registry_rate, concurrency=settings.registry_concurrency)
    http = Http(
        clock,
        limits=limits,
        ca_bundle=str(settings.ca_file) if settings.ca_file else None,
        count=lambda host, status: metrics.registry_requests.labels(host=host, status=str(status)).inc(),
    )
    identity = azure_identity(AzureSettings.from_environment(environ), http)
    registry = OciRegistry(http, clock, identity=identity, azure_hosts=settings.azure_hosts)
    arm = Arm(http, identity, endpoint=settings.arm_endpoint, api_version=settings.arm_api_version)
    builder = AcrTasks(arm, clock, subscriptions=settings.subscriptions, may=lead.is_held)
    store = TrackerStore(kube, may=lead.is_held)
    workloads = ClusterWorkloads(kube, clock=clock, changed=changed, cluster_wide=cluster_wide, may=lead.is_held)
    credentials = SecretCredentials(kube, clock=clock)
    trivy = make_trivy(_trivy_settings(settings), environ, http, clock, registry)
    findings = Findings(arm, clock, subscriptions=settings.subscriptions)
    gates: dict[GateKind, JudgesImages] = {
        GateKind.SIGNATURE: SignatureGate(registry, ClusterData(kube, clock=clock), clock),
        GateKind.REPORTS: ReportsJudge(kube),
        GateKind.DEFENDER: Defender(findings, registry, clock),
        GateKind.TRIVY: TrivyJudge(trivy, credentials, clock),
        GateKind.JOB: JobGates(kube, clock=clock, may=lead.is_held),
    }
    desk = Desk(gates, credentials, clock, metrics, poke=poke, may=lead.is_held)
    poller = Poller(registry, clock, metrics)
    world = World(
        trackers=store,
        registry=registry,
        poller=poller,
        desk=desk,
        locks=AcrLocks(http, identity, azure_hosts=settings.azure_hosts, may=lead.is_held),
        credentials=credentials,
        builder=builder,
        allow_list=FileAllowList(settings.allow_list, clock=clock),
        workloads=workloads,
        events=ClusterEvents(kube, clock=clock, instance=_pod_name(settings)),
        lead=lead,
        clock=clock,
        metrics=metrics,
        run_interval=settings.run_interval,
    )
    try:
        yield Parts(kube=kube, store=store, workloads=workloads, world=world, metrics=metrics, trivy=trivy)
    finally:
        await desk.close()
        await poller.close()
        await findings.close()
        await trivy.close()
        await workloads.stop()
        await builder.close()
        if identity is not None:
            await identity.close()
        await http.close()
        await kube.close()


@asynccontextmanager
async def wired_operator(
    settings: Settings,
    login: Login,
    environ: Mapping[str, str],
    *,
    clock: Clock | None = None,
    terms: Terms | None = None,
) -> AsyncIterator[Operator]:
    """An operator that has not begun to work; the machine's clock and the usual terms of a Lease unless given."""
    clock, kube = clock or SystemClock(), Kube(login)
    lease = Lease(
        kube,
        namespace=settings.lease_namespace or await kube.namespace(),
        name=settings.lease_name,
        pod=_pod_name(settings),
        clock=clock,
        terms=terms or Terms(),
    )

    def poke(key: Key) -> None:
        wakeups.poke(key)

    def changed(where: str, kind: str, name: str) -> None:
        for tracker in parts.store.in_namespace(where):
            targets = [target for item in tracker.spec.downstream for target in item.deploy] if tracker.spec else []
            if any((target.kind, target.name) == (kind, name) for target in targets):
                poke(tracker.key)

    async with wired(
        settings,
        kube,
        environ,
        clock=clock,
        lead=lease,
        changed=changed,
        poke=poke,
        cluster_wide=not settings.namespaces,
    ) as parts:
        reconciler = Reconciler(parts.world, poke)
        wakeups = Wakeups(reconciler.turn, clock, parts.metrics, workers=settings.workers)
        yield Operator(parts=parts, lease=lease, wakeups=wakeups)


def _trivy_settings(settings: Settings) -> TrivySettings:
    return TrivySettings(
        executable=settings.trivy,
        server=settings.trivy_server,
        cache=settings.trivy_cache,
        db_repository=settings.trivy_db_repository,
        java_db_repository=settings.trivy_java_db_repository,
        db_interval=settings.trivy_db_interval,
        concurrency=settings.trivy_concurrency,
        ca_file=settings.ca_file,
        bounds=Bounds(memory=settings.trivy_memory, room=settings.trivy_room, image=settings.trivy_image_size),
    )


def _pod_name(settings: Settings) -> str:
    return settings.pod_name or socket.gethostname()
