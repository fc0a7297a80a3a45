"""What dead processes have left in the cache is removed by the next one; what living ones need stays."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

import pytest

from basetracker.adapters.gates.trivy.folders import Folder, make, sweep, take
from basetracker.adapters.gates.trivy.program import Program
from basetracker.api.names import GateVerdict
from basetracker.errors import UnavailableError

from .conftest import World, question
from .scanned import alpine
from .stand_in import StandIn, report, until

_OTHER = """
import asyncio, os, sys
from pathlib import Path
from basetracker.adapters.gates.trivy.program import Program
program = Program(sys.argv[1], Path(sys.argv[2]), dict(os.environ))
asyncio.run(program.run("image", "--", "x", seconds=600))
"""
_HANGS = "(here / f'pid-{os.getpid()}').write_text(''); time.sleep(600)"


async def _other(tool: StandIn, cache: Path) -> tuple[Process, int]:
    """Another process whose Trivy hangs, and the number of that Trivy."""
    before = set(tool.folder.glob("pid-*"))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _OTHER, tool.path, str(cache))
    await until(lambda: set(tool.folder.glob("pid-*")) > before)
    (new,) = set(tool.folder.glob("pid-*")) - before
    return process, int(new.name.removeprefix("pid-"))


async def test_the_workplace_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    hanging, quick, cache = StandIn(tmp_path / "hangs", _HANGS), StandIn(tmp_path / "tool"), tmp_path / "cache"
    dead, its_trivy = await _other(hanging, cache)
    (left,) = cache.glob("run-*")
    living, other_trivy = await _other(hanging, cache)
    (used,) = set(cache.glob("run-*")) - {left}
    try:
        dead.kill()
        await dead.wait()
        await Program(quick.path, cache, dict(os.environ)).run("image", "--", "x", seconds=10)
        assert set(cache.glob("run-*")) == {left, used}, "its Trivy still works there"
        os.kill(its_trivy, signal.SIGKILL)
        await until(lambda: (sweep(cache, "run-"), not left.exists())[1])
        assert set(cache.glob("run-*")) == {used}
    finally:
        living.kill()
        await living.wait()
        os.kill(other_trivy, signal.SIGKILL)


async def test_the_next_process_takes_the_newest_database_and_removes_what_nobody_needs(
    world: World, tmp_path: Path
) -> None:
    image = world.push("shop/a:1", alpine())
    tool = StandIn(tmp_path / "tool")
    tool.reports(report(image, alpine().diff_ids))
    first = world.trivy(tool.path)
    await first.scan(image, None, frozenset(question(image).gate.trivy.scanners), question(image).gate.trivy.timeout)  # type: ignore[union-attr]  # it has one
    (newest,) = world.cache.glob("db-*")
    half, needed, unfinished = (make(world.cache, prefix) for prefix in ("db-", "db-", "new-"))
    shutil.copytree(
        newest / "db", unfinished.path / "db"
    )  # its Java database is still to come, and its process was killed
    for one in (half, unfinished):
        one.leave()
    assert (await world.judge(tool.path).judge(question(image), None)).verdict is GateVerdict.PASS
    assert set(world.cache.glob("db-*")) == {newest, needed.path}
    assert list(world.cache.glob("new-*")) == []
    assert len(tool.downloads) == 1


def test_a_folder_is_somebodys_until_all_have_left_it(tmp_path: Path) -> None:
    one = make(tmp_path / "cache", "db-")
    other = take(one.path)
    assert isinstance(other, Folder)
    for folder in (one, other):
        sweep(tmp_path / "cache", "db-")
        assert one.path.exists()
        folder.leave()
    sweep(tmp_path / "cache", "db-", keep=one.path)
    assert one.path.exists()
    sweep(tmp_path / "cache", "db-")
    assert not one.path.exists()
    assert take(one.path) is None


def test_what_another_still_needs_is_left_and_not_removed(tmp_path: Path) -> None:
    one = make(tmp_path, "db-")
    other = take(one.path)
    assert other is not None
    one.remove()
    assert one.path.exists()
    other.remove()
    assert not one.path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_one_that_is_being_removed_is_nobodys(tmp_path: Path) -> None:
    import fcntl

    folder = make(tmp_path, "db-")
    folder.leave()
    removing = os.open(folder.path, os.O_RDONLY)
    fcntl.flock(removing, fcntl.LOCK_EX)
    assert take(folder.path) is None
    os.close(removing)


async def test_a_database_without_the_java_one_that_is_asked_for_is_not_whole(world: World, tmp_path: Path) -> None:
    tool = StandIn(tmp_path / "tool")
    image = world.push("shop/a:1", alpine())
    tool.reports(report(image, alpine().diff_ids))
    assert (await world.judge(tool.path).judge(question(image), None)).verdict is GateVerdict.PASS
    java = world.judge(tool.path, java_db_repository="contoso.azurecr.io/own/trivy-java-db:1")
    with pytest.raises(UnavailableError, match="is none"):
        await java.judge(question(image), None)
    assert len(tool.downloads) >= 2
