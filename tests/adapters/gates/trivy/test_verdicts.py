"""The real Trivy with a database of planted holes: what it finds, and what the gate makes of it."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, date, datetime, timedelta

import pytest

from basetracker.adapters.registries.oci import OciRegistry
from basetracker.api.names import GateVerdict
from basetracker.emulators.images import Image, Step, build_on, index, scratch
from basetracker.errors import DeniedError, InvalidError
from basetracker.ports import Credential

from .conftest import Ask, World, question
from .scanned import CLEAN, alpine, both, installed, layered

BAD = {"openssl": "3.5.0-r0"}
PASS, FAIL = GateVerdict.PASS, GateVerdict.FAIL


async def test_an_image_without_holes_passes(world: World, ask: Ask) -> None:
    image = world.push("shop/a:1", alpine())
    answer = await ask(image)
    assert (answer.digest, answer.verdict, answer.reason) == (image.digest, PASS, "NoFindings")
    assert answer.message == "no CRITICAL or HIGH that counts; found: nothing"


async def test_holes_of_system_and_application_fail_it_and_are_named(world: World, ask: Ask) -> None:
    packages = {**BAD, "busybox": "1.37.0-r1", "zlib": "1.3.1-r0"}
    image = world.push("shop/a:1", alpine(packages, python={"jinja2": "3.1.0"}))
    answer = await ask(image)
    assert (answer.digest, answer.verdict, answer.reason) == (image.digest, FAIL, "FindingsPresent")
    assert answer.message == (
        "1 CRITICAL, 2 HIGH: CVE-2026-1 in openssl 3.5.0-r0 (fixed in 3.5.1-r0), "
        "CVE-2026-2 in jinja2 3.1.0 (fixed in 3.2.0), CVE-2026-3 in busybox 1.37.0-r1 (no fix yet)"
    )
    assert (await ask(image)).message == answer.message


async def test_the_worst_platform_decides(world: World, ask: Ask) -> None:
    assert (await ask(world.push("shop/a:1", both(CLEAN, BAD)))).verdict is FAIL
    assert (await ask(world.push("shop/a:2", both(BAD, CLEAN)))).verdict is FAIL
    assert (await ask(world.push("shop/a:3", both(CLEAN, CLEAN)))).verdict is PASS


async def test_what_counts_is_chosen(world: World, ask: Ask) -> None:
    image = world.push("shop/a:1", alpine({"busybox": "1.37.0-r1", "zlib": "1.3.1-r0"}))
    assert (await ask(image, severity=["HIGH"])).verdict is FAIL
    assert (await ask(image, severity=["CRITICAL"])).verdict is PASS
    assert (await ask(image, severity=["MEDIUM"])).verdict is FAIL
    assert (await ask(image, ignoreUnfixed=True)).verdict is PASS
    assert (await ask(image, ignoreUnfixed=True, severity=["MEDIUM"])).verdict is FAIL


async def test_a_waiver_holds_up_to_its_last_day(world: World, ask: Ask) -> None:
    image = world.push("shop/a:1", alpine(BAD))
    world.time.today = datetime.now(UTC)
    today = world.time.today.date()
    yesterday = today - timedelta(days=1)

    def waived(until: date) -> list[dict[str, str]]:
        return [{"id": "CVE-2026-1", "until": until.isoformat(), "reason": "not reachable"}]

    last = await ask(image, waivers=waived(today))
    assert (last.verdict, last.reason) == (PASS, "FindingsWaived")
    assert f"the waiver of CVE-2026-1 ends on {today}" in last.message
    after = await ask(image, waivers=waived(yesterday))
    assert (after.verdict, after.reason) == (FAIL, "WaiverExpired")
    assert f"the waiver of CVE-2026-1 ended on {yesterday}" in after.message


async def test_equal_counts_hide_no_new_hole(world: World, ask: Ask) -> None:
    runs = world.push("shop/a:1", alpine({"openssl": "3.5.0-r0"}))
    same = world.push("shop/a:2", alpine({"openssl": "3.4.9-r0"}))
    other = world.push("shop/a:3", alpine({"curl": "8.14.0-r0"}))
    assert (await ask(same, runs, compare="NoWorse")).reason == "NoWorse"
    answer = await ask(other, runs, compare="NoWorse")
    assert (answer.verdict, answer.reason) == (FAIL, "FindingsPresent")
    assert answer.message.startswith("1 CRITICAL that what runs doesn't have: CVE-2026-5 in curl")
    assert (await ask(same, runs)).verdict is FAIL, "without compare all count"


async def test_what_only_one_of_the_running_images_has_is_new(world: World, ask: Ask) -> None:
    bad = world.push("shop/a:1", alpine(BAD))
    clean = world.push("shop/a:2", alpine())
    image = world.push("shop/a:3", alpine({**BAD, **CLEAN}))
    assert (await ask(image, bad, clean, compare="NoWorse")).verdict is FAIL
    assert (await ask(image, bad, compare="NoWorse")).verdict is PASS


async def test_with_nothing_to_compare_with_all_counts(world: World, ask: Ask) -> None:
    image = world.push("shop/a:1", alpine(BAD))
    gone = image.repository.at(world.push("shop/b:1", alpine({"x": "1"})).digest)  # type: ignore[arg-type]  # it has one
    assert (await ask(image, compare="NoWorse")).verdict is FAIL
    assert (await ask(image, gone, compare="NoWorse")).verdict is FAIL


NOTHING = {
    "no system and no packages": layered({"/bin/x": "x"}),
    "a system that Trivy doesn't know": layered({"/etc/os-release": "ID=horoscope\nVERSION_ID=3\n", "/bin/x": "x"}),
    "packages of a system that isn't named": layered({"/lib/apk/db/installed": installed(BAD)}),
    "a list of packages that was removed": layered(
        {"/etc/os-release": "ID=alpine\nVERSION_ID=3.22.1\n", "/etc/alpine-release": "3.22.1\n"}
    ),
    "a release that Trivy has never heard of": alpine(BAD, release="9.9.1"),
}


@pytest.mark.parametrize("what", NOTHING)
async def test_where_nothing_could_be_looked_at_nothing_passes(world: World, ask: Ask, what: str) -> None:
    answer = await ask(world.push("shop/a:1", NOTHING[what]))
    assert (answer.verdict, answer.reason) == (FAIL, "NothingScanned"), answer


async def test_one_blind_platform_is_enough(world: World, ask: Ask) -> None:
    image = index([alpine(), layered({"/bin/x": "x"}, platform="linux/arm64")])
    answer = await ask(world.push("shop/a:1", image))
    assert (answer.verdict, answer.reason) == (FAIL, "NothingScanned")
    assert "linux/arm64" in answer.message


async def test_a_release_without_updates_is_not_clean(world: World, ask: Ask) -> None:
    image = world.push("shop/a:1", alpine(release="3.10.1"))
    assert (await ask(image)).verdict is FAIL
    assert (await ask(image, severity=["LOW"], ignoreUnfixed=True)).verdict is FAIL
    waived = await ask(image, waivers=[{"id": "EOSL", "until": "2999-12-31", "reason": "replaced next year"}])
    assert waived.verdict is PASS


async def test_java_archives_without_their_database_are_no_pass(world: World, ask: Ask) -> None:
    image = world.push("shop/a:1", alpine(files={"/app/a.jar": b"PK\x05\x06" + bytes(18)}))
    with pytest.raises(InvalidError, match="BASETRACKER_TRIVY_JAVA_DB_REPOSITORY"):
        await ask(image)


KEY = "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789"[:36]


async def test_secrets_settings_and_licences(world: World, ask: Ask) -> None:
    scanners = ["vuln", "secret", "misconfig", "license"]
    root = build_on(scratch(), Step(line="COPY rootfs / # buildkit", files=_files(alpine())), Step(line='CMD ["sh"]'))
    leaky = alpine(files={"/app/settings.py": f"TOKEN = '{KEY}'\n"})
    found = await ask(world.push("shop/a:1", leaky), scanners=scanners)
    assert (found.verdict, "github-pat in /app/settings.py" in found.message) == (FAIL, True)
    assert KEY not in found.message
    as_root = await ask(world.push("shop/a:2", root), scanners=scanners)
    assert "DS-0002 in the image's configuration" in as_root.message
    fine = world.push("shop/a:3", alpine())
    assert (await ask(fine, scanners=scanners)).verdict is PASS
    licensed = await ask(fine, scanners=["license"], severity=["LOW"])
    assert licensed.message == "1 LOW: MIT in musl"
    waiver = {"id": "DS-0002", "until": "2999-01-01", "reason": "base only"}
    assert (await ask(world.push("shop/a:2", root), scanners=["misconfig"], waivers=[waiver])).verdict is PASS


async def test_an_image_that_tells_no_dockerfile_has_no_settings_to_pass(world: World, ask: Ask) -> None:
    image = build_on(scratch(), Step(line="", files=_files(alpine())))
    answer = await ask(world.push("shop/a:1", image), scanners=["misconfig"])
    assert (answer.verdict, answer.reason) == (FAIL, "NothingScanned")


def _files(image: Image) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(image.layers[0].blob), mode="r:gz") as tar:
        return {"/" + one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]  # files only


async def test_an_image_that_is_gone_is_waited_for(world: World, ask: Ask) -> None:
    there = world.push("shop/a:1", alpine())
    gone = world.push("shop/b:1", alpine(BAD)).digest
    assert gone is not None
    answer = await ask(there.repository.at(gone))
    assert (answer.digest, answer.verdict, answer.reason) == (gone, GateVerdict.PENDING, "ImageMissing")


async def test_the_pull_secrets_user_reads_it(world: World, ask: Ask) -> None:
    world.contoso.access.add_account("robot", "a-password-of-robots")
    image = world.push("shop/a:1", alpine())
    robot = Credential(username="robot", password="a-password-of-robots")
    assert (await ask(image, credential=robot)).verdict is PASS
    other = world.push("shop/a:2", alpine({"x": "1"}))
    with pytest.raises(DeniedError):
        await ask(other, credential=Credential(username="robot", password="wrong"))


@pytest.mark.parametrize("password", ["a,b", "a b", 'a"b'])
async def test_a_password_that_trivy_would_take_apart_is_not_given(world: World, ask: Ask, password: str) -> None:
    world.contoso.access.add_account("robot", password)
    image = world.push("shop/a:1", alpine())
    with pytest.raises(InvalidError, match="Trivy can't take the credential"):
        await ask(image, credential=Credential(username="robot", password=password))


async def test_a_registry_open_to_all_is_read_by_nobody_in_particular(world: World, real: str) -> None:
    world.contoso.access.anonymous_pull = True
    world.registry = OciRegistry(world.http, world.time)
    answer = await world.judge(real).judge(question(world.push("shop/a:1", alpine())), None)
    assert answer.verdict is PASS
