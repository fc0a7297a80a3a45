"""What the operator loses in the middle of its work costs time, and nothing else.

Six teams stand each in another phase, from a base that nobody has seen to Pods that wait for their image, when the operator,
the API server, the network, a registry or a token goes away. In the end every team runs its new base, by exactly one more
run and one more patch of its Deployment: the emulated ARM counts the runs, the API server's audit log the patches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from basetracker.emulators.images import Index

from .harness import losses
from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster, scratch_namespace
from .harness.forwarder import Forwarder
from .harness.installation import NAME, SYSTEM, installed
from .harness.losses import World, until
from .harness.operator_pod import OperatorPod, connect
from .harness.phases import Holds, Phase
from .harness.registry import DockerRegistry
from .harness.replicas import Replicas
from .harness.team import TRACKER, WORKLOAD, Team

pytestmark = pytest.mark.e2e

ALLOWED = [{"namespaces": ["e2e-*"], "registries": ["contoso"], "tasks": ["build-*"]}]
ENDINGS = ("ending: the Lease", f"ending: the Kubernetes API server {losses.REFUSED}")
VERSIONS = itertools.count(1)
Loss = Callable[[World], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def world(
    real_cluster: RealCluster,
    azure: EmulatedAzure,
    private_registry: DockerRegistry,
    programs: Path,
    workspace: Path,
) -> Iterator[World]:
    """The operator behind a network of its own, and a team for each phase, on its first base."""
    if real_cluster.plane is None:
        pytest.skip("the API server of a cluster that was given can't be taken away")
    directory = workspace / "loss"
    directory.mkdir()
    with ExitStack() as stack:
        stack.enter_context(installed(real_cluster, allowed=ALLOWED))
        forwarder = Forwarder(int(real_cluster.url.rpartition(":")[2]))
        forwarder.start()
        stack.callback(forwarder.stop)
        connect(real_cluster, azure, settings={"BASETRACKER_RUN_INTERVAL": "2s"})
        secret = losses.new_token_secret(real_cluster)
        pod = OperatorPod(
            real_cluster,
            azure,
            programs,
            directory,
            url=f"https://127.0.0.1:{forwarder.port}",
            bound_to=secret,
        )
        replicas = Replicas(real_cluster, pod, directory)
        stack.callback(replicas.stop)
        world = World(
            cluster=real_cluster,
            azure=azure,
            bases=private_registry,
            forwarder=forwarder,
            replicas=replicas,
            token_secret=secret,
        )
        for phase in Phase:
            namespace = stack.enter_context(
                scratch_namespace(real_cluster, f"e2e-loss-{phase.name.lower()}".replace("_", "-"))
            )
            world.teams[phase] = Team(real_cluster, azure, private_registry, namespace)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(Team.set_up, world.teams.values()))
        bases = {phase: push(team) for phase, team in world.teams.items()}
        for team in world.teams.values():
            team.apply_tracker()
        settle(world, bases)
        yield world
        assert complaints(world) == []


def complaints(world: World) -> list[Any]:
    """Rights that were lacking, and errors in the operator's own log but those with which it had to end."""
    assert world.cluster.audit is not None
    asked = world.cluster.audit.requests(SYSTEM, NAME)
    # kopf tells of each broken watch as of an error.
    own = [
        entry for replica in world.replicas.all for entry in replica.log() if entry["logger"].startswith("basetracker")
    ]
    errors = [entry for entry in own if entry["level"] in {"ERROR", "CRITICAL"}]
    return [
        *(one for one in asked if one.lacks_right),
        *(entry for entry in errors if not entry["message"].startswith(ENDINGS)),
    ]


@pytest.fixture
def holds(world: World) -> Iterator[Holds]:
    """The holds of the phases; in the end nothing is held."""
    holds = Holds(world.cluster, world.azure)
    yield holds
    for team in world.teams.values():
        holds.release(team)
    world.cluster.images.add(world.azure.registry.host, world.azure.resolve)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was done for a team so far."""

    runs: int
    patches: int
    revision: int


def counts(world: World) -> dict[Phase, Counts]:
    assert world.cluster.audit is not None
    asked = world.cluster.audit.requests(SYSTEM, NAME)
    patched = [
        one.namespace for one in asked if one.verb == "patch" and one.resource == "deployments" and one.code == 200
    ]
    return {
        phase: Counts(
            runs=len(team.runs()),
            patches=patched.count(team.namespace),
            revision=revision(team.get("deployment", WORKLOAD)),
        )
        for phase, team in world.teams.items()
    }


def revision(deployment: dict[str, Any]) -> int:
    return int(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def push(team: Team) -> Index:
    return team.push_base(f"3.12.{next(VERSIONS)}")


def has_settled(team: Team, base: Index) -> bool:
    """Whether the tracker says that its image is current on this base."""
    status = team.get("basetracker", TRACKER).get("status", {})
    ready = {one["type"]: one["status"] for one in status.get("conditions", ())}.get("Ready")
    return bool(ready == "True" and status["base"]["digest"] == base.digest)


def settle(world: World, bases: dict[Phase, Index]) -> None:
    """Wait until all have settled; an operator that ends meanwhile is started again."""
    waiting = dict(bases)

    def all_settled() -> bool:
        world.keep_running()
        for phase in [phase for phase, base in waiting.items() if has_settled(world.teams[phase], base)]:
            del waiting[phase]
        return not waiting

    try:
        until(all_settled, "all teams have their base")
    except AssertionError as error:
        told = [team.get("basetracker", TRACKER)["status"] for phase, team in world.teams.items() if phase in waiting]
        raise AssertionError(f"{error}: {[str(phase) for phase in waiting]} have not: {told}") from None


WAITS, GOES_ON = False, True
"""Whether builds and Pods go on while the operator can't see them, or only afterwards."""


@pytest.mark.parametrize(
    ("loss", "goes_on"),
    [
        (losses.killed, WAITS),
        (losses.killed, GOES_ON),
        (losses.apiserver_killed, GOES_ON),
        (losses.connections_cut, WAITS),
        (losses.network_silent, GOES_ON),
        (losses.bases_away, WAITS),
        (losses.azure_away, GOES_ON),
        (losses.tokens_ended, WAITS),
        (losses.token_late, GOES_ON),
        (losses.identity_late, GOES_ON),
    ],
    ids=lambda value: value.__name__ if callable(value) else ("goes on" if value else "waits"),
)
def test_a_loss_costs_time_and_nothing_else(world: World, holds: Holds, loss: Loss, goes_on: bool) -> None:
    before = counts(world)
    bases: dict[Phase, Index] = {}
    for phase in (Phase.ASKED, *(one for one in Phase if one is not Phase.ASKED)):
        if phase is Phase.POLLING:
            continue
        team = world.teams[phase]
        holds.hold(team, phase)
        bases[phase] = push(team)
        world.look_now()
        if phase is Phase.ASKED:  # the next run that anybody asks for is the one whose answer is lost
            until(lambda: holds.is_reached(world.teams[Phase.ASKED], Phase.ASKED, before[Phase.ASKED].runs), phase)
    until(
        lambda: all(holds.is_reached(world.teams[phase], phase, before[phase].runs) for phase in bases),
        "every team is in its phase",
    )
    with loss(world):
        bases[Phase.POLLING] = push(world.teams[Phase.POLLING])
        if goes_on:
            for team in world.teams.values():
                holds.release(team)
    for team in world.teams.values():
        holds.release(team)
    settle(world, bases)

    after = counts(world)
    for phase, team in world.teams.items():
        was, now = before[phase], after[phase]
        assert now.runs - was.runs == 1, f"{phase}: {team.runs()}"
        assert now.patches - was.patches == 1, phase
        assert now.revision - was.revision == 1, phase
        assert set(team.runs()) == {"Succeeded"}, phase
        assert team.stands_on(bases[phase]), phase
