"""A release that Trivy has never heard of isn't clean by a server's word either, which keeps quiet about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from basetracker.adapters.gates.trivy.program import Program
from basetracker.adapters.gates.trivy.releases import Releases
from basetracker.adapters.gates.trivy.report import System
from basetracker.api.names import GateVerdict
from basetracker.errors import InvalidError

from .conftest import World, question
from .scanned import alpine, installed, layered
from .stand_in import StandIn, report

KNOWN = (
    *(
        "alpine 3.22.1",
        "alpine edge",
        "debian 12.11",
        "ubuntu 24.04",
        "redhat 9.4",
        "centos 7.9.2009",
        "alma 9.5",
        "rocky 9.5",
    ),
    *(
        "oracle 9.5",
        "amazon 2023 (Amazon Linux)",
        "photon 5.0",
        "opensuse-leap 15.6",
        "sles 15.6",
        "opensuse-tumbleweed 20260101",
    ),
    *(
        "azurelinux 3.0",
        "cbl-mariner 2.0",
        "wolfi 20230201",
        "chainguard 20230214",
        "bottlerocket 1.20.0",
        "echo 1",
        "minimos 1",
    ),
)
UNKNOWN = (
    "alpine 9.9.1",
    "debian 99",
    "ubuntu 33.04",
    "redhat 12.1",
    "rocky 99.1",
    "opensuse-leap 99.9",
    "photon 99.0",
)


@pytest.mark.parametrize(("systems", "known"), [(KNOWN, True), (UNKNOWN, False)])
async def test_trivy_tells_which_releases_it_knows(
    world: World, real: str, systems: tuple[str, ...], known: bool
) -> None:
    releases = Releases(Program(real, world.cache, dict(os.environ)), world.time)
    found = {one: await releases.knows(System(*one.split(" ", 1))) for one in systems}
    assert found == dict.fromkeys(systems, known)


BLIND = {
    "an unknown release": (alpine({"openssl": "3.5.0-r0"}, release="9.9.1"), "knows nothing of alpine 9.9"),
    "a release without updates": (alpine(release="3.10.1"), "EOSL in alpine 3.10.1"),
    "nothing at all": (layered({"/bin/x": "x"}), "neither an operating system"),
    "no list of packages": (
        layered({"/etc/os-release": "ID=alpine\nVERSION_ID=3.22.1\n", "/etc/alpine-release": "3.22.1\n"}),
        "no list of installed packages",
    ),
    "packages of nobody": (layered({"/lib/apk/db/installed": installed({"openssl": "3.5.0-r0"})}), "doesn't know"),
    "an unsupported system": (
        layered({"/etc/os-release": "ID=fedora\nVERSION_ID=41\n", "/lib/apk/db/installed": installed({"musl": "1"})}),
        "fedora 41",
    ),
}


async def test_where_a_server_could_look_at_nothing_it_is_not_believed(world: World, real: str, server: str) -> None:
    judge = world.judge(real, server=server, environ={"TRIVY_TOKEN": "server-token"})
    for number, (what, (image, words)) in enumerate(BLIND.items()):
        answer = await judge.judge(question(world.push(f"shop/a:{number}", image)), None)
        assert (answer.verdict, words in answer.message) == (GateVerdict.FAIL, True), (what, answer)


SAYS = {
    "nothing": "sys.exit(0)",
    "another system": "print(report.replace('alpine', 'debian'))",
    "that it failed": "print(report); sys.exit(1)",
    "nothing of packages": "print(report.replace('os-pkgs', 'lang-pkgs'))",
    "no JSON": "print('[' * 100_000)",
}


@pytest.mark.parametrize("what", SAYS)
async def test_a_program_that_doesnt_say_is_no_answer(world: World, tmp_path: Path, what: str) -> None:
    tool = StandIn(tmp_path / "tool", f"if words[0] == 'sbom':\n  {SAYS[what]}\nelse:\n  print(report)")
    made = alpine()
    image = world.push("shop/a:1", made)
    tool.reports(report(image, made.diff_ids))
    judge = world.judge(tool.path, server="http://localhost:9")
    with pytest.raises(InvalidError, match=r"whether Trivy knows the release alpine 3\.22\.1 can't be told"):
        await judge.judge(question(image), None)


async def test_each_release_is_asked_for_once(world: World, tmp_path: Path) -> None:
    tool = StandIn(tmp_path / "tool")
    judge = world.judge(tool.path, server="http://localhost:9")
    for number in range(3):
        made = alpine({"musl": f"1.{number}"})
        image = world.push(f"shop/a:{number}", made)
        tool.reports(report(image, made.diff_ids))
        assert (await judge.judge(question(image), None)).verdict is GateVerdict.PASS
    assert len([call for call in tool.calls if call["words"][0] == "sbom"]) == 1
