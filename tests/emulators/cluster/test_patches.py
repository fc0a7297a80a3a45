"""The patch formats. A contract: true of a real server too."""

from __future__ import annotations

from typing import Any

import pytest

from .api import JSON_PATCH, MERGE, STRATEGIC, Api
from .conftest import Place, config_map, deployment, widget

TEMPLATE = "/spec/template/spec/containers"


async def _web(api: Api, place: Place) -> str:
    body = deployment(replicas=0)
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "2"},
    ]
    (await api.post(place.apps("deployments"), body)).expect(201)
    return f"{place.apps('deployments')}/web"


def _containers(body: Any) -> Any:
    return body["spec"]["template"]["spec"]["containers"]


async def test_merge_patch_replaces_lists_and_removes_nulls(api: Api, widgets: Place) -> None:
    body = widget(tags=["a", "b"], note="x", free={"keep": 1, "drop": 2})
    (await api.post(widgets.widgets, body)).expect(201)
    change = {"spec": {"tags": ["c"], "free": {"drop": None, "add": 3}}}
    spec = (await api.patch(f"{widgets.widgets}/one", change, MERGE)).expect(200)["spec"]
    assert spec["tags"] == ["c"]
    assert spec["free"] == {"keep": 1, "add": 3}


async def test_json_patch_tests_before_it_replaces(api: Api, place: Place) -> None:
    path = await _web(api, place)
    right = [
        {"op": "test", "path": f"{TEMPLATE}/0/name", "value": "app"},
        {"op": "test", "path": f"{TEMPLATE}/0/image", "value": "registry.example.com/web:1"},
        {"op": "replace", "path": f"{TEMPLATE}/0/image", "value": "registry.example.com/web:2"},
    ]
    assert _containers((await api.patch(path, right, JSON_PATCH)).expect(200))[0]["image"].endswith(":2")
    refusal = (await api.patch(path, right, JSON_PATCH)).expect(422)
    assert refusal["reason"] == "Invalid"
    assert _containers((await api.get(path)).body)[0]["image"].endswith(":2")


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/nothing/at/all", "value": "x"},
        {"op": "remove", "path": "/data/nothing"},
        {"op": "add", "path": "/nothing/at/all", "value": "x"},
        {"op": "test", "path": "/data/a", "value": "2"},
    ],
    ids=["replace", "remove", "add", "test"],
)
async def test_a_json_patch_that_fails_is_unprocessable(api: Api, place: Place, operation: Any) -> None:
    (await api.post(place.core("configmaps"), config_map(a="1"))).expect(201)
    path = f"{place.core('configmaps')}/plain"
    assert (await api.patch(path, [operation], JSON_PATCH)).expect(422)["reason"] == "Invalid"
    assert (await api.get(path)).body["data"] == {"a": "1"}


async def test_json_patch_moves_copies_and_escapes(api: Api, place: Place) -> None:
    body = config_map(a="1")
    body["metadata"]["annotations"] = {"example.com/x": "z"}
    (await api.post(place.core("configmaps"), body)).expect(201)
    operations = [
        {"op": "copy", "from": "/data/a", "path": "/data/b"},
        {"op": "move", "from": "/data/a", "path": "/data/c"},
        {"op": "replace", "path": "/metadata/annotations/example.com~1x", "value": "new"},
    ]
    made = (await api.patch(f"{place.core('configmaps')}/plain", operations, JSON_PATCH)).expect(200)
    assert made["data"] == {"b": "1", "c": "1"}
    assert made["metadata"]["annotations"] == {"example.com/x": "new"}


async def test_a_patch_must_not_change_the_uid(api: Api, place: Place) -> None:
    path = await _web(api, place)
    answer = await api.patch(path, {"metadata": {"uid": "another"}})
    assert answer.expect(422)["reason"] == "Invalid"
    assert answer.causes["metadata.uid"] == 'Invalid value: "another": field is immutable'


async def test_strategic_merge_goes_by_names(api: Api, place: Place) -> None:
    path = await _web(api, place)
    change = {"containers": [{"name": "app", "image": "other:3", "env": [{"name": "B", "value": "9"}]}]}
    patch = {"spec": {"template": {"spec": change}}}
    found = _containers((await api.patch(path, patch, STRATEGIC)).expect(200))
    assert len(found) == 1
    assert found[0]["image"] == "other:3"
    assert {item["name"]: item["value"] for item in found[0]["env"]} == {"A": "1", "B": "9"}


async def test_strategic_merge_adds_and_deletes_items(api: Api, place: Place) -> None:
    path = await _web(api, place)
    added = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}}
    found = _containers((await api.patch(path, added, STRATEGIC)).expect(200))
    assert {item["name"] for item in found} == {"app", "side"}
    gone = {"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}
    found = _containers((await api.patch(path, gone, STRATEGIC)).expect(200))
    assert [item["name"] for item in found] == ["app"]


async def test_strategic_merge_is_not_for_custom_kinds(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget())).expect(201)
    (await api.patch(f"{widgets.widgets}/one", {"spec": {}}, STRATEGIC)).expect(415)
