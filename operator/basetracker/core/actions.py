"""Actions, steps and the plan: what the core answers with.

An action is an effect that the engine carries out; its key names it, so that doing it twice is doing it once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from basetracker.api.names import Reason, State
from basetracker.api.tracker import Key
from basetracker.core.observed import Run, TaskRef, Workload
from basetracker.oci.refs import Digest, ImageRef


@dataclass(frozen=True, slots=True, kw_only=True)
class StartBuild:
    """Start a run of the task so that `image` gets the base `base`."""

    downstream: str
    task: TaskRef
    image: ImageRef
    base: ImageRef
    """The base with its digest."""
    tag: Digest | None
    """What the image's tag pointed to when this was decided."""
    attempt: int
    by_tag: bool = True
    """Whether the base is what its tag points to; in a chain it is what the parent has validated, wherever the tag points."""
    replaces: Digest | None = None
    """The validated digest that fails a gate by now and that this run is to replace; None where the image lacks the base."""
    arguments: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        return build_key(self.task, self.image, self.base.digest, self.attempt, self.replaces)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun:
    """End a run that took longer than the tracker allows."""

    downstream: str
    task: TaskRef
    run_id: str

    @property
    def key(self) -> str:
        return f"cancel:{self.task}/{self.run_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerChange:
    """One container's image, from what it must still be to what it becomes."""

    container: str
    init: bool
    index: int
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """Put the validated digest into containers of one workload, with the marks that say so."""

    downstream: str
    workload: Workload
    digest: Digest
    containers: tuple[ContainerChange, ...]
    delivered: str
    """The new `delivered` mark, compact JSON."""
    cause: str

    @property
    def key(self) -> str:
        names = ",".join(change.container for change in self.containers)
        return f"deliver:{self.workload.kind}/{self.workload.name}/{names}@{self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect:
    """Lock a digest in its registry against deletion, or take our own lock back."""

    tracker: Key
    downstream: str
    image: ImageRef
    locks: bool

    @property
    def key(self) -> str:
        return f"{'protect' if self.locks else 'unprotect'}:{self.image}"


Action = StartBuild | CancelRun | Deliver | Protect


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One image's next step: its state, why, what holds it and would free it, and perhaps actions."""

    state: State
    reason: Reason
    message: str
    actions: tuple[Action, ...] = ()
    wake: datetime | None = None
    """When to look again even though nothing calls; None leaves it to the next poll."""

    def holding(self, *, state: State, reason: Reason, message: str) -> Step:
        """This step as a waiting one: without its actions, but never without a reason."""
        return replace(self, state=state, reason=reason, message=message, actions=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a turn comes to: a step for each image, in the order of the spec, and when to wake."""

    steps: tuple[Step, ...]
    wake_at: datetime
    unlocks: tuple[Protect, ...] = ()
    """Locks of ours on what no image of the spec stands for any more."""

    @property
    def actions(self) -> tuple[Action, ...]:
        return (*(action for step in self.steps for action in step.actions), *self.unlocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an action: `run` of a started build, `workload` as changed, or why not."""

    action: Action
    run: Run | None = None
    workload: Workload | None = None
    error: str = ""
    unknown: bool = False
    """The action may have happened."""
    temporary: bool = False
    """Nothing happened, since what it was decided on has moved: it is decided again at once."""
    wait: timedelta | None = None
    """Nothing happened and no attempt is counted: the other side can't or won't now, try after this long."""
    denied: bool = False
    """Nothing happened for want of rights."""
    adopted: bool = False
    """`run` was there already."""


def build_key(task: TaskRef, image: ImageRef, base: Digest | None, attempt: int, replaces: Digest | None = None) -> str:
    """The name of one build over the whole operator: whoever tracks the image, it is the same.

    An image is built once for a base, and once more for each digest of it that was validated and fails a gate by now.
    """
    cause = f"!{replaces}" if replaces is not None else ""
    return f"build:{task.registry.lower()}/{task.name.lower()}/{image}@{base}{cause}#{attempt}"
