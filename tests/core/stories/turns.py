"""Turns over the simulated world with the real core, told as a log that people can read.

The engine's own order is kept: see, plan, store the intent, look once more, act, fold, store. What is left out is
everything that waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from basetracker.api.names import HistoryEvent, State
from basetracker.api.status import HistoryEntry, Status
from basetracker.api.tracker import Downstream, Key, Spec, Tracker, parse_tracker
from basetracker.core.actions import Action, CancelRun, Deliver, Outcome, StartBuild
from basetracker.core.builds import BUSY_WAIT, MAX_ATTEMPTS, REFUSED_WAIT, SKEW, existing_run, live_run
from basetracker.core.case import Case
from basetracker.core.history import sentence
from basetracker.core.observed import BuildSeen, ImageSeen, Observed, Problem, ProblemKind, TagSeen, TargetSeen, TaskRef
from basetracker.core.planner import LONG, decide
from basetracker.core.relations import children_of, circle_of, parent_of
from basetracker.core.rules import needs_builder
from basetracker.core.situation import situation_of
from basetracker.core.sources import claims_about, digests_of_interest, earlier_bases
from basetracker.core.status import fold, with_intents
from basetracker.core.validation import is_respecified, remembered_digest
from basetracker.errors import BasetrackerError, ConflictError, DeniedError, UnavailableError, UnknownOutcomeError
from basetracker.oci.lineage import Lineage, judge
from basetracker.oci.refs import Digest, ImageRef
from basetracker.ports import BuildRequest

from .world import ARM, START, World

MOST_TURNS = 600


@dataclass
class Story:
    """A world, its trackers, and what is told of them."""

    world: World = field(default_factory=World)
    trackers: dict[str, Tracker] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    wakes: dict[str, datetime] = field(default_factory=dict)
    quiet: dict[str, bool] = field(default_factory=dict)
    may_repeat: bool = False
    """Whether a person has asked for something a second time."""

    # What people do

    def track(self, body: Mapping[str, Any]) -> None:
        """A tracker is created."""
        tracker = parse_tracker(body)
        self.trackers[tracker.key.name] = tracker
        self.poke(tracker.key.name)

    def respecify(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Somebody edits the spec."""
        tracker = self.trackers[name]
        assert tracker.spec is not None
        document = deepcopy(tracker.spec.model_dump(mode="json", by_alias=True, exclude_none=True))
        change(document)
        spec = Spec.model_validate(document)
        self.trackers[name] = tracker.model_copy(update={"spec": spec, "generation": tracker.generation + 1})
        self.poke(name)

    def annotate(self, name: str, **values: str) -> None:
        """Somebody asks by annotation."""
        self.may_repeat = True
        self.trackers[name] = self.trackers[name].model_copy(update=values)
        self.poke(name)

    def lose_status(self, name: str) -> None:
        """The tracker is created anew."""
        self.trackers[name] = self.trackers[name].model_copy(update={"status": Status(), "uid": "another"})
        self.poke(name)

    def poke(self, name: str) -> None:
        self.wakes[name] = self.world.now
        self.quiet[name] = False

    def tell(self, text: str) -> None:
        """A headline: what happens in the world."""
        self.lines.append(f"{self._time()} * {text}")

    # How time passes

    def poll(self, text: str = "") -> None:
        """Go on to the next look at the registry, then until nothing is left to do."""
        if text:
            self.tell(text)
        self._move(min(self.wakes.values()))
        for name in self.trackers:
            self.poke(name)
        self.settle()

    def settle(self) -> None:
        """Take turns until only polls are left, and show that one more turn changes nothing."""
        for _ in range(MOST_TURNS):
            due = sorted((wake, name) for name, wake in self.wakes.items())
            event = self.world.next_event
            if all(self.quiet.values()) and event is None:
                break
            if event is not None and event < due[0][0]:
                self._move(event)
                continue
            self._move(due[0][0])
            self.turn(due[0][1])
        else:
            raise AssertionError("this story doesn't end:\n" + "\n".join(self.lines[-40:]))
        for name in list(self.trackers):
            before = self.trackers[name].status.document()
            self.turn(name)
            assert self.trackers[name].status.document() == before, f"{name} isn't settled"

    def wait(self, time: timedelta) -> None:
        """Take the turns of this time, settled or not."""
        end = self.world.now + time
        for _ in range(MOST_TURNS):
            name = min(self.wakes, key=lambda one: (self.wakes[one], one))
            event = self.world.next_event
            if event is not None and event < min(self.wakes[name], end):
                self._move(event)
            elif self.wakes[name] <= end:
                self._move(self.wakes[name])
                self.turn(name)
            else:
                self._move(end)
                return
        raise AssertionError("too many turns for this time")

    def _move(self, to: datetime) -> None:
        for name in self.world.advance(to):
            for tracker in self.trackers.values():
                spec = tracker.spec
                if spec and any(target.name == name for item in spec.downstream for target in item.deploy):
                    self.poke(tracker.key.name)

    # One turn

    def turn(self, name: str) -> None:
        tracker = self.trackers[name]
        observed = see(self, tracker)
        decision = decide(observed)
        starts = [action for action in decision.plan.actions if isinstance(action, StartBuild)]
        if starts:
            self._store(name, with_intents(observed, decision, starts))
        outcomes = tuple(self._outcome(tracker, action) for action in decision.plan.actions)
        folded = fold(observed, decision, outcomes)
        if folded.status.document() != self.trackers[name].status.document():
            self._store(name, folded.status)
            self._tell_turn(name, outcomes, folded.happened)
            for child in children_of(tracker, self.trackers.values()):
                self.poke(child.key.name)
        waits = [step for step in decision.plan.steps if step.wake is not None and step.state is not State.UNKNOWN]
        self.quiet[name] = not waits and not decision.plan.actions
        self.wakes[name] = decision.plan.wake_at
        if any(outcome.error for outcome in outcomes):
            self.wakes[name] = min(decision.plan.wake_at, observed.now + timedelta(seconds=30))
        self._keep_promises()

    def _store(self, name: str, status: Status) -> None:
        """As it comes back from the cluster."""
        self.trackers[name] = self.trackers[name].model_copy(update={"status": Status.read(status.document())})

    def _outcome(self, tracker: Tracker, action: Action) -> Outcome:
        world = self.world
        try:
            match action:
                case CancelRun():
                    world.builder.cancel(action.run_id, world.now)
                    return Outcome(action=action)
                case Deliver():
                    return Outcome(action=action, workload=world.cluster.deliver(action, world.now))
                case StartBuild():
                    return self._started(action)
        except BasetrackerError as error:
            wait: timedelta | None = REFUSED_WAIT if isinstance(error, DeniedError) else None
            if isinstance(error, UnavailableError):
                wait = timedelta(seconds=error.retry_after) if error.retry_after else BUSY_WAIT
            return Outcome(
                action=action,
                error=str(error),
                unknown=isinstance(error, UnknownOutcomeError),
                temporary=isinstance(error, ConflictError),
                denied=isinstance(error, DeniedError),
                wait=wait,
            )

    def _started(self, action: StartBuild) -> Outcome:
        world = self.world
        if world.registry.head(action.image) != action.tag:
            return Outcome(action=action, temporary=True, error="the tag has just moved and is judged first")
        runs = world.builder.recent(action.task.name, world.now - timedelta(days=1))
        run = existing_run(runs, action)
        if run is not None:
            return Outcome(action=action, run=run, adopted=True)
        other = live_run(runs)
        if other is not None:
            return Outcome(action=action, temporary=True, error=f"run {other.run_id} of the task has just been started")
        request = BuildRequest(task=action.task, key=action.key, arguments=action.arguments, values=action.values)
        return Outcome(action=action, run=world.builder.start(request, world.now))

    # What is told

    def _time(self) -> str:
        passed = int((self.world.now - START).total_seconds())
        return f"{passed // 3600:02}:{passed % 3600 // 60:02}:{passed % 60:02}"

    def _tell_turn(self, name: str, outcomes: Sequence[Outcome], happened: Sequence[HistoryEntry]) -> None:
        names = self.world.registry.readable
        for outcome in outcomes:
            error = f" ({outcome.error})" if outcome.error else ""
            self.lines.append(f"{self._time()}   {name} > {names(_deed(outcome))}{error}")
        for entry in happened:
            if entry.event is not HistoryEvent.DELIVERED:
                self.lines.append(f"{self._time()}   {name} ! {entry.event}: {names(sentence(entry))}")
        status = self.trackers[name].status
        ready = status.conditions[0]
        others = "".join(f" {item.type}" for item in status.conditions[1:])
        for item in status.downstream:
            line = f"{name} {item.name}: {item.state} {item.reason}: {names(item.message)}"
            self.lines.append(f"{self._time()}   {line} [Ready={ready.status}{others}]")

    # What must hold after every turn

    def _keep_promises(self) -> None:
        for tracker in self.trackers.values():
            assert tracker.spec is not None
            rolling = {
                one.name
                for one in self.world.cluster.deployments.values()
                if one.rolls_until is not None
                and any(mark.tracker == tracker.key.name for mark in one.marks.values())
                and all(each.writer in {"", "basetracker"} for each in one.containers)
            }
            assert len(rolling) <= tracker.spec.rollout.max_concurrent, rolling
        builds = Counter(
            ran.key.partition("#")[0] for ran in self.world.builder.runs if ran.key and not ran.run.state.is_failure
        )
        assert all(count == 1 for count in builds.values()), builds
        if not self.may_repeat:
            attempts = Counter(ran.key.partition("#")[0] for ran in self.world.builder.runs if ran.key)
            assert all(count <= MAX_ATTEMPTS for count in attempts.values()), attempts
            assert all(count == 1 for count in Counter(self.world.cluster.delivered).values())


def _deed(outcome: Outcome) -> str:
    action = outcome.action
    match action:
        case StartBuild():
            what = "adopt" if outcome.adopted else "start"
            run = f" as {outcome.run.run_id}" if outcome.run is not None else ""
            return f"{what} {action.task} for {action.base.digest}, attempt {action.attempt}{run}"
        case CancelRun():
            return f"cancel {action.run_id}"
        case Deliver():
            containers = ",".join(change.container for change in action.containers)
            return f"deliver {action.digest} to {action.workload.name}/{containers}"


def see(story: Story, tracker: Tracker) -> Observed:
    """What the engine would see of the tracker."""
    world, spec = story.world, tracker.spec
    assert spec is not None
    siblings = tuple(one for one in story.trackers.values() if one.key != tracker.key)
    observed = Observed(
        now=world.now,
        tracker=tracker,
        base=TagSeen(due=world.now + LONG),
        images=(),
        siblings=siblings,
        parent=parent_of(tracker, siblings),
        circle=circle_of(tracker, siblings),
    )
    if spec.suspend or observed.circle:
        kept = tracker.status.base.digest if tracker.status.base is not None else None
        images = tuple(_from_memory(world, tracker, item) for item in spec.downstream)
        return replace(observed, base=TagSeen(digest=kept, due=world.now + LONG), images=images)
    if observed.parent is not None:
        parent = story.trackers[observed.parent.key.name].status.of(observed.parent.downstream)
        digest = parent.validated.digest if parent is not None and parent.validated is not None else None
        base = TagSeen(digest=digest, due=world.now + LONG)
    else:
        base = _tag(world, spec.base.image, spec.base.interval)
        stored = tracker.status.base
        if base.digest is None and stored is not None and not is_respecified(tracker):
            base = replace(base, digest=stored.digest)
    observed = replace(observed, base=base)
    return replace(observed, images=tuple(_image(world, observed, spec, item) for item in spec.downstream))


def _tag(world: World, image: ImageRef, interval: timedelta) -> TagSeen:
    due = world.now + interval
    try:
        digest = world.registry.head(image)
    except BasetrackerError as error:
        return TagSeen(problem=Problem(kind=ProblemKind.UNAVAILABLE, message=str(error)), due=due)
    return TagSeen(digest=digest, problem=None if digest else Problem.missing("there is no such tag"), due=due)


def _image(world: World, observed: Observed, spec: Spec, item: Downstream) -> ImageSeen:
    before = observed.tracker.status.of(item.name)
    record = before.build if before is not None else None
    tag = _tag(world, item.image, spec.base.interval)
    if tag.digest is None and before is not None and before.latest is not None:
        tag = replace(tag, digest=before.latest.digest)
    build = BuildSeen()
    if item.build is not None:
        name = item.build.acr_task.name
        build = BuildSeen(task=TaskRef(ARM, name), facts=world.builder.facts(name))
        if record is not None and record.state.is_live and record.run_id is not None:
            build = replace(build, run=world.builder.run(record.run_id))
        elif record is not None and record.state.is_live and record.requested_at is not None:
            build = replace(build, recent=world.builder.recent(name, record.requested_at - SKEW))
    seen = ImageSeen(spec=item, tag=tag, build=build, targets=_targets(world, item))
    seen = replace(seen, lineages=_lineages(world, observed, spec, seen))
    case = Case(situation=situation_of(seen, observed, spec), observed=observed, spec=spec)
    if item.build is not None and needs_builder(case):
        recent = world.builder.recent(item.build.acr_task.name, observed.now - timedelta(days=1))
        seen = replace(seen, build=replace(build, allowed=world.allowed, recent=recent))
    return seen


def _from_memory(world: World, tracker: Tracker, item: Downstream) -> ImageSeen:
    before = tracker.status.of(item.name)
    digest = before.latest.digest if before is not None and before.latest is not None else None
    return ImageSeen(spec=item, tag=TagSeen(digest=digest, due=world.now + LONG), targets=_targets(world, item))


def _targets(world: World, item: Downstream) -> tuple[TargetSeen, ...]:
    found = [(target, world.cluster.deployments.get(target.name)) for target in item.deploy]
    return tuple(TargetSeen(target=target, workload=one.seen() if one else None) for target, one in found)


def _lineages(world: World, observed: Observed, spec: Spec, seen: ImageSeen) -> dict[Digest, Lineage | Problem]:
    current = observed.base.digest
    if current is None:
        return {}
    before = observed.tracker.status.of(seen.spec.name)
    remembered = remembered_digest(observed, seen.spec.name, current)
    wanted = digests_of_interest(seen.spec, before, seen.tag.digest, seen.build.run, seen.targets, remembered)
    if world.registry.down:
        return {one: Problem(kind=ProblemKind.UNAVAILABLE, message="the registry does not answer") for one in wanted}
    images = world.registry.images
    base_ref = spec.base.image.pinned(current)
    earlier = [images[one] for one in earlier_bases(observed.tracker.status, current) if one in images]
    return {
        one: judge(
            images[one],
            images[current],
            earlier=earlier,
            claims=claims_about(one, seen.spec, before, seen.build, seen.tag.digest, base_ref),
        )
        for one in wanted
    }


KEY = Key(namespace="shop", name="python")
