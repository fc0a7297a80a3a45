"""`basetracker logs`: the run's own bytes, clear errors, and never the address that the log is read from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from basetracker.emulators.faults import Fault
from basetracker.emulators.tasks.run import Run

from .shop import SECONDS, Json, Ran, Shop, tracker


def building(run: Run) -> Json:
    """The status while this run goes on."""
    base = "sha256:" + "b" * 64
    build = {"runID": run.id, "state": "Running", "baseDigest": base, "attempt": 1}
    item = {"name": "checkout", "state": "Building", "reason": "BuildRunning", "message": "a run goes on"}
    return {"observedGeneration": 1, "downstream": [{**item, "build": build}]}


@pytest.fixture
async def started(shop: Shop) -> Run:
    """A run that the tracker's status names; it is queued."""
    await shop.cluster.apply(tracker())
    run = shop.cloud.tasks.schedule(shop.task, {})
    await shop.set_status(building(run))
    return run


async def finish(shop: Shop) -> None:
    shop.clock.advance(60)
    await shop.cloud.settle()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  the emulators' records raise no event
            await asyncio.sleep(0.02)


def written(run: Run) -> str:
    """The log as the storage keeps it."""
    return "".join(f"{line}\r\n" for line in run.log)


def keeps_secrets(shop: Shop, *ran: Ran) -> bool:
    links = shop.cloud.faults.asked("listLogSasUrl")
    text = "".join(one.out + one.err for one in ran)
    return (
        bool(links)
        and "sig=" not in text
        and "blob.core.windows.net/contoso" not in text
        and not shop.cloud.faults.leaks
    )


async def test_the_run_of_the_status(shop: Shop, started: Run) -> None:
    await finish(shop)
    ran = await shop.run("logs", "python", "checkout")
    assert (ran.code, ran.err, ran.out) == (0, "", written(started))
    assert len(started.log) > 3
    assert keeps_secrets(shop, ran)
    assert [one for one in shop.writes() if "listLogSasUrl" not in one] == []


async def test_another_run(shop: Shop, started: Run) -> None:
    await finish(shop)
    other = shop.cloud.tasks.schedule(shop.task, {})
    await finish(shop)
    ran = await shop.run("logs", "python", "checkout", "--run", other.id, "-n", "shop")
    assert (ran.code, ran.out) == (0, written(other))
    assert written(other) != written(started)


async def test_following_until_the_run_has_ended(shop: Shop, started: Run) -> None:
    shop.clock.advance(12)  # it runs
    await shop.cloud.settle()
    early = written(started)
    child = asyncio.ensure_future(shop.run("logs", "python", "checkout", "--follow"))
    await until(lambda: bool(shop.cloud.faults.asked("GET .*rawtext.log")))
    assert started.live
    await finish(shop)
    ran = await child
    assert (ran.code, ran.out) == (0, written(started))
    assert len(written(started)) > len(early)
    assert keeps_secrets(shop, ran)


async def test_a_run_without_a_log(shop: Shop, started: Run) -> None:
    started.log.clear()
    ran = await shop.run("logs", "python", "checkout")
    assert (ran.code, ran.out) == (1, "")
    assert f"run {started.id} has no log yet" in ran.err


async def test_what_isnt_there(shop: Shop) -> None:
    await shop.cluster.apply(tracker())
    said = {
        ("logs", "absent", "checkout"): "there is no BaseImageTracker shop/absent",
        ("logs", "python", "cart"): "shop/python has no downstream image cart; it has checkout",
        ("logs", "python", "checkout"): "the status of shop/python names no run of checkout; name one with --run",
        ("logs", "python", "checkout", "--run", "cf99"): "registry contoso has no run cf99",
        ("logs", "python", "checkout", "--run", "../tasks"): "'../tasks' is not the id of a run",
    }
    for arguments, words in said.items():
        ran = await shop.run(*arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert words in ran.err
    plain = tracker("plain")
    del plain["spec"]["downstream"][0]["build"]
    await shop.cluster.apply(plain)
    ran = await shop.run("logs", "plain", "checkout")
    assert (ran.code, "no build is declared for checkout" in ran.err) == (2, True)


async def test_without_credentials_or_rights(shop: Shop, started: Run) -> None:
    await finish(shop)
    nobody = await shop.run("logs", "python", "checkout", azure=False)
    assert (nobody.code, "set AZURE_TENANT_ID" in nobody.err) == (2, True)
    shop.person.unassign("basetracker operator")
    ran = await shop.run("logs", "python", "checkout")
    assert (ran.code, ran.out) == (2, "")
    assert started.id not in ran.out


@pytest.mark.parametrize(("status", "words"), [(403, "refuses to show it"), (500, "can't answer now")])
async def test_a_storage_that_fails(shop: Shop, started: Run, status: int, words: str) -> None:
    await finish(shop)
    shop.cloud.faults.add(Fault(match="GET .*rawtext.log", n=None, status=status))
    ran = await shop.run("logs", "python", "checkout")
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert keeps_secrets(shop, ran)
