"""Where on its way from a moved base to the Pods a team's image can be held, and let go again.

Owns the hold of each phase: the emulated Azure answers or goes on no further, or the nodes' pulls wait. Asks the tracker's
status only whether the phase is reached.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum

from basetracker.emulators.faults import Fault
from basetracker.emulators.tasks.definition import Behaviour

from .azure import EmulatedAzure
from .cluster import RealCluster
from .team import TRACKER, Object, Team

ARM = r"management\.azure\.com"


class Phase(StrEnum):
    """In the order in which an image goes through them."""

    POLLING = "polling"
    """Its base moves, and nobody has seen it."""
    ASKED = "asked"
    """A run was started; the answer was lost, and the list of runs can't be read."""
    QUEUED = "queued"
    RUNNING = "running"
    VALIDATING = "validating"
    """The result can't be read."""
    ROLLING_OUT = "rolling out"
    """The new Pods wait for their image."""


class Holds:
    """The holds on all teams' images; each begins with `hold` and lasts until `release`."""

    def __init__(self, cluster: RealCluster, azure: EmulatedAzure) -> None:
        self._azure = azure
        self._waiting: set[str] = set()
        self._faults: dict[str, Fault] = {}
        cluster.images.add(azure.registry.host, self._resolve)

    def hold(self, team: Team, phase: Phase) -> None:
        """Let its next image come as far as this phase; of those that were not asked for yet, one at a time."""
        namespace = team.namespace
        match phase:
            case Phase.POLLING:
                return
            case Phase.ASKED:
                schedule = rf"POST {ARM} .*/scheduleRun"
                hidden = Fault(match=rf"GET {ARM} .*/runs\?.*{team.task.name}", n=None, status=503)
                self._faults[namespace] = hidden
                self._azure.disturb(Fault(match=schedule, after=True, drop=True))
                self._azure.disturb_after(schedule, hidden)
            case Phase.QUEUED:
                team.task.behaviour = Behaviour(stuck="Queued")
            case Phase.RUNNING:
                team.task.behaviour = Behaviour(stuck="Running")
            case Phase.VALIDATING:
                hidden = Fault(match=rf"GET {self._azure.registry.host} /v2/{namespace}/", n=None, status=503)
                self._faults[namespace] = hidden
                self._azure.disturb(hidden)
            case Phase.ROLLING_OUT:
                self._waiting.add(namespace)

    def is_reached(self, team: Team, phase: Phase, runs_before: int) -> bool:
        """Whether it has come so far."""
        runs = team.runs()[runs_before:]
        (image,) = team.get("basetracker", TRACKER)["status"]["downstream"]
        build: Object = image.get("build", {})
        match phase:
            case Phase.POLLING:
                return True
            case Phase.ASKED:
                return len(runs) == 1 and build["state"] in {"Requested", "Unknown"}
            case Phase.QUEUED | Phase.RUNNING:
                return len(runs) == 1 and build["state"] == phase.value.capitalize()
            case Phase.VALIDATING:
                return runs == ["Succeeded"] and build["state"] == "Succeeded"
            case Phase.ROLLING_OUT:
                return runs == ["Succeeded"] and image["state"] == "RollingOut"

    def release(self, team: Team) -> None:
        """Let it go on."""
        if hidden := self._faults.pop(team.namespace, None):
            self._azure.calm(hidden)
        team.task.behaviour = Behaviour()
        self._waiting.discard(team.namespace)

    async def _resolve(self, image: str) -> str | None:
        while image.split("/")[1] in self._waiting:  # noqa: ASYNC110  another thread lets it go on
            await asyncio.sleep(0.1)
        return await self._azure.resolve(image)
