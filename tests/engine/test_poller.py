"""The poller: one look-up for all who wait, the interval with jitter, growing waits in an outage."""

from __future__ import annotations

import asyncio
import gc
import random
from datetime import timedelta

import pytest

from basetracker.core.observed import ProblemKind
from basetracker.engine import poller as module
from basetracker.engine.poller import Poller
from basetracker.errors import BasetrackerError, DeniedError, InvalidError, UnavailableError
from basetracker.oci.refs import ImageRef
from basetracker.ports import Credential
from basetracker.telemetry import Metrics

from ..core.stories.world import ref
from .ports_in_memory import House, quiet

IMAGE, OTHER = ref("base/python:3.12"), ref("base/node:22")
FIVE = timedelta(minutes=5)
READER = Credential(username="reader", password="pull")


class Bench:
    def __init__(self, seed: int = 1) -> None:
        self.house = House()
        self.world = self.house.world
        self.digest = self.world.push_base(IMAGE, "os 1")
        self.registry = self.house.registry
        self.poller = Poller(self.registry, self.house.clock, Metrics(), rng=random.Random(seed))

    async def look(self, image: ImageRef = IMAGE, credential: Credential | None = None, after: float = 0) -> object:
        self.world.advance(self.world.now + timedelta(seconds=after))
        return await self.poller.look(image, credential, FIVE)

    def fail(self, error: BasetrackerError, times: int = 1) -> None:
        """The next looks meet this error."""
        begun = self.house.faults.calls.count("registry.digest")
        for number in range(times):
            self.house.faults.at_method["registry.digest", begun + number] = ("before", error)

    @property
    def heads(self) -> int:
        return sum(self.registry.heads.values())


async def test_all_who_wait_share_one_look() -> None:
    bench = Bench()
    found = await asyncio.gather(*(bench.look() for _ in range(50)))
    assert bench.heads == 1
    assert {one.digest for one in found} == {bench.digest}  # type: ignore[attr-defined]  # each is a TagSeen


async def test_an_image_with_another_credential_is_looked_at_itself() -> None:
    bench = Bench()
    await asyncio.gather(bench.look(), bench.look(credential=READER), bench.look(OTHER))
    assert bench.heads == 3


async def test_within_the_interval_nothing_is_asked() -> None:
    bench = Bench()
    await bench.look()
    await bench.look(after=260)
    assert bench.heads == 1
    await bench.look(after=80)
    assert bench.heads == 2


@pytest.mark.parametrize("seed", range(20))
async def test_the_next_look_is_spread_by_a_tenth(seed: int) -> None:
    bench = Bench(seed)
    seen = await bench.poller.look(IMAGE, None, FIVE)
    wait = seen.due - bench.world.now
    assert timedelta(seconds=270) <= wait <= timedelta(seconds=330)


async def test_spread_differs() -> None:
    dues = {(await Bench(seed).poller.look(IMAGE, None, FIVE)).due for seed in range(20)}
    assert len(dues) > 10


async def test_the_next_look_is_due_on_a_whole_second_as_the_clock_tells_them() -> None:
    """Else a turn that comes in its fraction finds nothing due, and asks to be woken in the same fraction again."""
    for seed in range(20):
        bench = Bench(seed)
        assert (await bench.poller.look(IMAGE, None, FIVE)).due.microsecond == 0
        bench.fail(UnavailableError("away"))
        assert (await bench.poller.look(IMAGE, None, timedelta())).due.microsecond == 0


async def test_at_once_asks_always() -> None:
    bench = Bench()
    for _ in range(3):
        await bench.poller.look(IMAGE, None, timedelta())
    assert bench.heads == 3


async def test_a_waiter_that_goes_away_doesnt_end_the_look() -> None:
    bench = Bench()
    first = asyncio.ensure_future(bench.look())
    second = asyncio.ensure_future(bench.look())
    await asyncio.sleep(0)
    first.cancel()
    found = await second
    assert (bench.heads, found.digest) == (1, bench.digest)  # type: ignore[attr-defined]  # it is a TagSeen
    await quiet()


async def test_an_outage_keeps_the_digest_and_waits_longer_each_time() -> None:
    bench = Bench()
    await bench.look()
    bench.fail(UnavailableError("it does not answer"), 12)
    waits = []
    bench.world.advance(bench.world.now + timedelta(seconds=331))
    for _ in range(12):
        seen = await bench.poller.look(IMAGE, None, FIVE)
        assert seen.digest == bench.digest
        assert seen.problem is not None
        assert seen.problem.kind is ProblemKind.UNAVAILABLE
        waits.append((seen.due - bench.world.now).total_seconds())
        bench.world.advance(seen.due)
    for number, wait in enumerate(waits):
        usual = min(5 * 2**number, 300)
        assert 0.9 * usual <= wait <= 1.1 * usual + 1, "up to the next whole second"
    seen = await bench.poller.look(IMAGE, None, FIVE)
    assert (seen.digest, seen.problem) == (bench.digest, None)


async def test_retry_after_is_kept_also_by_a_look_at_once() -> None:
    bench = Bench()
    bench.fail(UnavailableError("too many requests", retry_after=600))
    seen = await bench.poller.look(IMAGE, None, FIVE)
    assert seen.due == bench.world.now + timedelta(seconds=600)
    await bench.poller.look(IMAGE, None, timedelta())
    bench.world.advance(bench.world.now + timedelta(seconds=599))
    await bench.poller.look(IMAGE, None, timedelta())
    assert bench.heads == 1
    bench.world.advance(bench.world.now + timedelta(seconds=1))
    found = await bench.poller.look(IMAGE, None, timedelta())
    assert (bench.heads, found.digest) == (2, bench.digest)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(DeniedError("no"), ProblemKind.DENIED), (InvalidError("no"), ProblemKind.INVALID)],
)
async def test_what_a_person_must_mend_is_asked_again_by_the_interval(
    error: BasetrackerError, kind: ProblemKind
) -> None:
    bench = Bench()
    await bench.look()
    bench.fail(error)
    seen = await bench.poller.look(IMAGE, None, timedelta())
    assert seen.problem is not None
    assert (seen.problem.kind, seen.digest) == (kind, bench.digest)
    again = await bench.poller.look(IMAGE, None, FIVE)
    assert (bench.heads, again.problem) == (2, seen.problem)
    assert again.due - bench.world.now >= timedelta(seconds=270)


async def test_a_tag_that_is_gone_is_a_problem_and_not_an_empty_digest() -> None:
    bench = Bench()
    await bench.look()
    del bench.world.registry.tags[IMAGE]
    seen = await bench.poller.look(IMAGE, None, timedelta())
    assert seen.problem is not None
    assert (seen.problem.kind, seen.digest) == (ProblemKind.MISSING, bench.digest)


async def test_when_it_was_looked_at() -> None:
    bench = Bench()
    assert bench.poller.looked_at(IMAGE, None) is None
    await bench.look()
    assert bench.poller.looked_at(IMAGE, None) == bench.world.now
    bench.fail(DeniedError("no"))
    await bench.poller.look(IMAGE, None, timedelta())
    assert bench.poller.looked_at(IMAGE, None) is None


async def test_what_isnt_asked_for_is_forgotten_in_the_end() -> None:
    bench = Bench()
    for number in range(module.KEPT + 1):
        image = ref(f"many/image{number}:1")
        bench.world.registry.tags[image] = bench.digest
        await bench.poller.look(image, None, FIVE)
    assert bench.poller.looked_at(ref("many/image0:1"), None) is None
    assert bench.poller.looked_at(ref(f"many/image{module.KEPT}:1"), None) == bench.world.now


async def test_closed_it_gives_up_the_looks_that_are_under_way() -> None:
    begun, ended = asyncio.Event(), []

    class Silent:
        async def digest(self, image: ImageRef, credential: Credential | None) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(image)

        async def image(self, image: ImageRef, credential: Credential | None) -> None:
            raise AssertionError

    poller = Poller(Silent(), Bench().house.clock, Metrics())
    gone = asyncio.create_task(poller.look(IMAGE, None, FIVE))
    await begun.wait()
    gone.cancel()
    await asyncio.wait({gone})
    assert ended == [], "others may still wait for it"
    await poller.close()
    assert ended == [IMAGE]


async def test_a_look_that_breaks_is_told_to_those_who_wait_alone() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    may_break = asyncio.Event()

    class Broken:
        async def digest(self, image: ImageRef, credential: Credential | None) -> None:
            await may_break.wait()
            raise ZeroDivisionError

        async def image(self, image: ImageRef, credential: Credential | None) -> None:
            raise AssertionError

    poller = Poller(Broken(), Bench().house.clock, Metrics())
    waiting, gone = (asyncio.create_task(poller.look(one, None, FIVE)) for one in (IMAGE, OTHER))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.cancel()
    may_break.set()
    with pytest.raises(ZeroDivisionError):
        await waiting
    await asyncio.wait({gone})
    del gone  # it knows the look, and asyncio complains when nobody does
    await asyncio.sleep(0)
    gc.collect()
    assert told == []
