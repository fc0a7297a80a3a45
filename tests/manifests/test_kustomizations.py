"""The kustomizations build, and hold just what they say: objects, rights, settings and safe Pods."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from basetracker.adapters.lease import Terms
from basetracker.handlers.lifecycle import ENDING_SECONDS
from basetracker.settings import Settings

from .kustomizations import ROOT, Json, built, names, only

SYSTEM = "basetracker-system"
INSTALLATIONS = {
    "manifests/base": SYSTEM,
    "manifests/overlays/aks-workload-identity": SYSTEM,
    "manifests/overlays/single-namespace": "shop",
}
EACH = pytest.mark.parametrize("directory", INSTALLATIONS)
RUNS = {
    ("ServiceAccount", "basetracker"),
    ("Role", "basetracker-lease"),
    ("RoleBinding", "basetracker-lease"),
    ("ConfigMap", "basetracker-tasks"),
    ("Deployment", "basetracker"),
    ("PodDisruptionBudget", "basetracker"),
    ("Service", "basetracker-metrics"),
    ("NetworkPolicy", "basetracker"),
}
WORK = {
    "basetracker.dev/baseimagetrackers: get list watch",
    "basetracker.dev/baseimagetrackers/status: patch",
    "apps/deployments: get list patch watch",
    "/events: create patch",
}
LEASE = {
    "coordination.k8s.io/leases: create",
    "coordination.k8s.io/leases [basetracker]: get update",
}


def _rights(role: Json) -> set[str]:
    return {
        f"{group}/{resource}{named}: {' '.join(sorted(rule['verbs']))}"
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for named in [f" {rule['resourceNames']}".replace("'", "") if "resourceNames" in rule else ""]
    }


def _container(directory: str) -> Json:
    (container,) = only(built(directory), "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def _environment(directory: str) -> dict[str, Json]:
    return {item["name"]: item for item in _container(directory)["env"]}


@pytest.mark.parametrize("path", sorted((ROOT / "manifests").rglob("*.yaml")), ids=lambda path: path.name)
def test_every_manifest_is_yaml_with_objects(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert documents
    assert all(document["apiVersion"] and document["kind"] for document in documents)


def test_every_manifest_is_part_of_a_kustomization() -> None:
    for kustomization in (ROOT / "manifests").rglob("kustomization.yaml"):
        body = yaml.safe_load(kustomization.read_text(encoding="utf-8"))
        listed = set(body.get("resources", [])) | {patch["path"] for patch in body.get("patches", [])}
        beside = {path.name for path in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert beside <= listed, kustomization


def test_the_base_is_the_whole_installation() -> None:
    cluster_wide = {
        ("Namespace", "", SYSTEM),
        ("CustomResourceDefinition", "", "baseimagetrackers.basetracker.dev"),
        ("ClusterRole", "", "basetracker"),
        ("ClusterRoleBinding", "", "basetracker"),
    }
    assert names(built("manifests/base")) == cluster_wide | {(kind, SYSTEM, name) for kind, name in RUNS}


def test_workload_identity_adds_the_identity_and_nothing_else() -> None:
    plain, ours = built("manifests/base"), built("manifests/overlays/aks-workload-identity")
    assert names(ours) == names(plain)
    account = only(ours, "ServiceAccount")["metadata"].pop("annotations")
    assert list(account) == ["azure.workload.identity/client-id"]
    labels = only(ours, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels.pop("azure.workload.identity/use") == "true"
    assert only(ours, "ConfigMap")["data"] != only(plain, "ConfigMap")["data"]
    only(ours, "ConfigMap")["data"] = only(plain, "ConfigMap")["data"]
    assert ours == plain


def test_a_single_namespace_needs_nothing_cluster_wide() -> None:
    role = {("Role", "basetracker"), ("RoleBinding", "basetracker")}
    found = names(built("manifests/overlays/single-namespace"))
    assert found == {(kind, "shop", name) for kind, name in RUNS | role}
    setting = _environment("manifests/overlays/single-namespace")["BASETRACKER_NAMESPACES"]
    assert setting["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert "value" not in setting


def test_the_cluster_role_grants_the_least() -> None:
    assert _rights(only(built("manifests/base"), "ClusterRole")) == WORK


def test_the_role_of_a_single_namespace_grants_the_same() -> None:
    assert _rights(only(built("manifests/overlays/single-namespace"), "Role", "basetracker")) == WORK


@EACH
def test_the_lease_is_the_only_right_at_home(directory: str) -> None:
    objects = built(directory)
    assert _rights(only(objects, "Role", "basetracker-lease")) == LEASE
    granted = [_rights(item) for item in objects if item["kind"] in ("Role", "ClusterRole")]
    assert sorted(granted, key=len) == sorted([LEASE, WORK], key=len)


@EACH
def test_rights_go_to_the_operators_account_alone(directory: str) -> None:
    home = INSTALLATIONS[directory]
    bindings = [item for item in built(directory) if item["kind"].endswith("RoleBinding")]
    assert {item["roleRef"]["name"] for item in bindings} == {"basetracker", "basetracker-lease"}
    for item in bindings:
        assert item["subjects"] == [{"kind": "ServiceAccount", "name": "basetracker", "namespace": home}]
        assert item["roleRef"]["kind"] == ("ClusterRole" if item["kind"].startswith("Cluster") else "Role")


@EACH
def test_the_pod_has_no_more_than_it_needs(directory: str) -> None:
    pod = only(built(directory), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
    assert (pod["enableServiceLinks"], pod["automountServiceAccountToken"]) == (False, True)
    container = _container(directory)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
    kinds = {volume["name"]: set(volume) - {"name"} for volume in pod["volumes"]}
    assert kinds == {"tasks": {"configMap"}, "tmp": {"emptyDir"}}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(kinds)


@EACH
def test_ports_probes_and_selectors_agree(directory: str) -> None:
    objects = built(directory)
    container, deployment = _container(directory), only(objects, "Deployment")["spec"]
    (port,) = container["ports"]
    assert _environment(directory)["BASETRACKER_LISTEN"]["value"] == f":{port['containerPort']}"
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert [probe["path"] for probe in probes.values()] == ["/healthz", "/healthz", "/readyz"]
    assert [item["targetPort"] for item in only(objects, "Service")["spec"]["ports"]] == [port["name"]]
    (ingress,) = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [item["port"] for item in ingress["ports"]] == [port["containerPort"]]
    labels = deployment["template"]["metadata"]["labels"].items()
    for chosen in (
        deployment["selector"]["matchLabels"],
        only(objects, "Service")["spec"]["selector"],
        only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert chosen
        assert chosen.items() <= labels


def test_only_names_https_and_the_api_server_can_be_reached() -> None:
    rules = only(built("manifests/base"), "NetworkPolicy")["spec"]["egress"]
    assert {(item["protocol"], item["port"]) for rule in rules for item in rule["ports"]} == {
        ("UDP", 53),
        ("TCP", 53),
        ("TCP", 443),
        ("TCP", 6443),
    }


@EACH
def test_the_allow_list_lies_where_the_operator_looks(directory: str) -> None:
    objects, container = built(directory), _container(directory)
    config = only(objects, "ConfigMap")
    (mount,) = (item for item in container["volumeMounts"] if item["name"] == "tasks")
    assert "subPath" not in mount, "a subPath never follows the ConfigMap"
    (key,) = config["data"]
    assert _environment(directory)["BASETRACKER_ALLOW_LIST"]["value"] == f"{mount['mountPath']}/{key}"
    for entry in yaml.safe_load(config["data"][key]):
        assert set(entry) == {"namespaces", "registries", "tasks"}
        assert all(isinstance(word, str) for words in entry.values() for word in words)


def test_by_default_no_task_is_allowed() -> None:
    assert yaml.safe_load(only(built("manifests/base"), "ConfigMap")["data"]["tasks.yaml"]) == []


def test_the_image_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert _container("manifests/base")["image"].rpartition(":")[2] == project["version"]


@EACH
def test_every_setting_is_one_that_the_operator_has(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {name: item for name, item in _environment(directory).items() if name.startswith("BASETRACKER_")}
    assert ours.keys() <= {f"BASETRACKER_{name.upper()}" for name in Settings.model_fields}
    for name, item in ours.items():
        # A field of the Pod: its namespace, in all of them.
        monkeypatch.setenv(name, item.get("value", "shop"))
    given: dict[str, Any] = {}  # nothing by flags; typed so, since the type checker sees no defaults
    settings = Settings(**given)
    expected = ("shop",) if directory.endswith("single-namespace") else ()
    assert (settings.namespaces, settings.lease_namespace) == (expected, "shop")
    assert (settings.listen, settings.log_format) == (":8080", "json")
    assert str(settings.allow_list) == "/etc/basetracker/tasks/tasks.yaml"
    assert {line.replace("basetracker]", f"{settings.lease_name}]") for line in LEASE} == LEASE


@EACH
def test_a_pod_has_time_for_the_work_to_end_and_for_what_is_closed_after_it(directory: str) -> None:
    grace = only(built(directory), "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert ENDING_SECONDS < Terms().grace < grace
