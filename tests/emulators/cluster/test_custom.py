"""Custom kinds: discovery, schema and CEL rules. A contract: true of a real server too."""

from __future__ import annotations

from typing import Any

import pytest

from .api import Api
from .conftest import CRDS, WIDGETS, Place, widget, widget_definition


async def test_a_definition_is_served_at_once(api: Api, widgets: Place) -> None:
    stored = (await api.get(f"{CRDS}/widgets.test.basetracker.dev")).expect(200)
    conditions = {item["type"]: item["status"] for item in stored["status"]["conditions"]}
    assert conditions["Established"] == "True"
    served = (await api.get(WIDGETS)).expect(200)["resources"]
    names = {item["name"]: item for item in served}
    assert set(names) == {"widgets", "widgets/status", "widgets/scale"}
    assert names["widgets"]["shortNames"] == ["wid"]
    assert names["widgets"]["categories"] == ["gear"]
    groups = (await api.get("/apis")).expect(200)["groups"]
    assert "test.basetracker.dev" in {group["name"] for group in groups}


async def test_defaults_are_filled_in(api: Api, widgets: Place) -> None:
    spec = (await api.post(widgets.widgets, widget(parts=[{"name": "p"}]))).expect(201)["spec"]
    assert spec["replicas"] == 1
    assert spec["mode"] == "Apply"
    assert spec["nested"] == {"deep": "down"}
    assert spec["parts"] == [{"name": "p", "size": 5}]


async def test_unknown_fields_are_dropped_with_a_warning(api: Api, widgets: Place) -> None:
    answer = await api.post(widgets.widgets, widget(wrong=1, free={"any": {"thing": 1}}))
    spec = answer.expect(201)["spec"]
    assert "wrong" not in spec
    assert spec["free"] == {"any": {"thing": 1}}
    assert answer.headers["Warning"] == '299 - "unknown field \\"spec.wrong\\""'


async def test_unknown_fields_are_refused_when_asked(api: Api, widgets: Place) -> None:
    answer = await api.post(widgets.widgets, widget(wrong=1), fieldValidation="Strict")
    assert 'strict decoding error: unknown field "spec.wrong"' in answer.expect(400)["message"]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"image": None}, "spec.image", "Required value"),
    ({"image": 5}, "spec.image", 'Invalid value: "integer": spec.image in body must be of type string: "integer"'),
    ({"image": "x:"}, "spec.image", 'Invalid value: "x:": spec.image in body should be at least 3 chars long'),
    ({"image": "a:" + "b" * 60}, "spec.image", "Too long: may not be more than 60 bytes"),
    ({"image": "A B:1"}, "spec.image", "Invalid value: \"A B:1\": spec.image in body should match '^[a-z0-9./:@-]+$'"),
    ({"image": "team/app"}, "spec.image", 'Invalid value: "team/app": the image has no tag'),
    ({"replicas": 11}, "spec.replicas", "Invalid value: 11: spec.replicas in body should be less than or equal to 10"),
    (
        {"replicas": "1"},
        "spec.replicas",
        'Invalid value: "string": spec.replicas in body must be of type integer: "string"',
    ),
    ({"mode": "X"}, "spec.mode", 'Unsupported value: "X": supported values: "Apply", "Plan"'),
    ({"parts": []}, "spec.parts", "Invalid value: 0: spec.parts in body should have at least 1 items"),
    ({"tags": ["a", "b", "c", "d"]}, "spec.tags", "Too many: 4: must have at most 3 items"),
    ({"tags": ["a", "a"]}, "spec.tags[1]", 'Duplicate value: "a"'),
    ({"parts": [{"size": 1}]}, "spec.parts[0].name", "Required value"),
    ({"parts": [{"name": "a"}, {"name": "a"}]}, "spec.parts[1]", 'Duplicate value: {"name":"a"}'),
    ({"low": 2, "high": 1}, "spec.low", "Invalid value: low must not be above high"),
    ({"interval": "5s"}, "spec.interval", 'Invalid value: "5s": at least 10s, not 5s'),
]


@pytest.mark.parametrize(
    ("spec", "field", "message"), REFUSED, ids=[f"{case[1]}-{i}" for i, case in enumerate(REFUSED)]
)
async def test_a_bad_value_is_refused(api: Api, widgets: Place, spec: dict[str, Any], field: str, message: str) -> None:
    body = widget()
    body["spec"] = {key: value for key, value in (body["spec"] | spec).items() if value is not None}
    answer = await api.post(widgets.widgets, body)
    assert answer.expect(422)["reason"] == "Invalid"
    assert answer.causes[field] == message
    assert 'Widget.test.basetracker.dev "one" is invalid: ' in answer.body["message"]
    assert f"{field}: {message}" in answer.body["message"]


async def test_good_values_pass(api: Api, widgets: Place) -> None:
    body = widget(port="http", note=None, interval="1m30s", tags=["a", "b"], low=1, high=1)
    spec = (await api.post(widgets.widgets, body)).expect(201)["spec"]
    assert spec["port"] == "http"
    assert spec["note"] is None
    assert (await api.patch(f"{widgets.widgets}/one", {"spec": {"port": 80}})).expect(200)["spec"]["port"] == 80


async def test_rules_on_changes(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    (await api.post(widgets.widgets, widget(kind="plain", parts=[{"name": "p", "size": 1}]))).expect(201)
    answer = await api.patch(path, {"spec": {"kind": "fancy"}})
    assert answer.expect(422)
    assert answer.causes["spec.kind"] == "Forbidden: kind is fixed"
    answer = await api.patch(path, {"spec": {"parts": [{"name": "p", "size": 2}]}})
    assert answer.causes["spec.parts[0]"] == "Invalid value: a part keeps its size"
    grown = {"spec": {"parts": [{"name": "q", "size": 2}, {"name": "p", "size": 1}]}}
    (await api.patch(path, grown)).expect(200)


async def test_rules_wait_until_the_structure_is_right(api: Api, widgets: Place) -> None:
    body = widget(low=2, high=1, replicas="many")
    answer = await api.post(widgets.widgets, body)
    assert answer.expect(422)
    assert "spec.low" not in answer.causes
    assert "some validation rules were not checked" in answer.causes["<nil>"]


async def test_a_wrong_rule_is_refused_with_its_definition(api: Api) -> None:
    definition = widget_definition()
    definition["metadata"]["name"] = "gadgets.test.basetracker.dev"
    definition["spec"]["names"] = {
        "plural": "gadgets",
        "kind": "Gadget",
        "singular": "gadget",
        "listKind": "GadgetList",
    }
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "nothing.like(self)"}]
    answer = await api.post(CRDS, definition)
    assert answer.expect(422)["reason"] == "Invalid"
    path = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
    name = next(iter(answer.causes))
    assert name.startswith("spec.")
    assert "compilation failed" in answer.causes.get(path, answer.causes[name])


async def test_openapi_describes_it(api: Api, widgets: Place) -> None:
    index = (await api.get("/openapi/v3")).expect(200)["paths"]
    path = index["apis/test.basetracker.dev/v1alpha1"]["serverRelativeURL"]
    document = (await api.get(path)).expect(200)
    kinds = [
        kind
        for schema in document["components"]["schemas"].values()
        for kind in schema.get("x-kubernetes-group-version-kind", [])
    ]
    assert {"group": "test.basetracker.dev", "version": "v1alpha1", "kind": "Widget"} in kinds
    assert "/apis/test.basetracker.dev/v1alpha1/namespaces/{namespace}/widgets/{name}" in document["paths"]
