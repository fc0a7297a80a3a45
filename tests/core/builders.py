"""Builders of what a turn sees: short words for tests of the core, every part with a usual value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from basetracker.api.names import BuildState, GateVerdict, Reason, State, WorkloadState
from basetracker.api.status import (
    BaseStatus,
    BuildStatus,
    DownstreamStatus,
    GateStatus,
    HistoryEntry,
    LastHandled,
    Latest,
    Status,
    Validated,
    WorkloadStatus,
)
from basetracker.api.tracker import Downstream, Tracker, parse_tracker
from basetracker.core.observed import (
    BuildSeen,
    Container,
    Delivered,
    ImageSeen,
    Observed,
    Parent,
    Problem,
    ProblemKind,
    RolloutSeen,
    Run,
    TagSeen,
    TargetSeen,
    TaskFacts,
    TaskRef,
    Workload,
)
from basetracker.core.rewrite import delivered_mark
from basetracker.oci.lineage import Evidence, Lineage, Verdict
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest, ImageRef, parse_image

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LINUX = Platform("linux", "amd64")
BASE = parse_image("contoso.azurecr.io/base/python:3.12")
IMAGE = parse_image("contoso.azurecr.io/shop/checkout:main")
REGISTRY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/contoso"
TASK = TaskRef(REGISTRY, "build-checkout")
FACTS = TaskFacts(ref=TASK, enabled=True, base_trigger=False)


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


B1, B2 = digest("base 1"), digest("base 2")
OLD, NEW, OTHER = digest("old"), digest("new"), digest("other")


def down(message: str = "contoso.azurecr.io does not answer") -> Problem:
    return Problem(kind=ProblemKind.UNAVAILABLE, message=message)


def denied(message: str = "contoso.azurecr.io refuses the credentials") -> Problem:
    return Problem(kind=ProblemKind.DENIED, message=message)


def missing(message: str = "contoso.azurecr.io has no such tag") -> Problem:
    return Problem.missing(message)


def invalid(message: str = "it is a Helm chart") -> Problem:
    return Problem(kind=ProblemKind.INVALID, message=message)


def lineage(image: Digest, verdict: Verdict, base: Digest = B2) -> Lineage:
    evidence = Evidence(platform=LINUX, verdict=verdict, message=f"found to be {verdict}")
    return Lineage(image=image, base=base, verdict=verdict, evidence=(evidence,))


def record(state: BuildState, **fields: Any) -> BuildStatus:
    """A build record for the current base, asked for a minute ago."""
    usual: dict[str, Any] = {"base_digest": B2, "attempt": 1, "requested_at": NOW - MINUTE, "run_id": "cf1"}
    return BuildStatus(state=state, **{**usual, **fields})


def validated(image: Digest = NEW, base: Digest = B2) -> Validated:
    return Validated(digest=image, base_digest=base, at=NOW - MINUTE)


def run(state: BuildState, run_id: str = "cf1", **fields: Any) -> Run:
    return Run(run_id=run_id, state=state, created=fields.pop("created", NOW - MINUTE), **fields)


def output(image: Digest, reference: ImageRef = IMAGE) -> tuple[ImageRef, ...]:
    return (reference.pinned(image),)


def row(image: Digest | None, state: WorkloadState = WorkloadState.HEALTHY, **fields: Any) -> WorkloadStatus:
    usual: dict[str, Any] = {"kind": "Deployment", "name": "checkout", "container": "app", "since": NOW - MINUTE}
    return WorkloadStatus(digest=image, state=state, **{**usual, **fields})


def workload(
    image: str | Digest | None = None,
    *,
    name: str = "checkout",
    delivered: Digest | None = None,
    tracker: str = "python",
    complete: bool = True,
    containers: Sequence[Container] | None = None,
    writer: str = "",
    **rollout: Any,
) -> Workload:
    """A Deployment whose container `app` runs the image; `delivered` is the digest that the mark on it names."""
    text = image if isinstance(image, str) else str(IMAGE.pinned(image) if image else IMAGE)
    marks: Mapping[str, Delivered] = {}
    if delivered is not None:
        marks = {
            "app": Delivered(
                tracker=tracker, base=str(B2), image=str(IMAGE.pinned(delivered)), previous=str(IMAGE.pinned(OLD))
            )
        }
    usual: dict[str, Any] = {"generation": 1, "observed_generation": 1, "desired": 2, "updated": 2, "total": 2}
    seen = RolloutSeen(**{**usual, "available": 2 if complete else 1, **rollout})
    return Workload(
        namespace="shop",
        kind="Deployment",
        name=name,
        uid=f"uid-{name}",
        resource_version="1",
        containers=tuple(containers) if containers is not None else (Container(name="app", image=text, writer=writer),),
        delivered=marks,
        delivered_raw=delivered_mark(marks, (), tracker=tracker, base=B2) if marks else None,
        rollout=seen,
    )


def body(  # the whole document, since trackers are read from documents
    name: str = "python",
    *,
    base: ImageRef = BASE,
    downstream: Sequence[Mapping[str, Any]] | None = None,
    status: Status | None = None,
    created: datetime = NOW - timedelta(days=1),
    generation: int = 1,
    rollout: Mapping[str, Any] | None = None,
    accept: str = "Proven",
    gates: Sequence[Mapping[str, Any]] = (),
    rescan: Mapping[str, Any] | None = None,
    protect: bool = False,
    suspend: bool = False,
    requested_at: str = "",
    resume: str = "",
) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"uid-{name}",
            "generation": generation,
            "resourceVersion": "1",
            "creationTimestamp": created.isoformat(),
            "annotations": {"basetracker.dev/requested-at": requested_at, "basetracker.dev/resume": resume},
        },
        "spec": {
            "base": {"image": str(base)},
            "downstream": list(downstream) if downstream is not None else [image_spec()],
            "gates": [{"lineage": {"accept": accept}}, *gates],
            "rollout": dict(rollout or {}),
            "rescan": dict(rescan or {}),
            "protect": protect,
            "suspend": suspend,
        },
        "status": status.document() if status is not None else {},
    }


def image_spec(
    name: str = "checkout",
    *,
    image: ImageRef | None = None,
    build: bool = True,
    deploy: Sequence[str] = ("checkout",),
    container: str | None = None,
    task: str = "",
) -> dict[str, Any]:
    """One entry of spec.downstream."""
    found: dict[str, Any] = {
        "name": name,
        "image": str(image or parse_image(f"contoso.azurecr.io/shop/{name}:main")),
        "deploy": [
            {"kind": "Deployment", "name": one, **({"container": container} if container else {})} for one in deploy
        ],
    }
    if build:
        found["build"] = {"acrTask": {"name": task or f"build-{name}", "baseArgument": "BASE_IMAGE"}}
    return found


def tracker(name: str = "python", **fields: Any) -> Tracker:
    return parse_tracker(body(name, **fields))


@dataclass(kw_only=True)
class Scene:
    """One image of one tracker in its world: stale on a base that has moved to B2, unless told otherwise."""

    base: Digest | None = B2
    base_problem: Problem | None = None
    tag: Digest | None = OLD
    tag_problem: Problem | None = None
    verdicts: Mapping[Digest, Verdict | Problem] = field(
        default_factory=lambda: {OLD: Verdict.REFUTED, NEW: Verdict.PROVEN, OTHER: Verdict.REFUTED}
    )
    task: TaskRef | None = TASK
    allowed: bool = True
    facts: TaskFacts | None = FACTS
    run: Run | None = None
    recent: tuple[Run, ...] = ()
    builder_problem: Problem | None = None
    record: BuildStatus | None = None
    validated: Validated | None = None
    gate: GateVerdict = GateVerdict.PASS
    """What the stored gates say of the digest that is stored as validated."""
    gates: Sequence[Mapping[str, Any]] = ()
    """The gates besides lineage that the tracker names."""
    answers: Mapping[Digest, tuple[GateStatus, ...]] = field(default_factory=dict)
    """What they say by now."""
    workloads: tuple[Workload | Problem | None, ...] = (workload(OLD),)
    deploy: Sequence[str] = ("checkout",)
    container: str | None = None
    rows: tuple[WorkloadStatus, ...] = ()
    known_base: Digest | None = B2
    """The base that the status names."""
    reason: Reason = Reason.CURRENT
    stale_since: datetime | None = None
    history: tuple[HistoryEntry, ...] = ()
    build: bool = True
    mode: str = "Apply"
    max_concurrent: int = 1
    accept: str = "Proven"
    suspend: bool = False
    generation: int = 1
    requested_at: str = ""
    resume: str = ""
    circle: tuple[str, ...] = ()
    parent: Parent | None = None
    withheld: GateStatus | None = None
    siblings: tuple[Tracker, ...] = ()
    now: datetime = NOW

    @property
    def status(self) -> Status:
        if self.known_base is None:
            return Status(observed_generation=1)
        item = DownstreamStatus(
            name="checkout",
            state=State.CURRENT,
            reason=self.reason,
            message="as it was",
            stale_since=self.stale_since,
            latest=Latest(digest=self.tag) if self.tag else None,
            validated=self.validated,
            build=self.record,
            gates=(GateStatus(name="lineage", verdict=self.gate, reason="Proven"),) if self.validated else (),
            workloads=self.rows,
        )
        base = BaseStatus(digest=self.known_base, short_digest=self.known_base.short, since=NOW - MINUTE)
        return Status(
            observed_generation=1,
            base=base,
            downstream=(item,),
            history=self.history,
            last_handled=LastHandled(),
        )

    @property
    def tracker(self) -> Tracker:
        rollout = {"mode": self.mode, "maxConcurrent": self.max_concurrent}
        return tracker(
            downstream=[image_spec(build=self.build, deploy=self.deploy, container=self.container)],
            status=self.status,
            rollout=rollout,
            accept=self.accept,
            gates=self.gates,
            suspend=self.suspend,
            generation=self.generation,
            requested_at=self.requested_at,
            resume=self.resume,
        )

    def observed(self, status: Status | None = None) -> Observed:
        """What is seen; with `status` the same world after that status was stored."""
        one = self.tracker if status is None else self.tracker.model_copy(update={"status": status})
        due = self.now + 5 * MINUTE
        return Observed(
            now=self.now,
            tracker=one,
            base=TagSeen(digest=self.base, problem=self.base_problem, due=due),
            images=(self._image(_only(one), one.status.of("checkout")),),
            parent=self.parent,
            withheld=self.withheld,
            circle=self.circle,
            siblings=self.siblings,
        )

    def _run(self, before: DownstreamStatus | None) -> Run | None:
        """The run that a live record names."""
        named = before.build if before is not None else None
        if named is None or not named.state.is_live:
            return None
        there = (self.run, *self.recent) if self.run is not None else self.recent
        return next((one for one in there if one.run_id == named.run_id), None)

    def _image(self, spec: Downstream, before: DownstreamStatus | None) -> ImageSeen:
        targets = tuple(
            TargetSeen(target=target, problem=found)
            if isinstance(found, Problem)
            else TargetSeen(target=target, workload=found)
            for target, found in zip(spec.deploy, self.workloads, strict=False)
        )
        verdicts = self.verdicts if self.base is not None else {}
        build = BuildSeen(
            task=self.task,
            allowed=self.allowed,
            facts=self.facts if self.task is not None else None,
            run=self._run(before),
            recent=self.recent,
            problem=self.builder_problem,
        )
        return ImageSeen(
            spec=spec,
            verdicts=self.answers,
            tag=TagSeen(digest=self.tag, problem=self.tag_problem, due=self.now + 5 * MINUTE),
            lineages={
                one: found if isinstance(found, Problem) else lineage(one, found, self.base or B2)
                for one, found in verdicts.items()
            },
            build=build if self.build else BuildSeen(),
            targets=targets,
        )


def _only(one: Tracker) -> Downstream:
    assert one.spec is not None
    return one.spec.downstream[0]
