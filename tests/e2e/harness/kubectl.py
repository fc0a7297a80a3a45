"""Real kubectl, as one user against one cluster.

Owns the command line and its failure text. Used by tests and by the harness itself, so that what tests do to a
cluster is what a person would type.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]


class KubectlError(RuntimeError):
    """kubectl ended with an error; `message` is what it printed."""

    def __init__(self, arguments: Sequence[str], message: str) -> None:
        super().__init__(f"kubectl {' '.join(arguments)}: {message}")
        self.message = message


def kubectl_binary() -> str:
    """kubectl of this Python environment, else of the machine.

    Raises:
        FileNotFoundError: there is none.
    """
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise FileNotFoundError("kubectl")
    return found


class Kubectl:
    """kubectl with a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def run(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """What it prints on standard output.

        Raises:
            KubectlError: it ended with an error.
            subprocess.TimeoutExpired: it took longer than `seconds`.
        """
        done = subprocess.run(
            [kubectl_binary(), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise KubectlError(arguments, (done.stderr or done.stdout).strip())
        return done.stdout

    def get(self, *arguments: str) -> Object:
        """`kubectl get … -o json` as an object."""
        answer: Object = json.loads(self.run("get", *arguments, "-o", "json"))
        return answer

    def apply(self, *objects: Object, namespace: str | None = None) -> str:
        """`kubectl apply` of these objects."""
        where = ["-n", namespace] if namespace else []
        return self.run("apply", *where, "-f", "-", stdin=yaml.safe_dump_all(objects))
