"""The operator as it is shipped, installed with `kubectl apply -k manifests/base`, and its replicas.

Owns the installation and the replicas, which are processes of this machine: the emulated nodes run none. Each has the
environment of the shipped Deployment, the ServiceAccount's own token, and so exactly the shipped rights.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .cluster import RealCluster
from .kubectl import KubectlError
from .processes import ProcessError, ServerProcess, free_port
from .wheel import ROOT

SYSTEM = "basetracker-system"
NAME = "basetracker"
CRD = "baseimagetrackers.basetracker.dev"
BASE = ROOT / "manifests" / "base"
START_SECONDS = 60.0
# The Lease lasts 15 s; whoever waits for it asks every 2 s.
TAKEOVER_SECONDS = 45.0


class Replica:
    """One process of the operator."""

    def __init__(self, name: str, program: Path, environment: Mapping[str, str], directory: Path) -> None:
        directory.mkdir()
        self.name = name
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        own = {"HOME": str(directory), "BASETRACKER_POD_NAME": name, "BASETRACKER_LISTEN": f"127.0.0.1:{port}"}
        self._environment = {**environment, **own}
        self._process = ServerProcess(name, [program, "run"], directory / "log")

    def start(self) -> None:
        """Return when it is ready to lead, as its probe tells. Raises ProcessError."""
        self._process.start(self._environment, inherit=False)
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
        return self._process.stop(patience=20)

    def log(self) -> list[dict[str, Any]]:
        """Its log, a line an entry. Raises ValueError for a line that isn't JSON."""
        return [json.loads(line) for line in self._process.log.read_text().splitlines()]

    def metric(self, name: str) -> float:
        """The sum of a metric over all its labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition(" ")[0].partition("{")[0] == name)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Replicas:
    """All replicas that there have been, the present ones and the ended ones."""

    def __init__(self, cluster: RealCluster, program: Path, environment: Mapping[str, str], directory: Path) -> None:
        self.all: list[Replica] = []
        self._cluster = cluster
        self._program = program
        self._environment = environment
        self._directory = directory
        self._numbers = itertools.count()

    def start(self) -> Replica:
        """Start one more."""
        name = f"{NAME}-{next(self._numbers)}"
        replica = Replica(name, self._program, self._environment, self._directory / name)
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
        return self._cluster.admin.run("get", "lease", NAME, "-n", SYSTEM, "--ignore-not-found", "-o", path)

    def stop(self) -> None:
        """End all that still run."""
        for replica in self.all:
            replica.stop()


@contextmanager
def installed(cluster: RealCluster, allowed: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """The operator's objects in the cluster; `allowed` is the list of tasks that may be started.

    Raises:
        RuntimeError: there is one already, which isn't ours to change.
    """
    admin = cluster.admin
    if admin.run("get", "namespace", SYSTEM, "--ignore-not-found", "-o", "name"):
        raise RuntimeError(f"the cluster has a namespace {SYSTEM} already; the tests install an operator of their own")
    try:
        admin.run("apply", "-k", str(BASE))
        # The nodes are emulated: its Pods would wait for an image for ever.
        admin.run("scale", "deployment", NAME, "-n", SYSTEM, "--replicas=0")
        admin.run("wait", "--for=condition=Established", "--timeout=30s", f"crd/{CRD}")
        listed = json.dumps({"data": {"tasks.yaml": yaml.safe_dump(list(allowed))}})
        admin.run("patch", "configmap", "basetracker-tasks", "-n", SYSTEM, "--type=merge", "-p", listed)
        yield
    finally:
        try:
            admin.run("delete", "-k", str(BASE), "--ignore-not-found", "--timeout=120s", seconds=150)
        except KubectlError as error:
            raise RuntimeError(f"the installation can't be removed: {error.message}") from error


def shipped_environment(cluster: RealCluster, directory: Path) -> dict[str, str]:
    """The environment that a replica has in the cluster, with files of this machine in place of its mounts."""
    (container,) = cluster.admin.get("deployment", NAME, "-n", SYSTEM)["spec"]["template"]["spec"]["containers"]
    tasks = directory / "tasks.yaml"
    tasks.write_text(cluster.admin.get("configmap", "basetracker-tasks", "-n", SYSTEM)["data"]["tasks.yaml"])
    told = {item["name"]: _value(item) for item in container["env"]}
    token = cluster.kubeconfig_of(SYSTEM, NAME)
    return {
        **told,
        "PATH": os.environ.get("PATH", ""),
        "KUBECONFIG": str(token),
        "BASETRACKER_ALLOW_LIST": str(tasks),
    }


def _value(item: Mapping[str, Any]) -> str:
    source = item.get("valueFrom")
    if source is None:
        return str(item.get("value", ""))
    assert source["fieldRef"]["fieldPath"] == "metadata.namespace", item
    return SYSTEM
