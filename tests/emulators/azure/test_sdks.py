"""Azure's own SDK clients, unchanged, work against the emulated Azure through the proxy."""

from __future__ import annotations

import io
import json

import pytest
from azure.containerregistry import ArtifactManifestOrder, ArtifactTagOrder
from azure.containerregistry.aio import ContainerRegistryClient
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.mgmt.containerregistry.aio import ContainerRegistryManagementClient
from azure.mgmt.containerregistrytasks import models as m

from basetracker.emulators import samples
from basetracker.emulators.cloud import SUBSCRIPTION
from basetracker.emulators.tasks.definition import Behaviour

from .conftest import BASE, GROUP, World

TOKEN = "aGk="


def registry_client(world: World) -> ContainerRegistryClient:
    """The real data-plane client for contoso."""
    return ContainerRegistryClient(
        "https://contoso.azurecr.io", world.credential(), transport=world.transport(), retry_total=0
    )


def management_client(world: World) -> ContainerRegistryManagementClient:
    """The real registry resource client."""
    return ContainerRegistryManagementClient(
        world.credential(), SUBSCRIPTION, transport=world.transport(), retry_total=0
    )


def run_request(world: World, base: str | None = None) -> m.TaskRunRequest:
    """A request to run the task, on another base if one is given."""
    arguments = [m.Argument(name="BASE_IMAGE", value=base, is_secret=False)] if base else []
    override = m.OverrideTaskStepProperties(arguments=arguments, update_trigger_token=TOKEN)
    return m.TaskRunRequest(task_id=world.task.id, override_task_step_properties=override)


async def test_credential_gives_a_token_for_each_resource(world: World) -> None:
    async with world.credential() as credential:
        arm = await credential.get_token("https://management.azure.com/.default")
        acr = await credential.get_token("https://containerregistry.azure.net/.default")
        again = await credential.get_token("https://management.azure.com/.default")
    assert arm.token != acr.token
    assert again.token == arm.token
    assert len(world.cloud.faults.asked("POST login.microsoftonline.com .*/token")) == 2


async def test_credential_of_another_service_account_is_refused(world: World) -> None:
    async with world.credential() as credential:
        world.cloud.federated_token("system:serviceaccount:evil:operator", path=world.directory / "token")
        with pytest.raises(ClientAuthenticationError, match="AADSTS700213"):
            await credential.get_token("https://management.azure.com/.default")


async def test_registries_are_listed_page_by_page_and_found(world: World) -> None:
    fabrikam = world.cloud.add_azure_registry("fabrikam", resource_group="other", sku="Basic")
    world.cloud.add_azure_registry("hidden", resource_group="other")
    world.operator.assign("Reader", fabrikam.id)
    world.cloud.arm.page_size = 1
    async with management_client(world) as client:
        listed = [one async for one in client.registries.list()]
        grouped = [one async for one in client.registries.list_by_resource_group("OTHER")]
        one = await client.registries.get(GROUP.upper(), "Contoso")
    assert [found.name for found in listed] == ["fabrikam", "contoso"]
    assert [found.name for found in grouped] == ["fabrikam"]
    assert (one.id, one.login_server, one.sku.name) == (world.contoso.id, "contoso.azurecr.io", "Premium")
    assert one.role_assignment_mode == "LegacyRegistryPermissions"


async def test_a_run_goes_through_its_states_and_builds_on_the_given_base(world: World) -> None:
    digest = world.cloud.push("contoso.azurecr.io/base/python:next", samples.python_index("3.12.12"))
    async with world.tasks_client() as client:
        run = await client.registries.schedule_run(
            GROUP, "contoso", run_request(world, f"contoso.azurecr.io/base/python@{digest}")
        )
        assert run.status == "Queued"
        seen = [(await client.runs.get(GROUP, "contoso", run.run_id)).status]
        for seconds in (6, 5, 20):
            world.clock.advance(seconds)
            run = await client.runs.get(GROUP, "contoso", run.run_id)
            seen.append(run.status)
    assert seen == ["Queued", "Started", "Running", "Succeeded"]
    assert (run.run_type, run.task, run.update_trigger_token) == ("QuickRun", "build-checkout", TOKEN)
    [output] = run.output_images
    assert (output.registry, output.repository, output.tag) == ("contoso.azurecr.io", "shop/checkout", "main")
    built = await world.cloud.fetch(f"contoso.azurecr.io/shop/checkout@{output.digest}")
    base = samples.python("3.12.12")
    assert built is not None
    assert built.diff_ids[: len(base.diff_ids)] == base.diff_ids  # type: ignore[union-attr]  # one platform
    assert world.contoso.digest("shop/checkout", "main") == output.digest


async def test_runs_are_listed_by_filter_newest_first(world: World) -> None:
    other = world.cloud.tasks.add("other", world.contoso, image="shop/other:main", base=BASE)
    async with world.tasks_client() as client:
        first = await client.registries.schedule_run(GROUP, "contoso", run_request(world))
        world.clock.advance(60)
        second = await client.registries.schedule_run(GROUP, "contoso", run_request(world))
        await client.registries.schedule_run(GROUP, "contoso", m.TaskRunRequest(task_id=other.id))

        async def ids(text: str, top: int | None = None) -> list[str]:
            found = client.runs.list(GROUP, "contoso", filter=text, top=top)
            return [str(one.run_id) async for one in found]

        of_task = "TaskName eq 'build-checkout'"
        assert await ids(of_task) == [second.run_id, first.run_id]
        assert await ids(of_task, top=1) == [second.run_id]
        assert await ids(f"{of_task} and Status eq 'Succeeded'") == [first.run_id]
        assert await ids(f"RunId eq '{second.run_id}'") == [second.run_id]
        moment = world.clock().isoformat()
        assert await ids(f"{of_task} and CreateTime ge {moment}") == [second.run_id]
        digest = world.contoso.digest("shop/checkout", "main")
        assert await ids(f"contains(OutputImageManifests,'shop/checkout@{digest}')") == [first.run_id]
        world.cloud.arm.page_size = 1
        assert await ids(of_task) == [second.run_id, first.run_id]
        with pytest.raises(HttpResponseError) as refusal:
            await ids("Colour eq 'blue'")
    assert refusal.value.status_code == 400


async def test_a_run_can_be_cancelled(world: World) -> None:
    async with world.tasks_client() as client:
        run = await client.registries.schedule_run(GROUP, "contoso", run_request(world))
        await client.runs.cancel(GROUP, "contoso", run.run_id)
        world.clock.advance(3600)
        run = await client.runs.get(GROUP, "contoso", run.run_id)
    assert run.status == "Canceled"
    assert world.contoso.digest("shop/checkout", "main") is None


async def test_the_log_is_read_by_its_link_alone(world: World) -> None:
    async with world.tasks_client() as client:
        run = await client.registries.schedule_run(GROUP, "contoso", run_request(world))
        world.clock.advance(12)
        link = str((await client.runs.get_log_sas_url(GROUP, "contoso", run.run_id)).log_link)
    async with world.session.get(link) as running:
        text = await running.text()
        assert "x-ms-meta-Complete" not in running.headers
    world.clock.advance(60)
    async with world.session.get(link, headers={"Range": f"bytes={len(text)}-"}) as rest:
        assert rest.status == 206
        assert rest.headers["x-ms-meta-Complete"] == "successful"
        assert "Successfully pushed image: contoso.azurecr.io/shop/checkout:main" in await rest.text()
    async with world.session.get(link.partition("&sig=")[0]) as unsigned:
        assert unsigned.status == 403
    world.clock.advance(7200)
    async with world.session.get(link) as expired:
        assert expired.status == 403


async def test_a_task_shows_its_definition_and_takes_a_patch(world: World) -> None:
    world.task.trigger = True
    world.operator.assign("Container Registry Tasks Contributor", world.contoso.id)
    change = m.TaskUpdateParameters(
        properties=m.TaskPropertiesUpdateParameters(
            trigger=m.TriggerUpdateParameters(
                base_image_trigger=m.BaseImageTriggerUpdateParameters(
                    name="defaultBaseimageTriggerName", status="Disabled"
                )
            )
        )
    )
    async with world.tasks_client() as client:
        before = (await client.tasks.get(GROUP, "contoso", "Build-Checkout")).as_dict()["properties"]
        after = (await client.tasks.update(GROUP, "contoso", "build-checkout", change)).as_dict()["properties"]
        details = (await client.tasks.get_details(GROUP, "contoso", "build-checkout")).as_dict()
        names = [one.name async for one in client.tasks.list(GROUP, "contoso")]
    assert before["trigger"]["baseImageTrigger"]["status"] == "Enabled"
    assert before["step"]["arguments"][0]["name"] == "BASE_IMAGE"
    assert after["trigger"]["baseImageTrigger"]["status"] == "Disabled"
    assert details["properties"]["status"] == "Enabled"
    assert names == ["build-checkout"]
    assert world.task.trigger is False


async def test_what_the_role_lacks_is_forbidden(world: World) -> None:
    world.operator.unassign("basetracker operator")
    async with world.tasks_client() as client:
        with pytest.raises(HttpResponseError) as refusal:
            await client.registries.schedule_run(GROUP, "contoso", run_request(world))
    assert refusal.value.status_code == 403
    assert "AuthorizationFailed" in str(refusal.value)
    assert "scheduleRun/action" in str(refusal.value)
    assert world.operator.client_id in str(refusal.value)


async def test_a_missing_task_and_run_are_not_found(world: World) -> None:
    async with world.tasks_client() as client:
        with pytest.raises(ResourceNotFoundError):
            await client.tasks.get(GROUP, "contoso", "nothing")
        with pytest.raises(ResourceNotFoundError):
            await client.runs.get(GROUP, "contoso", "cf99")


async def test_task_runs_run_once_a_tag(world: World) -> None:
    world.operator.assign("Container Registry Tasks Contributor", world.contoso.id)

    def body(tag: str) -> m.TaskRun:
        properties = m.TaskRunProperties(run_request=run_request(world), force_update_tag=tag)
        return m.TaskRun(properties=properties)

    async with world.tasks_client() as client:
        for tag in ("a", "a", "b"):
            poller = await client.task_runs.begin_create(GROUP, "contoso", "once", body(tag), polling=False)
            made = await poller.result()
        world.clock.advance(60)
        made = await client.task_runs.get(GROUP, "contoso", "once")
    properties = made.as_dict()["properties"]
    assert [run.status for run in world.cloud.tasks.runs_of(world.task)] == ["Succeeded", "Succeeded"]
    assert properties["provisioningState"] == "Succeeded"
    assert properties["runResult"]["properties"]["status"] == "Succeeded"


async def test_registry_client_reads_tags_manifests_and_blobs(world: World) -> None:
    digest = world.contoso.digest("base/python", "3.12")
    world.clock.advance(60)
    world.cloud.push("contoso.azurecr.io/base/python:3.13", samples.python("3.13.1"))
    async with registry_client(world) as client:
        tag = await client.get_tag_properties("base/python", "3.12")
        newest = client.list_tag_properties("base/python", order_by=ArtifactTagOrder.LAST_UPDATED_ON_DESCENDING)
        tags = [one.name async for one in newest]
        by_time = ArtifactManifestOrder.LAST_UPDATED_ON_ASCENDING
        manifests = [one async for one in client.list_manifest_properties("base/python", order_by=by_time)]
        manifest = await client.get_manifest("base/python", "3.12")
        child = await client.get_manifest("base/python", manifest.manifest["manifests"][0]["digest"])
        stream = await client.download_blob("base/python", child.manifest["config"]["digest"])
        config = json.loads(b"".join([chunk async for chunk in stream]))
    assert tag.digest == digest == manifest.digest
    assert (world.clock() - tag.created_on).total_seconds() == pytest.approx(60, abs=1)
    assert tags == ["3.13", "3.12"]
    assert len(manifests) == 6
    assert config["rootfs"]["diff_ids"] == samples.python().diff_ids


async def test_registry_client_pages_through_tags(world: World) -> None:
    for number in range(5):
        world.cloud.push(f"contoso.azurecr.io/base/python:v{number}", samples.python())
    async with registry_client(world) as client:
        pages = client.list_tag_properties("base/python", results_per_page=2)
        tags = [one.name async for one in pages]
    assert tags == ["3.12", "v0", "v1", "v2", "v3", "v4"]
    assert len([one for one in world.cloud.faults.asked("GET contoso.*_tags") if one.status == 200]) == 3


async def test_registry_client_locks_a_tag_that_then_refuses_a_push(world: World) -> None:
    world.operator.assign("AcrPush", world.contoso.id)
    world.operator.assign("AcrDelete", world.contoso.id)
    async with registry_client(world) as client:
        locked = await client.update_tag_properties("base/python", "3.12", can_write=False)
        with pytest.raises(HttpResponseError) as pushed:
            await client.set_manifest("base/python", json.loads(samples.python().manifest), tag="3.12")
        with pytest.raises(HttpResponseError) as deleted:
            await client.delete_tag("base/python", "3.12")
    assert locked.can_write is False
    assert pushed.value.status_code in {400, 405}
    assert deleted.value.status_code == 405


async def test_registry_client_pushes_an_image(world: World) -> None:
    world.operator.assign("AcrPush", world.contoso.id)
    image = samples.python("3.12.12")
    async with registry_client(world) as client:
        for blob in image.blobs.values():
            await client.upload_blob("single", io.BytesIO(blob))
        digest = await client.set_manifest("single", json.loads(image.manifest), tag="v1")
    assert world.contoso.digest("single", "v1") == digest


async def test_registry_client_without_the_role_is_refused(world: World) -> None:
    world.operator.unassign("AcrPull")
    async with registry_client(world) as client:
        with pytest.raises(ClientAuthenticationError):
            await client.get_tag_properties("base/python", "3.12")


async def test_no_secret_went_astray(world: World) -> None:
    async with world.tasks_client() as client:
        await client.registries.schedule_run(GROUP, "contoso", run_request(world))
    async with registry_client(world) as client:
        await client.get_manifest("base/python", "3.12")
    shown = [one for one in world.cloud.faults.log if one.secrets]
    assert {one.host for one in shown} == {
        "contoso.azurecr.io",
        "login.microsoftonline.com",
        "management.azure.com",
    }
    assert world.cloud.faults.leaks == []
    assert list(world.cloud.proxy.refused) == []


async def test_an_unknown_status_comes_through(world: World) -> None:
    world.task.behaviour = Behaviour(shown="Paused")
    async with world.tasks_client() as client:
        run = await client.registries.schedule_run(GROUP, "contoso", run_request(world))
        world.clock.advance(60)
        run = await client.runs.get(GROUP, "contoso", run.run_id)
    assert run.status == "Paused"
