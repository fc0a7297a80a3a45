"""The operator's Azure identity: from which settings, by whom it is told, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from basetracker.adapters.azure_identity import AzureSettings, azure_identity
from basetracker.adapters.registries.acr import ENTRA_SCOPE
from basetracker.errors import DeniedError, UnavailableError

from .conftest import World


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
