"""The gate in a world of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from basetracker.adapters.gates.job.gate import JobGates
from basetracker.adapters.kube import Json

from .asking import Asked


@pytest.fixture
async def asked(world: Any, emulated: Any, set_clock: Any, make_tracker: Callable[..., Json]) -> Asked:
    made = await world.create("baseimagetrackers", make_tracker("python.3"))
    may = [True]
    gates = JobGates(world.kube, clock=set_clock, may=lambda: may[0])
    return Asked(world, set_clock, gates, uid=made["metadata"]["uid"], may=may)
