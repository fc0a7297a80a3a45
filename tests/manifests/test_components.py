"""Components add to an installation what one gate needs: rights to read, or room to work, and nothing else."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest
import yaml

from basetracker.api.size import parse_size
from basetracker.settings import Settings

from .kustomizations import ROOT, Json, built, names, only

COMPONENTS = ("gate-reports",)
"""Those that grant rights."""
LOADED, INTERPRETER = 1, 3
"""Kinds of segments of an ELF file."""
DATABASES = 3 << 30
"""Bytes of three of Trivy's: the one in use, the one before, the next."""


def with_component(directory: Path, component: str) -> list[Json]:
    """The base with a component, as an overlay in `directory` of a user has it."""
    way = Path(os.path.relpath(ROOT / "manifests", directory))
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(way / "base")],
        "components": [str(way / "components" / component)],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(body))
    return built(str(directory))


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_adds_rights_and_nothing_else(component: str, tmp_path: Path) -> None:
    base, ours = built("manifests/base"), with_component(tmp_path, component)
    assert names(ours) - names(base) == {
        (kind, "", f"basetracker-{component}") for kind in ("ClusterRole", "ClusterRoleBinding")
    }
    assert [item for item in ours if item["metadata"]["name"] != f"basetracker-{component}"] == base
    role = only(ours, "ClusterRole", f"basetracker-{component}")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} <= {"get", "list"}
    assert not any({"*", "secrets"} & {*rule["resources"], *rule["apiGroups"]} for rule in role["rules"])
    binding = only(ours, "ClusterRoleBinding", f"basetracker-{component}")
    account = only(base, "ServiceAccount")["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]


def test_the_reports_gate_may_read_reports(tmp_path: Path) -> None:
    role = only(with_component(tmp_path, "gate-reports"), "ClusterRole", "basetracker-gate-reports")
    assert {
        (rule["apiGroups"][0], resource): rule["verbs"] for rule in role["rules"] for resource in rule["resources"]
    } == {
        ("apps", "replicasets"): ["list"],
        ("", "pods"): ["list"],
        ("aquasecurity.github.io", "vulnerabilityreports"): ["list"],
        ("wgpolicyk8s.io", "policyreports"): ["get", "list"],
        ("wgpolicyk8s.io", "clusterpolicyreports"): ["list"],
        ("openreports.io", "reports"): ["get", "list"],
        ("openreports.io", "clusterreports"): ["list"],
    }


def test_the_trivy_gate_gets_room_and_no_right(tmp_path: Path) -> None:
    base, ours = built("manifests/base"), with_component(tmp_path, "gate-trivy")
    assert names(ours) == names(base)
    deployment, plain = only(ours, "Deployment"), only(base, "Deployment")
    assert [item for item in ours if item["kind"] != "Deployment"] == [o for o in base if o["kind"] != "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (container,), (before,) = pod["containers"], plain["spec"]["template"]["spec"]["containers"]
    (mount,) = [item for item in container["volumeMounts"] if item not in before["volumeMounts"]]
    (setting,) = [item for item in container["env"] if item not in before["env"]]
    assert setting["name"] == f"BASETRACKER_{'trivy_cache'.upper()}"
    assert "trivy_cache" in Settings.model_fields
    assert Path(setting["value"]).is_relative_to(mount["mountPath"])
    (volume,) = [item for item in pod["volumes"] if item["name"] == mount["name"]]
    assert set(volume) == {"name", "emptyDir"}
    assert volume["emptyDir"]["sizeLimit"]
    assert container["securityContext"] == before["securityContext"]


def test_the_bounds_of_scans_fit_into_the_container(tmp_path: Path) -> None:
    base, ours = built("manifests/base"), with_component(tmp_path, "gate-trivy")
    plain, pod = (only(one, "Deployment")["spec"]["template"]["spec"] for one in (base, ours))
    (before,), (after,) = (one["containers"] for one in (plain, pod))
    chosen = {name: field.default for name, field in Settings.model_fields.items()}
    beside = parse_size(before["resources"]["limits"]["memory"])
    scans = chosen["trivy_concurrency"]
    limits = {name: parse_size(value) for name, value in after["resources"]["limits"].items() if name != "cpu"}
    assert limits["memory"] >= beside + scans * chosen["trivy_memory"]
    (volume,) = [item for item in pod["volumes"] if item not in plain["volumes"]]
    room = parse_size(volume["emptyDir"]["sizeLimit"])
    assert room >= scans * chosen["trivy_room"] + DATABASES
    assert limits["ephemeral-storage"] > room


def test_the_image_with_trivy_takes_one_program_over_and_stays_as_it_is() -> None:
    text = (ROOT / "Dockerfile.trivy").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    kept = {line.split()[0] for line in lines}
    assert kept == {"ARG", "FROM", "COPY"}, "the user, the entry point and all else are the operator's"
    assert [line.split()[1] for line in lines if line.startswith("FROM")] == ["${TRIVY_IMAGE}", "${OPERATOR_IMAGE}"]
    (copied,) = [line for line in lines if line.startswith("COPY")]
    assert copied == "COPY --from=trivy /usr/local/bin/trivy /usr/local/bin/trivy"


def test_the_program_needs_no_file_of_the_image_that_it_comes_from() -> None:
    program = Path(sys.executable).with_name("trivy")
    if not program.exists():
        pytest.skip("no Trivy here (its package for the tests is for Linux on x86-64)")
    with program.open("rb") as file:
        header = file.read(64)
        (start,), (size, count) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<HH", header, 54)
        file.seek(start)
        kinds = {struct.unpack_from("<I", file.read(size))[0] for _ in range(count)}
    assert header[:5] == b"\x7fELF\x02"
    assert LOADED in kinds
    assert INTERPRETER not in kinds, "it is linked statically"
