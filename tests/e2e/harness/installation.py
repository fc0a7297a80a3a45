"""The operator as it is shipped, installed with `kubectl apply -k`; its processes are the matter of `replicas.py`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .cluster import RealCluster
from .repository import ROOT

Object = dict[str, Any]
SYSTEM = "basetracker-system"
NAME = "basetracker"
ESTABLISHED_SECONDS = 30.0
CRD = "baseimagetrackers.basetracker.dev"
BASE = ROOT / "manifests" / "base"
SINGLE_NAMESPACE = ROOT / "manifests" / "overlays" / "single-namespace"


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
    await_served(cluster, CRD)


def await_served(cluster: RealCluster, *definitions: str) -> None:
    """Return when these CRDs are served. `kubectl wait` ends with an error while they have no conditions at all."""
    deadline = time.monotonic() + ESTABLISHED_SECONDS
    for name in definitions:
        while True:
            conditions = cluster.admin.get("crd", name).get("status", {}).get("conditions") or []
            if any((one["type"], one["status"]) == ("Established", "True") for one in conditions):
                break
            assert time.monotonic() < deadline, f"{name} isn't served: {conditions}"
            time.sleep(0.2)
