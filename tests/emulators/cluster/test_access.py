"""Who may do what, and tokens. A contract: true of a real server too."""

from __future__ import annotations

import base64
import json

import pytest

from .api import Api, Json
from .conftest import Place, config_map, widget

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def _role(*rules: Json) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "r"},
        "rules": list(rules),
    }


def _binding(place: Place) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "bot", "namespace": place.name}],
    }


async def _bot(api: Api, place: Place, *rules: Json) -> Api:
    """A client that acts as a ServiceAccount with these rules."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}}
    (await api.post(place.core("serviceaccounts"), account)).expect(201)
    (await api.post(f"{RBAC}/namespaces/{place.name}/roles", _role(*rules))).expect(201)
    (await api.post(f"{RBAC}/namespaces/{place.name}/rolebindings", _binding(place))).expect(201)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    issued = (await api.post(f"{place.core('serviceaccounts')}/bot/token", request)).expect(201)
    return _with_token(api, issued["status"]["token"])


def _with_token(api: Api, token: str) -> Api:
    """A client that shows this token and nothing else."""
    users = [{"name": item["name"], "user": {"token": token}} for item in api.kubeconfig["users"]]
    return Api(api.kubeconfig | {"users": users})


READ_MAPS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}


async def test_nobody_is_refused_as_unauthorized(api: Api) -> None:
    for token in ("wrong", "a.b.c"):
        async with _with_token(api, token) as stranger:
            answer = await stranger.get("/api/v1/namespaces")
        assert answer.expect(401)["reason"] == "Unauthorized"
    async with _with_token(api, "") as nobody:
        assert (await nobody.get("/api/v1/namespaces")).status in (401, 403)


async def test_a_role_allows_what_it_says_and_no_more(api: Api, place: Place) -> None:
    async with await _bot(api, place, READ_MAPS) as bot:
        (await bot.get(place.core("configmaps"))).expect(200)
        (await bot.get(f"{place.core('configmaps')}/none")).expect(404)
        refusal = (await bot.post(place.core("configmaps"), config_map())).expect(403)
        user = f"system:serviceaccount:{place.name}:bot"
        assert refusal["reason"] == "Forbidden"
        assert refusal["message"] == (
            f'configmaps is forbidden: User "{user}" cannot create resource "configmaps" in API group "" '
            f'in the namespace "{place.name}"'
        )
        refusal = (await bot.get("/api/v1/configmaps")).expect(403)
        assert refusal["message"].endswith('cannot list resource "configmaps" in API group "" at the cluster scope')


async def test_status_is_a_right_of_its_own(api: Api, widgets: Place) -> None:
    rule = {"apiGroups": ["test.basetracker.dev"], "resources": ["widgets/status"], "verbs": ["patch"]}
    (await api.post(widgets.widgets, widget())).expect(201)
    async with await _bot(api, widgets, rule) as bot:
        (await bot.patch(f"{widgets.widgets}/one/status", {"status": {"replicas": 1}})).expect(200)
        refusal = (await bot.patch(f"{widgets.widgets}/one", {"spec": {"replicas": 1}})).expect(403)
        assert refusal["message"].startswith('widgets.test.basetracker.dev "one" is forbidden: User')


async def test_names_narrow_a_right(api: Api, place: Place) -> None:
    (await api.post(place.core("configmaps"), config_map("mine"))).expect(201)
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["mine"],
        "verbs": ["get", "list", "watch"],
    }
    async with await _bot(api, place, rule) as bot:
        (await bot.get(f"{place.core('configmaps')}/mine")).expect(200)
        (await bot.get(f"{place.core('configmaps')}/other")).expect(403)
        (await bot.get(place.core("configmaps"))).expect(403)
        (await bot.get(place.core("configmaps"), fieldSelector="metadata.name=mine")).expect(200)


@pytest.mark.parametrize(
    ("group", "resource", "verb", "allowed"),
    [("", "configmaps", "get", True), ("", "configmaps", "delete", False), ("apps", "deployments", "get", False)],
)
async def test_somebody_can_ask_what_they_may(
    api: Api, place: Place, group: str, resource: str, verb: str, allowed: bool
) -> None:
    async with await _bot(api, place, READ_MAPS) as bot:
        asked = {"namespace": place.name, "group": group, "resource": resource, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        answer = (await bot.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)).expect(201)
        assert answer["status"]["allowed"] is allowed


async def test_everybody_may_discover(api: Api, place: Place) -> None:
    async with await _bot(api, place, READ_MAPS) as bot:
        for path in ("/api", "/apis", "/apis/apps/v1", "/version", "/openapi/v3"):
            (await bot.get(path)).expect(200)


async def test_a_token_names_its_owner_audience_and_end(api: Api, place: Place) -> None:
    spec = {"audiences": ["api://AzureADTokenExchange"], "expirationSeconds": 3600}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    await api.until(f"{place.core('serviceaccounts')}/default", lambda body, status: status == 200)
    issued = (await api.post(f"{place.core('serviceaccounts')}/default/token", request)).expect(201)
    assert issued["status"]["expirationTimestamp"].endswith("Z")
    payload = issued["status"]["token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["aud"] == ["api://AzureADTokenExchange"]
    assert claims["sub"] == f"system:serviceaccount:{place.name}:default"
    assert claims["exp"] - claims["iat"] == 3600
    async with _with_token(api, issued["status"]["token"]) as bearer:
        (await bearer.get("/api/v1/namespaces")).expect(401)


async def test_a_token_lives_at_least_ten_minutes(api: Api, place: Place) -> None:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 60}}
    await api.until(f"{place.core('serviceaccounts')}/default", lambda body, status: status == 200)
    answer = await api.post(f"{place.core('serviceaccounts')}/default/token", request)
    assert "may not specify a duration less than 10 minutes" in answer.causes["spec.expirationSeconds"]
