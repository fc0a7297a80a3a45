"""An image can't make Trivy take the Pod's memory, its disk or its time: what meets a bound is no answer, and said so."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from basetracker.adapters.gates.trivy.bounds import Bounds
from basetracker.adapters.gates.trivy.launch import OPEN_FILES
from basetracker.adapters.gates.trivy.program import Program
from basetracker.api.names import GateVerdict
from basetracker.emulators.images import Image, encode
from basetracker.errors import InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import ImageRef

from .conftest import World, question
from .scanned import HOLES, alpine
from .stand_in import StandIn, report
from .vulnerability_database import write

MIB = 1 << 20
SMALL = Bounds(memory=192 * MIB)
IMAGE = alpine()
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are Linux's")


def _image(world: World, tool: StandIn) -> ImageRef:
    image = world.push("shop/a:1", IMAGE)
    tool.reports(report(image, IMAGE.diff_ids))
    return image


async def test_an_image_that_takes_too_much_memory_is_told_from_others(
    world: World, real: str, caplog: pytest.LogCaptureFixture
) -> None:
    judge = world.judge(real, bounds=SMALL)
    image = world.push("shop/a:1", alpine({f"p{number}": "1" for number in range(60_000)}))
    with pytest.raises(InvalidError, match=r"more memory .* BASETRACKER_TRIVY_MEMORY, and the container's limit"):
        await judge.judge(question(image), None)
    (told,) = [one.getMessage() for one in caplog.records if "ended with exit code" in one.getMessage()]
    assert "fatal error: runtime: " in told
    assert (await judge.judge(question(world.push("shop/b:1", IMAGE)), None)).verdict is GateVerdict.PASS


async def test_a_database_larger_than_the_memory_takes_none_of_it(world: World, real: str) -> None:
    folder = world.cache / "db-large" / "db"
    write(folder, HOLES)
    os.truncate(folder / "trivy.db", 1 << 30)
    details = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(details | {"DownloadedAt": datetime.now(UTC).isoformat()}))
    judge = world.judge(real, bounds=SMALL)
    assert (await judge.judge(question(world.push("shop/a:1", IMAGE)), None)).verdict is GateVerdict.PASS
    assert world.asked("own/trivy-db") == [], "it is the one that was there"


async def test_the_bounds_hold_before_the_program_begins(world: World, tmp_path: Path) -> None:
    body = (
        "import resource\n"
        "kinds = ('DATA', 'FSIZE', 'CORE', 'NOFILE')\n"
        "(here / 'bounds').write_text(json.dumps({one: resource.getrlimit(getattr(resource, 'RLIMIT_' + one)) for one in kinds}))\n"
        "print(report)"
    )
    tool = StandIn(tmp_path / "tool", body)
    image = _image(world, tool)
    judge = world.judge(tool.path, bounds=Bounds(memory=300 * MIB, room=7 * MIB))
    assert (await judge.judge(question(image), None)).verdict is GateVerdict.PASS
    found: dict[str, Any] = json.loads((tool.folder / "bounds").read_text())
    assert found == {
        "DATA": [300 * MIB] * 2,
        "FSIZE": [-1, -1],
        "CORE": [0, 0],
        "NOFILE": [OPEN_FILES] * 2,
    }
    (scan,) = tool.scans
    assert scan["env"]["GOMEMLIMIT"] == str(240 * MIB)


FILLS = {
    "one large file": "with open('large', 'wb') as file: file.write(bytes(3 << 20)); time.sleep(5)",
    "many small files": "import itertools\nfor number in itertools.count():\n  pathlib.Path(os.environ['TMPDIR'], str(number)).write_bytes(bytes(4096)); time.sleep(0.0005)",
}


@pytest.mark.parametrize("what", FILLS)
async def test_one_that_fills_the_disk_is_ended(world: World, tmp_path: Path, what: str) -> None:
    tool = StandIn(tmp_path / "tool", FILLS[what] + "\nprint(report)")
    judge = world.judge(tool.path, bounds=Bounds(room=2 * MIB))
    with pytest.raises(InvalidError, match="BASETRACKER_TRIVY_ROOM"):
        await judge.judge(question(_image(world, tool)), None)
    assert list(world.cache.glob("run-*")) == []


async def test_what_is_written_and_removed_at_once_fails_nothing(world: World, tmp_path: Path) -> None:
    """Trivy leaves out what it can't write, such as an archive within an archive, and tells nobody."""
    body = "with open('inner', 'wb') as file: file.write(bytes(6 << 20))\nos.unlink('inner')\nprint(report)"
    tool = StandIn(tmp_path / "tool", body)
    image = _image(world, tool)
    answer = await world.judge(tool.path, bounds=Bounds(room=2 * MIB)).judge(question(image), None)
    assert answer.verdict is GateVerdict.PASS


async def test_where_less_is_free_than_a_scan_may_take_none_begins(world: World, tmp_path: Path) -> None:
    tool = StandIn(tmp_path / "tool")
    judge = world.judge(tool.path, bounds=Bounds(room=1 << 60))
    with pytest.raises(UnavailableError, match="less free room than a scan may take"):
        await judge.judge(question(_image(world, tool)), None)
    assert tool.scans == []


async def test_an_image_that_is_too_large_is_not_downloaded(world: World, tmp_path: Path) -> None:
    tool = StandIn(tmp_path / "tool")
    image, size = _image(world, tool), sum(len(layer.blob) for layer in IMAGE.layers)
    refusing, taking = (world.judge(tool.path, bounds=Bounds(image=most)) for most in (size - 1, size))
    with pytest.raises(InvalidError, match="BASETRACKER_TRIVY_IMAGE_SIZE"):
        await refusing.judge(question(image), None)
    assert tool.calls == []
    assert (await taking.judge(question(image), None)).verdict is GateVerdict.PASS


async def test_layers_that_are_larger_than_their_manifest_says_are_not_read(world: World, real: str) -> None:
    manifest = json.loads(IMAGE.manifest)
    manifest["layers"] = [one | {"size": 1} for one in manifest["layers"]]
    image = world.push("shop/a:1", Image(encode(manifest), IMAGE.media_type, IMAGE.config, IMAGE.layers))
    with pytest.raises(UnavailableError, match="exit code 1"):
        await world.judge(real).judge(question(image), None)


async def test_what_cant_be_begun_is_told(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "trivy"
    broken.write_bytes(b"\x7fELF" + bytes(100))
    broken.chmod(0o755)
    program = Program(str(broken), world.cache, dict(os.environ))
    with pytest.raises(MissingError, match=r"can't be started; see BASETRACKER_TRIVY"):
        await program.run("image", seconds=10)
