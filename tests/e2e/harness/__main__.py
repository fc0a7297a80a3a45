"""A real cluster to play with: `python -m tests.e2e.harness` from the root of the repository.

Starts the control plane with its emulated nodes, and docker-registry where it is installed, prints how to reach
them, and stops them at Ctrl-C. Every image of the registry can run on the nodes.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from basetracker.emulators.authority import Authority

from . import build, registry
from .cluster import started
from .registry import DockerRegistry


def main() -> None:
    with ExitStack() as stack:
        workspace = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bt-e2e-")))
        cluster = stack.enter_context(started(build.build(_say), workspace))
        if registry.obstacle() is None:
            server = DockerRegistry(workspace / "registry", Authority())
            server.start()
            stack.callback(server.stop)
            cluster.images.add(server.host, server.source().resolve)
            _say(f"registry: https://{server.host}   CA: {server.authority_file}")
        _say(f"export KUBECONFIG={cluster.kubeconfig}")
        _say("Ctrl-C stops all of it")
        with suppress(KeyboardInterrupt):
            signal.pause()


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
