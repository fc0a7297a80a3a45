"""Each reason: what leads to it, its state, what its words say would free it, and which effects it asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from basetracker.api.names import BuildState, Reason, State, WorkloadState
from basetracker.api.tracker import Key
from basetracker.core.actions import CancelRun, Deliver, StartBuild
from basetracker.core.observed import Parent
from basetracker.core.planner import decide
from basetracker.oci.lineage import Verdict

from .builders import (
    B2,
    FACTS,
    IMAGE,
    MINUTE,
    NEW,
    NOW,
    OLD,
    OTHER,
    Scene,
    denied,
    down,
    invalid,
    missing,
    record,
    row,
    run,
    tracker,
    validated,
    workload,
)

FRESH: dict[str, Any] = {"tag": NEW, "validated": validated()}
RAN = record(BuildState.SUCCEEDED, digest=OTHER)


@dataclass(frozen=True)
class Told:
    """A scene, the reason it must come to, and words that its message must have."""

    name: str
    scene: Scene
    state: State
    reason: Reason
    words: str
    effects: tuple[type, ...] = ()


TABLE = (
    Told("suspended", Scene(suspend=True), State.SUSPENDED, Reason.SUSPENDED, "spec.suspend"),
    Told("circle", Scene(circle=("a", "b", "a")), State.BLOCKED, Reason.CIRCLE, "a feeds b feeds a.*change the base"),
    Told(
        "parent without a digest",
        Scene(base=None, parent=Parent(key=Key(namespace="shop", name="os"), downstream="python")),
        State.UNKNOWN,
        Reason.PARENT_NOT_VALIDATED,
        "tracker os as python",
    ),
    Told("base never read", Scene(base=None), State.UNKNOWN, Reason.BASE_UNKNOWN, "base contoso.*not been read"),
    Told(
        "base out of reach", Scene(base=None, base_problem=down()), State.UNKNOWN, Reason.REGISTRY_UNAVAILABLE, "base"
    ),
    Told(
        "no such base", Scene(base_problem=missing()), State.BLOCKED, Reason.BASE_NOT_FOUND, "base contoso.*no such tag"
    ),
    Told("base denied", Scene(base_problem=denied()), State.BLOCKED, Reason.ACCESS_DENIED, "credentials"),
    Told("base no image", Scene(base_problem=invalid()), State.BLOCKED, Reason.INVALID_IMAGE, "Helm"),
    Told("no such image", Scene(tag_problem=missing()), State.BLOCKED, Reason.IMAGE_NOT_FOUND, "shop/checkout:main"),
    Told("image never read", Scene(tag=None), State.UNKNOWN, Reason.REGISTRY_UNAVAILABLE, "image contoso"),
    Told("image denied", Scene(tag_problem=denied()), State.BLOCKED, Reason.ACCESS_DENIED, "image contoso"),
    Told(
        "run overdue",
        Scene(record=record(BuildState.RUNNING, requested_at=NOW - 61 * MINUTE), run=run(BuildState.RUNNING)),
        State.BUILDING,
        Reason.BUILD_CANCELING,
        "cf1.*build.timeout",
        (CancelRun,),
    ),
    Told(
        "asked for",
        Scene(record=record(BuildState.REQUESTED, run_id=None)),
        State.BUILDING,
        Reason.BUILD_REQUESTED,
        "looked for",
    ),
    Told(
        "queued",
        Scene(record=record(BuildState.QUEUED), run=run(BuildState.QUEUED)),
        State.BUILDING,
        Reason.BUILD_QUEUED,
        f"Refuted; run cf1 for base {B2.short} is queued$",
    ),
    Told(
        "running, adopted",
        Scene(record=record(BuildState.RUNNING, adopted=True), run=run(BuildState.RUNNING)),
        State.BUILDING,
        Reason.BUILD_RUNNING,
        "adopted",
    ),
    Told(
        "running, builder out of reach",
        Scene(record=record(BuildState.RUNNING), builder_problem=down("ARM does not answer")),
        State.BUILDING,
        Reason.BUILD_RUNNING,
        "ARM does not answer",
    ),
    Told(
        "unknown outcome",
        Scene(record=record(BuildState.UNKNOWN, run_id=None)),
        State.BUILDING,
        Reason.BUILD_UNKNOWN,
        "looked up",
    ),
    Told(
        "result has no digest",
        Scene(record=record(BuildState.SUCCEEDED)),
        State.BLOCKED,
        Reason.NO_OUTPUT,
        "let the task push this tag",
    ),
    Told(
        "result not read",
        Scene(record=RAN, verdicts={OLD: Verdict.REFUTED, OTHER: down()}),
        State.VALIDATING,
        Reason.RESULT_AWAITED,
        "does not answer",
    ),
    Told(
        "result lacks the base",
        Scene(record=RAN),
        State.BLOCKED,
        Reason.LINEAGE_NOT_PROVEN,
        f"{OTHER.short}.*found to be Refuted.*build argument",
    ),
    Told(
        "claimed where proof is asked for",
        Scene(record=RAN, verdicts={OLD: Verdict.REFUTED, OTHER: Verdict.CLAIMED}),
        State.BLOCKED,
        Reason.LINEAGE_NOT_PROVEN,
        "Claimed",
    ),
    Told(
        "image can't be read",
        Scene(verdicts={OLD: down()}),
        State.UNKNOWN,
        Reason.REGISTRY_UNAVAILABLE,
        "does not answer",
    ),
    Told("image is no image", Scene(verdicts={OLD: invalid()}), State.BLOCKED, Reason.INVALID_IMAGE, "Helm"),
    Told("image may not be read", Scene(verdicts={OLD: denied()}), State.BLOCKED, Reason.ACCESS_DENIED, "credentials"),
    Told("image is gone", Scene(verdicts={OLD: missing()}), State.BLOCKED, Reason.IMAGE_NOT_FOUND, "no such tag"),
    Told("nothing builds it", Scene(build=False), State.STALE, Reason.NO_BUILD, "no build is declared"),
    Told(
        "five failures",
        Scene(record=record(BuildState.FAILED, attempt=5, message="exit code 7")),
        State.FAILED,
        Reason.BUILD_FAILED,
        "5 times.*exit code 7.*requested-at",
    ),
    Told(
        "failed once",
        Scene(record=record(BuildState.FAILED, next_attempt_at=NOW + MINUTE, message="exit code 7")),
        State.STALE,
        Reason.RETRY_WAITING,
        "attempt 1 of 5 failed: exit code 7.*requested-at",
    ),
    Told(
        "no run could be started",
        Scene(record=record(BuildState.FAILED, run_id=None, attempt=0, next_attempt_at=NOW + MINUTE, message="403")),
        State.STALE,
        Reason.RETRY_WAITING,
        "no run could be started: 403",
    ),
    Told("not allowed", Scene(allowed=False), State.BLOCKED, Reason.TASK_NOT_ALLOWED, "shop.*allow-list"),
    Told("no such task", Scene(facts=None), State.BLOCKED, Reason.TASK_NOT_FOUND, "build-checkout.*acrTask.name"),
    Told(
        "registry of the task not found",
        Scene(builder_problem=missing("no registry contoso")),
        State.BLOCKED,
        Reason.TASK_NOT_FOUND,
        "no registry",
    ),
    Told(
        "disabled task",
        Scene(facts=replace(FACTS, enabled=False)),
        State.BLOCKED,
        Reason.TASK_DISABLED,
        "az acr task update",
    ),
    Told("builder denied", Scene(builder_problem=denied()), State.BLOCKED, Reason.ACCESS_DENIED, "credentials"),
    Told(
        "wrong registry", Scene(builder_problem=invalid("not its registry")), State.BLOCKED, Reason.INVALID_SPEC, "not"
    ),
    Told("builder down", Scene(builder_problem=down()), State.STALE, Reason.BASE_MOVED, "can't be asked"),
    Told(
        "somebody else's run",
        Scene(recent=(run(BuildState.RUNNING, "cf9"),)),
        State.STALE,
        Reason.FOREIGN_RUN,
        "cf9.*somebody else",
    ),
    Told(
        "stale",
        Scene(),
        State.BUILDING,
        Reason.BUILD_REQUESTED,
        f"doesn't contain base {B2.short}.*found to be Refuted.*attempt 1 of 5",
        (StartBuild,),
    ),
    Told("stale in Plan", Scene(mode="Plan"), State.STALE, Reason.PLANNED, "build-checkout would be started"),
    Told("fresh", Scene(**FRESH, workloads=(workload(NEW),)), State.CURRENT, Reason.CURRENT, "contains base"),
    Told(
        "later run",
        Scene(tag=OTHER, validated=validated(), workloads=(workload(NEW),)),
        State.CURRENT,
        Reason.CURRENT,
        f"the tag points to {OTHER.short}, which is not delivered",
    ),
    Told("delivery", Scene(**FRESH), State.ROLLING_OUT, Reason.DELIVERING, "gets the validated", (Deliver,)),
    Told("delivery in Plan", Scene(**FRESH, mode="Plan"), State.STALE, Reason.PLANNED, "Deployment checkout would get"),
    Told(
        "Plan with nothing to deliver",
        Scene(**FRESH, mode="Plan", workloads=(None,)),
        State.BLOCKED,
        Reason.WORKLOAD_NOT_FOUND,
        "no Deployment checkout",
    ),
    Told(
        "rolling out",
        Scene(**FRESH, workloads=(workload(NEW, complete=False),)),
        State.ROLLING_OUT,
        Reason.ROLLOUT_PROGRESSING,
        "is rolling out$",
    ),
    Told(
        "rolling out, paused",
        Scene(**FRESH, workloads=(workload(NEW, complete=False, paused=True),)),
        State.ROLLING_OUT,
        Reason.ROLLOUT_PROGRESSING,
        "paused; resume it",
    ),
    Told(
        "stuck by our clock",
        Scene(
            **FRESH,
            workloads=(workload(NEW, complete=False, trouble="ImagePullBackOff"),),
            rows=(row(NEW, WorkloadState.PROGRESSING, since=NOW - 10 * MINUTE),),
        ),
        State.BLOCKED,
        Reason.ROLLOUT_STUCK,
        "ImagePullBackOff; nothing more is delivered until it is",
    ),
    Told(
        "stuck by its own",
        Scene(**FRESH, workloads=(workload(NEW, complete=False, deadline_exceeded=True),)),
        State.BLOCKED,
        Reason.ROLLOUT_STUCK,
        "healthy in time",
    ),
    Told(
        "two wait for one place",
        Scene(
            **FRESH,
            deploy=("web", "worker"),
            workloads=(workload(OLD, name="web"), workload(NEW, name="worker", complete=False)),
        ),
        State.ROLLING_OUT,
        Reason.DELIVERY_WAITING,
        "maxConcurrent",
    ),
    Told("no workload", Scene(**FRESH, workloads=(None,)), State.BLOCKED, Reason.WORKLOAD_NOT_FOUND, "create it"),
    Told(
        "no container",
        Scene(**FRESH, workloads=(workload("nginx:1"),)),
        State.BLOCKED,
        Reason.CONTAINER_NOT_FOUND,
        "no container of contoso.azurecr.io/shop/checkout; it has app",
    ),
    Told(
        "no such container",
        Scene(**FRESH, container="web"),
        State.BLOCKED,
        Reason.CONTAINER_NOT_FOUND,
        "no container web; it has app",
    ),
    Told(
        "no containers at all",
        Scene(**FRESH, workloads=(workload(containers=()),)),
        State.BLOCKED,
        Reason.CONTAINER_NOT_FOUND,
        "it has none",
    ),
    Told(
        "another tag",
        Scene(**FRESH, workloads=(workload(f"{IMAGE.repository}:v1"),)),
        State.BLOCKED,
        Reason.TAG_DIFFERS,
        "runs the tag v1, not main.*track that tag",
    ),
    Told(
        "no tag at all means latest",
        Scene(**FRESH, workloads=(workload(f"{IMAGE.repository}"),)),
        State.BLOCKED,
        Reason.TAG_DIFFERS,
        "the tag latest",
    ),
    Told(
        "another repository",
        Scene(**FRESH, container="app", workloads=(workload("nginx:1"),)),
        State.BLOCKED,
        Reason.TAG_DIFFERS,
        "runs docker.io/library/nginx, not",
    ),
    Told(
        "no reference",
        Scene(**FRESH, container="app", workloads=(workload("UPPER CASE"),)),
        State.BLOCKED,
        Reason.TAG_DIFFERS,
        "not an image reference",
    ),
    Told(
        "overridden",
        Scene(**FRESH, workloads=(workload(OLD, delivered=NEW, writer="kubectl-edit"),)),
        State.BLOCKED,
        Reason.OVERRIDDEN,
        f"kubectl-edit changed container app.*{OLD.short}.*basetracker.dev/resume",
    ),
    Told(
        "overridden without a digest, by nobody known",
        Scene(**FRESH, workloads=(workload(delivered=NEW),)),
        State.BLOCKED,
        Reason.OVERRIDDEN,
        "somebody changed.*to no digest",
    ),
    Told(
        "overridden, the mark taken off",
        Scene(**FRESH, workloads=(workload(OLD),), rows=(row(NEW, uid="uid-checkout"),)),
        State.BLOCKED,
        Reason.OVERRIDDEN,
        "left alone",
    ),
    Told(
        "deleted and created anew by somebody: nothing was delivered to this one",
        Scene(**FRESH, workloads=(workload(OLD),), rows=(row(NEW, uid="uid-of-the-former"),)),
        State.ROLLING_OUT,
        Reason.DELIVERING,
        "gets",
        (Deliver,),
    ),
    Told(
        "resumed",
        Scene(**FRESH, workloads=(workload(OLD, delivered=NEW),), resume="1"),
        State.ROLLING_OUT,
        Reason.DELIVERING,
        "gets",
        (Deliver,),
    ),
    Told(
        "somebody put another current image there",
        Scene(
            **FRESH, workloads=(workload(OTHER, delivered=NEW),), verdicts=dict.fromkeys((NEW, OTHER), Verdict.PROVEN)
        ),
        State.CURRENT,
        Reason.CURRENT,
        "contains base",
    ),
    Told(
        "claimed by an elder tracker",
        Scene(**FRESH, siblings=(tracker("elder", created=NOW - timedelta(days=9)),)),
        State.BLOCKED,
        Reason.CONTAINER_CLAIMED,
        "elder/checkout.*leave it to one",
    ),
    Told("cluster down", Scene(**FRESH, workloads=(down(),)), State.UNKNOWN, Reason.CLUSTER_UNAVAILABLE, "answer"),
    Told("workload denied", Scene(**FRESH, workloads=(denied(),)), State.BLOCKED, Reason.ACCESS_DENIED, "refuses"),
)


@pytest.mark.parametrize("told", TABLE, ids=lambda told: f"{told.reason}: {told.name}")
def test_reason(told: Told) -> None:
    step = decide(told.scene.observed()).plan.steps[0]
    assert (step.state, step.reason) == (told.state, told.reason), step.message
    assert re.search(told.words, step.message), step.message
    assert tuple(type(action) for action in step.actions) == told.effects


def test_every_reason_has_a_row() -> None:
    """`DeliveryRefused` comes of an effect, not of a rule; those of gates have a table of their own."""
    of_gates = {Reason.GATE_PENDING, Reason.GATE_FAILED, Reason.GATE_UNUSABLE, Reason.PARENT_FAILS}
    assert {told.reason for told in TABLE} == set(Reason) - {Reason.DELIVERY_REFUSED} - of_gates
