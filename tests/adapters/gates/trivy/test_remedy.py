"""Whether a rebuild on the same base would mend what the real Trivy finds."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from basetracker.api.gate_trivy import TrivyGate
from basetracker.api.names import GateVerdict
from basetracker.api.severity import Severity
from basetracker.core.findings import Finding, FindingKind, Scan, remedy_of, weigh
from basetracker.emulators.images import Image, Index
from basetracker.oci.platform import Platform
from basetracker.oci.refs import ImageRef
from basetracker.ports import Answer, Credential

from .conftest import World, question
from .scanned import CLEAN, alpine, both

BAD = {"openssl": "3.5.0-r0"}
MENDED = {"openssl": "3.5.1-r0"}
TODAY = date(2026, 11, 22)
NO_FIX = {"busybox": "1.37.0-r1"}


async def judged(world: World, real: str, image: Image | Index, base: Image | Index | ImageRef) -> Answer:
    """What the gate says of the image when it is asked about the base as well."""
    named = base if isinstance(base, ImageRef) else world.push("base/alpine:3", base)
    asked = question(world.push("shop/a:1", image))
    return await world.judge(real).judge(replace(asked, base=named), None)


async def test_a_base_without_it_and_a_fix_for_all_may_mend_it(world: World, real: str) -> None:
    for base in (alpine(), alpine(MENDED)):
        answer = await judged(world, real, alpine(BAD, python={"jinja2": "3.1.0"}), base)
        assert (answer.verdict, answer.mendable) == (GateVerdict.FAIL, True)
        assert answer.message.endswith("a rebuild may mend it: the base has none of it, and there is a fix for all")
        assert answer.again is None


async def test_what_the_base_has_as_well_comes_again(world: World, real: str) -> None:
    answer = await judged(world, real, alpine({**BAD, **CLEAN}), alpine(BAD))
    assert (answer.verdict, answer.mendable) == (GateVerdict.FAIL, False)
    assert "the base has CVE-2026-1 in openssl 3.5.0-r0 (fixed in 3.5.1-r0) as well" in answer.message


async def test_what_one_platform_of_the_base_has_is_enough(world: World, real: str) -> None:
    answer = await judged(world, real, both(BAD, BAD), both(MENDED, BAD))
    assert answer.mendable is False


async def test_what_has_no_fix_stays(world: World, real: str) -> None:
    answer = await judged(world, real, alpine({**BAD, **NO_FIX}), alpine())
    assert answer.mendable is False
    assert "nothing newer mends CVE-2026-3 in busybox" in answer.message


async def test_a_base_in_which_nothing_could_be_looked_at_says_nothing(world: World, real: str) -> None:
    answer = await judged(world, real, alpine(BAD), alpine(release="9.9.1"))
    assert (answer.mendable, answer.message.rpartition("; ")[2]) == (False, "what a rebuild would mend can't be told")


async def test_a_base_that_is_gone_mends_nothing(world: World, real: str) -> None:
    there = world.push("base/alpine:3", alpine())
    gone = world.push("shop/b:1", alpine({"x": "1"}))
    assert gone.digest is not None
    answer = await judged(world, real, alpine(BAD), there.repository.at(gone.digest))
    assert answer.mendable is False


async def test_a_pass_asks_nothing_of_the_base(world: World, real: str) -> None:
    base = world.push("base/alpine:3", alpine())
    answer = await judged(world, real, alpine(), base)
    assert (answer.verdict, answer.mendable) == (GateVerdict.PASS, None)
    assert not [line for line in world.asked("base/alpine") if line.startswith(("GET", "HEAD"))]


async def test_a_base_that_can_t_be_read_leaves_the_failure_and_is_asked_for_again(world: World, real: str) -> None:
    base = world.push("base/alpine:3", alpine())
    asked = replace(question(world.push("shop/a:1", alpine(BAD))), base=base, base_pull_secret="hub")
    answer = await world.judge(real).judge(asked, None)
    assert (answer.verdict, answer.mendable, answer.again) == (GateVerdict.FAIL, None, timedelta(minutes=10))
    assert answer.message.endswith("whether a rebuild would mend it isn't known: there is no Secret hub")
    assert world.logins.asked == [("shop", "hub", "contoso.azurecr.io")]
    world.contoso.access.add_account("robot", "a-password-of-robots")
    world.logins.known = Credential(username="robot", password="a-password-of-robots")
    answer = await world.judge(real).judge(asked, None)
    assert answer.mendable is True


def test_only_vulnerabilities_are_mended_by_a_rebuild() -> None:
    platform = Platform(os="linux", architecture="amd64")
    for kind in FindingKind:
        found = Finding(id="X-1", package="a", fixed="2", severity=Severity.CRITICAL, kind=kind)
        weighed = weigh(TrivyGate(), [Scan(platform=platform, findings=frozenset({found}))], [], TODAY)
        remedy = remedy_of(weighed, [Scan(platform=platform)])
        assert remedy.mends is (kind is FindingKind.VULNERABILITY)
