"""What an operator can lose while it works, and the world in which it does: one replica and a team in each phase.

Owns how each loss begins and ends. The replica is started again when it has ended, as a kubelet does.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from .azure import EmulatedAzure
from .cluster import RealCluster
from .controlplane import write_kubeconfig
from .forwarder import Forwarder
from .installation import SYSTEM
from .kubectl import Kubectl, KubectlError
from .operator_pod import AZURE_TOKEN, AZURE_TOKENS, SERVICE_ACCOUNT
from .phases import Phase
from .registry import DockerRegistry
from .replicas import Replica, Replicas
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
    """All that a loss may touch. The operator's token for the cluster ends with the Secret `token_secret`."""

    cluster: RealCluster
    azure: EmulatedAzure
    bases: DockerRegistry
    forwarder: Forwarder
    replicas: Replicas
    token_secret: str
    teams: dict[Phase, Team] = field(default_factory=dict)

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

    @property
    def token(self) -> str:
        """The one that it has."""
        return self.replicas.pod.volume_at(SERVICE_ACCOUNT).read("token")

    def give_token(self) -> None:
        """Give it a fresh one, as a kubelet does; the old one goes on until its Secret is deleted."""
        self.token_secret = new_token_secret(self.cluster)
        self.replicas.pod.renew(SERVICE_ACCOUNT, bound_to=self.token_secret)

    def end_token(self, secret: str, token: str) -> None:
        """Let the API server accept a token no more; it remembers it for ten seconds."""
        self.cluster.admin.run("delete", "secret", secret, "-n", SYSTEM)
        with TemporaryDirectory() as directory:
            path = Path(directory) / "ended.kubeconfig"
            write_kubeconfig(path, self.cluster.url, self.cluster.authority_file, token)
            until(lambda: not _is_let_in(Kubectl(path)), "the old token is refused")


def new_token_secret(cluster: RealCluster) -> str:
    """The name of a new Secret with which a token can end."""
    name = f"token-{uuid.uuid4().hex[:8]}"
    cluster.admin.run("create", "secret", "generic", name, "-n", SYSTEM)
    return name


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
    old, secret = world.token, world.token_secret
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
    world.end_token(world.token_secret, world.token)
    world.forwarder.cut()
    until(lambda: not world.operator.is_running or world.operator.told(REFUSED) > 1, "the operator has noticed")
    yield
    world.give_token()


@contextmanager
def identity_late(world: World) -> Iterator[None]:
    """The token for Entra ends, with all that Entra gave for it, and the kubelet brings the next one late."""
    pod = world.replicas.pod
    pod.volume_at(AZURE_TOKENS).replace(AZURE_TOKEN, world.azure.ended_assertion())
    refused = world.azure.refused_by_entra()
    world.azure.expire_tokens()
    world.look_now()
    until(lambda: world.azure.refused_by_entra() > refused, "Entra has refused the ended token")
    yield
    pod.renew(AZURE_TOKENS)
    world.look_now()


def _looks_without_answer(world: World) -> float:
    return world.operator.metric("basetracker_looks_total") - world.operator.metric(
        "basetracker_looks_total", 'outcome="Answered"'
    )
