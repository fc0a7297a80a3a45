"""Fixtures of the e2e tests: a real control plane and a real registry, one of each for a whole run.

The tests run only with BASETRACKER_E2E=1 (`make e2e`). What a machine lacks is a reason to skip, but a failure in
CI, where everything has to be there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from basetracker.emulators.authority import Authority

from .harness import build, container, registry, wheel
from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster, given, scratch_namespace, started
from .harness.missing import missing
from .harness.registry import DockerRegistry

HERE = Path(__file__).parent
ASKED_FOR = os.environ.get("BASETRACKER_E2E") == "1"
GIVEN = os.environ.get("BASETRACKER_E2E_KUBECONFIG")
# For a test alone; the fixtures have limits of their own, and a cold build is longer than any test.
TEST_SECONDS = 300


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the e2e tests out of an ordinary run; limit each by its own time, not by its fixtures'."""
    mine = [item for item in items if item.path.is_relative_to(HERE)]
    for item in mine:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))
    if mine and not ASKED_FOR:
        items[:] = [item for item in items if item not in mine]
        config.hook.pytest_deselected(items=mine)


@pytest.fixture(scope="session")
def workspace() -> Iterator[Path]:
    """A directory for this run; its path is short, for the sockets in it."""
    path = Path(tempfile.mkdtemp(prefix="bt-e2e-"))
    yield path
    if not os.environ.get("BASETRACKER_E2E_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def real_cluster(request: pytest.FixtureRequest, workspace: Path) -> Iterator[RealCluster]:
    """A real control plane with emulated nodes: the one of BASETRACKER_E2E_KUBECONFIG, or one of our own."""
    directory = workspace / "cluster"
    directory.mkdir()
    if GIVEN:
        world = given(Path(GIVEN).absolute(), directory)
    elif reason := build.obstacle():
        missing(reason)
    else:
        world = started(build.build(_progress(request.config)), directory)
    with world as cluster:
        yield cluster
        assert not cluster.kubelet.failures, "the emulated nodes had failures of their own"


def _progress(config: pytest.Config) -> Callable[[str], None]:
    """Tells how a long step goes; it shows in spite of the capture of output."""
    capture = config.pluginmanager.getplugin("capturemanager")
    terminal = config.get_terminal_writer()

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.line(line)
            terminal.flush()

    return say


@pytest.fixture(scope="session")
def installed_wheel(request: pytest.FixtureRequest, workspace: Path) -> Iterator[Path]:
    """The `bin` directory of an environment with the wheel of this source, and nothing of its tree."""
    with wheel.installed(workspace, _progress(request.config)) as directory:
        yield directory


@pytest.fixture(scope="session")
def programs(installed_wheel: Path) -> Path:
    """The environment with the installed wheel, for containers of this machine."""
    if reason := container.obstacle():
        missing(reason)
    return installed_wheel.parent


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The private CA that the registries' certificates come from."""
    return Authority()


@pytest.fixture(scope="session")
def docker_registry(authority: Authority, workspace: Path) -> Iterator[DockerRegistry]:
    """A real registry that everybody may read and write."""
    yield from _registry(authority, workspace / "registry", private=False)


@pytest.fixture(scope="session")
def private_registry(authority: Authority, workspace: Path) -> Iterator[DockerRegistry]:
    """A real registry that asks for a user and a password (`.credentials`)."""
    yield from _registry(authority, workspace / "private-registry", private=True)


def _registry(authority: Authority, directory: Path, *, private: bool) -> Iterator[DockerRegistry]:
    if reason := registry.obstacle():
        missing(reason)
    server = DockerRegistry(directory, authority, private=private)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def azure(authority: Authority, real_cluster: RealCluster, private_registry: DockerRegistry) -> Iterator[EmulatedAzure]:
    """Azure with the registry `contoso`, known to the nodes; its tasks find bases in the private registry."""
    emulated = EmulatedAzure(authority, "contoso")
    emulated.start()
    try:
        emulated.fetch_from(private_registry)
        real_cluster.images.add(emulated.registry.host, emulated.resolve)
        yield emulated
        assert emulated.leaks == [], "a secret went to a host that it isn't for"
    finally:
        emulated.stop()


@pytest.fixture
def namespace(real_cluster: RealCluster) -> Iterator[str]:
    """A namespace of the test's own."""
    with scratch_namespace(real_cluster, f"e2e-{uuid.uuid4().hex[:8]}") as name:
        yield name
