"""How long tokens are used, who asks for them, and with whom they are shared."""

from __future__ import annotations

import asyncio

import pytest

from basetracker.emulators import samples
from basetracker.emulators.faults import Fault
from basetracker.errors import DeniedError, UnavailableError
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
