"""All that can go wrong with Trivy, and that only its clear word about this digest ever is a Pass."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from basetracker.adapters.gates.trivy.program import Program
from basetracker.api.names import GateVerdict
from basetracker.errors import BasetrackerError, DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import ImageRef
from basetracker.ports import Answer

from .conftest import World, question
from .scanned import alpine
from .stand_in import StandIn, report, until

IMAGE = alpine()
HOLE = {
    "VulnerabilityID": "CVE-1",
    "PkgName": "musl",
    "InstalledVersion": "1",
    "FixedVersion": "2",
    "Severity": "HIGH",
}


def _image(world: World) -> ImageRef:
    return world.push("shop/a:1", IMAGE)


def _report(image: ImageRef, **changes: Any) -> dict[str, Any]:
    return report(image, IMAGE.diff_ids, **changes)


async def _asked(world: World, tool: StandIn, image: ImageRef, **gate: Any) -> Answer:
    return await world.judge(tool.path).judge(question(image, **gate), None)


async def test_a_clean_report_about_the_digest_passes(world: World, tmp_path: Path) -> None:
    tool, image = StandIn(tmp_path / "tool"), _image(world)
    tool.reports(_report(image))
    assert (await _asked(world, tool, image)).verdict is GateVerdict.PASS


async def test_a_hole_fails(world: World, tmp_path: Path) -> None:
    tool, image = StandIn(tmp_path / "tool"), _image(world)
    document = _report(image)
    document["Results"][0]["Vulnerabilities"] = [HOLE]
    tool.reports(document)
    assert (await _asked(world, tool, image)).verdict is GateVerdict.FAIL


ENDS: dict[str, tuple[str, type[BasetrackerError], str]] = {
    "it crashes": ("print(report); sys.exit(1)", UnavailableError, "exit code 1"),
    "it is killed": (
        "print(report, flush=True); os.kill(os.getpid(), signal.SIGKILL)",
        UnavailableError,
        "memory ran out",
    ),
    "it says nothing": ("sys.exit(0)", InvalidError, "it is no JSON"),
    "it says too much": ("print(report); print(' ' * (65 * 1024 * 1024))", InvalidError, "more than 64 MiB"),
    "half a report": ("print(report[:len(report) // 2])", InvalidError, "it is no JSON"),
    "two reports": ("print(report); print(report)", InvalidError, "it is no JSON"),
    "the registry refuses it": (
        "print('remote error: GET https://x: UNAUTHORIZED: authentication required', file=sys.stderr); sys.exit(1)",
        DeniedError,
        "doesn't let Trivy read shop/a",
    ),
    "its own time limit": (
        "print('FATAL context deadline exceeded', file=sys.stderr); sys.exit(1)",
        UnavailableError,
        "longer than it may",
    ),
    "an unknown authority": (
        "print('tls: x509: certificate signed by unknown authority', file=sys.stderr); sys.exit(1)",
        UnavailableError,
        "BASETRACKER_CA_FILE",
    ),
}


@pytest.mark.parametrize("what", ENDS)
async def test_a_run_without_a_whole_report_is_no_answer(world: World, tmp_path: Path, what: str) -> None:
    body, error, words = ENDS[what]
    tool, image = StandIn(tmp_path / "tool", body), _image(world)
    tool.reports(_report(image))
    with pytest.raises(error, match=words):
        await _asked(world, tool, image)


async def test_without_trivy_there_is_no_answer(world: World, tmp_path: Path) -> None:
    image = _image(world)
    with pytest.raises(MissingError, match="BASETRACKER_TRIVY"):
        await world.judge(str(tmp_path / "nowhere")).judge(question(image), None)


OTHERS: dict[str, dict[str, Any]] = {
    "another digest": {"Metadata": {"RepoDigests": ["contoso.azurecr.io/shop/a@sha256:" + "0" * 64]}},
    "another one besides": {
        "Metadata": {"RepoDigests": [f"contoso.azurecr.io/shop/a@{IMAGE.digest}", "x@sha256:" + "0" * 64]}
    },
    "no digest": {"Metadata": {"RepoDigests": []}},
    "a digest that is none": {"Metadata": {"RepoDigests": ["contoso.azurecr.io/shop/a@latest"]}},
    "other layers": {"Metadata": {"DiffIDs": ["sha256:" + "0" * 64]}},
    "no layers": {"Metadata": {"DiffIDs": None}},
    "fewer layers": {"Metadata": {"DiffIDs": IMAGE.diff_ids[:-1]}},
    "a folder instead of an image": {"ArtifactType": "filesystem"},
}


@pytest.mark.parametrize("what", OTHERS)
async def test_the_right_answer_for_another_image_is_none(world: World, tmp_path: Path, what: str) -> None:
    tool, image = StandIn(tmp_path / "tool"), _image(world)
    tool.reports(_report(image, **OTHERS[what]))
    with pytest.raises(InvalidError, match=r"is about (another image|other layers)"):
        await _asked(world, tool, image)


GARBAGE: dict[str, Any] = {
    "a list": [],
    "a word": "clean",
    "not JSON": "<html>",
    "another schema": {"SchemaVersion": 3},
    "results that are none": {"Results": "none"},
    "results that are numbers": {"Results": [1, 2]},
    "holes that are none": {"Results": [{"Vulnerabilities": {"a": 1}}]},
    "a hole without a name": {"Results": [{"Vulnerabilities": [HOLE | {"VulnerabilityID": ""}]}]},
    "a hole in nothing": {"Results": [{"Vulnerabilities": [{"VulnerabilityID": "CVE-1"}]}]},
    "a severity of another scale": {"Results": [{"Vulnerabilities": [HOLE | {"Severity": "SEVERE"}]}]},
    "a severity that is a number": {"Results": [{"Vulnerabilities": [HOLE | {"Severity": 9}]}]},
    "deep nesting": "[" * 100_000,
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_is_no_answer(world: World, tmp_path: Path, what: str) -> None:
    tool, image = StandIn(tmp_path / "tool"), _image(world)
    document = GARBAGE[what]
    tool.reports(_report(image, **document) if isinstance(document, dict) else document)
    with pytest.raises(InvalidError, match="can't be read"):
        await _asked(world, tool, image)


async def test_one_that_hangs_is_killed_with_its_children(world: World, tmp_path: Path) -> None:
    body = (
        "child = subprocess.Popen(['sleep', '600']); (here / 'pids').write_text(f'{os.getpid()} {child.pid}'); "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    )
    tool, image = StandIn(tmp_path / "tool", body), _image(world)
    judge = world.judge(tool.path)
    asking = asyncio.create_task(judge.judge(question(image), None))
    await until(lambda: (tool.folder / "pids").exists() and (tool.folder / "pids").read_text().count(" ") == 1)
    pids = [int(word) for word in (tool.folder / "pids").read_text().split()]
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    await until(lambda: not any(_lives(pid) for pid in pids))


async def test_a_scan_ends_with_the_last_who_waits_for_it_and_leaves_its_turn(world: World, tmp_path: Path) -> None:
    hangs = world.push("shop/a:1", alpine({"musl": "1"}))
    body = (
        "(here / f'began-{len(list(here.glob(\"began-*\")))}').write_text(str(os.getpid()))\n"
        f"while words[-1].endswith('{hangs.digest}') and not (here / 'go').exists(): time.sleep(0.05)\n"
        "print(report)"
    )
    tool, image = StandIn(tmp_path / "tool", body), _image(world)
    tool.reports(_report(image))
    judge = world.judge(tool.path, concurrency=1)
    first, last = (asyncio.create_task(judge.judge(question(hangs), None)) for _ in range(2))
    await until(lambda: (tool.folder / "began-0").exists() and bool((tool.folder / "began-0").read_text()))
    pid = int((tool.folder / "began-0").read_text())
    first.cancel()
    await asyncio.wait([first])
    other = asyncio.create_task(judge.judge(question(image), None))
    await asyncio.wait([other], timeout=0.5)
    assert (_lives(pid), other.done(), len(tool.scans)) == (True, False, 1), "one still waits for it"
    last.cancel()
    assert (await other).verdict is GateVerdict.PASS
    assert not _lives(pid)
    (tool.folder / "go").write_text("")
    with pytest.raises(InvalidError, match="another image"):
        await judge.judge(question(hangs), None)
    assert len(tool.scans) == 3, "who comes later starts anew"


async def test_a_timeout_kills_it(world: World, tmp_path: Path) -> None:
    tool = StandIn(tmp_path / "tool", "(here / 'pid').write_text(str(os.getpid())); time.sleep(600)")
    program = Program(tool.path, tmp_path / "cache", dict(os.environ))
    with pytest.raises(UnavailableError, match="longer than it may"):
        await program.run("image", "--", "x", seconds=2)
    assert not _lives(int((tool.folder / "pid").read_text()))
    assert list((tmp_path / "cache").iterdir()) == [], "its workplace is gone"


async def test_a_folder_that_cant_be_written_is_told(world: World, tmp_path: Path) -> None:
    tool, image = StandIn(tmp_path / "tool"), _image(world)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidError, match="BASETRACKER_TRIVY_CACHE"):
        await world.judge(tool.path, cache=tmp_path / "file" / "below").judge(question(image), None)


async def test_the_secret_is_in_its_environment_and_nowhere_else(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = (
        "found = [str(p) for p in pathlib.Path(os.environ['TMPDIR']).parent.parent.rglob('*') "
        "if p.is_file() and os.environ['TRIVY_PASSWORD'].encode() in p.read_bytes()]\n"
        "(here / 'found').write_text(json.dumps(found)); print(os.environ['TRIVY_PASSWORD'], file=sys.stderr); sys.exit(3)"
    )
    tool, image = StandIn(tmp_path / "tool", body), _image(world)
    with pytest.raises(UnavailableError) as raised:
        await _asked(world, tool, image)
    (call,) = tool.scans
    secret = call["env"]["TRIVY_PASSWORD"]
    assert call["env"]["TRIVY_USERNAME"] == "00000000-0000-0000-0000-000000000000"
    assert world.contoso.access._live(secret, "refresh_token") is not None, "of this registry alone"
    assert json.loads((tool.folder / "found").read_text()) == []
    assert secret not in " ".join(call["words"]) + str(raised.value) + caplog.text
    assert not [name for name in call["env"] if name.startswith(("AZURE", "BASETRACKER"))]
    assert call["words"][-2:] == ["--", f"{image.repository}@{image.digest}"]
    home = Path(call["cwd"]).parent
    assert home.is_relative_to(world.cache)
    assert not home.exists()


async def test_only_so_many_run_at_once_and_each_digest_once(world: World, tmp_path: Path) -> None:
    body = (
        "name = here / f'running-{os.getpid()}'; name.write_text(''); time.sleep(0.3); "
        "(here / f'most-{len(list(here.glob(\"running-*\")))}').write_text(''); name.unlink(); sys.exit(4)"
    )
    tool = StandIn(tmp_path / "tool", body)
    judge = world.judge(tool.path, concurrency=2)
    images = [world.push("shop/a:1", alpine({"musl": f"1.{number}"})) for number in range(5)]
    asked = [judge.judge(question(image), None) for image in images * 2]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {UnavailableError}
    assert len(tool.scans) == 5
    assert len(tool.downloads) == 1, "one database for all scans"
    assert {int(path.name.partition("-")[2]) for path in tool.folder.glob("most-*")} <= {1, 2}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
