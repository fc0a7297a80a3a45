"""Lists, selectors, pages and Tables. A contract: true of a real server too."""

from __future__ import annotations

from .api import PARTIAL, TABLE, Api
from .conftest import Place, config_map, widget


async def _names(api: Api, path: str, **query: object) -> list[str]:
    return [item["metadata"]["name"] for item in (await api.get(path, **query)).expect(200)["items"]]


async def test_selectors(api: Api, widgets: Place) -> None:
    for name, labels, image in (("a", {"t": "x"}, "i:1"), ("b", {"t": "y"}, "i:2"), ("c", {}, "i:2")):
        body = widget(name, image=f"team/{image}")
        body["metadata"]["labels"] = labels
        (await api.post(widgets.widgets, body)).expect(201)
    path = widgets.widgets
    assert await _names(api, path, labelSelector="t=x") == ["a"]
    assert await _names(api, path, labelSelector="t!=x") == ["b", "c"]
    assert await _names(api, path, labelSelector="t in (x,y)") == ["a", "b"]
    assert await _names(api, path, labelSelector="t notin (x)") == ["b", "c"]
    assert await _names(api, path, labelSelector="t") == ["a", "b"]
    assert await _names(api, path, labelSelector="!t") == ["c"]
    assert await _names(api, path, fieldSelector="metadata.name=b") == ["b"]
    assert await _names(api, path, fieldSelector="spec.image=team/i:2") == ["b", "c"]
    assert await _names(api, path, fieldSelector="spec.image=team/i:2", labelSelector="t") == ["b"]
    (await api.get(path, fieldSelector="spec.replicas=1")).expect(400)


async def test_pages(api: Api, place: Place) -> None:
    path = place.core("configmaps")
    for index in range(5):
        (await api.post(path, config_map(f"cm-{index}"))).expect(201)
    query = {"limit": 2, "fieldSelector": "metadata.name!=kube-root-ca.crt"}
    first = (await api.get(path, **query)).expect(200)
    assert [item["metadata"]["name"] for item in first["items"]] == ["cm-0", "cm-1"]
    second = (await api.get(path, **query, **{"continue": first["metadata"]["continue"]})).expect(200)
    third = (await api.get(path, **query, **{"continue": second["metadata"]["continue"]})).expect(200)
    assert [item["metadata"]["name"] for item in second["items"] + third["items"]] == ["cm-2", "cm-3", "cm-4"]
    assert not third["metadata"].get("continue")


async def test_a_list_over_all_namespaces_has_its_kind(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget())).expect(201)
    found = (await api.get("/apis/test.basetracker.dev/v1alpha1/widgets")).expect(200)
    assert found["kind"] == "WidgetList"
    assert widgets.name in {item["metadata"]["namespace"] for item in found["items"]}
    assert int(found["metadata"]["resourceVersion"]) > 0


async def test_metadata_alone(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget())).expect(201)
    found = (await api.get(widgets.widgets, accept=PARTIAL)).expect(200)
    assert found["kind"] == "PartialObjectMetadataList"
    assert "spec" not in found["items"][0]


async def test_a_table_of_a_custom_kind(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget(replicas=3))).expect(201)
    ready = {"type": "Ready", "status": "True", "message": "all fine"}
    status = {"status": {"conditions": [ready], "since": "2020-01-01T00:00:00Z"}}
    (await api.patch(f"{widgets.widgets}/one/status", status)).expect(200)
    table = (await api.get(widgets.widgets, accept=TABLE)).expect(200)
    columns = [(column["name"], column["type"], column["priority"]) for column in table["columnDefinitions"]]
    assert columns == [
        ("Name", "string", 0),
        ("Image", "string", 0),
        ("Replicas", "integer", 0),
        ("Ready", "string", 0),
        ("Since", "date", 0),
        ("Age", "date", 0),
        ("Message", "string", 1),
    ]
    cells = table["rows"][0]["cells"]
    assert cells[:4] == ["one", "team/app:1", 3, "True"]
    assert "y" in cells[4]
    assert cells[5].endswith("s")
    assert cells[6] == "all fine"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_absent_cells_are_empty(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget())).expect(201)
    table = (await api.get(f"{widgets.widgets}/one", accept=TABLE)).expect(200)
    assert table["rows"][0]["cells"][3] is None


async def test_delete_collection(api: Api, widgets: Place) -> None:
    for name in ("a", "b", "c"):
        body = widget(name)
        body["metadata"]["labels"] = {"kill": "no" if name == "c" else "yes"}
        (await api.post(widgets.widgets, body)).expect(201)
    (await api.delete(widgets.widgets, labelSelector="kill=yes")).expect(200)
    assert await _names(api, widgets.widgets) == ["c"]
