"""A real Kubernetes control plane on loopback: etcd, kube-apiserver and kube-controller-manager.

Owns the processes, their certificates and their data, all in one directory that can be thrown away. There are
no nodes and no scheduler: `kubelet.py` stands in for both. Authorizers are Node and RBAC, as in any cluster.
Must be started from the main thread (see `processes.py`).
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .audit import POLICY, AuditLog
from .certificates import ClusterCertificates, KeyPair
from .kubectl import Kubectl, KubectlError
from .processes import ProcessError, ServerProcess, free_port

START_SECONDS = 90.0
ISSUER = "https://kubernetes.default.svc.cluster.local"


class ControlPlane:
    """One control plane; `start` returns when it serves and its controllers work."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self._binary = binary
        self._directory = directory
        self._certificates = ClusterCertificates(directory / "pki")
        self._processes: list[ServerProcess] = []
        self._apiserver: ServerProcess | None = None
        self.url = f"https://127.0.0.1:{free_port()}"
        self.kubeconfig = directory / "admin.kubeconfig"
        self.audit = AuditLog(directory / "audit.log")

    def start(self) -> None:
        """Start all components.

        Raises:
            ProcessError: one of them didn't come up; the rest is stopped again.
        """
        write_kubeconfig(
            self.kubeconfig,
            self.url,
            self._certificates.authority,
            self._certificates.client("admin", "system:masters"),
        )
        try:
            etcd = self._start_etcd()
            tokens = self._certificates.token_key()
            self._start_apiserver(etcd, tokens)
            self._start_controller_manager(tokens)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all components, the last started first."""
        while self._processes:
            self._processes.pop().stop()

    def stop_apiserver(self) -> None:
        """Kill kube-apiserver alone; etcd keeps what is stored."""
        if self._apiserver is None:
            raise ProcessError("kube-apiserver isn't running")
        self._apiserver.kill()

    def restart_apiserver(self) -> None:
        """Start kube-apiserver again, at the same address, and return when it serves.

        Raises:
            ProcessError: it doesn't.
        """
        if self._apiserver is None:
            raise ProcessError("kube-apiserver was never started")
        with self.audit.start():
            self._apiserver.start()
            self._await_apiserver(self._apiserver)

    def _await_apiserver(self, process: ServerProcess) -> None:
        admin = Kubectl(self.kubeconfig)
        process.wait_until(lambda: _succeeds(admin, "get", "--raw=/readyz"), seconds=START_SECONDS)

    def _launch(self, component: str, flags: Mapping[str, Any]) -> ServerProcess:
        arguments = [f"--{flag}={value}" for flag, value in flags.items()]
        process = ServerProcess(component, [self._binary, component, *arguments], self._directory / f"{component}.log")
        self._processes.append(process)
        return process.start()

    def _start_etcd(self) -> str:
        client = f"http://127.0.0.1:{free_port()}"
        process = self._launch(
            "etcd",
            {
                "data-dir": self._directory / "etcd",
                "listen-client-url": client,
                "listen-peer-url": f"http://127.0.0.1:{free_port()}",
            },
        )
        process.wait_until(lambda: _answers(f"{client}/health"), seconds=START_SECONDS)
        return client

    def _start_apiserver(self, etcd: str, tokens: Path) -> None:
        policy = self._directory / "audit-policy.json"
        policy.write_text(json.dumps(POLICY))
        serving = self._certificates.server("127.0.0.1", "localhost", "kubernetes.default.svc")
        self._apiserver = self._launch(
            "kube-apiserver",
            {
                "etcd-servers": etcd,
                "bind-address": "127.0.0.1",
                "advertise-address": "127.0.0.1",
                "secure-port": self.url.rpartition(":")[2],
                "tls-cert-file": serving.certificate,
                "tls-private-key-file": serving.key,
                "client-ca-file": self._certificates.authority,
                "authorization-mode": "Node,RBAC",
                "audit-policy-file": policy,
                "audit-log-path": self.audit.path,
                "service-account-issuer": ISSUER,
                "service-account-key-file": tokens,
                "service-account-signing-key-file": tokens,
                "service-cluster-ip-range": "10.96.0.0/16",
                # No pod could reach the loopback address, so the `kubernetes` Service gets no endpoints.
                "endpoint-reconciler-type": "none",
            },
        )
        self._await_apiserver(self._apiserver)

    def _start_controller_manager(self, tokens: Path) -> None:
        config = self._directory / "controller-manager.kubeconfig"
        user = self._certificates.client("system:kube-controller-manager")
        write_kubeconfig(config, self.url, self._certificates.authority, user)
        process = self._launch(
            "kube-controller-manager",
            {
                "kubeconfig": config,
                "authentication-kubeconfig": config,
                "authorization-kubeconfig": config,
                "service-account-private-key-file": tokens,
                "root-ca-file": self._certificates.authority,
                "use-service-account-credentials": "true",
                "leader-elect": "false",
                "secure-port": 0,
                # At the default rate the first namespaces wait some seconds for their ServiceAccount.
                "kube-api-qps": 200,
                "kube-api-burst": 400,
            },
        )
        admin = Kubectl(self.kubeconfig)
        process.wait_until(
            lambda: _succeeds(admin, "get", "serviceaccount", "default", "--namespace=default"),
            seconds=START_SECONDS,
        )


def write_kubeconfig(path: Path, url: str, authority: Path, user: KeyPair | str | Path) -> None:
    """Write a kubeconfig for a client certificate, for a bearer token or for the path of a file with one."""
    if isinstance(user, KeyPair):
        who = {"client-certificate": str(user.certificate), "client-key": str(user.key)}
    elif isinstance(user, Path):
        who = {"tokenFile": str(user)}
    else:
        who = {"token": user}
    # JSON is YAML, and kubectl reads it.
    path.touch(mode=0o600)
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "e2e", "cluster": {"server": url, "certificate-authority": str(authority)}}],
                "users": [{"name": "user", "user": who}],
                "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "user"}}],
                "current-context": "e2e",
            }
        )
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _succeeds(kubectl: Kubectl, *arguments: str) -> bool:
    try:
        kubectl.run(*arguments, seconds=10)
    except KubectlError:
        return False
    return True
