"""What is kept of a Deployment."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from basetracker.adapters.projection import KINDS, kind_of, project, read_marks
from basetracker.core.observed import Delivered, RolloutSeen
from basetracker.errors import InvalidError

DEPLOYMENT = KINDS["Deployment"]
Make = Callable[..., dict[str, Any]]


def owns(manager: str, time: str | None, *containers: str, field: str = "f:containers") -> dict[str, Any]:
    names: dict[str, Any] = {f'k:{{"name":"{name}"}}': {".": {}, "f:image": {}} for name in containers}
    entry = {"manager": manager, "fieldsV1": {"f:spec": {"f:template": {"f:spec": {field: names}}}}}
    return entry | ({"time": time} if time else {})


def test_containers_are_listed_with_their_places(make_deployment: Make) -> None:
    document = make_deployment("checkout", app="a:1", side="b:2")
    document["spec"]["template"]["spec"]["initContainers"] = [{"name": "setup", "image": "c:3"}]
    containers = project(DEPLOYMENT, document).containers
    assert [(one.name, one.image, one.init, one.index) for one in containers] == [
        ("setup", "c:3", True, 0),
        ("app", "a:1", False, 0),
        ("side", "b:2", False, 1),
    ]


def test_the_writer_is_who_set_the_image_last(make_deployment: Make) -> None:
    document = make_deployment("checkout", app="a:1", side="b:2", other="c:3")
    document["metadata"]["managedFields"] = [
        owns("helm", "2026-01-02T00:00:00Z", "app", "side"),
        owns("kubectl-set", "2026-01-03T00:00:00Z", "app"),
        owns("argocd", "2026-01-01T00:00:00Z", "app"),
        {"manager": "hpa", "time": "2026-02-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "odd", "time": "2026-02-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:template": None}}},
        owns("setup", None, "app", field="f:initContainers"),
    ]
    writers = {one.name: one.writer for one in project(DEPLOYMENT, document).containers}
    assert writers == {"app": "kubectl-set", "side": "helm", "other": ""}


def test_marks_are_read_and_kept_as_they_stand(make_deployment: Make) -> None:
    raw = json.dumps({"app": {"tracker": "t", "base": "b", "image": "i", "previous": "p"}})
    document = make_deployment()
    document["metadata"]["annotations"] = {"basetracker.dev/delivered": raw, "kubernetes.io/change-cause": "x"}
    workload = project(DEPLOYMENT, document)
    assert workload.delivered == {"app": Delivered(tracker="t", base="b", image="i", previous="p")}
    assert (workload.delivered_raw, workload.has_annotations, workload.has_cause) == (raw, True, True)


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("", []),
        ("{", []),
        ("[]", []),
        ("null", []),
        ('{"app": 1}', []),
        ('{"app": {"image": 3}}', []),
        ('{"app": {"image": "i"}, "b": null}', ["app"]),
        ('{"app": {"image": "i", "more": [1], "base": null}}', ["app"]),
    ],
)
def test_marks_that_somebody_broke_are_no_marks(raw: str, names: list[str]) -> None:
    assert list(read_marks(raw)) == names


def test_a_workload_without_annotations_is_told_apart_from_an_empty_map(make_deployment: Make) -> None:
    document = make_deployment()
    assert not project(DEPLOYMENT, document).has_annotations
    document["metadata"]["annotations"] = {}
    assert project(DEPLOYMENT, document).has_annotations


def test_the_rollout_in_its_own_words(make_deployment: Make) -> None:
    document = make_deployment()
    document["metadata"]["generation"] = 4
    document["spec"]["paused"] = True
    document["spec"]["replicas"] = 0
    document["status"] = {
        "observedGeneration": 3,
        "replicas": 5,
        "updatedReplicas": 2,
        "availableReplicas": 1,
        "conditions": [
            {"type": "Available", "status": "False", "message": "not this"},
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"},
            {"type": "ReplicaFailure", "status": "True", "message": "quota"},
        ],
    }
    assert project(DEPLOYMENT, document).rollout == RolloutSeen(
        generation=4,
        observed_generation=3,
        desired=0,
        updated=2,
        total=5,
        available=1,
        paused=True,
        deadline_exceeded=True,
        trouble="timed out",
    )


def test_a_new_workload_wants_one_pod_and_has_no_trouble(make_deployment: Make) -> None:
    document = make_deployment()
    del document["spec"]["replicas"]
    rollout = project(DEPLOYMENT, document).rollout
    assert (rollout.desired, rollout.total, rollout.trouble, rollout.deadline_exceeded) == (1, 0, "", False)


def test_another_kind_is_refused_by_name() -> None:
    with pytest.raises(InvalidError, match="Deployment"):
        kind_of("Pod")
