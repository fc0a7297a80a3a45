"""Reading a run's log."""

from __future__ import annotations

import re

import pytest

from basetracker.emulators.faults import Fault
from basetracker.emulators.tasks.definition import Behaviour
from basetracker.errors import BasetrackerError, DeniedError, InvalidError, MissingError, UnavailableError

from .conftest import World, request

BLOB = r"acrtaskprodweu001\.blob\.core\.windows\.net"


async def started(world: World) -> str:
    return (await world.builder.start(request(world))).run_id


async def read(world: World, run_id: str, *, follow: bool = False) -> str:
    return b"".join([piece async for piece in world.builder.log(world.ref, run_id, follow=follow)]).decode()


def written(world: World) -> str:
    return "".join(f"{line}\r\n" for line in world.cloud.tasks.runs[-1].log)


async def test_the_log_of_an_ended_run_is_read_whole(world: World) -> None:
    run_id = await started(world)
    await world.pass_time(60)
    log = await read(world, run_id)
    assert log == written(world)
    assert f"Run ID: {run_id} was successful" in log


async def test_what_there_is_of_a_live_run_is_read(world: World) -> None:
    run_id = await started(world)
    assert await read(world, run_id) == ""
    await world.pass_time(11)
    assert "Setting up Docker configuration" in await read(world, run_id)


async def test_a_log_is_followed_to_its_end_and_no_piece_comes_twice(world: World) -> None:
    run_id = await started(world)
    assert await read(world, run_id, follow=True) == written(world)
    assert not world.cloud.tasks.runs[-1].live


async def test_a_log_without_an_end_is_left_when_its_run_has_ended(world: World) -> None:
    run_id = await started(world)
    await world.pass_time(60)
    world.cloud.faults.add(Fault(match=f"HEAD {BLOB}", n=None, status=200))
    assert await read(world, run_id, follow=True) == written(world)


async def test_a_log_larger_than_a_piece_comes_in_pieces(world: World) -> None:
    run_id = await started(world)
    await world.pass_time(60)
    world.cloud.tasks.runs[-1].log.extend(["x" * 998] * 2_500)
    pieces = [piece async for piece in world.builder.log(world.ref, run_id)]
    assert len(pieces) == 3
    assert b"".join(pieces).decode() == written(world)


async def test_a_storage_that_knows_no_ranges_is_read(world: World) -> None:
    run_id = await started(world)
    await world.pass_time(60)
    world.cloud.faults.add(Fault(match=f"GET {BLOB}", n=None, status=200, body="the log"))
    assert await read(world, run_id) == "the log"


async def test_the_link_is_shown_to_the_storage_without_authorization_and_to_nobody_else(world: World) -> None:
    run_id = await started(world)
    await world.pass_time(60)
    await read(world, run_id, follow=True)
    at_storage = world.cloud.faults.asked(BLOB)
    assert at_storage
    assert {one.authorization for one in at_storage} == {None}
    assert not world.cloud.faults.leaks


async def test_a_link_that_has_come_to_its_end_is_renewed(world: World) -> None:
    run_id = await started(world)
    world.cloud.faults.add(Fault(match=f"GET {BLOB}", skip=3, status=403))
    assert await read(world, run_id, follow=True) == written(world)
    assert len(world.asked("POST .*/listLogSasUrl")) == 2
    assert len([one for one in world.asked(BLOB) if one.endswith("403")]) == 1


async def test_arm_is_asked_less_often_than_the_storage_while_a_log_is_followed(world: World) -> None:
    world.task.behaviour = Behaviour(run_seconds=600)
    run_id = await started(world)
    assert await read(world, run_id, follow=True) == written(world)
    assert len(world.asked("GET management.azure.com .*/runs/")) <= 65


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(match=f"GET {BLOB}", n=None, status=403), DeniedError),
        (Fault(match=f"GET {BLOB}", n=None, status=500), UnavailableError),
        (Fault(match=f"GET {BLOB}", n=None, status=409), UnavailableError),
        (Fault(match=f"GET {BLOB}", drop=True, n=None), UnavailableError),
        (Fault(match="/listLogSasUrl", status=403), DeniedError),
        (Fault(match="/listLogSasUrl", status=200, body='{"logLink": "http://x/log?sig=s"}'), InvalidError),
        (Fault(match="/listLogSasUrl", status=200, body="{}"), InvalidError),
    ],
)
async def test_errors_never_show_the_link(world: World, fault: Fault, error: type[BasetrackerError]) -> None:
    run_id = await started(world)
    await world.pass_time(60)
    world.cloud.faults.add(fault)
    with pytest.raises(error) as caught:
        await read(world, run_id)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert not re.search(r"sig=|sv=", f"{chain!s} {chain!r}")
        chain = chain.__cause__


async def test_the_log_of_no_run_is_missing(world: World) -> None:
    with pytest.raises(MissingError, match="log of run cf99 of registry contoso"):
        await read(world, "cf99")
