"""The samples are right: known to the CRD and to the types, and each shows what its name says."""

from __future__ import annotations

from collections import Counter

import pytest

from basetracker.api.tracker import Mode, Spec, problems
from basetracker.emulators.cluster.schema import apply_defaults, prune
from basetracker.emulators.cluster.validation import violations

from .kustomizations import ROOT, Json, built, only
from .schemas import object_schema

OBJECTS = built("manifests/samples")
TRACKERS = {item["metadata"]["name"]: item for item in OBJECTS if item["kind"] == "BaseImageTracker"}


@pytest.mark.parametrize("name", TRACKERS)
def test_the_tracker_is_right(name: str) -> None:
    assert problems(TRACKERS[name]) == []
    stored: Json = {**TRACKERS[name]}
    assert prune(object_schema(), stored) == [], "the server would drop it"
    apply_defaults(object_schema(), stored)
    assert violations(object_schema(), stored) == []


def test_there_is_a_sample_of_each_kind() -> None:
    shown = {path.stem for path in (ROOT / "manifests/samples").glob("*.yaml")}
    common = {"kustomization", "namespace"}
    assert shown - common == {
        "acr-deployment",
        "public-base",
        "chain",
        "pull-secret",
        "plan-mode",
        "job-gate",
        "signature-keys",
    }


def test_all_lies_in_one_namespace() -> None:
    assert {item["metadata"].get("namespace") for item in OBJECTS if item["kind"] != "Namespace"} == {"shop"}


def test_no_image_and_no_workload_belongs_to_two_trackers() -> None:
    specs = [Spec.model_validate(item["spec"]) for item in TRACKERS.values()]
    images = Counter(str(item.image) for spec in specs for item in spec.downstream)
    workloads = Counter(target.name for spec in specs for item in spec.downstream for target in item.deploy)
    assert set(images.values()) == set(workloads.values()) == {1}


def test_the_first_sample_brings_its_deployment() -> None:
    (downstream,) = Spec.model_validate(TRACKERS["python-3-12"]["spec"]).downstream
    deployment = only(OBJECTS, "Deployment", downstream.deploy[0].name)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == str(downstream.image)


def test_the_chain_hangs_together() -> None:
    parent = Spec.model_validate(TRACKERS["platform-python"]["spec"])
    child = Spec.model_validate(TRACKERS["python-app"]["spec"])
    assert child.base.image == parent.downstream[0].image


def test_the_pull_secret_role_reads_that_secret_and_no_more() -> None:
    reference = Spec.model_validate(TRACKERS["hardened-node"]["spec"]).base.pull_secret_ref
    assert reference is not None
    role = only(OBJECTS, "Role", "basetracker-pull-secret")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [reference.name], "verbs": ["get"]}
    ]
    _is_bound_to_the_operator(role)


def test_the_job_gates_role_is_what_the_gate_needs() -> None:
    (gate,) = (gate.job for gate in Spec.model_validate(TRACKERS["jre-21"]["spec"]).gates if gate.job is not None)
    assert gate.template.spec["template"]["spec"]["containers"]
    role = only(OBJECTS, "Role", "basetracker-job-gate")
    assert {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]} == {
        "jobs": ["get", "create"],
        "pods": ["list"],
        "pods/log": ["get"],
    }
    _is_bound_to_the_operator(role)


def test_the_signature_keys_role_reads_what_the_gates_name_and_no_more() -> None:
    gates = [gate.signature for gate in Spec.model_validate(TRACKERS["go-1-25"]["spec"]).gates if gate.signature]
    sources = [
        source
        for gate in gates
        for source in (
            gate.cosign and gate.cosign.public_key,
            gate.cosign and gate.cosign.keyless and gate.cosign.keyless.trusted_root,
            gate.notation and gate.notation.trust_store,
            gate.notation and gate.notation.timestamp_trust_store,
        )
        if source is not None
    ]
    names = [source.config_map_ref.name for source in sources if source.config_map_ref is not None]
    assert len(names) == len(sources) == 4
    role = only(OBJECTS, "Role", "basetracker-signature-keys")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": names, "verbs": ["get"]}]
    _is_bound_to_the_operator(role)


def _is_bound_to_the_operator(role: Json) -> None:
    binding = only(OBJECTS, "RoleBinding", role["metadata"]["name"])
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    account = only(built("manifests/base"), "ServiceAccount")["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]


def test_one_sample_only_plans() -> None:
    modes = {name: Spec.model_validate(item["spec"]).rollout.mode for name, item in TRACKERS.items()}
    assert [name for name, mode in modes.items() if mode is Mode.PLAN] == ["dotnet-plan"]
