"""A whole cluster for tests: a control plane, started here or given, with emulated nodes.

Owns putting the parts together and who may use it. `started` makes a cluster of its own; `given` takes one that
a kubeconfig leads to, adds emulated nodes to it and removes them in the end.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .audit import AuditLog
from .controlplane import ControlPlane, write_kubeconfig
from .kubectl import Kubectl, kubectl_binary
from .kubelet import PLACEMENT, FakeKubelet
from .processes import ServerProcess
from .pulls import ImageSources

NODES = ("e2e-node-1", "e2e-node-2", "e2e-node-3")
SCRATCH = {"e2e.basetracker.dev/scratch": "true"}
# What the tests install for the whole cluster; all tests together need no other.
CRDS = ("baseimagetrackers.basetracker.dev", "widgets.test.basetracker.dev")
PROXY_SECONDS = 20.0


class RealCluster:
    """A cluster in use.

    `kubeconfig`, `admin` (kubectl) and the nodes' `proxy_socket` have every right; `images` is where the nodes find
    images; `placement` has to be merged into the spec of every Pod template, so that its Pods land on the emulated nodes.
    """

    placement: dict[str, Any] = PLACEMENT

    def __init__(
        self,
        kubeconfig: Path,
        images: ImageSources,
        kubelet: FakeKubelet,
        directory: Path,
        plane: ControlPlane | None,
        proxy_socket: Path,
    ) -> None:
        """`plane` is None on a cluster that was given, and so are its log and the power over it."""
        self.plane = plane
        self.audit: AuditLog | None = plane.audit if plane else None
        self.kubeconfig = kubeconfig
        self.admin = Kubectl(kubeconfig)
        self.images = images
        self.kubelet = kubelet
        self.proxy_socket = proxy_socket
        self._directory = directory
        view = json.loads(self.admin.run("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        cluster = view["clusters"][0]["cluster"]
        self.url: str = cluster["server"]
        self.authority_file = directory / "cluster-ca.crt"
        self.authority_file.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))

    def token(
        self,
        namespace: str,
        service_account: str,
        *,
        seconds: int = 3600,
        bound_to: str | None = None,
        audience: str | None = None,
    ) -> str:
        """A token of a ServiceAccount, by TokenRequest; the API server gives none for less than 600 s.

        It ends before its time with the Secret that it is `bound_to`. It is for the API server, or for its `audience`.
        """
        options = [f"--duration={seconds}s", *([f"--audience={audience}"] if audience else [])]
        if bound_to is not None:
            options += ["--bound-object-kind=Secret", f"--bound-object-name={bound_to}"]
        return self.admin.run("create", "token", service_account, "-n", namespace, *options).strip()

    def kubeconfig_of(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig with a fresh token of a ServiceAccount, good for an hour."""
        path = self._directory / f"{namespace}-{service_account}.kubeconfig"
        write_kubeconfig(path, self.url, self.authority_file, self.token(namespace, service_account))
        return path


@contextmanager
def started(binary: Path, directory: Path) -> Iterator[RealCluster]:
    """A cluster of its own, as long as the context lasts.

    Raises:
        ProcessError: a component didn't come up.
    """
    plane = ControlPlane(binary, directory)
    plane.start()
    try:
        with _with_nodes(plane.kubeconfig, directory, binds_pods=True, plane=plane) as cluster:
            yield cluster
    finally:
        plane.stop()


@contextmanager
def given(kubeconfig: Path, directory: Path) -> Iterator[RealCluster]:
    """The cluster behind a kubeconfig, whose user has to be cluster-admin.

    Raises:
        RuntimeError: it has the operator already; the tests' end would take it away, with all trackers.
    """
    for kind, *names in (("crd", *CRDS), ("namespace", "basetracker-system")):
        if found := Kubectl(kubeconfig).run("get", kind, *names, "--ignore-not-found", "-o", "name"):
            raise RuntimeError(f"the cluster has {found.split()} already; the tests install and remove their own")
    with _with_nodes(kubeconfig, directory, binds_pods=False, plane=None) as cluster:
        try:
            yield cluster
        finally:
            cluster.admin.run("delete", "crd", *CRDS, "--ignore-not-found", "--timeout=60s")
            # Their Pods need the emulated nodes to end.
            label = ",".join(f"{key}={value}" for key, value in SCRATCH.items())
            cluster.admin.run("wait", "--for=delete", "namespace", "-l", label, "--timeout=120s", seconds=150)
            cluster.admin.run("delete", "node", *NODES, "--ignore-not-found", "--wait=false")


@contextmanager
def _with_nodes(
    kubeconfig: Path, directory: Path, *, binds_pods: bool, plane: ControlPlane | None
) -> Iterator[RealCluster]:
    socket = directory / "proxy.sock"
    proxy = ServerProcess(
        "kubectl proxy",
        [kubectl_binary(), "--kubeconfig", kubeconfig, "proxy", f"--unix-socket={socket}"],
        directory / "kubectl-proxy.log",
    )
    images = ImageSources()
    kubelet = FakeKubelet(socket, nodes=NODES, resolve=images.resolve, binds_pods=binds_pods)
    proxy.start()
    try:
        proxy.wait_until(socket.exists, seconds=PROXY_SECONDS)
        kubelet.start()
        yield RealCluster(kubeconfig, images, kubelet, directory, plane, socket)
    finally:
        kubelet.stop()
        proxy.stop()


@contextmanager
def scratch_namespace(cluster: RealCluster, name: str) -> Iterator[str]:
    """A namespace that goes, with all that is in it, when the context ends; nobody waits for that."""
    cluster.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": SCRATCH}})
    try:
        cluster.admin.run("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
        yield name
    finally:
        cluster.admin.run("delete", "namespace", name, "--wait=false")
