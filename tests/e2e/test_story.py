"""The installed wheel with the shipped manifests on a real API server: a base moves, and the Pods follow.

Two replicas run from the start. Bases lie in Debian's docker-registry behind a password; ACR and ACR Tasks are emulated.
What is asserted comes from kubectl, from the registries' bytes and from the list of runs, not from the operator's word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from basetracker.emulators.images import Index

from .harness.audit import READS
from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster
from .harness.installation import NAME, installed
from .harness.operator_pod import OperatorPod, connect
from .harness.registry import DockerRegistry
from .harness.replicas import Replicas, complaints
from .harness.team import REPLICAS, TRACKER, WORKLOAD, Team

pytestmark = pytest.mark.e2e

ALLOWED = [{"namespaces": ["e2e-*"], "registries": ["contoso"], "tasks": ["build-*"]}]
SHORT = slice(len("sha256:"), len("sha256:") + 12)


@pytest.fixture(scope="module")
def replicas(real_cluster: RealCluster, azure: EmulatedAzure, programs: Path, workspace: Path) -> Iterator[Replicas]:
    """The operator, installed from the wheel and manifests/base, with two replicas."""
    directory = workspace / "operator"
    directory.mkdir()
    with installed(real_cluster, allowed=ALLOWED):
        connect(real_cluster, azure)
        running = Replicas(real_cluster, OperatorPod(real_cluster, azure, programs, directory), directory)
        try:
            running.start()
            running.start()
            running.leader()
            yield running
        finally:
            running.stop()


@pytest.fixture
def team(
    real_cluster: RealCluster,
    azure: EmulatedAzure,
    private_registry: DockerRegistry,
    replicas: Replicas,
    namespace: str,
) -> Iterator[Team]:
    """A team whose Deployment runs an image on its first base; in the end nobody has complained."""
    found = Team(real_cluster, azure, private_registry, namespace)
    found.set_up()
    yield found
    assert complaints(replicas, namespace) == []


def until(holds: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    """Wait until it holds; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        time.sleep(0.2)


def tracked(team: Team) -> Index:
    """Declare the team's tracker and wait until its first base is Current; that base."""
    base = team.push_base("3.12.1")  # what is there already
    team.apply_tracker()
    team.settle_on(base)
    return base


def writes(replicas: Replicas, team: Team) -> list[str]:
    """What the operator has tried to write in the team's namespace so far, where the API server notes it."""
    asked = replicas.audit.requests(replicas.namespace, NAME) if replicas.audit else []
    return [request.path for request in asked if request.verb not in READS and request.namespace == team.namespace]


def history(team: Team) -> list[str]:
    """What has happened to the tracker, oldest first."""
    return [entry["event"] for entry in reversed(team.get("basetracker", TRACKER)["status"]["history"])]


def test_a_moved_base_reaches_the_pods(team: Team) -> None:
    old = tracked(team)
    (before,) = set(team.running())
    until(lambda: "@sha256:" in team.image_in_spec(), "the Deployment is pinned")
    assert team.image_in_spec() == f"{team.image}@{before.partition('@')[2]}"
    assert team.runs() == ["Succeeded"], "what is current isn't built again"
    assert team.stands_on(old)

    new = team.push_base("3.12.2")
    assert new.digest != old.digest
    team.settle_on(new)

    assert team.runs() == ["Succeeded", "Succeeded"]
    (after,) = set(team.running())
    assert after != before
    assert team.stands_on(new)
    assert not team.stands_on(old)
    assert team.image_in_spec() == f"{team.image}@{after.partition('@')[2]}"
    (downstream,) = team.get("basetracker", TRACKER)["status"]["downstream"]
    assert downstream["lineage"] == "Proven"
    assert downstream["validated"]["baseDigest"] == new.digest
    (gate,) = downstream["gates"]
    assert (gate["name"], gate["verdict"]) == ("lineage", "Pass")
    assert downstream["build"]["attempt"] == 1
    told = history(team)
    assert told[told.index("BaseMoved") :] == [
        *("BaseMoved", "BuildStarted", "BuildSucceeded", "Validated", "Delivered", "Healthy"),
    ]


def test_a_person_sees_what_has_happened(team: Team) -> None:
    tracked(team)
    new = team.push_base("3.12.2")
    team.settle_on(new)
    (running,) = set(team.running())
    digest = running.partition("@")[2]

    head, row = team.kubectl("get", "basetrackers").splitlines()
    assert head.split() == ["NAME", "BASE", "DIGEST", "CURRENT", "STATE", "READY", "SINCE", "AGE"]
    assert row.split()[:6] == [TRACKER, team.base, new.digest[SHORT], "1/1", "Current", "True"]
    wide_head, wide_row = team.kubectl("get", "basetrackers", "-o", "wide").splitlines()
    assert wide_head.split() == [*head.split(), "MESSAGE", "BASE-DIGEST"]
    assert wide_row.split()[-1] == new.digest

    described = team.kubectl("describe", "basetracker", TRACKER)
    events = described.partition("\nEvents:")[2]
    for reason in ("BaseMoved", "BuildStarted", "BuildSucceeded", "Validated"):
        assert events.count(f" {reason} ") == 1 + (reason == "Validated"), events
    of_workload = team.kubectl("describe", "deployment", WORKLOAD).partition("\nEvents:")[2]
    assert f"{WORKLOAD}/app is healthy with {digest[SHORT]}" in of_workload

    *_, newest = team.kubectl("rollout", "history", f"deployment/{WORKLOAD}").strip().splitlines()
    revision, cause = newest.split(maxsplit=1)
    assert revision == "3", "the team's own, the pinned one, the new one"
    assert cause.startswith(f"basetracker {TRACKER}: {team.image}@{digest[SHORT]} on {team.base}@{new.digest[SHORT]}")


def test_nothing_is_written_while_nothing_changes(team: Team, replicas: Replicas) -> None:
    base = tracked(team)
    until(lambda: "@sha256:" in team.image_in_spec(), "the Deployment is pinned")
    team.settle_on(base)
    leader = replicas.leader()

    def seen() -> list[Any]:
        objects = [team.get("basetracker", TRACKER), team.get("deployment", WORKLOAD), team.get("events")]
        listed = [item["metadata"]["resourceVersion"] for item in objects[2]["items"]]
        return [objects[0]["metadata"]["resourceVersion"], objects[1]["metadata"]["resourceVersion"], listed]

    before, written, looks = seen(), writes(replicas, team), leader.metric("basetracker_looks_total")
    # Each round looks at two tags, the base's and the image's.
    until(lambda: leader.metric("basetracker_looks_total") >= looks + 4, "two more rounds of looks")
    assert seen() == before
    assert writes(replicas, team) == written
    assert team.runs() == ["Succeeded"]


def test_another_replica_takes_over_from_one_that_was_killed(team: Team, replicas: Replicas) -> None:
    tracked(team)
    killed = replicas.leader()
    killed.kill()
    new = team.push_base("3.12.3")

    successor = replicas.leader(other_than=[killed])
    team.settle_on(new)
    replicas.start()

    assert successor is not killed
    assert replicas.leader() is successor
    assert team.runs() == ["Succeeded", "Succeeded"]
    assert team.stands_on(new)


def test_a_leader_that_is_killed_in_a_build_leaves_one_run(team: Team, replicas: Replicas) -> None:
    tracked(team)
    new = team.push_base("3.12.4")
    until(lambda: len(team.runs()) == 2, "the run for the new base")
    killed = replicas.leader()
    killed.kill()

    replicas.leader(other_than=[killed])
    team.settle_on(new)
    replicas.start()

    assert team.runs() == ["Succeeded", "Succeeded"]
    assert team.stands_on(new)
    assert len(team.running()) == REPLICAS


def test_a_leader_that_is_stopped_hands_over(team: Team, replicas: Replicas) -> None:
    tracked(team)
    stopped = replicas.leader()
    assert stopped.stop() == 0
    assert not replicas.holder().startswith(f"{stopped.name}_"), "it has let go of the Lease"
    new = team.push_base("3.12.5")
    team.settle_on(new)
    replicas.start()
    assert team.runs() == ["Succeeded", "Succeeded"]
    assert team.stands_on(new)
