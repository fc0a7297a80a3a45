"""What holds for every kind: names, versions, generation, status, finalizers, owners. A contract: true of a real server too."""

from __future__ import annotations

from .api import Api
from .conftest import Place, config_map, deployment, widget


async def test_a_new_object_gets_its_identity(api: Api, place: Place) -> None:
    made = (await api.post(place.core("configmaps"), config_map(a="1"))).expect(201)
    assert made["metadata"]["uid"]
    assert made["metadata"]["resourceVersion"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert made["metadata"]["namespace"] == place.name
    assert "generation" not in made["metadata"]


async def test_a_name_is_taken_once(api: Api, place: Place) -> None:
    (await api.post(place.core("configmaps"), config_map())).expect(201)
    refusal = (await api.post(place.core("configmaps"), config_map())).expect(409)
    assert refusal["reason"] == "AlreadyExists"
    assert refusal["message"] == 'configmaps "plain" already exists'


async def test_a_bad_name_is_invalid(api: Api, place: Place) -> None:
    answer = await api.post(place.core("configmaps"), config_map("Not_Good"))
    assert answer.expect(422)["reason"] == "Invalid"
    assert "a lowercase RFC 1123 subdomain" in answer.causes["metadata.name"]


async def test_generate_name_adds_five_characters(api: Api, place: Place) -> None:
    body = config_map() | {"metadata": {"generateName": "cm-"}}
    made = (await api.post(place.core("configmaps"), body)).expect(201)
    assert len(made["metadata"]["name"]) == len("cm-") + 5


async def test_a_missing_object_is_named(api: Api, widgets: Place) -> None:
    refusal = (await api.get(f"{widgets.widgets}/nobody")).expect(404)
    assert refusal["message"] == 'widgets.test.basetracker.dev "nobody" not found'
    assert refusal["details"] == {"name": "nobody", "group": "test.basetracker.dev", "kind": "widgets"}


async def test_a_namespace_must_exist(api: Api, widgets: Place) -> None:
    answer = await api.post("/api/v1/namespaces/nowhere-at-all/configmaps", config_map())
    assert answer.expect(404)["message"] == 'namespaces "nowhere-at-all" not found'


async def test_a_stale_put_is_a_conflict(api: Api, place: Place) -> None:
    path = f"{place.core('configmaps')}/plain"
    first = (await api.post(place.core("configmaps"), config_map(a="1"))).expect(201)
    (await api.put(path, first | {"data": {"a": "2"}})).expect(200)
    refusal = (await api.put(path, first | {"data": {"a": "3"}})).expect(409)
    assert refusal["reason"] == "Conflict"
    assert "the object has been modified; please apply your changes to the latest version" in refusal["message"]
    assert (await api.get(path)).body["data"] == {"a": "2"}


async def test_a_stale_patch_is_a_conflict(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    first = (await api.post(widgets.widgets, widget())).expect(201)
    (await api.patch(path, {"spec": {"replicas": 2}})).expect(200)
    stale = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "spec": {"replicas": 3}}
    (await api.patch(path, stale)).expect(409)


async def test_a_custom_put_needs_a_version(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget())).expect(201)
    answer = await api.put(f"{widgets.widgets}/one", widget(replicas=3))
    assert "must be specified for an update" in answer.causes["metadata.resourceVersion"]


async def test_nothing_is_written_when_nothing_changes(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    first = (await api.post(widgets.widgets, widget(replicas=2))).expect(201)
    again = (await api.patch(path, {"spec": {"replicas": 2}})).expect(200)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_generation_counts_changes_of_the_spec(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    assert (await api.post(widgets.widgets, widget())).body["metadata"]["generation"] == 1
    assert (await api.patch(path, {"metadata": {"labels": {"a": "b"}}})).body["metadata"]["generation"] == 1
    assert (await api.patch(path, {"spec": {"replicas": 4}})).body["metadata"]["generation"] == 2
    status = {"status": {"replicas": 4}}
    assert (await api.patch(f"{path}/status", status)).body["metadata"]["generation"] == 2


async def test_status_and_spec_are_written_apart(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    made = (await api.post(widgets.widgets, widget() | {"status": {"replicas": 9}})).expect(201)
    assert "status" not in made
    assert "status" not in (await api.patch(path, {"status": {"replicas": 9}})).expect(200)
    both = {"spec": {"replicas": 7}, "status": {"replicas": 1}, "metadata": {"labels": {"x": "y"}}}
    written = (await api.patch(f"{path}/status", both)).expect(200)
    assert written["status"] == {"replicas": 1}
    assert written["spec"]["replicas"] == 1
    assert "labels" not in written["metadata"]


async def test_dry_run_writes_nothing(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget(), dryRun="All")).expect(201)
    (await api.get(f"{widgets.widgets}/one")).expect(404)
    (await api.post(widgets.widgets, widget())).expect(201)
    changed = (await api.patch(f"{widgets.widgets}/one", {"spec": {"replicas": 5}}, dryRun="All")).expect(200)
    assert changed["spec"]["replicas"] == 5
    assert (await api.get(f"{widgets.widgets}/one")).body["spec"]["replicas"] == 1


async def test_a_finalizer_holds_a_deleted_object(api: Api, widgets: Place) -> None:
    path = f"{widgets.widgets}/one"
    body = widget()
    body["metadata"]["finalizers"] = ["test.basetracker.dev/hold"]
    (await api.post(widgets.widgets, body)).expect(201)
    held = (await api.delete(path)).expect(200)
    assert held["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["test.basetracker.dev/hold", "test.basetracker.dev/more"]}}
    answer = await api.patch(path, more)
    assert "no new finalizers can be added" in answer.causes["metadata.finalizers"]
    (await api.patch(path, {"metadata": {"finalizers": None}})).expect(200)
    (await api.get(path)).expect(404)


async def test_a_delete_answers_a_status_with_the_uid(api: Api, widgets: Place) -> None:
    made = (await api.post(widgets.widgets, widget())).expect(201)
    gone = (await api.delete(f"{widgets.widgets}/one")).expect(200)
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    assert gone["details"]["uid"] == made["metadata"]["uid"]


async def test_a_delete_can_name_the_uid(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget())).expect(201)
    other = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "another"}}
    assert (await api.delete(f"{widgets.widgets}/one", other)).expect(409)["reason"] == "Conflict"


async def test_dependents_go_with_their_owner(api: Api, place: Place) -> None:
    owner = (await api.post(place.core("configmaps"), config_map("owner"))).expect(201)
    child = config_map("child")
    uid = owner["metadata"]["uid"]
    child["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]
    (await api.post(place.core("configmaps"), child)).expect(201)
    (await api.delete(f"{place.core('configmaps')}/owner")).expect(200)
    await api.until(f"{place.core('configmaps')}/child", lambda body, status: status == 404)


async def test_orphans_stay(api: Api, place: Place) -> None:
    owner = (await api.post(place.core("configmaps"), config_map("owner"))).expect(201)
    child = config_map("child")
    uid = owner["metadata"]["uid"]
    child["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]
    (await api.post(place.core("configmaps"), child)).expect(201)
    (await api.delete(f"{place.core('configmaps')}/owner", propagationPolicy="Orphan")).expect(200)
    await api.until(f"{place.core('configmaps')}/owner", lambda body, status: status == 404)
    left = (await api.get(f"{place.core('configmaps')}/child")).expect(200)
    assert not left["metadata"].get("ownerReferences")


async def test_a_namespace_takes_its_contents_along(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget())).expect(201)
    (await api.delete(f"/api/v1/namespaces/{widgets.name}")).expect(200)
    await api.until(f"/api/v1/namespaces/{widgets.name}", lambda body, status: status == 404, 60)
    (await api.get(f"{widgets.widgets}/one")).expect(404)


async def test_scale_changes_one_number(api: Api, widgets: Place) -> None:
    (await api.post(widgets.widgets, widget(replicas=2))).expect(201)
    path = f"{widgets.widgets}/one/scale"
    scale = (await api.get(path)).expect(200)
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 2)
    (await api.patch(path, {"spec": {"replicas": 6}})).expect(200)
    assert (await api.get(f"{widgets.widgets}/one")).body["spec"]["replicas"] == 6


async def test_deployments_are_filled_in(api: Api, place: Place) -> None:
    body = deployment()
    del body["spec"]["replicas"]
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": 1}}
    spec = (await api.post(place.apps("deployments"), body)).expect(201)["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert spec["progressDeadlineSeconds"] == 600
    pod = spec["template"]["spec"]
    assert (pod["restartPolicy"], pod["dnsPolicy"]) == ("Always", "ClusterFirst")
    assert pod["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert pod["containers"][0]["resources"] == {"limits": {"cpu": "1"}}


async def test_a_selector_must_match_and_stays(api: Api, place: Place) -> None:
    body = deployment()
    body["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    answer = await api.post(place.apps("deployments"), body)
    assert "`selector` does not match template `labels`" in answer.causes["spec.template.metadata.labels"]
    (await api.post(place.apps("deployments"), deployment())).expect(201)
    moved = {"spec": {"selector": {"matchLabels": {"tier": "a"}}, "template": {"metadata": {"labels": {"tier": "a"}}}}}
    answer = await api.patch(f"{place.apps('deployments')}/web", moved)
    assert answer.causes["spec.selector"].endswith("field is immutable")


async def test_string_data_becomes_data(api: Api, place: Place) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "value"}}
    made = (await api.post(place.core("secrets"), secret)).expect(201)
    assert (made["data"], made["type"]) == ({"key": "dmFsdWU="}, "Opaque")
    assert "stringData" not in made


async def test_events_have_two_faces(api: Api, place: Place) -> None:
    about = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "namespace": place.name, "uid": "1"}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "x.1"},
        "involvedObject": about,
        "reason": "Tried",
        "message": "it was tried",
        "type": "Normal",
        "source": {"component": "contract"},
        "count": 1,
    }
    (await api.post(place.core("events"), event)).expect(201)
    other = (await api.get(f"/apis/events.k8s.io/v1/namespaces/{place.name}/events/x.1")).expect(200)
    assert (other["note"], other["regarding"]["name"]) == ("it was tried", "x")
    selector = "involvedObject.name=x,involvedObject.uid=1"
    assert len((await api.get(place.core("events"), fieldSelector=selector)).body["items"]) == 1
    none = (await api.get(place.core("events"), fieldSelector="involvedObject.name=y")).body
    assert none["items"] == []
