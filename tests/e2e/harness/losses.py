"""What an operator can lose while it works, and the world in which it does: one replica and a team in each phase.

Owns how each loss begins and ends. The replica is started again when it has ended, as a kubelet does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .azure import EmulatedAzure
from .cluster import RealCluster
from .controlplane import write_kubeconfig
from .forwarder import Forwarder
from .installation import NAME, SYSTEM, Replica, Replicas
from .kubectl import Kubectl, KubectlError
from .phases import Phase
from .registry import DockerRegistry
from .team import Team

WAIT_SECONDS = 120.0
REFUSED = "doesn't accept the operator's credentials"


def until(holds: Callable[[], bool], what: str, *, seconds: float = WAIT_SECONDS) -> None:
    """Wait until it holds; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        time.sleep(0.2)


@dataclass(kw_only=True)
class World:
    """All that a loss may touch. `tokens` is the file with the operator's token for the cluster."""

    cluster: RealCluster
    azure: EmulatedAzure
    bases: DockerRegistry
    forwarder: Forwarder
    replicas: Replicas
    tokens: Path
    teams: dict[Phase, Team] = field(default_factory=dict)
    _secrets: int = 0

    @property
    def operator(self) -> Replica:
        """The newest replica, of which one runs at a time."""
        return self.replicas.all[-1]

    def keep_running(self) -> None:
        """Start the operator again if it has ended."""
        if not self.replicas.all or not self.operator.is_running:
            self.replicas.start()

    def look_now(self) -> None:
        """Ask all trackers to look, as a person would."""
        mark = f"basetracker.dev/requested-at={time.time_ns()}"
        for team in self.teams.values():
            team.kubectl("annotate", "basetrackers", "--all", "--overwrite", mark)

    # -- the operator's token for the cluster ------------------------------------------------------------

    def give_token(self) -> str:
        """Put a fresh token into the operator's file; the name of the Secret with which it ends."""
        self._secrets += 1
        name = f"token-{self._secrets}"
        self.cluster.admin.run("create", "secret", "generic", name, "-n", SYSTEM)
        self.tokens.write_text(self.cluster.token(SYSTEM, NAME, bound_to=name))
        return name

    def end_token(self, secret: str, token: str) -> None:
        """Let the API server accept a token no more; it remembers it for ten seconds."""
        self.cluster.admin.run("delete", "secret", secret, "-n", SYSTEM)
        path = self.tokens.with_name("ended.kubeconfig")
        write_kubeconfig(path, self.cluster.url, self.cluster.authority_file, token)
        until(lambda: not _is_let_in(Kubectl(path)), "the old token is refused")


def _is_let_in(user: Kubectl) -> bool:
    try:
        user.run("auth", "whoami")
    except KubectlError:
        return False
    return True


@contextmanager
def killed(world: World) -> Iterator[None]:
    """The operator ends without a warning; another one waits for its Lease to run out."""
    world.operator.kill()
    yield
    world.replicas.start()


@contextmanager
def apiserver_killed(world: World) -> Iterator[None]:
    """The API server ends without a warning, and comes back."""
    assert world.cluster.plane is not None
    world.cluster.plane.stop_apiserver()
    yield
    world.cluster.plane.restart_apiserver()


@contextmanager
def connections_cut(world: World) -> Iterator[None]:
    """Every connection to the API server breaks, the watches' too, twice."""
    assert world.forwarder.cut() > 0
    yield
    until(lambda: world.forwarder.cut() > 0, "the operator has connected again")


@contextmanager
def network_silent(world: World) -> Iterator[None]:
    """Nothing gets through to the API server or back, until the operator knows that it leads no more."""
    with world.forwarder.silent():
        until(lambda: not world.operator.is_running, "the operator has ended, since it can't renew its Lease")
        yield


@contextmanager
def bases_away(world: World) -> Iterator[None]:
    """The registry of the bases is gone for some looks; what is pushed to it has to wait."""
    world.bases.stop()
    failed = _looks_without_answer(world)
    world.look_now()
    until(lambda: _looks_without_answer(world) > failed, "a look at a base has failed")
    world.bases.start()
    yield


@contextmanager
def azure_away(world: World) -> Iterator[None]:
    """Entra, ARM and the registry of the images break every request."""
    broken = world.azure.answers(0)
    with world.azure.away():
        world.look_now()
        until(lambda: world.azure.answers(0) >= broken + 3, "some requests were broken")
        yield


@contextmanager
def tokens_ended(world: World) -> Iterator[None]:
    """Every token that the operator has ends: for the cluster (a new one lies ready), of Entra and of the registry."""
    old, secret = world.tokens.read_text(), f"token-{world._secrets}"
    world.give_token()
    refused = world.azure.answers(401)
    world.azure.expire_tokens()
    world.end_token(secret, old)
    world.forwarder.cut()  # so that the watches, too, have to show a token
    yield
    world.look_now()
    until(lambda: world.azure.answers(401) > refused, "Azure has refused an old token")


@contextmanager
def token_late(world: World) -> Iterator[None]:
    """The token for the cluster ends, and the next one comes only when the operator has noticed."""
    world.end_token(f"token-{world._secrets}", world.tokens.read_text())
    world.forwarder.cut()
    until(lambda: not world.operator.is_running or world.operator.told(REFUSED) > 1, "the operator has noticed")
    yield
    world.give_token()


def _looks_without_answer(world: World) -> float:
    return world.operator.metric("basetracker_looks_total") - world.operator.metric(
        "basetracker_looks_total", 'outcome="Answered"'
    )
