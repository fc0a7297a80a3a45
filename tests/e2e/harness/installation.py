"""The operator as it is shipped, installed with `kubectl apply -k`, and its replicas.

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
from .processes import ProcessError, ServerProcess, free_port
from .repository import ROOT

Object = dict[str, Any]
SYSTEM = "basetracker-system"
NAME = "basetracker"
CRD = "baseimagetrackers.basetracker.dev"
BASE = ROOT / "manifests" / "base"
SINGLE_NAMESPACE = ROOT / "manifests" / "overlays" / "single-namespace"
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
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Replicas:
    """All replicas that there have been, the present ones and the ended ones."""

    def __init__(
        self,
        cluster: RealCluster,
        program: Path,
        environment: Mapping[str, str],
        directory: Path,
        namespace: str = SYSTEM,
    ) -> None:
        """`namespace` is the operator's own."""
        self.all: list[Replica] = []
        self.namespace = namespace
        self.audit = cluster.audit
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
        return self._cluster.admin.run("get", "lease", NAME, "-n", self.namespace, "--ignore-not-found", "-o", path)

    def stop(self) -> None:
        """End all that still run."""
        for replica in self.all:
            replica.stop()


@contextmanager
def installed(
    cluster: RealCluster,
    kustomization: Path = BASE,
    *,
    namespace: str = SYSTEM,
    allowed: Sequence[Object] | None = None,
) -> Iterator[None]:
    """The operator's objects in the cluster, without its Pods.

    `allowed` is put in place of the shipped list of tasks that may be started.
    """
    admin = cluster.admin
    try:
        admin.run("apply", "-k", str(kustomization))
        # The nodes are emulated: its Pods would wait for an image for ever.
        admin.run("scale", "deployment", NAME, "-n", namespace, "--replicas=0")
        if allowed is not None:
            listed = json.dumps({"data": {"tasks.yaml": yaml.safe_dump(list(allowed))}})
            admin.run("patch", "configmap", "basetracker-tasks", "-n", namespace, "--type=merge", "-p", listed)
        yield
    finally:
        admin.run("delete", "-k", str(kustomization), "--ignore-not-found", "--timeout=120s", seconds=150)


def single_namespace(directory: Path, namespace: str) -> Path:
    """The overlay for one namespace with this one set, as its text tells to do."""
    directory.mkdir()
    overlay = os.path.relpath(SINGLE_NAMESPACE, directory.resolve())
    (directory / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "namespace": namespace,
                "resources": [overlay],
            }
        )
    )
    return directory


def install_definition(cluster: RealCluster) -> None:
    """The CRD alone, with `kubectl apply -k crds`; returns when it is served."""
    cluster.admin.run("apply", "-k", str(ROOT / "crds"))
    cluster.admin.run("wait", "--for=condition=Established", "--timeout=30s", f"crd/{CRD}")


def shipped_environment(cluster: RealCluster, directory: Path, namespace: str = SYSTEM) -> dict[str, str]:
    """The environment that a replica has in the cluster, with files of this machine in place of its mounts."""
    deployment = cluster.admin.get("deployment", NAME, "-n", namespace)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    tasks = directory / "tasks.yaml"
    tasks.write_text(cluster.admin.get("configmap", "basetracker-tasks", "-n", namespace)["data"]["tasks.yaml"])
    return {
        **{item["name"]: _value(item, namespace) for item in container["env"]},
        "PATH": os.environ.get("PATH", ""),
        "KUBECONFIG": str(cluster.kubeconfig_of(namespace, NAME)),
        "BASETRACKER_ALLOW_LIST": str(tasks),
    }


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


def _value(item: Object, namespace: str) -> str:
    source = item.get("valueFrom")
    if source is None:
        return str(item.get("value", ""))
    assert source["fieldRef"]["fieldPath"] == "metadata.namespace", item
    return namespace
