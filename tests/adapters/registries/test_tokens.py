"""How long tokens are used, who asks for them, and whom they are shown to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from basetracker.adapters.azure_identity import AzureSettings, azure_identity
from basetracker.adapters.registries.acr import ENTRA_SCOPE
from basetracker.adapters.registries.auth import Challenge, parse_challenges
from basetracker.emulators import samples
from basetracker.emulators.faults import Fault
from basetracker.errors import DeniedError, InvalidError, UnavailableError
from basetracker.oci.refs import parse_image
from basetracker.ports import Credential

from .conftest import REPOSITORY, USER, World, add_kind

CONTOSO = f"contoso.azurecr.io/{REPOSITORY}:3.12"
OTHER = f"registry.example.com/{REPOSITORY}:3.12"
MINUTE = 60.0


async def test_azure_tokens_are_renewed_before_they_end(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    reader = world.reader()
    for _ in range(28):  # seven hours in quarters
        assert await reader.digest(pushed.tagged, None) == pushed.digest
        world.time.manual.advance(15 * MINUTE)
    assert not world.cloud.faults.asked("HEAD .* /v2/.*")[0].leaked
    assert all(one.endswith("200") for one in world.asked("HEAD"))  # no token was used after its end
    assert len(world.asked("POST .* /oauth2/token")) == 6  # one lives for 75 minutes and is used for 70
    assert len(world.asked("POST .* /oauth2/exchange")) == 2  # one lives for 180 minutes and is used for 170


async def test_a_refresh_token_that_was_withdrawn_is_exchanged_again(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    reader = world.reader()
    await reader.digest(pushed.tagged, None)
    world.time.manual.advance(80 * MINUTE)
    world.cloud.faults.add(Fault(match="POST .* /oauth2/token", status=401))
    assert await reader.digest(pushed.tagged, None) == pushed.digest
    assert len(world.asked("POST .* /oauth2/exchange")) == 2


async def test_when_all_azure_tokens_end_before_their_time_a_poll_gets_others(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    reader = world.reader()
    await reader.digest(pushed.tagged, None)
    world.time.manual.advance(MINUTE)
    world.cloud.expire_tokens()
    assert await reader.digest(pushed.tagged, None) == pushed.digest
    assert [one[-3:] for one in world.asked("POST .* /oauth2/exchange")] == ["200", "401", "200"]
    assert len(world.asked("POST login.microsoftonline.com .*/token")) == 2
    assert not world.cloud.faults.leaks


async def test_an_access_token_that_was_withdrawn_is_renewed_in_the_same_poll(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    reader = world.reader()
    await reader.digest(pushed.tagged, None)
    world.cloud.faults.add(Fault(match="HEAD .* /v2/", status=401))
    assert await reader.digest(pushed.tagged, None) == pushed.digest
    assert len(world.asked("POST .* /oauth2/token")) == 2


async def test_many_who_ask_at_once_share_the_tokens(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    reader = world.reader()
    found = await asyncio.gather(*(reader.digest(pushed.tagged, None) for _ in range(30)))
    assert set(found) == {pushed.digest}
    assert len(world.asked("POST login.microsoftonline.com")) == 1
    assert len(world.asked("POST .* /oauth2/exchange")) == 1
    assert len(world.asked("POST .* /oauth2/token")) == 1


async def test_repositories_have_tokens_of_their_own_and_share_the_exchange(world: World) -> None:
    reader = world.reader()
    for name in ("a", "b", "c"):
        image = world.push(f"contoso.azurecr.io/base/{name}:1", samples.python())
        assert await reader.digest(image.tagged, None) == image.digest
    assert len(world.asked("POST .* /oauth2/token")) == 3
    assert len(world.asked("POST .* /oauth2/exchange")) == 1


async def test_a_bearer_token_is_used_until_a_tenth_before_its_end(world: World) -> None:
    kind = add_kind(world, "bearer-user")
    pushed = world.push(OTHER, samples.python())
    reader = world.reader()
    for _ in range(60):
        assert await reader.digest(pushed.tagged, kind.credential) == pushed.digest
        world.time.manual.advance(10)
    assert len(world.asked("GET auth.example.com")) == 3  # 270 of 300 seconds each
    assert len([one for one in world.asked("HEAD") if one.endswith("401")]) == 1


async def test_credentials_do_not_share_tokens(world: World) -> None:
    add_kind(world, "bearer-user")
    pushed = world.push(OTHER, samples.python())
    reader = world.reader()
    assert await reader.digest(pushed.tagged, USER) == pushed.digest
    with pytest.raises(DeniedError, match="name a pull secret"):
        await reader.digest(pushed.tagged, None)
    with pytest.raises(DeniedError, match="refuses the credential"):
        await reader.digest(pushed.tagged, Credential(username=USER.username, password="wrong"))
    assert await reader.digest(pushed.tagged, USER) == pushed.digest


async def test_credentials_do_not_share_tokens_of_azure_registries(world: World) -> None:
    add_kind(world, "acr-user")
    world.operator.unassign("AcrPull")
    pushed = world.push(CONTOSO, samples.python())
    reader = world.reader()
    assert await reader.digest(pushed.tagged, USER) == pushed.digest
    for credential in (None, Credential(username=USER.username, password="wrong")):
        with pytest.raises(DeniedError):
            await reader.digest(pushed.tagged, credential)
    assert await reader.digest(pushed.tagged, USER) == pushed.digest
    assert not world.cloud.faults.leaks


async def test_a_wrong_password_for_basic_is_denied(world: World) -> None:
    add_kind(world, "basic")
    pushed = world.push(f"basic.example.com/{REPOSITORY}:1", samples.python())
    reader = world.reader()
    for credential in (None, Credential(username=USER.username, password="wrong")):
        with pytest.raises(DeniedError):
            await reader.digest(pushed.tagged, credential)
    assert await reader.digest(pushed.tagged, USER) == pushed.digest


async def test_without_the_role_the_message_names_it(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    world.operator.unassign("AcrPull")
    with pytest.raises(DeniedError, match=r"contoso.azurecr.io.*AcrPull, or Container Registry Repository Reader"):
        await world.reader().digest(pushed.tagged, None)
    assert len(world.asked("HEAD")) == 2


async def test_a_role_that_is_granted_later_is_used(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    world.operator.unassign("AcrPull")
    reader = world.reader()
    with pytest.raises(DeniedError):
        await reader.digest(pushed.tagged, None)
    world.operator.assign("AcrPull", world.contoso.id)
    assert await reader.digest(pushed.tagged, None) == pushed.digest


async def test_an_exchange_that_is_refused_is_denied(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    world.cloud.faults.add(Fault(match="/oauth2/exchange", status=401))
    with pytest.raises(DeniedError, match=r"doesn't accept the operator's Azure identity; grant it AcrPull"):
        await world.reader().digest(pushed.tagged, None)


async def test_without_an_identity_a_closed_azure_registry_is_denied(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    with pytest.raises(DeniedError, match="give the operator an Azure identity"):
        await world.reader(azure=False).digest(pushed.tagged, None)
    assert not world.asked("exchange")


async def test_what_entra_refuses_is_told_without_what_differs_each_time(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    world.operator.subject = "system:serviceaccount:other:operator"
    reader = world.reader()
    world.cloud.federated_token("system:serviceaccount:basetracker:operator", path=world.directory / "token")
    texts = set()
    for _ in range(2):
        with pytest.raises(DeniedError) as caught:
            await reader.digest(pushed.tagged, None)
        texts.add(str(caught.value))
    assert len(texts) == 1
    assert "AADSTS700213" in next(iter(texts))
    assert "Trace" not in next(iter(texts))
    assert not world.asked("contoso.azurecr.io")


async def test_entra_that_is_away_is_unavailable_and_asked_once(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    reader = world.reader()
    world.cloud.faults.add(Fault(match="POST login.microsoftonline.com", status=503))
    with pytest.raises(UnavailableError, match=r"login\.microsoftonline\.com can't answer now"):
        await reader.digest(pushed.tagged, None)
    assert len(world.asked("POST login.microsoftonline.com")) == 1
    assert await reader.digest(pushed.tagged, None) == pushed.digest


async def test_a_lost_token_file_is_denied(world: World) -> None:
    pushed = world.push(CONTOSO, samples.python())
    reader = world.reader()
    (world.directory / "token").unlink()
    with pytest.raises(DeniedError, match="AZURE_FEDERATED_TOKEN_FILE"):
        await reader.digest(pushed.tagged, None)


# -- to whom tokens are shown ---------------------------------------------------------------------------------


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


# -- challenges -----------------------------------------------------------------------------------------------


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


# -- the operator's identity ----------------------------------------------------------------------------------


async def test_settings_that_are_not_whole_give_no_identity(world: World) -> None:
    whole = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": "/token"}
    http = world.http()
    assert azure_identity(AzureSettings.from_environment(whole), http) is not None
    for name in whole:
        part = {key: value for key, value in whole.items() if key != name}
        assert azure_identity(AzureSettings.from_environment(part), http) is None


async def test_a_client_secret_is_sent_to_the_authority_alone_and_never_shown(world: World) -> None:
    settings = AzureSettings.from_environment(
        {"AZURE_TENANT_ID": world.cloud.entra.tenant_id, "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "hush-hush"}
    )
    assert "hush" not in repr(settings)
    identity = azure_identity(settings, world.http())
    assert identity is not None
    async with identity:
        with pytest.raises(DeniedError, match="AADSTS700016") as caught:
            await identity.token(ENTRA_SCOPE)
    assert "hush" not in f"{caught.value} {caught.value.__cause__}"
    assert len(world.asked()) == len(world.asked(f"POST login.microsoftonline.com /{world.cloud.entra.tenant_id}/"))


async def test_another_authority_is_asked_where_one_is_set(world: World) -> None:
    world.cloud.add_host("login.chinacloudapi.cn", world.cloud.entra.routes())
    variables = world.cloud.environment(world.directory, world.operator)
    settings = AzureSettings.from_environment(variables | {"AZURE_AUTHORITY_HOST": "https://login.chinacloudapi.cn"})
    identity = azure_identity(settings, world.http())
    assert identity is not None
    async with identity:
        assert await identity.token(ENTRA_SCOPE)
    assert {one.host for one in world.cloud.faults.log} == {"login.chinacloudapi.cn"}


def _swapped(file: Path, content: bytes) -> bytes:
    """What the file held before."""
    before = file.read_bytes()
    file.write_bytes(content)
    return before


async def test_the_next_federated_token_is_taken_as_soon_as_it_is_there(world: World) -> None:
    variables = world.cloud.environment(world.directory, world.operator)
    file = Path(variables["AZURE_FEDERATED_TOKEN_FILE"])
    token = _swapped(file, b"\xffnot a token")
    identity = azure_identity(AzureSettings.from_environment(variables), world.http())
    assert identity is not None
    async with identity:
        with pytest.raises(DeniedError, match="AADSTS"):
            await identity.token(ENTRA_SCOPE)
        _swapped(file, token)
        assert await identity.token(ENTRA_SCOPE)


async def test_a_certificate_that_entra_s_host_cannot_show_is_told(world: World) -> None:
    identity = world.identity(world.http(trusting=False))
    with pytest.raises(UnavailableError, match=r"certificate of login\.microsoftonline\.com is not trusted"):
        await identity.token(ENTRA_SCOPE)
