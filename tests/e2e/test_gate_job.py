"""The Job gate on a real control plane: real Jobs, with exactly the rights of the shipped sample.

The nodes are emulated, so no scanner runs: a Pod's annotations say how it ends and what it has written. The Job controller,
the rights and the way of a log through the API server are real.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from basetracker.adapters.gates.job.gate import JobGates
from basetracker.adapters.gates.job.template import job_of
from basetracker.adapters.kube import Kube
from basetracker.adapters.kube_login import Login
from basetracker.api.gates import Gate
from basetracker.api.names import API_VERSION, KIND, GateVerdict
from basetracker.api.tracker import Key
from basetracker.emulators import samples
from basetracker.errors import DeniedError, InvalidError
from basetracker.oci.refs import Digest, parse_image
from basetracker.ports import Answer, Question
from basetracker.wiring import SystemClock

from .harness.azure import EmulatedAzure
from .harness.cluster import RealCluster
from .harness.installation import NAME, SYSTEM, install_definition, installed
from .harness.operator_pod import OperatorPod, connect
from .harness.podlogs import LOG_ANNOTATION
from .harness.pods import EXIT_CODE_ANNOTATION
from .harness.registry import DockerRegistry
from .harness.replicas import Replicas, complaints
from .harness.repository import ROOT
from .harness.team import TRACKER, Team

pytestmark = pytest.mark.e2e

Object = dict[str, Any]
DIGEST = Digest("sha256:" + "a" * 64)
IMAGE = parse_image("contoso.azurecr.io/shop/checkout:main").pinned(DIGEST)
SECONDS = 60.0
ALLOWED = [{"namespaces": ["e2e-*"], "registries": ["contoso"], "tasks": ["build-*"]}]


def rights(namespace: str, subject: Object) -> list[Object]:
    """The sample's Role in this namespace, for this subject."""
    text = (ROOT / "manifests" / "samples" / "job-gate.yaml").read_text()
    found = [item for item in yaml.safe_load_all(text) if item["kind"] in {"Role", "RoleBinding"}]
    for item in found:
        item["metadata"]["namespace"] = namespace
        if "subjects" in item:
            item["subjects"] = [subject]
    return found


def gate(cluster: RealCluster, image: str, *, timeout: str = "5m", **annotations: str) -> Object:
    """A gate whose Pods have these annotations."""
    containers = [{"name": "scan", "image": image, "args": ["{{image}}"]}]
    template = {"metadata": {"annotations": annotations}, "spec": {**cluster.placement, "containers": containers}}
    return {"job": {"template": {"spec": {"template": template}}, "timeout": timeout}}


class Asked:
    """A tracker's object, and the gate that is asked with the token of an account that has the sample's rights."""

    def __init__(self, cluster: RealCluster, namespace: str, kube: Kube, image: str) -> None:
        self.cluster, self.namespace, self.image = cluster, namespace, image
        self.gates = JobGates(kube, clock=SystemClock())
        install_definition(cluster)
        tracker = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "python", "namespace": namespace}}
        downstream = [{"name": "checkout", "image": "contoso.azurecr.io/shop/checkout:main"}]
        spec = {"base": {"image": "contoso.azurecr.io/base/python:3.12"}, "downstream": downstream}
        cluster.admin.apply({**tracker, "spec": spec})
        self.uid = cluster.admin.get("basetracker", "python", "-n", namespace)["metadata"]["uid"]

    def question(self, **more: str) -> Question:
        timeout = more.pop("timeout", "5m")
        return Question(
            tracker=Key(namespace=self.namespace, name="python"),
            uid=self.uid,
            downstream="checkout",
            name="job",
            gate=Gate.model_validate(gate(self.cluster, self.image, timeout=timeout, **more)),
            image=IMAGE,
            since=datetime.now(UTC),
        )

    async def verdict(self, question: Question) -> Answer:
        async with asyncio.timeout(SECONDS):
            while (answer := await self.gates.judge(question, None)).reason == "JobRuns":  # noqa: ASYNC110  # a server's state
                await asyncio.sleep(0.3)
        return answer


@pytest.fixture
def scanner(docker_registry: DockerRegistry, real_cluster: RealCluster) -> str:
    """An image that the nodes can pull."""
    docker_registry.push(samples.debian("12.5"), "team/scan", "1")
    real_cluster.images.add(docker_registry.host, docker_registry.source().resolve)
    return f"{docker_registry.host}/team/scan:1"


@pytest.fixture
async def asked(real_cluster: RealCluster, namespace: str, scanner: str) -> Any:
    account = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    real_cluster.admin.apply(*rights(namespace, account))
    async with Kube(Login(kubeconfig=real_cluster.kubeconfig_of(namespace, "default"))) as kube:
        yield Asked(real_cluster, namespace, kube, scanner)


async def test_a_job_that_succeeds_passes_and_goes_with_its_tracker(asked: Asked) -> None:
    question = asked.question()
    answer = await asked.verdict(question)
    assert (answer.verdict, answer.digest) == (GateVerdict.PASS, DIGEST)
    (job,) = asked.cluster.admin.get("jobs", "-n", asked.namespace)["items"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    (pod,) = asked.cluster.admin.get("pods", "-n", asked.namespace)["items"]
    (container,) = pod["spec"]["containers"]
    assert container["args"] == [str(IMAGE)]
    assert {"name": "IMAGE_DIGEST", "value": str(DIGEST)} in container["env"]
    asked.cluster.admin.run("delete", "basetracker", "python", "-n", asked.namespace)
    asked.cluster.admin.run(
        "wait", "--for=delete", f"job/{job['metadata']['name']}", "-n", asked.namespace, "--timeout=60s", seconds=70
    )


async def test_a_job_that_fails_tells_its_last_lines(asked: Asked) -> None:
    log = "scanning\n\x1b[31mCVE-2026-1 in openssl\x1b[0m\n"
    question = asked.question(**{EXIT_CODE_ANNOTATION: "2", LOG_ANNOTATION: log})
    answer = await asked.verdict(question)
    assert answer.verdict is GateVerdict.FAIL
    if asked.cluster.plane is not None:  # the log of a node that isn't there can't be read by a given cluster
        assert answer.message.endswith("has failed with exit code 2: scanning | CVE-2026-1 in openssl")
    assert await asked.gates.judge(question, None) == answer


@pytest.mark.parametrize(
    ("annotations", "reason"), [({EXIT_CODE_ANNOTATION: "137"}, "JobLost"), ({"timeout": "1s"}, "JobTimedOut")]
)
async def test_what_proves_nothing_holds(asked: Asked, annotations: Object, reason: str) -> None:
    never = {} if EXIT_CODE_ANNOTATION in annotations else {EXIT_CODE_ANNOTATION: "never"}
    answer = await asked.verdict(asked.question(**annotations, **never))
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, reason)


async def test_a_scanner_that_cannot_be_run_is_for_a_person(asked: Asked) -> None:
    with pytest.raises(InvalidError, match="can't be started"):
        await asked.verdict(asked.question(**{EXIT_CODE_ANNOTATION: "127"}))


async def test_what_the_api_server_fills_in_is_no_difference(asked: Asked) -> None:
    """It knows defaults for all of these, and writes quantities in its own way."""
    question = asked.question(**{EXIT_CODE_ANNOTATION: "never"})
    template = gate(asked.cluster, asked.image)
    pod = template["job"]["template"]["spec"]["template"]["spec"]
    names = [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
    token: Object = {"path": "token"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}
    pod["volumes"] = [
        {"name": "unsaid"},
        {"name": "work", "emptyDir": {"sizeLimit": "1024Mi"}},
        {"name": "nothing", "emptyDir": {}},
        {"name": "login", "secret": {"secretName": "hub", "items": [{"key": "a", "path": "a"}]}},
        {"name": "rules", "configMap": {"name": "rules"}},
        {"name": "about", "downwardAPI": {"items": names}},
        {
            "name": "token",
            "projected": {"sources": [{"serviceAccountToken": token}, {"downwardAPI": {"items": names}}]},
        },
        {"name": "host", "hostPath": {"path": "/tmp"}},
        {"name": "claim", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}},
        {"name": "image", "image": {"reference": asked.image}},
        {"name": "block", "iscsi": {"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2026-11.com.example:a", "lun": 0}},
        {"name": "ceph", "rbd": {"monitors": ["10.0.0.1"], "image": "a"}},
        {"name": "disk", "azureDisk": {"diskName": "a", "diskURI": "/subscriptions/a/disks/a", "kind": "Managed"}},
    ]
    pod |= {
        "serviceAccountName": "default",
        "hostNetwork": False,
        "hostPID": False,
        "hostUsers": False,
        "shareProcessNamespace": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsUser": 0, "runAsNonRoot": False, "supplementalGroups": []},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {},
        "hostAliases": [],
    }
    template["job"]["template"]["spec"] |= {
        "podFailurePolicy": {
            "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget"}]}],
        },
    }
    template["job"]["template"]["spec"]["template"]["metadata"]["labels"] = {"team": "shop", "empty": ""}
    pod["containers"][0] |= {
        "command": [],
        "env": [
            {"name": "EMPTY", "value": ""},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        ],
        "envFrom": [
            {"secretRef": {"name": "hub", "optional": True}},
            {"prefix": "A_", "configMapRef": {"name": "rules"}},
        ],
        "volumeMounts": [
            {"name": "work", "mountPath": "/work", "readOnly": False},
            {"name": "rules", "mountPath": "/r"},
        ],
        "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
        "startupProbe": {"httpGet": {"port": 80}},
        "livenessProbe": {"exec": {"command": ["true"]}},
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
        "ports": [{"containerPort": 80}],
        "securityContext": {"privileged": False, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "stdin": False,
        "readinessProbe": {"grpc": {"port": 80}, "initialDelaySeconds": 0, "periodSeconds": 0},
    }
    question = replace(question, gate=Gate.model_validate(template))
    for _ in range(2):
        assert (await asked.gates.judge(question, None)).reason == "JobRuns"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"serviceAccountName": "builder"}, "serviceAccountName"),
        ({"automountServiceAccountToken": None}, "automountServiceAccountToken"),
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"hostIPC": True}, "hostIPC"),
        ({"nodeName": "e2e-node-1"}, "nodeName"),
        ({"nodeSelector": {"kubernetes.io/hostname": "theirs"}}, "nodeSelector"),
        ({"runtimeClassName": "theirs"}, "runtimeClassName"),
        ({"securityContext": {"runAsUser": 0}}, "securityContext"),
        ({"volumes": [{"name": "theirs", "hostPath": {"path": "/"}}]}, "volumes"),
    ],
)
async def test_a_job_that_somebody_has_laid_ready_is_no_verdict(asked: Asked, change: Object, what: str) -> None:
    question = asked.question()
    assert question.gate.job is not None
    job = job_of(question, question.gate.job)
    job["spec"]["template"]["spec"] |= change
    asked.cluster.admin.apply(job)
    with pytest.raises(InvalidError, match=rf"differs from the gate's template in the {what} of its Pods; delete it"):
        await asked.verdict(question)


def rewriting(namespace: str, seconds: int) -> list[Object]:
    """A policy of admission that rewrites each Job of a namespace, as a queue or a mirror of a registry would."""
    container = '[Object.spec.template.spec.containers{name: "scan", workingDir: "/mirror"}]'
    pod = f"Object.spec.template.spec{{terminationGracePeriodSeconds: {seconds}, containers: {container}}}"
    job = f"Object{{spec: Object.spec{{template: Object.spec.template{{spec: {pod}}}}}}}"
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": namespace}}
    spec = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": here},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": job}}],
    }
    return [
        kind | {"kind": "MutatingAdmissionPolicy", "spec": spec},
        kind | {"kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": namespace}},
    ]


async def test_what_admission_makes_of_the_gates_own_job_is_no_difference(asked: Asked) -> None:
    if asked.cluster.plane is None:
        pytest.skip("the policies of a cluster that was given are its owner's")
    question = asked.question()
    assert question.gate.job is not None
    job = job_of(question, question.gate.job)
    admin, policies = asked.cluster.admin, rewriting(asked.namespace, 7)
    admin.apply(*policies)
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                trial = admin.run("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(job))
                if json.loads(trial)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 7:
                    break
                await asyncio.sleep(0.3)
        assert (await asked.verdict(question)).verdict is GateVerdict.PASS
        stored = admin.get("job", job["metadata"]["name"], "-n", asked.namespace)
        assert stored["spec"]["template"]["spec"]["containers"][0]["workingDir"] == "/mirror"
    finally:
        for one in policies:
            admin.run("delete", one["kind"], one["metadata"]["name"])
    # What is as nothing makes it any more is somebody's, once the API server has forgotten the policy.
    what = "the workingDir of the container scan, the terminationGracePeriodSeconds of its Pods; delete it"

    async def is_refused() -> None:
        async with asyncio.timeout(SECONDS):
            while await asked.gates.judge(question, None):  # noqa: ASYNC110  # a server's state
                await asyncio.sleep(0.3)

    with pytest.raises(InvalidError, match=what):
        await is_refused()


async def test_what_the_api_server_would_leave_out_is_for_a_person(asked: Asked) -> None:
    template = gate(asked.cluster, asked.image)
    template["job"]["template"]["spec"]["template"]["spec"]["securtyContext"] = {"runAsNonRoot": True}
    question = replace(asked.question(), gate=Gate.model_validate(template))
    with pytest.raises(InvalidError, match=r"the gate's Job can't be created: .*securtyContext"):
        await asked.gates.judge(question, None)


async def test_without_the_role_nothing_is_created(real_cluster: RealCluster, namespace: str, scanner: str) -> None:
    async with Kube(Login(kubeconfig=real_cluster.kubeconfig_of(namespace, "default"))) as kube:
        asked = Asked(real_cluster, namespace, kube, scanner)
        with pytest.raises(DeniedError, match=r"may not get Jobs in the namespace .*job-gate\.yaml"):
            await asked.gates.judge(asked.question(), None)
    assert real_cluster.admin.get("jobs", "-n", namespace)["items"] == []


@pytest.fixture
def team(
    real_cluster: RealCluster,
    azure: EmulatedAzure,
    private_registry: DockerRegistry,
    programs: Path,
    namespace: str,
    tmp_path: Path,
) -> Iterator[Team]:
    """A team that has bound the sample's Role to the installed operator."""
    found = Team(real_cluster, azure, private_registry, namespace)
    found.set_up()
    with installed(real_cluster, allowed=ALLOWED):
        connect(real_cluster, azure)
        account = {"kind": "ServiceAccount", "name": NAME, "namespace": SYSTEM}
        real_cluster.admin.apply(*rights(namespace, account))
        replicas = Replicas(real_cluster, OperatorPod(real_cluster, azure, programs, tmp_path), tmp_path)
        try:
            replicas.start()
            yield found
            assert complaints(replicas, namespace) == []
        finally:
            replicas.stop()


def test_what_the_job_refuses_is_not_delivered(real_cluster: RealCluster, team: Team, scanner: str) -> None:
    tracker = team.tracker()
    tracker["spec"]["gates"] = [gate(real_cluster, scanner)]
    real_cluster.admin.apply(tracker)
    team.settle_on(team.push_base("3.12.1"))
    new = team.push_base("3.12.2")
    team.settle_on(new)
    assert team.stands_on(new)
    delivered = team.image_in_spec()
    (downstream,) = team.get("basetracker", TRACKER)["status"]["downstream"]
    passed = {one["name"]: one["verdict"] for one in downstream["gates"]}
    assert passed == {"lineage": "Pass", "job": "Pass"}

    refusing = {EXIT_CODE_ANNOTATION: "1", LOG_ANNOTATION: "CVE-2026-1 in openssl\n"}
    tracker["spec"]["gates"] = [gate(real_cluster, scanner, **refusing)]
    real_cluster.admin.apply(tracker)
    team.push_base("3.12.3")
    refused = "--for=jsonpath={.status.downstream[0].reason}=GateFailed"
    real_cluster.admin.run(
        "-n", team.namespace, "wait", f"basetracker/{TRACKER}", refused, "--timeout=120s", seconds=130
    )
    (downstream,) = team.get("basetracker", TRACKER)["status"]["downstream"]
    assert downstream["state"] == "Blocked"
    (job,) = (one for one in downstream["gates"] if one["name"] == "job")
    assert job["verdict"] == "Fail"
    if real_cluster.plane is not None:
        assert job["message"].endswith("CVE-2026-1 in openssl")
    assert team.image_in_spec() == delivered
