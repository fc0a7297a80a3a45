"""The sandbox that stands for the operator's container: it forbids what the shipped Deployment forbids.

What is asked of it is asked from inside, by a process in the same sandbox as a replica's. Each demand is shown to fail
with a manifest that doesn't make it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster
from .harness.container import Container, ContainerError, ContainerProcess, inside, obstacle
from .harness.installation import installed
from .harness.kubectl import KubectlError
from .harness.operator_pod import AZURE_TOKEN, AZURE_TOKENS, SERVICE_ACCOUNT, OperatorPod, admit, admitted, connect
from .harness.repository import ROOT

pytestmark = pytest.mark.e2e

Object = dict[str, Any]
# Tells what a process there is and can do, as JSON.
PROBE = """
import json, os, socket, sys

def can_write(place):
    try:
        with open(os.path.join(place, "probe"), "x"):
            return True
    except OSError:
        return False

status = dict(line.rstrip("\\n").split(":", 1) for line in open("/proc/self/status"))
mounts = {line.split()[1] for line in open("/proc/self/mounts")}
others = {"/", "/etc", "/opt", "/opt/basetracker/bin", "/usr/lib", "/var", "/var/run", "/dev/shm", os.getcwd(), sys.argv[1]}
print(json.dumps({
    "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
    "pid": os.getpid(),
    "capabilities": int(status["CapEff"], 16) | int(status["CapPrm"], 16) | int(status["CapBnd"], 16),
    "no new privileges": status["NoNewPrivs"].strip(),
    "writable": sorted(place for place in mounts | others if can_write(place)),
    "environment": dict(os.environ),
    "host": socket.gethostname(),
    "directory": os.getcwd(),
    "sees the source": os.path.exists(sys.argv[2]),
}))
"""


@pytest.fixture(scope="module")
def pod(real_cluster: RealCluster, azure: EmulatedAzure, programs: Path, workspace: Path) -> Iterator[OperatorPod]:
    """The Pod of the installed Deployment."""
    with installed(real_cluster):
        connect(real_cluster, azure)
        yield OperatorPod(real_cluster, azure, programs, workspace / "container")


def changed(container: Container, **security: object) -> Container:
    """The container as it would be with something else in its own securityContext; None takes something away."""
    pod = copy.deepcopy(container.pod)
    (only,) = pod["spec"]["containers"]
    only["securityContext"] = {
        name: value for name, value in {**only["securityContext"], **security}.items() if value is not None
    }
    return Container(
        name=container.name,
        pod=pod,
        volumes=container.volumes,
        programs=container.programs,
        image=container.image,
        added=container.added,
    )


def seen(container: Container) -> Object:
    """What a process in it sees."""
    python = ("/opt/basetracker/bin/python", "-c", PROBE)
    done = inside(container, [*python, str(container.programs), str(ROOT / "pyproject.toml")])
    assert done.returncode == 0, done.stderr
    found: Object = json.loads(done.stdout)
    return found


def test_a_process_can_do_what_the_deployment_lets_it(pod: OperatorPod) -> None:
    found = seen(pod.container("basetracker-0"))
    assert found["writable"] == ["/tmp"]
    assert found["ids"] == [65532] * 4
    assert found["capabilities"] == 0
    assert found["no new privileges"] == "1"
    assert (found["pid"], found["host"], found["directory"]) == (1, "basetracker-0", "/")
    assert not found["sees the source"]


def test_its_environment_is_that_of_the_image_and_of_the_pod(pod: OperatorPod) -> None:
    container = pod.container("basetracker-0", ADDED="yes")
    environment = seen(container)["environment"]
    # The sandbox tells the directory, and Python the encoding that it has chosen itself.
    assert set(environment) - set(container.environment) <= {"PWD", "LC_CTYPE"}
    assert environment["PATH"].startswith("/opt/basetracker/bin:")
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["HOSTNAME"] == "basetracker-0"
    assert environment["BASETRACKER_LEASE_NAMESPACE"] == pod.namespace
    assert environment["AZURE_FEDERATED_TOKEN_FILE"] == f"{AZURE_TOKENS}/{AZURE_TOKEN}"
    assert environment["ADDED"] == "yes"
    assert "KUBECONFIG" not in environment
    assert container.command() == ["basetracker", "run"]


def test_a_volume_changes_under_a_process(pod: OperatorPod) -> None:
    def read(name: str) -> str:
        done = inside(pod.container("basetracker-0"), ["cat", f"{SERVICE_ACCOUNT}/{name}"])
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert read("namespace") == pod.namespace
    assert "BEGIN CERTIFICATE" in read("ca.crt")
    old = read("token")
    pod.renew(SERVICE_ACCOUNT)
    assert read("token") != old
    assert read("namespace") == pod.namespace


def test_a_root_that_isnt_read_only_is_seen(pod: OperatorPod) -> None:
    found = seen(changed(pod.container("basetracker-0"), readOnlyRootFilesystem=None))
    assert {"/", "/etc", "/tmp"} <= set(found["writable"])


def test_another_user_is_seen(pod: OperatorPod) -> None:
    container = changed(pod.container("basetracker-0"), runAsUser=1234, runAsGroup=4321)
    assert seen(container)["ids"] == [1234, 1234, 4321, 4321]


def test_root_is_refused(pod: OperatorPod) -> None:
    with pytest.raises(ContainerError, match="runAsNonRoot"):
        seen(changed(pod.container("basetracker-0"), runAsUser=0))


@pytest.mark.parametrize(
    ("place", "lost", "complaint"),
    [
        ("pod", "runAsNonRoot", "runAsNonRoot != true"),
        ("pod", "seccompProfile", "seccompProfile"),
        ("container", "allowPrivilegeEscalation", "allowPrivilegeEscalation != false"),
        ("container", "capabilities", "unrestricted capabilities"),
    ],
)
def test_the_namespace_refuses_a_pod_that_may_more(
    real_cluster: RealCluster, pod: OperatorPod, place: str, lost: str, complaint: str
) -> None:
    """So every e2e test would fail with a Deployment that has lost it."""
    given = admitted(real_cluster)
    del given["metadata"]["uid"]
    owner = given["spec"] if place == "pod" else given["spec"]["containers"][0]
    del owner["securityContext"][lost]
    with pytest.raises(KubectlError, match=complaint):
        admit(real_cluster, given)


def test_a_container_is_asked_to_end_before_it_is_killed(pod: OperatorPod, tmp_path: Path) -> None:
    """The sandbox's own process gets no signal: it would take the operator with it."""
    waiting = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('waits', flush=True); time.sleep(60)"
    process = ContainerProcess(running(pod, waiting), tmp_path / "log")
    process.launch()
    process.wait_until(lambda: "waits" in process.tail(), seconds=20)
    assert process.stop(patience=20) == 7

    deaf = "import time; print('waits', flush=True); time.sleep(60)"  # as process 1 it hears no SIGTERM that it hasn't asked for
    process = ContainerProcess(running(pod, deaf), tmp_path / "other-log")
    process.launch()
    process.wait_until(lambda: "waits" in process.tail(), seconds=20)
    assert process.stop(patience=0.5) not in {0, 7}
    assert not process.is_running


def running(pod: OperatorPod, program: str) -> Container:
    """A container of the Pod with another program."""
    container = pod.container("basetracker-0")
    changed_pod = copy.deepcopy(container.pod)
    (only,) = changed_pod["spec"]["containers"]
    only.update(command=["python"], args=["-c", program])
    return Container(name=container.name, pod=changed_pod, volumes=container.volumes, programs=container.programs)


def test_what_a_machine_lacks_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked_anew = obstacle.__wrapped__
    assert asked_anew() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asked_anew() == "no bwrap on this machine (Debian: apt-get install bubblewrap)"
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    refusing.chmod(0o755)
    told = asked_anew()
    assert told is not None
    assert "setting up uid map: Permission denied; it needs user namespaces" in told
