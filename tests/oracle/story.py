"""One story: by the seed's chance people change a shop while all kinds of troubles strike, then calm, and then people mend what waits
for them. After each of the two the shop must be in order within a bounded time, and nothing may move any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from basetracker.emulators.authority import Authority

from .gates import GateBrokeError
from .loop import VirtualLoop
from .model import Model
from .people import People
from .shop import Shop, opened
from .troubles import Troubles
from .verdict import Verdict

STORY_SECONDS = (600.0, 1500.0)
PATIENCE = 7200.0
"""Virtual seconds within which the shop is in order once the troubles are over: five attempts with their waits and time-outs, one of
which may be a whole `build.timeout` of a run that never leaves the queue."""
STILL_SECONDS = 150.0
CALM_SECONDS = 240.0
STEP = 5.0
PUSHES = 3
"""How often people push what waits for them: a chain has two layers, and what is built on what was pushed may fail a gate."""


@dataclass(slots=True, kw_only=True)
class Account:
    """What happened in a story, and what should not have."""

    seed: int
    log: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {len(self.violations)} broken promises",
            *self.violations,
            "what happened:",
            *self.log,
        ]
        return "\n".join(lines)


def told(seed: int) -> Account:
    """Live through the story of this seed."""
    began = time.monotonic()
    account = Account(seed=seed)
    loop = VirtualLoop()
    troubles = _Overheard()
    loop.set_exception_handler(lambda _, context: troubles.texts.append(f"loop: {context}"))
    with tempfile.TemporaryDirectory() as directory, _listening(troubles):
        try:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(_Story(account, loop, Path(directory)).live())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
    account.violations += troubles.texts
    account.seconds = time.monotonic() - began
    return account


class _Story:
    def __init__(self, account: Account, loop: VirtualLoop, directory: Path) -> None:
        self._account = account
        self._loop = loop
        self._directory = directory
        self._rng = random.Random(account.seed)
        self._holder, self._led_since = "", 0.0
        self._calm_since = 0.0
        self._shop: Shop
        self._model: Model
        self._people: People
        self._troubles: Troubles

    async def live(self) -> None:
        rng = self._rng
        async with opened(self._loop, self._directory, _authority(), rng) as shop:
            self._shop = shop
            self._model = Model(shop)
            self._people = People(shop, self._model, random.Random(rng.random()))
            self._troubles = Troubles(shop, self._model, random.Random(rng.random()), rng.choice((1, 2)))
            with _environment(shop):
                await self._people.furnish()
                self._model.begin()
                await self._eventful(rng.uniform(*STORY_SECONDS))
                await self._put_in_order()
                self._sum_up()

    async def _eventful(self, seconds: float) -> None:
        """Deeds and troubles in clusters, as they come in life; each by a generator of its own."""
        rng, end = self._rng, self._loop.time() + seconds
        next_deed, next_trouble = rng.uniform(0, 120), rng.uniform(0, 60)
        while self._loop.time() < end:
            if self._loop.time() >= next_deed:
                self._tell(await self._people.act())
                next_deed += rng.choice((2.0, 20.0, rng.expovariate(1 / 120)))
            if self._loop.time() >= next_trouble:
                self._tell(f"  trouble: {await self._troubles.strike()}")
                next_trouble += rng.choice((0.0, 10.0, rng.expovariate(1 / 90)))
            await self._step()

    async def _step(self) -> None:
        for text in await self._troubles.pass_time():
            self._tell(f"  {text}")
        await asyncio.sleep(STEP)
        if self._shop.holder() != self._holder:
            self._holder, self._led_since = self._shop.holder(), self._loop.time()

    async def _put_in_order(self) -> None:
        """Calm; the operator alone; then the people, who mend what waits for them."""
        self._troubles.end()
        self._calm_since = self._loop.time()
        self._tell("calm")
        verdict = Verdict(self._model, self._troubles.attempts_lost)
        await self._until_in_order(verdict, "after the troubles")
        await self._people.mend()
        verdict.gates.is_all_asked = True
        self._tell("all is mended")
        await self._until_in_order(verdict, "after all was mended")
        # What is built on an image that is pushed by hand goes stale with it, and may wait for a push as well.
        for _ in range(PUSHES):
            pushed = await self._people.push_what_waits()
            if not pushed:
                break
            for text in pushed:
                self._tell(text)
            await self._until_in_order(verdict, "after all was pushed")
        for name, tracker in self._shop.trackers().items():
            for row in tracker["status"]["downstream"]:
                if row["state"] != "Current" and row["reason"] != "ContainerClaimed":
                    self._model.fail(
                        f"{name}/{row['name']} is {row['state']} {row['reason']} although all is mended: {row['message']}"
                    )

    async def _until_in_order(self, verdict: Verdict, when: str) -> None:
        began, complaints = self._loop.time(), ["it has just begun"]
        while (complaints or not self._is_still()) and self._loop.time() < began + PATIENCE:
            for _ in range(4):
                await self._step()
            verdict.gates.led_since = self._led_since
            complaints = verdict.complaints()
        for text in complaints:
            self._model.fail(f"{when}: {text}")
        if complaints:
            return
        before, began, asked = dict(self._model.writes), self._loop.time(), len(self._shop.gates.told)
        end = self._loop.time() + CALM_SECONDS
        while self._loop.time() < end:
            await self._step()
        if self._shop.gates.is_news(asked):  # a rescan has found what had changed before
            await self._until_in_order(verdict, when)
            return
        if dict(self._model.writes) != before:
            self._model.fail(f"{when}: nothing changes, and it writes: {before} became {dict(self._model.writes)}")
        for text in (*verdict.complaints(), *verdict.gates.needless(self._shop.gates.told[asked:], began)):
            self._model.fail(f"{when}, in the calm: {text}")

    def _is_still(self) -> bool:
        """Whether no run goes on, nor will one that a push triggers, and who leads has looked at every tag since it moved.

        A look that failed in the troubles is repeated within an interval of their end.
        """
        is_running = any(run.live for run in self._shop.cloud.tasks.runs)
        since = max(self._model.pushed_at, self._led_since, self._calm_since)
        return not is_running and self._shop.leader() is not None and self._loop.time() - since > STILL_SECONDS

    def _sum_up(self) -> None:
        shop, model, figures = self._shop, self._model, self._account.figures
        for replica in shop.replicas:
            if replica.error is not None:
                model.fail(f"{replica.name} ended with {replica.error!r}")
        for leak in shop.cloud.faults.leaks:
            model.fail(f"a secret was shown: {leak}")
        for denial in shop.cluster.denied:
            model.fail(f"refused by RBAC: {denial}")
        figures.update({f"troubles: {kind}": count for kind, count in self._troubles.counts.items()})
        figures.update({f"writes: {kind}": count for kind, count in model.writes.items()})
        figures["base pushes"] = sum(
            line.lstrip("0123456789. ").startswith(("push", "move")) for line in self._account.log
        )
        figures.update(f"gates said: {one.verdict}" for one in shop.gates.told)
        figures["rebuilds"] = model.rebuilt
        figures["trackers"] = len(shop.trackers())
        figures["replicas started"] = len(shop.replicas)
        figures["virtual seconds"] = int(self._loop.time())
        figures["requests"] = sum(shop.cloud.faults.counts.values()) + len(shop.cluster.requests)
        self._account.violations += model.violations
        if model.violations:
            told = len(self._account.log)
            statuses = {name: one.get("status") for name, one in shop.trackers().items()}
            self._account.log.append(yaml.safe_dump(statuses, sort_keys=False))
            self._account.log += [
                f"{one.id} {one.task.name} {one.status} {one.argument('BASE_IMAGE')}" for one in shop.cloud.tasks.runs
            ]
            self._account.log += [str(one) for one in model.deliveries]
            self._account.log += [
                f"{one.at:8.1f}  {one.replica} asked at {one.asked_at:.1f} {one.subject.fields} about {one.digest[:19]} of {one.subject.image}"
                f" for {one.subject.uid[:8]}: {one.verdict}"
                for one in shop.gates.told
            ]
            self._account.log[:] = sorted([*self._account.log[:told], *model.told]) + self._account.log[told:]

    def _tell(self, text: str) -> None:
        self._account.log.append(f"{self._loop.time():8.1f}  {text}")


class _Overheard(logging.Handler):
    """What the operator logs as an error: it never means to."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and isinstance(record.exc_info[1], GateBrokeError):
            return  # that a gate broke is to be logged, and it broke on purpose
        self.texts.append(f"logged: {self.format(record)}")


@contextmanager
def _listening(handler: _Overheard) -> Iterator[None]:
    loggers = [logging.getLogger("basetracker"), logging.getLogger("asyncio")]
    azure = logging.getLogger("azure")
    before = azure.level
    for logger in loggers:
        logger.addHandler(handler)
    azure.setLevel(logging.ERROR)  # it warns of every trouble, and troubles are what a story is made of
    try:
        yield
    finally:
        azure.setLevel(before)
        for logger in loggers:
            logger.removeHandler(handler)


@contextmanager
def _environment(shop: Shop) -> Iterator[None]:
    """The proxy, which is read from the process's environment."""
    wanted: dict[str, Any] = {"HTTPS_PROXY": shop.cloud.proxy_url, "NO_PROXY": "127.0.0.1,localhost"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@cache
def _authority() -> Authority:
    return Authority()
