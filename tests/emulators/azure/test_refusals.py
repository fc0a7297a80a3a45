"""What ARM and Entra refuse, in the words that clients read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from basetracker.emulators import samples

from .conftest import BASE, Answer, World, bearer

ARM = "https://management.azure.com"
VERSION = "api-version=2025-03-01-preview"


async def arm(world: World, method: str, path: str, query: str = VERSION, **settings: Any) -> Answer:
    """Ask ARM as the operator; `path` is below the registry unless it starts with `/subscriptions`."""
    token = world.cloud.entra.token(world.operator, ARM)
    full = path if path.lower().startswith("/subscriptions") else f"{world.contoso.id}/{path}"
    return await world.ask(method, f"{ARM}{full}?{query}", headers=bearer(token), **settings)


def code(answer: Answer) -> str:
    """The error code of an ARM answer."""
    return str(answer.json()["error"]["code"])


async def token_request(world: World, **changes: str) -> Answer:
    """Ask Entra for a token, with some form fields changed."""
    form = {
        "grant_type": "client_credentials",
        "client_id": world.operator.client_id,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": world.cloud.federated_token(str(world.operator.subject)),
        "scope": f"{ARM}/.default",
    }
    tenant = changes.pop("tenant", world.cloud.entra.tenant_id)
    url = f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    return await world.ask("POST", url, data=form | changes)


async def test_a_good_token_request(world: World) -> None:
    answer = (await token_request(world)).expect(200).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 86_399)
    assert world.cloud.entra.identify(answer["access_token"], ARM) is world.operator


@pytest.mark.parametrize(
    ("changes", "status", "number"),
    [
        ({"tenant": "nowhere"}, 400, 90002),
        ({"grant_type": "password"}, 400, 70003),
        ({"client_id": "nobody"}, 400, 700016),
        ({"client_assertion": "no.jwt"}, 401, 50027),
        ({"client_assertion_type": "secret"}, 401, 50027),
        ({"scope": "https://graph.microsoft.com/.default"}, 400, 70011),
    ],
)
async def test_a_bad_token_request(world: World, changes: dict[str, str], status: int, number: int) -> None:
    answer = (await token_request(world, **changes)).expect(status).json()
    assert answer["error_codes"] == [number]
    assert f"AADSTS{number}" in answer["error_description"]


async def test_a_bad_assertion(world: World) -> None:
    subject, cloud = str(world.operator.subject), world.cloud
    world.operator.issuer = "https://oidc.right.example/"
    for assertion, number in (
        (cloud.federated_token(subject, audience="https://kubernetes"), 700212),
        (cloud.federated_token(subject, issuer="https://oidc.wrong.example/"), 700211),
        (cloud.federated_token("system:serviceaccount:x:y", issuer=world.operator.issuer), 700213),
        (cloud.federated_token(subject, issuer=world.operator.issuer, seconds=-1), 700024),
    ):
        answer = (await token_request(world, client_assertion=assertion)).expect(401)
        assert answer.json()["error_codes"] == [number]


async def test_discovery(world: World) -> None:
    root = "https://login.microsoftonline.com"
    place = (await world.ask("GET", f"{root}/common/discovery/instance")).json()["tenant_discovery_endpoint"]
    found = (await world.ask("GET", place)).expect(200).json()
    assert found["token_endpoint"] == f"{root}/{world.cloud.entra.tenant_id}/oauth2/v2.0/token"


async def test_arm_wants_a_live_token_and_a_version(world: World) -> None:
    url = f"{ARM}{world.contoso.id}?{VERSION}"
    missing = (await world.ask("GET", url)).expect(401)
    assert code(missing) == "AuthenticationFailed"
    token = world.cloud.entra.token(world.operator, ARM)
    assert code((await arm(world, "GET", "tasks", "x=1")).expect(400)) == "MissingApiVersionParameter"
    world.clock.advance(86_400)
    expired = (await world.ask("GET", url, headers=bearer(token))).expect(401)
    assert code(expired) == "ExpiredAuthenticationToken"


async def test_arm_does_not_know(world: World) -> None:
    provider = "providers/Microsoft.ContainerRegistry/registries"
    group = f"/subscriptions/{world.cloud.subscription}/resourceGroups/registries"
    world.operator.assign("Contributor", group)
    for path, kind in (
        (f"{group}/{provider}/nothing", "ResourceNotFound"),
        ("taskRuns/nothing", "ResourceNotFound"),
        ("unheard", "InvalidResourceType"),
        (f"/subscriptions/other/{provider}", "SubscriptionNotFound"),
    ):
        assert code((await arm(world, "GET", path)).expect(404)) == kind


async def test_unreadable_registries_are_forbidden_one_by_one_and_left_out_of_lists(world: World) -> None:
    fabrikam = world.cloud.add_azure_registry("fabrikam")
    assert code((await arm(world, "GET", fabrikam.id)).expect(403)) == "AuthorizationFailed"
    listing = f"/subscriptions/{world.cloud.subscription}/providers/Microsoft.ContainerRegistry/registries"
    shown = (await arm(world, "GET", listing)).expect(200).json()
    assert [one["name"] for one in shown["value"]] == ["contoso"]


async def test_runs_that_are_not_started(world: World) -> None:
    request = {"type": "TaskRunRequest", "taskId": world.task.id}
    other = request | {"taskId": world.task.id + "x"}
    assert code((await arm(world, "POST", "scheduleRun", json=other)).expect(404)) == "ResourceNotFound"
    build = {"type": "DockerBuildRequest"}
    assert code((await arm(world, "POST", "scheduleRun", json=build)).expect(400)) == "InvalidRequest"
    malformed = await arm(world, "POST", "scheduleRun", data=b"[")
    assert code(malformed.expect(400)) == "InvalidRequestContent"
    world.task.enabled = False
    (await arm(world, "POST", "scheduleRun", json=request)).expect(400)
    world.cloud.tasks.paused = True
    paused = await arm(world, "POST", "scheduleRun", json=request)
    assert code(paused.expect(400)) == "TasksOperationsNotAllowed"
    assert len(world.cloud.tasks.runs) == 0


async def test_paths_compare_without_case(world: World) -> None:
    request = {"type": "TaskRunRequest", "taskId": world.task.id.upper()}
    path = f"{world.contoso.id.upper()}/SCHEDULERUN"
    (await arm(world, "POST", path, json=request)).expect(200)
    assert len(world.cloud.tasks.runs) == 1


async def test_a_role_on_one_task_only(world: World) -> None:
    world.operator.assign("Container Registry Tasks Contributor", world.task.id)
    world.cloud.tasks.add("other", world.contoso, image="shop/other:main", base=BASE)
    patch = {"properties": {"timeout": 900, "status": "Disabled"}}
    assert code((await arm(world, "PATCH", "tasks/other", json=patch)).expect(403)) == "AuthorizationFailed"
    shown = (await arm(world, "PATCH", "tasks/build-checkout", json=patch)).expect(200).json()
    assert (shown["properties"]["timeout"], shown["properties"]["status"]) == (900, "Disabled")


async def test_runs_are_archived_and_task_runs_deleted(world: World) -> None:
    world.operator.assign("Contributor", world.contoso.id)
    request = {"type": "TaskRunRequest", "taskId": world.task.id}
    run = (await arm(world, "POST", "scheduleRun", json=request)).json()
    kept = await arm(world, "PATCH", f"runs/{run['name']}", json={"isArchiveEnabled": True})
    assert kept.expect(200).json()["properties"]["isArchiveEnabled"] is True
    body = {"properties": {"runRequest": request, "forceUpdateTag": "a"}}
    (await arm(world, "PUT", "taskRuns/x", json=body)).expect(201)
    (await arm(world, "DELETE", "taskRuns/x")).expect(200)
    (await arm(world, "DELETE", "taskRuns/x")).expect(204)


async def test_a_first_answer_tells_less_than_a_later_look(world: World) -> None:
    request = {"type": "TaskRunRequest", "taskId": world.task.id}
    first = (await arm(world, "POST", "scheduleRun", json=request)).expect(200)
    assert {"Location", "Azure-AsyncOperation"}.isdisjoint(first.headers)
    assert "createTime" not in first.json()["properties"]
    later = (await arm(world, "GET", f"runs/{first.json()['name']}")).json()["properties"]
    assert (later["runType"], later["platform"]) == ("QuickRun", {"os": "linux", "architecture": "amd64"})
    assert "createTime" in later


async def test_a_multi_step_task(world: World) -> None:
    world.cloud.tasks.add("steps", world.contoso, image="a:b", base=BASE, kind="EncodedTask")
    step = (await arm(world, "GET", "tasks/steps")).expect(200).json()["properties"]["step"]
    assert step["type"] == "EncodedTask"
    assert "arguments" not in step


async def test_locked_manifests_and_catalogs_at_the_registry(world: World) -> None:
    world.operator.assign("Contributor", world.contoso.id)
    world.cloud.push("contoso.azurecr.io/other:1", samples.python())
    catalog = bearer(await world.acr_token("registry:catalog:*"))
    for path in ("/v2/_catalog", "/acr/v1/_catalog"):
        names = (await world.ask("GET", f"https://contoso.azurecr.io{path}", headers=catalog)).expect(200)
        assert names.json()["repositories"] == ["base/python", "other"]
    digest = world.contoso.digest("other", "1")
    scopes = "repository:other:delete,metadata_write,metadata_read"
    headers = bearer(await world.acr_token(scopes))
    url = f"https://contoso.azurecr.io/acr/v1/other/_manifests/{digest}"
    lock = json.dumps({"deleteEnabled": False})
    (await world.ask("PATCH", url, data=lock, headers=headers)).expect(200)
    manifest = f"https://contoso.azurecr.io/v2/other/manifests/{digest}"
    (await world.ask("DELETE", manifest, headers=headers)).expect(405)
    unlock = json.dumps({"deleteEnabled": True})
    (await world.ask("PATCH", url, data=unlock, headers=headers)).expect(200)
    (await world.ask("DELETE", manifest, headers=headers)).expect(202)
    assert world.contoso.digest("other", "1") is None
