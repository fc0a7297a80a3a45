"""The operator's replicas: containers of this machine, since the emulated nodes run none.

Owns their start, their end, their logs and metrics, and who leads. Each is what the shipped Deployment says, with the
ServiceAccount's own token and so exactly the shipped rights.
"""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cluster import RealCluster
from .container import ContainerProcess
from .installation import NAME
from .operator_pod import OperatorPod
from .processes import ProcessError, free_port

Object = dict[str, Any]
START_SECONDS = 60.0
# The Lease lasts 15 s; whoever waits for it asks every 2 s.
TAKEOVER_SECONDS = 45.0


class Replica:
    """One container of the operator."""

    def __init__(self, name: str, pod: OperatorPod, log: Path) -> None:
        self.name = name
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._ready, self._grace = f"{self.url}{pod.ready_path}", pod.grace_seconds
        # All replicas are on the one network of this machine.
        self.container = pod.container(name, BASETRACKER_LISTEN=f"127.0.0.1:{port}")
        self._process = ContainerProcess(self.container, log)

    def start(self) -> None:
        """Return when it is ready to lead, as its probe tells. Raises ProcessError."""
        self._process.launch()
        self._process.wait_until(self._is_ready, seconds=START_SECONDS)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.is_running

    def kill(self) -> None:
        """End it without any warning."""
        self._process.kill()

    def stop(self) -> int | None:
        """Ask it to end, as a node does; the exit code."""
        return self._process.stop(patience=self._grace)

    def log(self) -> list[Object]:
        """Its log, a line an entry. Raises ValueError for a line that isn't JSON."""
        return [json.loads(line) for line in self._process.log.read_text().splitlines()]

    def told(self, text: str) -> int:
        """In how many lines its log has this text so far."""
        return self._process.log.read_text().count(text)

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric over all its labels, or over those with `label="value"` among them."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        mine = [line for line in lines if line.partition(" ")[0].partition("{")[0] == name and label in line]
        return sum(float(line.rpartition(" ")[2]) for line in mine)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._ready, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Replicas:
    """All replicas that there have been, the present ones and the ended ones."""

    def __init__(self, cluster: RealCluster, pod: OperatorPod, directory: Path) -> None:
        """Their logs are written to `directory`."""
        self.all: list[Replica] = []
        self.pod = pod
        self.namespace = pod.namespace
        self.audit = cluster.audit
        self._cluster = cluster
        self._directory = directory
        self._numbers = itertools.count()

    def start(self) -> Replica:
        """Start one more."""
        name = f"{NAME}-{next(self._numbers)}"
        replica = Replica(name, self.pod, self._directory / f"{name}.log")
        self.all.append(replica)
        replica.start()
        return replica

    def leader(self, *, seconds: float = TAKEOVER_SECONDS, other_than: Sequence[Replica] = ()) -> Replica:
        """Who holds the Lease, once a running replica does. Raises ProcessError when none does in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            holder = self.holder()
            for replica in self.all:
                if holder.startswith(f"{replica.name}_") and replica.is_running and replica not in other_than:
                    return replica
            time.sleep(0.2)
        raise ProcessError(f"no replica leads after {seconds:g} s; the Lease is held by {self.holder()!r}")

    def holder(self) -> str:
        """What the Lease says of its holder; empty when there is none."""
        path = "jsonpath={.spec.holderIdentity}"
        return self._cluster.admin.run("get", "lease", NAME, "-n", self.namespace, "--ignore-not-found", "-o", path)

    def stop(self) -> None:
        """End all that still run."""
        for replica in self.all:
            replica.stop()


def complaints(replicas: Replicas, namespace: str) -> list[Any]:
    """What speaks of errors and of missing rights: in all logs, and in what the API server refused.

    Of the refused, only what was asked in `namespace` or in none of the tests' counts: a namespace that is ending loses
    its Roles while the tracker is still there, and forbids new objects to everybody.
    """
    found: list[Any] = []
    for entry in (entry for replica in replicas.all for entry in replica.log()):
        text = str(entry)
        refused = "forbidden" in text.lower() and (namespace in text or "e2e-" not in text)
        if refused or entry["level"] in {"ERROR", "CRITICAL"}:
            found.append(entry)
    if replicas.audit is not None:
        asked = replicas.audit.requests(replicas.namespace, NAME)
        assert asked, "the API server has heard nothing of the operator"
        found += [
            request
            for request in asked
            if request.lacks_right and (request.namespace == namespace or not request.namespace.startswith("e2e-"))
        ]
    return found
