"""Pauses that a registry asks for, the client's own limits, and failures on the wire."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from aiohttp import web
from yarl import URL

from basetracker.adapters.host_limits import HostLimits
from basetracker.adapters.http import Http, retry_after
from basetracker.emulators import samples
from basetracker.emulators.faults import Fault
from basetracker.errors import DeniedError, InvalidError, UnavailableError
from basetracker.oci.refs import parse_image

from .conftest import REPOSITORY, Time, World

CONTOSO = f"contoso.azurecr.io/{REPOSITORY}:3.12"
OPEN = f"open.example.com/{REPOSITORY}:3.12"
NOW = datetime(2026, 3, 24, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "60"}, 60),
        (429, {}, 30),
        (429, {"Retry-After": "soon"}, 30),
        (429, {"Retry-After": "86400"}, 3600),
        (503, {"Retry-After": "45"}, 45),
    ],
)
async def test_nothing_is_sent_to_a_host_until_its_pause_is_over(
    world: World, status: int, headers: dict[str, str], seconds: float
) -> None:
    pushed = world.push(CONTOSO, samples.python())
    other = world.push("contoso.azurecr.io/base/other:1", samples.python("3.13.0"))
    reader = world.reader()
    await reader.digest(pushed.tagged, None)
    await reader.digest(other.tagged, None)
    world.cloud.faults.add(Fault(match="HEAD contoso.azurecr.io", status=status, headers=headers))
    with pytest.raises(UnavailableError) as caught:
        await reader.digest(pushed.tagged, None)
    assert caught.value.retry_after == seconds
    before = len(world.cloud.faults.log)
    for advance in (0, seconds - 1):
        world.time.manual.advance(advance)
        for image in (pushed, other):  # the pause is the host's, not the tag's
            with pytest.raises(UnavailableError, match=r"contoso\.azurecr\.io has asked for a pause") as held:
                await reader.digest(image.tagged, None)
            assert held.value.retry_after == seconds - advance
            with pytest.raises(UnavailableError):
                await reader.image(image, None)
    assert len(world.cloud.faults.log) == before
    assert world.outcomes["contoso.azurecr.io held"] == 8
    world.time.manual.advance(1)
    assert await reader.digest(pushed.tagged, None) == pushed.digest
    assert len(world.cloud.faults.log) == before + 1


async def test_the_pause_of_one_host_holds_no_other(world: World) -> None:
    world.cloud.add_open_registry("open.example.com")
    pushed, other = world.push(CONTOSO, samples.python()), world.push(OPEN, samples.python())
    reader = world.reader()
    world.cloud.faults.add(Fault(match="contoso.azurecr.io /v2", status=429, headers={"Retry-After": "60"}))
    with pytest.raises(UnavailableError):
        await reader.digest(pushed.tagged, None)
    assert await reader.digest(other.tagged, None) == other.digest


async def test_a_real_budget_that_is_used_up_holds_the_registry(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    world.contoso.limits.allow("read", 5, 5)
    reader = world.reader()
    for _ in range(5):
        assert await reader.digest(pushed.tagged, None) == pushed.digest
    for _ in range(20):
        with pytest.raises(UnavailableError) as caught:
            await reader.digest(pushed.tagged, None)
        assert caught.value.retry_after == 60
    assert len([one for one in world.asked("HEAD") if one.endswith("429")]) == 1
    world.time.manual.advance(60)
    assert await reader.digest(pushed.tagged, None) == pushed.digest


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 1),
        ("12", 12),
        (" 12 ", 12),
        ("99999", 3600),
        (format_datetime(datetime(2026, 3, 24, 8, 2, tzinfo=UTC), usegmt=True), 120),
        (format_datetime(datetime(2026, 3, 24, 7, 0, tzinfo=UTC), usegmt=True), 1),
        ("Tue, 24 Mar 2026 08:02:00", 120),
        ("-5", None),
        ("1.5", None),
        ("tomorrow", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


async def test_the_rate_is_kept_over_a_burst() -> None:
    time = Time()
    limits = HostLimits(time, rate=10, burst=20)
    for _ in range(120):
        async with limits.turn("a"):
            pass
    assert time.slept == pytest.approx(10.0)
    async with limits.turn("b"):  # another host has its own
        pass
    assert time.slept == pytest.approx(10.0)
    time.manual.advance(3600)  # a pause fills the bucket, and no more than that
    for _ in range(21):
        async with limits.turn("a"):
            pass
    assert time.slept == pytest.approx(10.1)


async def test_no_more_than_the_bound_is_under_way_at_once() -> None:
    limits = HostLimits(Time(), rate=1_000, burst=1_000, concurrency=3)
    inside = most = 0

    async def ask() -> None:
        nonlocal inside, most
        async with limits.turn("a"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(ask() for _ in range(30)))
    assert (inside, most) == (0, 3)


async def test_those_who_wait_are_refused_when_a_pause_begins() -> None:
    limits = HostLimits(Time(), rate=1_000, burst=1_000, concurrency=1)
    sent = 0

    async def ask(*, holds: bool) -> None:
        nonlocal sent
        async with limits.turn("a"):
            sent += 1
            await asyncio.sleep(0)
            if holds:
                limits.hold("a", 60)

    answers = await asyncio.gather(ask(holds=True), *(ask(holds=False) for _ in range(9)), return_exceptions=True)
    assert sent == 1
    assert sum(isinstance(one, UnavailableError) for one in answers) == 9


async def test_hosts_nobody_asks_any_more_are_forgotten() -> None:
    limits = HostLimits(Time())
    limits.hold("held", 3600)
    for number in range(3_000):
        async with limits.turn(f"host-{number}"):
            pass
    assert limits.held("held") > 0
    assert len(limits._hosts) <= 1_001


# -- failures on the wire -------------------------------------------------------------------------------------


async def test_a_certificate_that_is_not_trusted_is_named_with_the_way_out(world: World) -> None:
    world.cloud.add_open_registry("open.example.com")
    pushed = world.push(OPEN, samples.python())
    with pytest.raises(UnavailableError, match=r"certificate of open.example.com is not trusted.*BASETRACKER_CA_FILE"):
        await world.reader(azure=False, http=world.http(trusting=False)).digest(pushed.tagged, None)
    assert not world.asked()


async def test_a_name_that_cannot_be_resolved_is_named(world: World) -> None:
    async with Http(world.time, proxies={}) as http:
        with pytest.raises(UnavailableError, match=r"the host name registry\.invalid can't be resolved"):
            await world.reader(azure=False, http=http).digest(parse_image("registry.invalid/a:1"), None)


async def test_a_proxy_that_refuses_is_named(world: World) -> None:
    with pytest.raises(UnavailableError, match=r"the proxy refuses to connect to elsewhere.example.com \(status 502\)"):
        await world.reader().digest(parse_image("elsewhere.example.com/a:1"), None)
    assert list(world.cloud.proxy.refused) == ["CONNECT elsewhere.example.com:443"]


async def test_a_proxy_that_is_away_is_named(world: World) -> None:
    async with Http(world.time, proxies={"https": "http://127.0.0.1:9"}) as http:
        with pytest.raises(UnavailableError, match=r"the proxy for a\.example\.com can't be reached"):
            await world.reader(azure=False, http=http).digest(parse_image("a.example.com/a:1"), None)


async def test_hosts_of_no_proxy_are_reached_directly(world: World) -> None:
    proxies = {"https": world.cloud.proxy_url, "no": "localhost,.internal"}
    async with Http(world.time, proxies=proxies) as http:
        assert http.proxy_for("localhost:5000") is None
        assert http.proxy_for("registry.internal") is None
        assert http.proxy_for("contoso.azurecr.io") == world.cloud.proxy_url


async def test_nothing_is_sent_once_it_is_closed(world: World) -> None:
    """What was begun before the end, by Azure's clients too, meets an outage and not a mistake."""
    world.cloud.add_open_registry("open.example.com")
    pushed, ours = world.push(OPEN, samples.python()), world.push(CONTOSO, samples.python())
    http = world.http()
    anonymous, with_identity = world.reader(azure=False, http=http), world.reader(http=http)
    await http.close()
    for reader, image in ((anonymous, pushed.tagged), (with_identity, ours.tagged)):
        with pytest.raises(UnavailableError, match="nothing is asked any more"):
            await reader.digest(image, None)
    assert not world.asked()


async def test_a_cut_connection_is_unavailable(world: World) -> None:
    world.cloud.add_open_registry("open.example.com")
    pushed = world.push(OPEN, samples.python())
    reader = world.reader()
    world.cloud.faults.add(Fault(match="HEAD", n=None, drop=True))
    with pytest.raises(UnavailableError, match=r"the connection to open\.example\.com broke"):
        await reader.digest(pushed.tagged, None)
    world.cloud.faults.clear()
    assert await reader.digest(pushed.tagged, None) == pushed.digest


async def test_a_host_that_is_silent_is_unavailable(world: World) -> None:
    world.cloud.add_open_registry("open.example.com")
    pushed = world.push(OPEN, samples.python())
    world.cloud.faults.add(Fault(match="HEAD", delay=5))
    with pytest.raises(UnavailableError, match=r"open\.example\.com didn't answer in time"):
        await world.reader(http=world.http(timeout=0.3)).digest(pushed.tagged, None)


async def test_only_https_is_asked(world: World) -> None:
    with pytest.raises(InvalidError, match="only https"):
        await world.http().request("GET", URL("http://open.example.com/v2/"))


# -- redirects ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("location", ["http://open.example.com/x", "ftp://a/b", "https://u:p@open.example.com/"])
async def test_a_redirect_to_anything_but_https_is_not_followed(world: World, location: str) -> None:
    world.cloud.add_open_registry("open.example.com")
    pushed = world.push(OPEN, samples.python())
    world.cloud.faults.add(Fault(match="GET .*/blobs/", status=307, headers={"Location": location}))
    with pytest.raises(InvalidError, match="isn't an https address"):
        await world.reader().image(pushed, None)


async def test_redirects_without_end_are_given_up(world: World) -> None:
    world.cloud.add_open_registry("open.example.com")
    pushed = world.push(OPEN, samples.python())
    world.cloud.faults.add(Fault(match="GET .*/blobs/", n=None, status=302, headers={"Location": "?again"}))
    with pytest.raises(InvalidError, match="redirects more than 5 times"):
        await world.reader().image(pushed, None)
    assert len(world.asked("GET .*/blobs/")) == 6


async def test_a_storage_that_refuses_is_named_and_its_link_is_not(world: World) -> None:
    world.contoso.blobs.redirect_to = world.cloud.blob_store
    pushed = world.push(CONTOSO, samples.python())
    world.cloud.faults.add(Fault(match="blob.core.windows.net", n=None, status=403))
    with pytest.raises(DeniedError, match=r"redirects to weumanaged17\.blob\.\S+, which refuses") as caught:
        await world.reader().image(pushed, None)
    assert "sig=" not in str(caught.value)
    assert len(world.asked("blob.core.windows.net")) == 1


async def test_a_redirected_manifest_is_followed(world: World) -> None:
    """As registry.k8s.io does: it leads to a registry near by."""
    world.cloud.add_open_registry("open.example.com")
    pushed = world.push(OPEN, samples.python())

    async def lead(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"https://open.example.com{request.path}"})

    world.cloud.add_host("front.example.com", [web.get("/v2/{rest:.*}", lead)])
    found = await world.reader().digest(parse_image(f"front.example.com/{REPOSITORY}:3.12"), None)
    assert found == pushed.digest


async def test_no_error_shows_a_secret(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    reader = world.reader()
    for fault in (
        Fault(match="/oauth2/exchange", status=400),
        Fault(match="/oauth2/token", drop=True),
        Fault(match="/v2/", status=418),
    ):
        world.cloud.faults.add(fault)
        with pytest.raises((InvalidError, UnavailableError)) as caught:
            await reader.digest(pushed.tagged, None)
        chain: BaseException | None = caught.value
        while chain is not None:
            assert not re.search(r"eyJ|[?&](sig|access_token|scope)=", f"{chain!s} {chain!r}")
            chain = chain.__cause__
