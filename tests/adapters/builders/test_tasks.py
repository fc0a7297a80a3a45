"""Finding registries and knowing tasks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from basetracker.adapters.builders.arm_ids import RegistryId
from basetracker.emulators.cloud import SUBSCRIPTION
from basetracker.emulators.faults import Fault
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import parse_image

from .conftest import BASE, IMAGE, World, acr_task, based_on, make_builder, request

LISTING = r"GET management\.azure\.com /subscriptions/[^/]+/providers/"
SUBSCRIPTIONS = r"GET management\.azure\.com /subscriptions\?"


async def test_a_registry_is_found_by_its_login_server_and_remembered(world: World) -> None:
    for _ in range(5):
        assert await world.builder.resolve(acr_task(), IMAGE) == world.ref
        world.time.manual.advance(3600)
    assert len(world.asked(LISTING)) == 1
    world.time.manual.advance(2 * 3600)
    assert await world.builder.resolve(acr_task(), IMAGE) == world.ref
    assert len(world.asked(LISTING)) == 2


async def test_one_list_serves_all_who_ask_at_once(world: World) -> None:
    found = await asyncio.gather(*(world.builder.resolve(acr_task(), IMAGE) for _ in range(20)))
    assert set(found) == {world.ref}
    assert len(world.asked(LISTING)) == 1


async def test_a_list_of_many_pages_is_read_to_its_end(world: World) -> None:
    world.cloud.arm.page_size = 2
    for number in range(7):
        registry = world.cloud.add_azure_registry(f"number{number}")
        world.operator.assign("basetracker operator", registry.id)
    found = await world.builder.resolve(acr_task(), parse_image("number6.azurecr.io/a:1"))
    assert found.registry.endswith("/registries/number6")


async def test_a_registry_that_cannot_be_seen_is_missing_and_not_asked_for_again_at_once(world: World) -> None:
    image = parse_image("fabrikam.azurecr.io/a:1")
    for _ in range(10):
        with pytest.raises(MissingError, match=r"login server fabrikam\.azurecr\.io"):
            await world.builder.resolve(acr_task(), image)
        world.time.manual.advance(5)
    assert len(world.asked(LISTING)) == 1
    registry = world.cloud.add_azure_registry("fabrikam")
    world.operator.assign("basetracker operator", registry.id)
    world.time.manual.advance(60)
    assert (await world.builder.resolve(acr_task(), image)).registry.endswith("/registries/fabrikam")


async def test_a_registry_given_by_its_id_is_compared_once(world: World) -> None:
    for registry in (world.contoso.id, world.contoso.id.replace("resourceGroups", "RESOURCEGROUPS")):
        assert await world.builder.resolve(acr_task(registry=registry), IMAGE) == world.ref
    assert len(world.asked("GET .*/registries/contoso")) == 1
    assert not world.asked(LISTING)


async def test_the_id_of_another_registry_is_refused(world: World) -> None:
    registry = world.cloud.add_azure_registry("fabrikam")
    world.operator.assign("basetracker operator", registry.id)
    with pytest.raises(InvalidError, match=r"is fabrikam\.azurecr\.io, but the image is in contoso\.azurecr\.io"):
        await world.builder.resolve(acr_task(registry=registry.id), IMAGE)


async def test_the_id_of_no_registry_is_missing(world: World) -> None:
    gone = world.contoso.id.replace("contoso", "nothing")
    world.operator.assign("basetracker operator", gone)
    with pytest.raises(MissingError, match="registry nothing"):
        await world.builder.resolve(acr_task(registry=gone), IMAGE)


async def test_the_id_of_a_registry_of_others_is_denied(world: World) -> None:
    registry = world.cloud.add_azure_registry("fabrikam")
    with pytest.raises(DeniedError, match=r"Microsoft\.ContainerRegistry/registries/read"):
        await world.builder.resolve(acr_task(registry=registry.id), IMAGE)


@pytest.mark.parametrize(
    "text",
    [
        "contoso",
        "/subscriptions/x/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/contoso",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/contoso",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/contoso/tasks/t",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/../providers/Microsoft.ContainerRegistry/registries/a?b",
    ],
)
async def test_what_is_no_arm_id_reaches_no_request(world: World, text: str) -> None:
    unread = acr_task().model_copy(update={"registry": text})  # past what the tracker's own reading refuses
    with pytest.raises(InvalidError, match="is not the ARM id of a registry"):
        await world.builder.resolve(unread, IMAGE)
    assert not world.asked()


def test_ids_that_differ_in_case_are_one() -> None:
    text = f"/subscriptions/{SUBSCRIPTION}/resourcegroups/Shop/providers/microsoft.containerregistry/registries/Contoso"
    assert RegistryId.parse(text) == RegistryId.parse(text.upper())
    assert RegistryId.parse(str(RegistryId.parse(text))) == RegistryId.parse(text)


async def test_subscriptions_are_found_when_none_is_given(world: World, tmp_path: Path) -> None:
    builder = make_builder(world.cloud, world.time, world.http, tmp_path, world.operator, search=True)
    assert await builder.resolve(acr_task(), IMAGE) == world.ref
    assert len(world.asked(SUBSCRIPTIONS)) == 1


async def test_subscriptions_are_listed_to_the_end_and_disabled_ones_are_left_out(world: World, tmp_path: Path) -> None:
    other = "00000000-1111-2222-3333-444444444444"
    first = {
        "value": [{"subscriptionId": other, "state": "Disabled"}],
        "nextLink": "https://management.azure.com/subscriptions?api-version=2022-12-01&$skiptoken=x",
    }
    second = {"value": [{"subscriptionId": SUBSCRIPTION.upper(), "state": "Enabled"}]}
    world.cloud.faults.add(
        Fault(match=SUBSCRIPTIONS, status=200, body=first, headers={"Content-Type": "application/json"}),
        Fault(match=SUBSCRIPTIONS, status=200, body=second, headers={"Content-Type": "application/json"}),
    )
    builder = make_builder(world.cloud, world.time, world.http, tmp_path, world.operator, search=True)
    assert await builder.resolve(acr_task(), IMAGE) == world.ref
    assert len(world.asked(SUBSCRIPTIONS)) == 2
    assert len(world.asked(LISTING)) == 1
    assert not world.cloud.faults.leaks


async def test_a_list_of_subscriptions_that_leads_elsewhere_is_not_followed(world: World, tmp_path: Path) -> None:
    world.cloud.add_host("evil.example.com", [])
    body = {"value": [{"subscriptionId": SUBSCRIPTION}], "nextLink": "https://evil.example.com/subscriptions"}
    world.cloud.faults.add(
        Fault(match=SUBSCRIPTIONS, status=200, body=body, headers={"Content-Type": "application/json"})
    )
    builder = make_builder(world.cloud, world.time, world.http, tmp_path, world.operator, search=True)
    assert await builder.resolve(acr_task(), IMAGE) == world.ref
    assert not world.asked("evil.example.com")


# -- facts ----------------------------------------------------------------------------------------------------


async def test_facts_tell_the_task_s_switches_and_its_last_base(world: World) -> None:
    facts = await world.builder.facts(world.ref)
    assert facts is not None
    assert (facts.ref, facts.enabled, facts.base_trigger, facts.dependencies) == (world.ref, True, False, ())
    world.task.trigger, world.task.enabled = True, False
    await world.pass_time(1)
    world.task.enabled = True
    await world.builder.start(request(world))
    await world.pass_time(60)
    world.task.enabled = False
    facts = await world.builder.facts(world.ref)
    assert facts is not None
    digest = world.cloud.registry("contoso").digest("base/python", "3.12")
    assert digest is not None
    assert (facts.enabled, facts.base_trigger) == (False, True)
    assert facts.dependencies == (based_on(BASE, digest),)


async def test_a_task_that_is_not_there_is_none(world: World) -> None:
    missing = await world.builder.resolve(acr_task("build-nothing"), IMAGE)
    assert await world.builder.facts(missing) is None


async def test_facts_are_asked_for_again_when_they_are_too_old(world: World) -> None:
    for _ in range(10):
        await world.builder.facts(world.ref, max_age=60)
        world.time.manual.advance(10)
    assert len(world.asked("GET .*/tasks/build-checkout")) == 2
    await world.builder.facts(world.ref)
    assert len(world.asked("GET .*/tasks/build-checkout")) == 3


async def test_facts_that_could_not_be_read_are_not_kept(world: World) -> None:
    world.cloud.faults.add(Fault(match="/tasks/", status=500))
    with pytest.raises(UnavailableError):
        await world.builder.facts(world.ref, max_age=60)
    assert await world.builder.facts(world.ref, max_age=60) is not None


async def test_many_looks_use_few_connections_and_one_token(world: World) -> None:
    for _ in range(100):
        await world.builder.facts(world.ref)
    assert len(world.asked("management.azure.com")) == 100
    assert len(world.asked("login.microsoftonline.com")) == 1
    assert sum(world.cloud.proxy.connects.values()) <= 5
