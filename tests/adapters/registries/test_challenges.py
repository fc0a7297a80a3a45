"""What a registry may ask for, and to whom tokens and passwords are shown."""

from __future__ import annotations

import pytest
from aiohttp import web

from basetracker.adapters.registries.auth import Challenge, parse_challenges
from basetracker.emulators import samples
from basetracker.emulators.faults import Fault
from basetracker.errors import DeniedError, InvalidError
from basetracker.oci.refs import parse_image

from .conftest import REPOSITORY, USER, World, add_kind

CONTOSO = f"contoso.azurecr.io/{REPOSITORY}:3.12"
OTHER = f"registry.example.com/{REPOSITORY}:3.12"


async def test_a_hostile_realm_gets_nothing_from_an_azure_reader(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    world.cloud.add_host("evil.example.com", [])
    hostile = {"WWW-Authenticate": 'Bearer realm="https://evil.example.com/token",service="contoso.azurecr.io"'}
    world.cloud.faults.add(Fault(match="contoso.azurecr.io /v2/", n=None, status=401, headers=hostile))
    for credential in (None, USER):
        with pytest.raises(DeniedError):
            await world.reader().digest(pushed.tagged, credential)
    assert not world.asked("evil.example.com")
    assert not world.cloud.faults.leaks


@pytest.mark.parametrize("realm", ["http://auth.example.com/token", "https://user:pw@auth.example.com/token", "/token"])
async def test_a_realm_that_is_not_https_gets_nothing(world: World, realm: str) -> None:
    add_kind(world, "bearer-user")
    pushed = world.push(OTHER, samples.python())
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}",service="registry.example.com"'}
    world.cloud.faults.add(Fault(match="HEAD registry.example.com", n=None, status=401, headers=challenge))
    with pytest.raises(DeniedError, match="realm must be an https address"):
        await world.reader().digest(pushed.tagged, USER)
    assert not world.asked("auth.example.com")


async def test_a_registry_that_names_another_realm_does_not_get_the_old_token(world: World) -> None:
    """A registry is believed about its own token service; what another service gave stays with that one."""
    add_kind(world, "bearer-user")
    pushed = world.push(OTHER, samples.python())
    seen: list[str] = []

    async def token(request: web.Request) -> web.Response:
        seen.append(request.query["scope"])
        return web.json_response({"token": "made-up"})

    world.cloud.add_host("second.example.com", [web.get("/token", token)])
    reader = world.reader()
    assert await reader.digest(pushed.tagged, USER) == pushed.digest
    challenge = {"WWW-Authenticate": 'Bearer realm="https://second.example.com/token",scope="repository:x:push,delete"'}
    world.cloud.faults.add(Fault(match="HEAD registry.example.com", status=401, headers=challenge))
    with pytest.raises(DeniedError):
        await reader.digest(pushed.tagged, USER)
    assert seen == [f"repository:{REPOSITORY}:pull"]  # never the wider scope that the challenge names


async def test_entra_and_refresh_tokens_stay_where_they_belong(world: World) -> None:
    """An Azure identity is there, and still no other registry sees anything of it."""
    for name in ("bearer-user", "basic", "open"):
        kind = add_kind(world, name)
        pushed = world.push(f"{kind.host}/{REPOSITORY}:3.12", samples.python_index())
        reader = world.reader()
        assert await reader.digest(pushed.tagged, kind.credential) == pushed.digest
        assert await reader.image(pushed, kind.credential) is not None
    assert not world.asked("login.microsoftonline.com")
    assert not world.cloud.faults.leaks


async def test_redirected_blobs_are_fetched_without_authorization(world: World) -> None:
    world.contoso.blobs.redirect_to = world.cloud.blob_store
    pushed = world.push(CONTOSO, samples.python_index())
    assert await world.reader().image(pushed, None) is not None
    at_storage = world.cloud.faults.asked("blob.core.windows.net")
    assert len(at_storage) == 2
    assert [one.authorization for one in at_storage] == [None, None]
    assert not world.cloud.faults.leaks


@pytest.mark.parametrize("name", ["acr-entra", "bearer-user", "basic"])
async def test_the_challenge_of_a_host_that_is_redirected_to_is_not_answered(world: World, name: str) -> None:
    kind = add_kind(world, name)
    pushed = world.push(f"{kind.host}/{REPOSITORY}:3.12", samples.python())

    async def lure(request: web.Request) -> web.Response:
        challenge = 'Basic realm="x", Bearer realm="https://evil.example.com/token",service="evil"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    world.cloud.add_host("evil.example.com", [web.get("/blob", lure)])
    world.cloud.faults.add(
        Fault(match="GET .*/blobs/", n=None, status=307, headers={"Location": "https://evil.example.com/blob"})
    )
    reader = world.reader()
    await reader.digest(pushed.tagged, kind.credential)
    with pytest.raises(DeniedError, match=r"redirects to evil\.example\.com, which refuses"):
        await reader.image(pushed, kind.credential)
    assert world.asked("evil.example.com") == ["GET evil.example.com /blob -> 401"]
    assert world.cloud.faults.asked("evil.example.com")[0].authorization is None
    assert not world.cloud.faults.leaks


async def test_a_host_that_looks_like_azure_s_is_not(world: World) -> None:
    world.cloud.add_token_registry("azurecr.io.example.com", "auth.example.com", {}).access.anonymous_pull = True
    pushed = world.push(f"azurecr.io.example.com/{REPOSITORY}:1", samples.python())
    assert await world.reader().digest(pushed.tagged, None) == pushed.digest
    assert not world.asked("login.microsoftonline.com")


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"token": 5}', '{"token": "a b"}', '{"token": "a\\r\\nX-Other: b"}', "<html>"]
)
async def test_an_answer_without_a_token_is_refused(world: World, body: str) -> None:
    add_kind(world, "bearer-user")
    pushed = world.push(OTHER, samples.python())
    world.cloud.faults.add(Fault(match="GET auth.example.com", status=200, body=body))
    with pytest.raises(InvalidError, match=r"auth\.example\.com"):
        await world.reader().digest(pushed.tagged, USER)


async def test_a_token_answer_that_is_too_large_is_refused(world: World) -> None:
    add_kind(world, "bearer-user")
    pushed = world.push(OTHER, samples.python())
    world.cloud.faults.add(Fault(match="GET auth.example.com", pad=64 * 1024))
    with pytest.raises(InvalidError, match="more than 64 KiB"):
        await world.reader().digest(pushed.tagged, USER)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="https://a/t",service="s",scope="x"', [("bearer", "https://a/t", "s")]),
        ('bearer service=s , realm="https://a/t"', [("bearer", "https://a/t", "s")]),
        ('Basic realm="A, B"', [("basic", "A, B", "")]),
        ('Basic realm="x", Bearer realm="https://a/t"', [("basic", "x", ""), ("bearer", "https://a/t", "")]),
        (r'Basic realm="a \"quoted\" word"', [("basic", 'a "quoted" word', "")]),
        ("Negotiate", [("negotiate", "", "")]),
        ("", []),
        ('="', []),
    ],
)
def test_challenges_are_read(header: str, expected: list[tuple[str, str, str]]) -> None:
    assert parse_challenges([header]) == tuple(
        Challenge(scheme=scheme, realm=realm, service=service) for scheme, realm, service in expected
    )


async def test_bearer_goes_before_basic(world: World) -> None:
    add_kind(world, "bearer-user")
    pushed = world.push(OTHER, samples.python())
    both = 'Basic realm="x", Bearer realm="https://auth.example.com/token",service="registry.example.com"'
    world.cloud.faults.add(Fault(match="HEAD registry.example.com", status=401, headers={"WWW-Authenticate": both}))
    assert await world.reader().digest(pushed.tagged, USER) == pushed.digest
    assert world.asked("GET auth.example.com")


async def test_an_unknown_kind_of_authentication_is_told(world: World) -> None:
    add_kind(world, "open")
    image = parse_image(f"open.example.com/{REPOSITORY}:1")
    world.cloud.faults.add(Fault(match="HEAD", n=None, status=401, headers={"WWW-Authenticate": "Negotiate"}))
    with pytest.raises(DeniedError, match=r"open\.example\.com asks for a kind of authentication that isn't known"):
        await world.reader().digest(image, None)
