"""Observing: one tracker and its world as values.

Asks only for what the rules may need: tags when they are due, contents by digest (cached for ever), the builder only for a
live run or when a build may be due, workloads from the cache of their watch. What can't be seen becomes a `Problem`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from basetracker.api.names import BuildState
from basetracker.api.status import BuildStatus, DownstreamStatus, GateStatus
from basetracker.api.tracker import Build, DeployTarget, Downstream, SecretRef, Spec, Tracker
from basetracker.core.builds import SKEW
from basetracker.core.case import Case
from basetracker.core.gating import questions_of
from basetracker.core.observed import (
    BuildSeen,
    ImageSeen,
    Observed,
    Parent,
    Problem,
    TagSeen,
    TargetSeen,
)
from basetracker.core.planner import LONG
from basetracker.core.protection import digests_to_look_at, foreign_locks
from basetracker.core.relations import circle_of, inherited_base, parent_of, was_validated
from basetracker.core.rescan import slot_of
from basetracker.core.rules import needs_builder
from basetracker.core.situation import situation_of
from basetracker.core.sources import claims_about, digests_of_interest, earlier_bases
from basetracker.core.unlocking import is_ours
from basetracker.core.validation import is_respecified, remembered_digest, unanswered_gate
from basetracker.engine.asking import with_verdicts
from basetracker.engine.problems import problem_of
from basetracker.engine.world import World
from basetracker.errors import BasetrackerError
from basetracker.oci.lineage import Image, Lineage, judge
from basetracker.oci.refs import Digest, ImageRef
from basetracker.ports import Credential

FACTS_MAX_AGE: Final = 3600.0
"""How old, in seconds, the facts of a task may be while nothing is to be built."""
AT_ONCE: Final = timedelta()


async def observe(world: World, tracker: Tracker) -> Observed:
    """What is seen of `tracker` now; the whole turn has the time at which it began, so that what was asked for is what
    the rules then ask about."""
    now = world.clock.now()
    siblings = tuple(other for other in world.trackers.in_namespace(tracker.key.namespace) if other.key != tracker.key)
    blank = Observed(
        now=now,
        tracker=tracker,
        base=TagSeen(due=now + LONG),
        images=(),
        siblings=siblings,
        run_interval=world.run_interval,
    )
    spec = tracker.spec
    if spec is None:
        return blank
    blank = replace(blank, parent=parent_of(tracker, siblings), circle=circle_of(tracker, siblings))
    if spec.suspend or blank.circle:
        return await _from_memory(world, blank, spec)
    if blank.parent is not None:
        base, withheld = _inherited(blank, blank.parent)
    else:
        base, withheld = await _base(world, blank, spec), None
    observed = replace(blank, base=base, withheld=withheld)
    reader = _Reader(world, observed, spec)
    images = await asyncio.gather(*(_image(reader, item) for item in spec.downstream))
    return replace(observed, images=tuple(images))


class _Reader:
    """One turn's reading: the base's content is read once for all images."""

    def __init__(self, world: World, observed: Observed, spec: Spec) -> None:
        self.world = world
        self.observed = observed
        self.spec = spec
        self._contents: dict[ImageRef, asyncio.Task[Image | Problem]] = {}

    @property
    def tracker(self) -> Tracker:
        return self.observed.tracker

    async def content(self, image: ImageRef, secret: SecretRef | None) -> Image | Problem:
        """The content of a digest, read once in a turn."""
        task = self._contents.get(image)
        if task is None:
            task = asyncio.ensure_future(self._read(image, secret))
            self._contents[image] = task
        return await task

    async def _read(self, image: ImageRef, secret: SecretRef | None) -> Image | Problem:
        try:
            credential = await credential_for(self.world, self.tracker, image, secret)
            found = await self.world.registry.image(image, credential)
        except BasetrackerError as error:
            return problem_of(error)
        if found is None:
            return Problem.missing(f"{image.repository} has no {image.digest and image.digest.short} any more")
        return found

    async def earlier(self, current: Digest) -> list[Image]:
        """The bases that came before, as far as they can still be read."""
        base = self.spec.base
        digests = earlier_bases(self.tracker.status, current)
        found = await asyncio.gather(
            *(self.content(base.image.repository.at(digest), base.pull_secret_ref) for digest in digests)
        )
        return [image for image in found if isinstance(image, Image)]


async def credential_for(
    world: World, tracker: Tracker, image: ImageRef, secret: SecretRef | None
) -> Credential | None:
    """The credential that the tracker names for the image's registry."""
    if secret is None:
        return None
    return await world.credentials.find(tracker.key.namespace, secret.name, image.host)


async def look(
    world: World, tracker: Tracker, image: ImageRef, secret: SecretRef | None, interval: timedelta
) -> TagSeen:
    """What the tag points to, as the poller knows or asks."""
    try:
        credential = await credential_for(world, tracker, image, secret)
    except BasetrackerError as error:
        return TagSeen(problem=problem_of(error), due=world.clock.now() + interval)
    return await world.poller.look(image, credential, interval)


async def _polled(world: World, tracker: Tracker, image: ImageRef, secret: SecretRef | None, spec: Spec) -> TagSeen:
    """What the tag points to, no older than the tracker's interval; asked for now when a person has asked to look."""
    if tracker.requested_at != tracker.status.last_handled.requested_at:
        await look(world, tracker, image, secret, AT_ONCE)
    return await look(world, tracker, image, secret, spec.base.interval)


async def _base(world: World, observed: Observed, spec: Spec) -> TagSeen:
    """The base's digest: what the registry says, else the last known."""
    tracker = observed.tracker
    seen = await _polled(world, tracker, spec.base.image, spec.base.pull_secret_ref, spec)
    if seen.problem is None:
        world.metrics.trackers.looked(tracker.key.namespace, tracker.key.name, observed.now.timestamp())
    stored = tracker.status.base
    if seen.digest is None and stored is not None and not is_respecified(tracker):
        return replace(seen, digest=stored.digest)
    return seen


def _inherited(observed: Observed, parent: Parent) -> tuple[TagSeen, GateStatus | None]:
    """In a chain: the parent's validated digest, or the last known base where a gate keeps this tracker from that."""
    other = next(one for one in observed.siblings if one.key == parent.key)
    tracker, stored = observed.tracker, observed.tracker.status.base
    item = other.status.of(parent.downstream)
    image = (
        next((one.image for one in other.spec.downstream if one.name == parent.downstream), None)
        if other.spec
        else None
    )
    unanswered = None
    if item is not None and image is not None and other.spec is not None:
        unanswered = unanswered_gate(item, questions_of(other.spec.asked_gates, image))
    digest, withheld = inherited_base(item, stored.digest if stored else None, unanswered)
    if withheld is not None and stored is not None:
        # With another spec the stored base may be of another image.
        is_its_output = was_validated(other.status, parent.downstream, stored.digest)
        digest = stored.digest if is_its_output or not is_respecified(tracker) else None
    return TagSeen(digest=digest, due=observed.now + LONG), withheld


async def _image(reader: _Reader, item: Downstream) -> ImageSeen:
    """One image: tag, workloads, the run of its record, then the lineage of each digest that matters."""
    world, tracker, spec = reader.world, reader.tracker, reader.spec
    before = tracker.status.of(item.name)
    record = before.build if before else None
    tag = await _polled(world, tracker, item.image, item.pull_secret_ref, spec)
    targets = await _targets(world, tracker, item.deploy)
    build = await _followed_build(world, item, record)
    if build.run is not None and build.run.state is BuildState.SUCCEEDED:
        tag = await look(world, tracker, item.image, item.pull_secret_ref, AT_ONCE)
        tag = replace(tag, due=world.clock.now() + spec.base.interval)
    tag = _remembered_tag(tag, before)
    build = await _with_facts(world, item, build, FACTS_MAX_AGE)
    seen = ImageSeen(spec=item, tag=tag, build=build, targets=targets)
    seen = replace(seen, lineages=await _lineages(reader, seen, before))
    seen = with_verdicts(world.desk, seen, reader.observed, spec)
    observed = reader.observed
    seen = replace(seen, locked=await _locked(world, seen, observed, spec))
    case = Case(situation=situation_of(seen, observed, spec), observed=observed, spec=spec)
    if item.build is not None and needs_builder(case):
        seen = replace(seen, build=await _asked_builder(reader, item.image, item.build, seen.build))
    return seen


def _remembered_tag(tag: TagSeen, before: DownstreamStatus | None) -> TagSeen:
    if tag.digest is None and before is not None and before.latest is not None:
        return replace(tag, digest=before.latest.digest)
    return tag


async def _lineages(
    reader: _Reader, seen: ImageSeen, before: DownstreamStatus | None
) -> Mapping[Digest, Lineage | Problem]:
    digest = reader.observed.base.digest
    if digest is None:
        return {}
    base_ref = reader.spec.base.image.pinned(digest)
    remembered = remembered_digest(reader.observed, seen.spec.name, digest)
    digests = digests_of_interest(seen.spec, before, seen.tag.digest, seen.build.run, seen.targets, remembered)
    base = await reader.content(reader.spec.base.image.repository.at(digest), reader.spec.base.pull_secret_ref)
    if isinstance(base, Problem):
        told = replace(base, message=f"base {base_ref.tagged}: {base.message}")
        return dict.fromkeys(digests, told)
    earlier = await reader.earlier(digest)

    async def lineage(one: Digest) -> Lineage | Problem:
        image = await reader.content(seen.spec.image.repository.at(one), seen.spec.pull_secret_ref)
        if isinstance(image, Problem):
            return replace(image, message=f"image {seen.spec.image}: {image.message}")
        claims = claims_about(one, seen.spec, before, seen.build, seen.tag.digest, base_ref)
        return judge(image, base, earlier=earlier, claims=claims)

    found = await asyncio.gather(*(lineage(one) for one in digests))
    return dict(zip(digests, found, strict=True))


async def _locked(world: World, seen: ImageSeen, observed: Observed, spec: Spec) -> Mapping[Digest, bool | Problem]:
    """Whether the digests that are to be protected are locked already; asked once for each, of others' locks now and then."""
    if not spec.protect:
        return {}
    tracker, situation = observed.tracker, situation_of(seen, observed, spec)
    slot = slot_of(f"{tracker.key}/{seen.spec.name}", spec.rescan.interval, observed.now)
    is_asked = tracker.requested_at != tracker.status.last_handled.requested_at
    again = [
        digest
        for digest in foreign_locks(situation, spec)
        if world.foreign_locks.is_due((tracker.uid, seen.spec.name, digest), slot.begin, observed.now) or is_asked
    ]
    found: dict[Digest, bool | Problem] = {}
    for digest in (*digests_to_look_at(situation, spec), *again):
        image = seen.spec.image.pinned(digest)
        try:
            # A lock that was set for another image or tracker is ours as well.
            ours = is_ours(world.trackers.everywhere(), image)
            found[digest] = not ours and await world.locks.is_locked(image)
        except BasetrackerError as error:
            found[digest] = problem_of(error)
    return found


async def _followed_build(world: World, item: Downstream, record: BuildStatus | None) -> BuildSeen:
    """The run of a live record; its task's runs where the record has none."""
    if item.build is None or record is None or not record.state.is_live:
        return BuildSeen()
    try:
        task = await world.builder.resolve(item.build.acr_task, item.image)
        seen = BuildSeen(task=task)
        if record.run_id is not None:
            return replace(seen, run=await world.builder.run(task, record.run_id))
        since = (record.requested_at or world.clock.now()) - SKEW
        return replace(seen, recent=tuple(await world.builder.recent(task, since)))
    except BasetrackerError as error:
        return BuildSeen(problem=problem_of(error))


async def _with_facts(world: World, item: Downstream, seen: BuildSeen, max_age: float) -> BuildSeen:
    """With the task's facts if they can be had; nothing depends on them while nothing is to be built."""
    if item.build is None:
        return seen
    try:
        task = seen.task or await world.builder.resolve(item.build.acr_task, item.image)
        return replace(seen, task=task, facts=await world.builder.facts(task, max_age=max_age))
    except BasetrackerError:
        return seen


async def _asked_builder(reader: _Reader, image: ImageRef, build: Build, seen: BuildSeen) -> BuildSeen:
    """Whether the task may be started, what it is now, and which of its runs may bring this base."""
    world, tracker = reader.world, reader.tracker
    try:
        task = await world.builder.resolve(build.acr_task, image)
        allowed = await world.allow_list.allows(tracker.key.namespace, task.registry, task.name)
        if not allowed:
            return replace(seen, task=task, allowed=False, problem=None)
        facts = await world.builder.facts(task)
        base = tracker.status.base
        is_known = base is not None and base.digest == reader.observed.base.digest
        since = (base.since if base is not None and is_known else reader.observed.now) - timedelta(days=1)
        recent = tuple(await world.builder.recent(task, since)) if facts is not None else ()
        return replace(seen, task=task, allowed=True, facts=facts, recent=recent, problem=None)
    except BasetrackerError as error:
        return replace(seen, problem=problem_of(error))


async def _targets(world: World, tracker: Tracker, targets: Iterable[DeployTarget]) -> tuple[TargetSeen, ...]:
    async def target_seen(target: DeployTarget) -> TargetSeen:
        try:
            workload = await world.workloads.find(tracker.key.namespace, target.kind, target.name)
        except BasetrackerError as error:
            return TargetSeen(target=target, problem=problem_of(error))
        return TargetSeen(target=target, workload=workload)

    return tuple(await asyncio.gather(*(target_seen(target) for target in targets)))


async def _from_memory(world: World, observed: Observed, spec: Spec) -> Observed:
    """A tracker that nothing is done for: no registry and no builder is asked."""
    status = observed.tracker.status
    due = observed.now + LONG
    images = []
    for item in spec.downstream:
        before = status.of(item.name)
        digest = before.latest.digest if before is not None and before.latest is not None else None
        targets = await _targets(world, observed.tracker, item.deploy)
        images.append(ImageSeen(spec=item, tag=TagSeen(digest=digest, due=due), targets=targets))
    base = TagSeen(digest=status.base.digest if status.base is not None else None, due=due)
    return replace(observed, base=base, images=tuple(images))
