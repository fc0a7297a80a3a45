"""Server-side apply and field ownership. A contract: true of a real server too."""

from __future__ import annotations

from typing import Any

from .api import APPLY, JSON_PATCH, MERGE, Api, Json
from .conftest import Place, deployment, widget


async def _apply(api: Api, path: str, body: Json, manager: str, **query: Any) -> Any:
    return await api.call("PATCH", path, body, media_type=APPLY, fieldManager=manager, **query)


def _owners(body: Json) -> dict[str, Any]:
    return {f"{item['manager']}/{item['operation']}": item["fieldsV1"] for item in body["metadata"]["managedFields"]}


async def test_applying_creates_and_owns_what_was_named(api: Api, widgets: Place) -> None:
    made = (await _apply(api, f"{widgets.widgets}/one", widget(parts=[{"name": "p"}]), "alice")).expect(201)
    assert made["spec"]["replicas"] == 1
    parts = {'k:{"name":"p"}': {".": {}, "f:name": {}}}
    assert _owners(made) == {"alice/Apply": {"f:spec": {"f:image": {}, "f:parts": parts}}}


async def test_the_same_again_changes_nothing(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    first = (await _apply(api, path, widget(), "alice")).expect(201)
    again = (await _apply(api, path, widget(), "alice")).expect(200)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_somebody_elses_field_is_a_conflict(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await _apply(api, path, widget(replicas=2), "alice")).expect(201)
    refusal = (await _apply(api, path, widget(replicas=3), "bob")).expect(409)
    assert refusal["reason"] == "Conflict"
    assert refusal["message"] == 'Apply failed with 1 conflict: conflict with "alice": .spec.replicas'
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "alice"', "field": ".spec.replicas"}
    assert refusal["details"]["causes"] == [cause]


async def test_force_takes_the_field(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await _apply(api, path, widget(replicas=2), "alice")).expect(201)
    taken = (await _apply(api, path, widget(replicas=3), "bob", force="true")).expect(200)
    assert taken["spec"]["replicas"] == 3
    assert "f:replicas" in _owners(taken)["bob/Apply"]["f:spec"]
    assert "f:replicas" not in _owners(taken)["alice/Apply"]["f:spec"]


async def test_the_same_value_is_shared(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await _apply(api, path, widget(replicas=2), "alice")).expect(201)
    shared = (await _apply(api, path, widget(replicas=2), "bob")).expect(200)
    assert "f:replicas" in _owners(shared)["alice/Apply"]["f:spec"]
    assert "f:replicas" in _owners(shared)["bob/Apply"]["f:spec"]


async def test_what_is_no_longer_named_goes(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    parts = [{"name": "a", "color": "red"}, {"name": "b"}]
    (await _apply(api, path, widget(low=1, note="x", parts=parts), "alice")).expect(201)
    spec = (await _apply(api, path, widget(note="x", parts=[{"name": "a"}]), "alice")).expect(200)["spec"]
    assert "low" not in spec
    assert spec["note"] == "x"
    assert spec["parts"] == [{"name": "a", "size": 5}]


async def test_an_empty_object_may_be_filled_later(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await _apply(api, path, widget(nested={}), "alice")).expect(201)
    spec = (await _apply(api, path, widget(nested={"deep": "blue"}), "alice")).expect(200)["spec"]
    assert spec["nested"]["deep"] == "blue"


async def test_an_object_that_is_no_longer_named_goes_with_its_defaults(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    parts = [{"name": "a", "color": "red"}]
    (await _apply(api, path, widget(parts=parts), "alice")).expect(201)
    spec = (await _apply(api, path, widget(), "alice")).expect(200)["spec"]
    assert "parts" not in spec


async def test_items_of_a_keyed_list_have_owners_each(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await _apply(api, path, widget(parts=[{"name": "a", "color": "red"}]), "alice")).expect(201)
    mine: Json = {"apiVersion": "test.basetracker.dev/v1alpha1", "kind": "Widget", "metadata": {"name": "one"}}
    mine["spec"] = {"parts": [{"name": "b", "color": "blue"}]}
    spec = (await _apply(api, path, mine, "bob")).expect(200)["spec"]
    assert [(part["name"], part["color"]) for part in spec["parts"]] == [("a", "red"), ("b", "blue")]
    mine["spec"] = {"parts": [{"name": "a", "color": "green"}]}
    refusal = (await _apply(api, path, mine, "bob")).expect(409)
    assert refusal["details"]["causes"][0]["field"] == '.spec.parts[name="a"].color'


async def test_a_set_is_merged(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await _apply(api, path, widget(tags=["a"]), "alice")).expect(201)
    spec = (await _apply(api, path, widget(tags=["b"]), "bob")).expect(200)["spec"]
    assert spec["tags"] == ["a", "b"]
    spec = (await _apply(api, path, widget(), "alice")).expect(200)["spec"]
    assert spec["tags"] == ["b"]


async def test_a_plain_write_takes_what_it_changes(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await _apply(api, path, widget(replicas=2), "alice")).expect(201)
    changed = (await api.patch(path, {"spec": {"replicas": 4}}, MERGE, fieldManager="tool")).expect(200)
    owners = _owners(changed)
    assert owners["tool/Update"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owners["alice/Apply"]["f:spec"]
    refusal = (await _apply(api, path, widget(replicas=2), "alice")).expect(409)
    expected = 'conflict with "tool" using test.basetracker.dev/v1alpha1'
    assert refusal["details"]["causes"][0]["message"] == expected


async def test_status_has_owners_of_its_own(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await api.post(widgets.widgets, widget())).expect(201)
    written = (await api.patch(f"{path}/status", {"status": {"replicas": 1}}, fieldManager="op")).expect(200)
    entry = next(item for item in written["metadata"]["managedFields"] if item["manager"] == "op")
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {".": {}, "f:replicas": {}}}


async def test_a_plain_create_owns_everything(api: Api, widgets: Place) -> None:
    body = widget(parts=[{"name": "x"}], free={"a": {"b": 1}})
    body["metadata"]["labels"] = {"a": "b"}
    made = (await api.post(widgets.widgets, body, fieldManager="tool")).expect(201)
    part = {".": {}, "f:name": {}, "f:size": {}}
    assert _owners(made)["tool/Update"] == {
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {
            ".": {},
            "f:free": {".": {}, "f:a": {".": {}, "f:b": {}}},
            "f:image": {},
            "f:kind": {},
            "f:mode": {},
            "f:nested": {".": {}, "f:deep": {}},
            "f:parts": {".": {}, 'k:{"name":"x"}': part},
            "f:replicas": {},
        },
    }


async def test_a_plain_create_of_a_deployment_owns_everything(api: Api, place: Place) -> None:
    made = (await api.post(place.apps("deployments"), deployment(replicas=0), fieldManager="tool")).expect(201)
    container = (
        "image imagePullPolicy name resources terminationMessagePath terminationMessagePolicy".split()  # noqa: SIM905  # reads better
    )
    spec = "dnsPolicy restartPolicy schedulerName securityContext terminationGracePeriodSeconds".split()  # noqa: SIM905  # reads better
    rolling = {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}
    items = {'k:{"name":"app"}': {".": {}} | {f"f:{name}": {} for name in container}}
    assert _owners(made)["tool/Update"]["f:spec"] == {
        "f:progressDeadlineSeconds": {},
        "f:replicas": {},
        "f:revisionHistoryLimit": {},
        "f:selector": {},
        "f:strategy": {"f:rollingUpdate": rolling, "f:type": {}},
        "f:template": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:containers": items} | {f"f:{name}": {} for name in spec},
        },
    }


async def test_the_image_of_a_container_has_an_owner(api: Api, place: Place) -> None:
    path = f"{place.apps('deployments')}/web"
    (await _apply(api, path, deployment(replicas=0), "git")).expect(201)
    where = "/spec/template/spec/containers/0"
    operations = [
        {"op": "test", "path": f"{where}/image", "value": "registry.example.com/web:1"},
        {"op": "replace", "path": f"{where}/image", "value": "registry.example.com/web:1@sha256:" + "a" * 64},
    ]
    (await api.patch(path, operations, JSON_PATCH, fieldManager="basetracker")).expect(200)
    refusal = (await _apply(api, path, deployment(replicas=0), "git")).expect(409)
    (cause,) = refusal["details"]["causes"]
    assert cause["field"] == '.spec.template.spec.containers[name="app"].image'
    assert cause["message"] == 'conflict with "basetracker" using apps/v1'


async def test_several_conflicts_are_listed(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await _apply(api, path, widget(replicas=2, low=1), "alice")).expect(201)
    refusal = (await _apply(api, path, widget(replicas=3, low=2), "bob")).expect(409)
    lines = ['Apply failed with 2 conflicts: conflicts with "alice":', "- .spec.low", "- .spec.replicas"]
    assert refusal["message"] == "\n".join(lines)


async def test_applied_objects_carry_no_managed_fields(api: Api, widgets: Place) -> None:
    body = widget()
    body["metadata"]["managedFields"] = [{"manager": "x", "operation": "Apply"}]
    refusal = (await _apply(api, f"{widgets.widgets}/one", body, "alice")).expect(400)
    assert "managedFields must be nil" in refusal["message"]
