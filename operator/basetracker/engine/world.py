"""The world: the ports that a turn needs, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from basetracker.engine.desk import Desk
from basetracker.engine.looks import Looks
from basetracker.engine.poller import Poller
from basetracker.ports import (
    AllowList,
    Builder,
    Clock,
    Credentials,
    Events,
    Lead,
    Locks,
    Registry,
    Trackers,
    Workloads,
)
from basetracker.telemetry import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the engine acts through; `run_interval` is how often a live run is looked at."""

    trackers: Trackers
    registry: Registry
    poller: Poller
    desk: Desk
    locks: Locks
    credentials: Credentials
    builder: Builder
    allow_list: AllowList
    workloads: Workloads
    events: Events
    lead: Lead
    clock: Clock
    metrics: Metrics
    foreign_locks: Looks = field(default_factory=Looks)
    run_interval: timedelta = timedelta(seconds=10)
