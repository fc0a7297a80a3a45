"""A small world that only exists in memory: a registry with layers, tasks that build, Deployments that roll out, a clock.

It does at once what it is told and moves by `advance`. Its parts raise the project's own errors, so that what acts on it
can't tell it from adapters. Used by the stories of the core and, behind asynchronous ports, by the tests of the engine.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from basetracker.api.names import BuildState
from basetracker.core.actions import Deliver
from basetracker.core.builds import run_token
from basetracker.core.observed import Container, Delivered, RolloutSeen, Run, TaskFacts, TaskRef, Workload
from basetracker.core.rewrite import delivered_mark
from basetracker.errors import ConflictError, DeniedError, MissingError, UnavailableError, UnknownOutcomeError
from basetracker.oci.lineage import Image, PlatformImage
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest, ImageRef, parse_image
from basetracker.ports import BuildRequest

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
LINUX = Platform("linux", "amd64")
QUEUED_FOR = timedelta(seconds=20)
RUNS_FOR = timedelta(seconds=60)
ROLLS_FOR = timedelta(seconds=30)
ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/contoso"
HOST = "contoso.azurecr.io"


def ref(name: str) -> ImageRef:
    """`shop/checkout:main` in the one registry of this world."""
    return parse_image(f"{HOST}/{name}")


@dataclass
class Registry:
    """Tags and images; every push makes a digest with a name to read, such as `python#2`."""

    down: bool = False
    tags: dict[ImageRef, Digest] = field(default_factory=dict)
    images: dict[Digest, Image] = field(default_factory=dict)
    names: dict[Digest, str] = field(default_factory=dict)
    heads: int = 0

    def push(self, image: ImageRef, layers: tuple[str, ...]) -> Digest:
        """Put an image of these layers under the tag."""
        short = image.repository.path.rpartition("/")[2]
        name = f"{short}#{sum(one.partition('#')[0] == short for one in self.names.values()) + 1}"
        digest = Digest.of(f"{name} {layers}".encode())
        diff_ids = tuple(str(Digest.of(layer.encode())) for layer in layers)
        self.images[digest] = Image(
            digest=digest, platforms=(PlatformImage(digest=digest, platform=LINUX, diff_ids=diff_ids),)
        )
        self.names[digest] = name
        self.tags[image] = digest
        self._layers[digest] = layers
        return digest

    def head(self, image: ImageRef) -> Digest | None:
        self.heads += 1
        self._must_answer()
        return self.tags.get(image)

    def content(self, image: ImageRef) -> Image | None:
        self._must_answer()
        return self.images.get(image.digest) if image.digest is not None else None

    def layers(self, digest: Digest) -> tuple[str, ...]:
        return self._layers[digest]

    def readable(self, text: str) -> str:
        """The text with every digest by its name, and the layers' digests without theirs."""
        for digest, name in self.names.items():
            text = text.replace(str(digest), name).replace(digest.short, name)
        for layers in self._layers.values():
            for layer in layers:
                text = text.replace(Digest.of(layer.encode()).short, layer)
        return re.sub(r"sha256:[0-9a-f]{64}", "sha256:?", text)

    def _must_answer(self) -> None:
        if self.down:
            raise UnavailableError(f"{HOST} does not answer")

    _layers: dict[Digest, tuple[str, ...]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Task:
    """An ACR Task and its habits."""

    ref: TaskRef
    image: ImageRef
    base: ImageRef
    base_trigger: bool = False
    fails: int = 0
    """How many of its next runs fail."""
    hangs: bool = False
    """Whether its runs end only when they are ended."""
    silent: bool = False
    """Whether its runs report no image."""
    pushes: bool = True
    builds_on: Digest | None = None
    """What it builds on whatever it is told."""
    runs: int = 0


@dataclass(kw_only=True)
class Ran:
    """One run; `key` is the name that it was asked for by, empty when somebody else started it."""

    task: Task
    key: str
    run: Run
    base: Digest

    @property
    def next(self) -> datetime | None:
        created = self.run.created or START
        match self.run.state:
            case BuildState.QUEUED:
                return created + QUEUED_FOR
            case BuildState.RUNNING if not self.task.hangs:
                return created + QUEUED_FOR + RUNS_FOR
            case _:
                return None


@dataclass
class Tasks:
    """The tasks and their runs."""

    registry: Registry
    tasks: dict[str, Task] = field(default_factory=dict)
    runs: list[Ran] = field(default_factory=list)
    faults: deque[str] = field(default_factory=deque)
    """What goes wrong with the next requests: `lost before`, `lost after`, `denied`, `busy`; empty for nothing."""

    def task(self, name: str, image: ImageRef, base: ImageRef, **habits: object) -> Task:
        found = Task(ref=TaskRef(ARM, name), image=image, base=base, **habits)  # type: ignore[arg-type]  # its own fields
        self.tasks[name] = found
        return found

    def facts(self, name: str) -> TaskFacts | None:
        found = self.tasks.get(name)
        return TaskFacts(ref=found.ref, enabled=True, base_trigger=found.base_trigger) if found is not None else None

    def start(self, request: BuildRequest, now: datetime) -> Run:
        fault = self.faults.popleft() if self.faults else ""
        if fault == "denied":
            raise DeniedError("the identity may not start runs of the registry contoso")
        if fault == "busy":
            raise UnavailableError("ARM holds requests back", retry_after=90)
        if fault == "lost before":
            raise UnknownOutcomeError("the connection broke")
        arguments = dict(request.arguments)
        task = self.tasks[request.task.name]
        pinned = arguments.get("BASE_IMAGE", "").rpartition("@")[2]
        started = self.begin(task, now, key=request.key, base=Digest(pinned) if pinned else None)
        if fault == "lost after":
            raise UnknownOutcomeError("the connection broke")
        return started

    def begin(
        self, task: Task, now: datetime, *, key: str = "", base: Digest | None = None, trigger: ImageRef | None = None
    ) -> Run:
        """A run begins, whoever asked for it."""
        run = Run(
            run_id=f"cf{len(self.runs) + 1}",
            state=BuildState.QUEUED,
            created=now,
            token=run_token(key) if key else "",
            automatic=trigger is not None,
            triggered_by=(trigger,) if trigger is not None else (),
        )
        used = task.builds_on or base or self.registry.tags[task.base]
        self.runs.append(Ran(task=task, key=key, run=run, base=used))
        return run

    def cancel(self, run_id: str, now: datetime) -> None:
        for ran in self.runs:
            if ran.run.run_id == run_id and ran.run.state.is_live:
                ran.run = replace(ran.run, state=BuildState.CANCELED, finished=now)

    def run(self, run_id: str) -> Run | None:
        return next((ran.run for ran in self.runs if ran.run.run_id == run_id), None)

    def recent(self, name: str, since: datetime) -> tuple[Run, ...]:
        found = [ran.run for ran in self.runs if ran.task.ref.name == name and (ran.run.created or START) >= since]
        return tuple(reversed(found))

    def advance(self, now: datetime) -> None:
        for ran in self.runs:
            while ran.next is not None and ran.next <= now:
                self._step(ran, ran.next)

    def _step(self, ran: Ran, at: datetime) -> None:
        task = ran.task
        if ran.run.state is BuildState.QUEUED:
            ran.run = replace(ran.run, state=BuildState.RUNNING)
        elif task.fails > 0:
            task.fails -= 1
            ran.run = replace(ran.run, state=BuildState.FAILED, finished=at, message="step 1 failed: exit code 7")
        else:
            task.runs += 1
            outputs: tuple[ImageRef, ...] = ()
            if task.pushes:
                layers = (*self.registry.layers(ran.base), f"{task.ref.name} {task.runs}")
                outputs = (task.image.pinned(self.registry.push(task.image, layers)),)
            outputs = () if task.silent else outputs
            ran.run = replace(ran.run, state=BuildState.SUCCEEDED, finished=at, outputs=outputs)


@dataclass(kw_only=True)
class Deployment:
    """One Deployment; `rolls_until` is when its rollout will be done, None when it is or never will be."""

    name: str
    containers: tuple[Container, ...]
    marks: dict[str, Delivered] = field(default_factory=dict)
    raw: str | None = None
    generation: int = 1
    complete: bool = True
    rolls_until: datetime | None = None

    def seen(self) -> Workload:
        return Workload(
            namespace="shop",
            kind="Deployment",
            name=self.name,
            uid=f"uid-{self.name}",
            resource_version=str(self.generation),
            containers=self.containers,
            delivered=dict(self.marks),
            delivered_raw=self.raw,
            rollout=RolloutSeen(
                generation=self.generation,
                observed_generation=self.generation,
                desired=2,
                updated=2,
                total=2,
                available=2 if self.complete else 1,
            ),
        )


@dataclass
class Cluster:
    """The Deployments, and everything that was ever delivered to them."""

    deployments: dict[str, Deployment] = field(default_factory=dict)
    breaks: bool = False
    """Whether what is put there now never becomes healthy."""
    delivered: list[tuple[str, str, Digest]] = field(default_factory=list)
    """Workload, container and digest of each delivery."""
    stopped: bool = False
    """Whether the Deployments' controller does nothing for now."""

    def deployment(self, name: str, image: str, *more: Container) -> Deployment:
        found = Deployment(name=name, containers=(Container(name="app", image=image), *more))
        self.deployments[name] = found
        return found

    def deliver(self, action: Deliver, now: datetime) -> Workload:
        one = self.deployments.get(action.workload.name)
        if one is None:
            raise MissingError(f"there is no Deployment {action.workload.name}")
        has = {container.name: container.image for container in one.containers}
        if any(has.get(change.container) != change.old for change in action.containers):
            raise ConflictError("its containers have changed")
        if one.raw != action.workload.delivered_raw:
            raise ConflictError("its marks have changed")
        for change in action.containers:
            self._set(one, change.container, change.new, "basetracker", now)
            self.delivered.append((one.name, change.container, action.digest))
        tracker = action.cause.split()[1].rstrip(":")
        base = next(iter(_marks(action.delivered).values())).base
        one.marks = _marks(action.delivered)
        one.raw = action.delivered
        assert one.raw == delivered_mark(one.marks, (), tracker=tracker, base=Digest(base))
        return one.seen()

    def edit(self, name: str, image: str, writer: str, now: datetime) -> None:
        """Somebody else sets the image of the container `app`."""
        self._set(self.deployments[name], "app", image, writer, now)

    def advance(self, now: datetime) -> tuple[str, ...]:
        """The names of the Deployments whose rollouts have ended."""
        ended = []
        for one in self.deployments.values():
            if one.rolls_until is not None and one.rolls_until <= now and not self.stopped:
                one.complete, one.rolls_until = True, None
                ended.append(one.name)
        return tuple(ended)

    def _set(self, one: Deployment, container: str, image: str, writer: str, now: datetime) -> None:
        one.containers = tuple(
            replace(each, image=image, writer=writer) if each.name == container else each for each in one.containers
        )
        one.generation += 1
        one.complete = False
        one.rolls_until = None if self.breaks else now + ROLLS_FOR


def _marks(text: str) -> dict[str, Delivered]:
    import json

    return {name: Delivered(**mark) for name, mark in json.loads(text).items()}


@dataclass
class World:
    """All of it at one time."""

    now: datetime = START
    registry: Registry = field(default_factory=Registry)
    cluster: Cluster = field(default_factory=Cluster)
    allowed: bool = True

    def __post_init__(self) -> None:
        self.builder = Tasks(self.registry)

    def push_base(self, image: ImageRef, *layers: str) -> Digest:
        """A base is pushed; ACR starts a run of every task whose own trigger is on."""
        digest = self.registry.push(image, layers)
        for task in self.builder.tasks.values():
            if task.base_trigger and task.base == image:
                self.builder.begin(task, self.now, trigger=image.pinned(digest))
        return digest

    @property
    def next_event(self) -> datetime | None:
        """When something happens by itself."""
        times = [ran.next for ran in self.builder.runs]
        if not self.cluster.stopped:
            times += [one.rolls_until for one in self.cluster.deployments.values()]
        return min((time for time in times if time is not None), default=None)

    def advance(self, to: datetime) -> tuple[str, ...]:
        """Let time pass; the answer names the Deployments that have changed."""
        self.now = max(self.now, to)
        self.builder.advance(self.now)
        return self.cluster.advance(self.now)
