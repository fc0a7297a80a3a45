"""The database: served by a registry, one for all scans, taken into use whole, asked anew; and a server that has its own."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from basetracker.api.names import GateVerdict
from basetracker.emulators.images import Image, digest_of, encode
from basetracker.errors import InvalidError, UnavailableError

from .conftest import DATABASE, World, question
from .scanned import HOLES, alpine
from .stand_in import StandIn, report, until
from .vulnerability_database import MADE, Hole, artifact

BAD = {"openssl": "3.5.0-r0"}
LATER = MADE + timedelta(hours=1)


async def test_one_download_serves_all_scans_and_each_image_is_read_once(world: World, real: str) -> None:
    judge = world.judge(real)
    assert judge.edition() == ""
    images = [world.push(f"shop/a:{number}", alpine({"musl": f"1.{number}"})) for number in range(3)]
    answers = await asyncio.gather(*(judge.judge(question(image), None) for image in images * 2))
    assert {answer.verdict for answer in answers} == {GateVerdict.PASS}
    assert judge.edition() == f"2 of {MADE.isoformat()}"
    assert len(world.asked("GET contoso.azurecr.io /v2/own/trivy-db/manifests/2")) == 1
    layers = len(world.asked("/v2/shop/a/blobs/"))
    await judge.judge(question(images[0], severity=["LOW"]), None)
    assert len(world.asked("/v2/shop/a/blobs/")) == layers, "another gate's question is answered by the same scan"


async def test_a_new_edition_is_taken_into_use_and_asked_about_what_was_clean(world: World, real: str) -> None:
    judge = world.judge(real)
    image = world.push("shop/a:1", alpine())
    assert (await judge.judge(question(image), None)).verdict is GateVerdict.PASS
    before = judge.edition()
    world.cloud.push(DATABASE, artifact([*HOLES, Hole(id="CVE-2026-9", package="musl", fixed="1.2.6-r0")], LATER))
    world.time.tick.set()
    await until(lambda: judge.edition() != before)
    answer = await judge.judge(question(image), None)
    assert (answer.verdict, "CVE-2026-9" in answer.message) == (GateVerdict.FAIL, True)
    assert len(list(world.cache.glob("db-*"))) == 2, "scans that still run keep theirs"


async def test_what_cant_be_downloaded_anew_serves_on_but_not_for_ever(world: World, real: str) -> None:
    judge = world.judge(real)
    image = world.push("shop/a:1", alpine())
    assert (await judge.judge(question(image), None)).verdict is GateVerdict.PASS
    world.contoso.storage.repositories.pop("own/trivy-db")
    world.time.tick.set()
    await until(lambda: len(world.time.slept) == 2)
    assert world.time.slept == [6 * 3600.0, 600.0]
    world.time.today = datetime.now(UTC) + timedelta(days=6)
    assert (await judge.judge(question(image), None)).verdict is GateVerdict.PASS
    world.time.today = datetime.now(UTC) + timedelta(days=8)
    other = world.push("shop/a:2", alpine({"musl": "2"}))
    with pytest.raises(UnavailableError, match="older than 7 days"):
        await judge.judge(question(other), None)
    with pytest.raises(UnavailableError, match="older than 7 days"):
        await judge.judge(question(image), None)


async def test_a_copy_that_stands_still_is_no_database_until_it_moves_again(world: World, real: str) -> None:
    old = datetime.now(UTC) - timedelta(days=8)
    world.cloud.push(DATABASE, artifact(HOLES, old))
    image = world.push("shop/a:1", alpine())
    for _ in range(2):  # the second process finds it on the disk, downloaded just now
        judge = world.judge(real)
        with pytest.raises(UnavailableError, match="older than 7 days"):
            await judge.judge(question(image), None)
    await until(lambda: world.time.slept == [600.0, 600.0])
    world.cloud.push(DATABASE, artifact(HOLES))
    world.time.tick.set()
    await until(lambda: judge.edition() == f"2 of {MADE.isoformat()}")
    assert (await judge.judge(question(image), None)).verdict is GateVerdict.PASS
    await until(lambda: world.time.slept == [600.0, 600.0, 6 * 3600.0, 6 * 3600.0])


async def test_no_database_is_no_answer(world: World, real: str) -> None:
    image = world.push("shop/a:1", alpine())
    judge = world.judge(real, db_repository="contoso.azurecr.io/own/nothing:2")
    with pytest.raises(UnavailableError, match=r"can't be downloaded from contoso\.azurecr\.io/own/nothing:2"):
        await judge.judge(question(image), None)
    assert list(world.cache.iterdir()) == []
    with pytest.raises(InvalidError, match="is not where a database of Trivy can be"):
        await world.judge(real, db_repository="--config=/etc/passwd").judge(question(image), None)


async def test_what_is_downloaded_as_a_database_has_to_be_one(world: World, tmp_path: Path) -> None:
    tool = StandIn(tmp_path / "tool")
    (tool.folder / "edition").write_text("yesterday")
    with pytest.raises(UnavailableError, match="is none"):
        await world.judge(tool.path).judge(question(world.push("shop/a:1", alpine())), None)


async def test_the_next_process_goes_on_with_a_fresh_one(world: World, tmp_path: Path) -> None:
    image = world.push("shop/a:1", alpine())
    tool = StandIn(tmp_path / "tool")
    tool.reports(report(image, alpine().diff_ids))
    for _ in range(2):
        assert (await world.judge(tool.path).judge(question(image), None)).verdict is GateVerdict.PASS
    assert len(tool.downloads) == 1
    world.time.today = datetime.now(UTC) + timedelta(hours=7)
    assert (await world.judge(tool.path).judge(question(image), None)).verdict is GateVerdict.PASS
    assert len(tool.downloads) == 2, "an old one is downloaded anew"


async def test_a_server_can_have_the_database(world: World, real: str, server: str) -> None:
    judge = world.judge(real, server=server, environ={"TRIVY_TOKEN": "server-token"})
    clean, bad = world.push("shop/a:1", alpine()), world.push("shop/a:2", alpine(BAD))
    assert (await judge.judge(question(clean), None)).verdict is GateVerdict.PASS
    assert (await judge.judge(question(bad), None)).verdict is GateVerdict.FAIL
    assert judge.edition() == f"2 of {MADE.isoformat()}"
    assert world.asked("own/trivy-db") == []
    refused = world.judge(real, server=server, environ={"TRIVY_TOKEN": "another"})
    with pytest.raises(UnavailableError, match="TRIVY_TOKEN"):
        await refused.judge(question(clean), None)


def _claiming(victim: Image, harmless: Image) -> Image:
    """The layers of `harmless`, under the names of `victim`'s in a configuration that isn't true."""
    config = encode(victim.configuration | {"author": "mallory"})
    manifest = json.loads(harmless.manifest)
    manifest["config"] |= {"digest": digest_of(config), "size": len(config)}
    return Image(encode(manifest), harmless.media_type, config, harmless.layers)


async def test_a_server_takes_no_image_for_another_that_claims_its_layers(world: World, real: str, server: str) -> None:
    judge = world.judge(real, server=server, environ={"TRIVY_TOKEN": "server-token"})
    victim = alpine(BAD)
    claims = world.push("mallory/x:1", _claiming(victim, alpine()))
    assert (await judge.judge(question(claims), None)).verdict is GateVerdict.PASS, "the lie is told and remembered"
    answer = await judge.judge(question(world.push("shop/a:1", victim)), None)
    assert (answer.verdict, "CVE-2026-1" in answer.message) == (GateVerdict.FAIL, True)


async def test_a_servers_database_that_stands_still_is_none(world: World, real: str, server: str) -> None:
    image = world.push("shop/a:1", alpine())
    judge = world.judge(real, server=server, environ={"TRIVY_TOKEN": "server-token"})
    world.time.today = datetime.now(UTC) + timedelta(days=6)
    assert (await judge.judge(question(image), None)).verdict is GateVerdict.PASS
    world.time.today = datetime.now(UTC) + timedelta(days=8)
    with pytest.raises(UnavailableError, match="server's vulnerability database is older than 7 days"):
        await judge.judge(question(image), None)


async def test_a_server_that_isnt_there_is_no_answer(world: World, real: str) -> None:
    image = world.push("shop/a:1", alpine())
    with pytest.raises(UnavailableError, match="BASETRACKER_TRIVY_SERVER"):
        await world.judge(real, server="http://127.0.0.1:9").judge(question(image), None)


@pytest.mark.parametrize("address", ["trivy:4954", "ftp://trivy", "http://", "http://user:pass@trivy", "--token=x"])
def test_an_address_that_is_none_is_refused(world: World, address: str) -> None:
    with pytest.raises(InvalidError, match="BASETRACKER_TRIVY_SERVER"):
        world.judge("trivy", server=address)


NEAR = (
    "localhost",
    "127.0.0.1",
    "127.9.9.9",
    "[::1]",
    "trivy",
    "trivy.scan.svc",
    "trivy.scan.svc.cluster.local",
    "TRIVY",
)
FAR = (
    *("trivy.example.com", "trivy.scan", "10.0.0.7", "[fd00::7]", "[::]", "0.0.0.0", "134744072", "0x08080808", "8.8"),
    *(
        "svc.example.com",
        "trivy.svc.example.com",
        "trivysvc.com",
        "localhost.example.com",
        "svc.cluster.local.com",
        "com.",
    ),
)


@pytest.mark.parametrize("host", NEAR)
def test_a_near_server_may_do_without_tls(world: World, host: str) -> None:
    assert world.trivy("trivy", server=f"http://{host}:4954").edition == ""


@pytest.mark.parametrize("host", FAR)
def test_what_the_token_goes_to_from_afar_needs_tls(world: World, host: str) -> None:
    with pytest.raises(InvalidError, match="without TLS only on this machine and as a Service of this cluster"):
        world.trivy("trivy", server=f"http://{host}:4954")
    world.trivy("trivy", server=f"https://{host}:4954")
