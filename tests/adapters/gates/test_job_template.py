"""The Job that a question becomes: what is filled in, what is refused, and what is the same."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from basetracker.adapters.gates.job.template import job_name, job_of, strangeness
from basetracker.api.gate_job import JobGate
from basetracker.api.gates import Gate
from basetracker.api.tracker import Key
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest, parse_image
from basetracker.ports import Question

Json = dict[str, Any]
DIGEST = Digest("sha256:" + "a" * 64)
SCAN: Json = {"name": "scan", "image": "scan:1"}


def gate_of(pod: Json | None = None, *, timeout: str = "30m", **spec: Any) -> JobGate:
    template = {"spec": {"template": {"spec": pod if pod is not None else {"containers": [SCAN]}}} | spec}
    return JobGate.model_validate({"template": template, "timeout": timeout})


def question_of(gate: JobGate, *, tracker: str = "python") -> Question:
    return Question(
        tracker=Key(namespace="shop", name=tracker),
        uid="1f2e",
        downstream="checkout",
        name="job",
        gate=Gate(job=gate),
        image=parse_image("contoso.azurecr.io/shop/checkout:main").pinned(DIGEST),
        since=datetime(2026, 11, 22, tzinfo=UTC),
    )


def job(gate: JobGate) -> Json:
    return job_of(question_of(gate), gate)


def pod_of(gate: JobGate) -> Json:
    return dict(job(gate)["spec"]["template"]["spec"])


def test_placeholders_are_replaced_as_text_and_once() -> None:
    gate = gate_of(
        {
            "initContainers": [
                {"name": "fetch", "image": "skopeo:1", "command": ["copy", "{{repository}}@{{digest}}"]}
            ],
            "containers": [
                SCAN
                | {
                    "args": ["--image={{image}}", "{{tag}}{{unknown}}", "{{ image }}", "$(IMAGE)"],
                    "env": [
                        {"name": "WHAT", "value": "{{image}}!"},
                        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "{{image}}"}}},
                    ],
                }
            ],
        }
    )
    pod = pod_of(gate)
    assert pod["initContainers"][0]["command"] == ["copy", f"contoso.azurecr.io/shop/checkout@{DIGEST}"]
    (scan,) = pod["containers"]
    image = f"contoso.azurecr.io/shop/checkout:main@{DIGEST}"
    assert scan["args"] == [f"--image={image}", "main{{unknown}}", "{{ image }}", "$(IMAGE)"]
    assert scan["env"][4:] == [
        {"name": "WHAT", "value": f"{image}!"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "{{image}}"}}},
    ]
    assert scan["image"] == "scan:1"
    assert gate == gate_of(gate.template.spec["template"]["spec"]), "the declared template stays as it was"


def test_the_names_of_the_image_are_ours_and_come_first() -> None:
    lie = {"name": "IMAGE_DIGEST", "value": "sha256:0"}
    (scan,) = pod_of(gate_of({"containers": [SCAN | {"env": [lie, {"name": "A", "value": "1"}]}]}))["containers"]
    assert [entry["name"] for entry in scan["env"]] == ["IMAGE", "IMAGE_REPOSITORY", "IMAGE_TAG", "IMAGE_DIGEST", "A"]
    assert scan["env"][3]["value"] == str(DIGEST)


@pytest.mark.parametrize(
    ("spec", "field", "value"),
    [
        ({}, "activeDeadlineSeconds", 1800),
        ({"activeDeadlineSeconds": 60}, "activeDeadlineSeconds", 60),
        ({"activeDeadlineSeconds": 99999}, "activeDeadlineSeconds", 1800),
        ({"activeDeadlineSeconds": 0}, "activeDeadlineSeconds", 1800),
        ({}, "backoffLimit", 0),
        ({"backoffLimit": 2}, "backoffLimit", 2),
        ({}, "ttlSecondsAfterFinished", 3600),
        ({"ttlSecondsAfterFinished": 7200}, "ttlSecondsAfterFinished", 7200),
        ({"ttlSecondsAfterFinished": 0}, "ttlSecondsAfterFinished", 60),
    ],
)
def test_limits(spec: Json, field: str, value: int) -> None:
    assert job(gate_of(**spec))["spec"][field] == value


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (gate_of({}), "no spec.template.spec.containers"),
        (gate_of({"containers": []}), "no spec.template.spec.containers"),
        (gate_of({"containers": "scan"}), "containers that aren't a list"),
        (gate_of({"containers": ["scan"]}), "a container that isn't an object"),
        (gate_of({"containers": [SCAN | {"env": "A=1"}]}), "env isn't a list"),
        (gate_of({"containers": [SCAN], "restartPolicy": "OnFailure"}), "a restartPolicy other than Never"),
        (gate_of(selector={"matchLabels": {"a": "b"}}), r"sets spec\.selector"),
        (gate_of(manualSelector=True), r"sets spec\.manualSelector"),
        (gate_of(managedBy="example.com/me"), r"sets spec\.managedBy"),
        (JobGate.model_validate({"template": {"spec": {}}}), "no spec.template.spec.containers"),
        (JobGate.model_validate({"template": {"spec": {"template": []}}}), "no spec.template.spec.containers"),
    ],
)
def test_a_template_that_cannot_judge_is_refused(gate: JobGate, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        job(gate)


def test_a_wish_for_the_token_is_heeded() -> None:
    assert pod_of(gate_of())["automountServiceAccountToken"] is False
    assert pod_of(gate_of({"containers": [SCAN], "automountServiceAccountToken": True}))["automountServiceAccountToken"]


def test_the_name_is_one_for_a_question() -> None:
    gate = gate_of()
    question = question_of(gate)
    others = [
        replace(question, uid="other"),
        replace(question, downstream="cart"),
        replace(question, name="job-2"),
        replace(question, image=question.image.pinned(Digest("sha256:" + "b" * 64))),
    ]
    names = {job_name(one, gate) for one in others} | {job_name(question, gate_of(timeout="31m"))}
    assert job_name(question, gate_of()) == job_name(question, gate)
    assert len(names | {job_name(question, gate)}) == 6
    long = job_name(question_of(gate, tracker="a." * 126), gate)
    for name in {*names, long}:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
        assert len(name) <= 63
    labels = job_of(question_of(gate, tracker="a." * 126), gate)["metadata"]["labels"]
    assert all(re.fullmatch(r"[a-z0-9A-Z]([a-z0-9A-Z._-]*[a-z0-9A-Z])?", value) for value in labels.values())
    assert all(len(value) <= 63 for value in labels.values())


def test_what_the_server_adds_is_no_strangeness() -> None:
    env = [{"name": "EMPTY", "value": ""}, {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    mounts = [{"name": "tmp", "mountPath": "/tmp", "readOnly": False}]
    probe = {"startupProbe": {"httpGet": {"port": 80}}}
    gate = gate_of(
        {
            "containers": [SCAN | {"env": env, "command": [], "volumeMounts": mounts} | probe],
            "volumes": [
                {"name": "tmp"},
                {"name": "work", "emptyDir": {"sizeLimit": "1024Mi"}},
                {"name": "login", "secret": {"secretName": "hub"}},
                {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ],
        }
    )
    stored = job(gate)
    pod = stored["spec"]["template"]["spec"]
    pod |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {}}
    pod |= {"terminationGracePeriodSeconds": 30}
    (scan,) = pod["containers"]
    scan |= {"imagePullPolicy": "Always", "resources": {}, "terminationMessagePath": "/dev/termination-log"}
    scan |= {"terminationMessagePolicy": "File"}
    scan["env"][4] = {"name": "EMPTY"}
    scan["env"][5]["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    scan["startupProbe"]["httpGet"] |= {"path": "/", "scheme": "HTTP"}
    scan["startupProbe"] |= {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    del scan["command"]
    del scan["volumeMounts"][0]["readOnly"]
    tmp, work, login, token = pod["volumes"]
    tmp["emptyDir"] = {}
    work["emptyDir"]["sizeLimit"] = "1Gi"
    login["secret"]["defaultMode"] = 420
    token["projected"]["defaultMode"] = 420
    token["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] = 3600
    labels = {"controller-uid": "7", "job-name": "a", "batch.kubernetes.io/controller-uid": "7"}
    stored["spec"]["template"]["metadata"] = {"labels": labels | {"batch.kubernetes.io/job-name": "a"}}
    stored["spec"] |= {"selector": {"matchLabels": {"a": "b"}}, "completions": 1, "parallelism": 1, "suspend": False}
    stored["spec"] |= {"completionMode": "NonIndexed", "manualSelector": False, "ttlSecondsAfterFinished": 7}
    stored["spec"] |= {"podReplacementPolicy": "TerminatingOrFailed"}
    assert strangeness(stored, job(gate)) == ""


MOUNT: Json = {"name": "rules", "mountPath": "/rules"}
RULES: Json = {"name": "rules", "configMap": {"name": "rules"}}
FULL: Json = {
    "initContainers": [{"name": "fetch", "image": "skopeo:1"}],
    "containers": [
        SCAN | {"args": ["{{image}}"], "envFrom": [{"secretRef": {"name": "login"}}], "volumeMounts": [MOUNT]}
    ],
    "volumes": [RULES],
}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"image": "true:1"}, "image"),
        ({"args": ["--version"]}, "args"),
        ({"command": ["true"]}, "command"),
        ({"workingDir": "/rules"}, "workingDir"),
        ({"env": []}, "env"),
        ({"envFrom": [{"secretRef": {"name": "theirs"}}]}, "envFrom"),
        ({"envFrom": [{"secretRef": {"name": "login"}}, {"configMapRef": {"name": "theirs"}}]}, "envFrom"),
        ({"volumeMounts": [MOUNT | {"mountPath": "/bin"}]}, "volumeMounts"),
        ({"volumeMounts": [MOUNT | {"subPath": "theirs"}]}, "volumeMounts"),
        ({"volumeMounts": [MOUNT, {"name": "rules", "mountPath": "/bin"}]}, "volumeMounts"),
        ({"volumeMounts": None}, "volumeMounts"),
        ({"lifecycle": {"postStart": {"exec": {"command": ["sh"]}}}}, "lifecycle"),
        ({"livenessProbe": {"exec": {"command": ["sh"]}}}, "livenessProbe"),
        ({"imagePullPolicy": "Never"}, "imagePullPolicy"),
        ({"terminationMessagePath": "/rules/words"}, "terminationMessagePath"),
        ({"restartPolicy": "Always"}, "restartPolicy"),
        ({"stdin": True}, "stdin"),
        ({"securityContext": {"privileged": True}}, "securityContext"),
        ({"securityContext": {"runAsUser": 0}}, "securityContext"),
        ({"securityContext": {"allowPrivilegeEscalation": False}}, "securityContext"),
        ({"somethingNew": "yes"}, "somethingNew"),
    ],
)
def test_a_container_that_does_something_else_is_strange(change: Json, what: str) -> None:
    stored = job(gate_of(FULL))
    stored["spec"]["template"]["spec"]["containers"][0] |= change
    why = strangeness(stored, job(gate_of(FULL)))
    assert why == f"it differs from the gate's template in the {what} of the container scan"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"volumes": [{"name": "rules", "configMap": {"name": "theirs"}}]}, "volumes"),
        ({"volumes": [{"name": "rules", "configMap": {"name": "rules", "items": [{"key": "a"}]}}]}, "volumes"),
        ({"volumes": [{"name": "rules", "emptyDir": {}}]}, "volumes"),
        ({"volumes": [RULES, {"name": "more", "emptyDir": {}}]}, "volumes"),
        ({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["contoso.azurecr.io"]}]}, "hostAliases"),
        ({"automountServiceAccountToken": None}, "automountServiceAccountToken"),
        ({"automountServiceAccountToken": True}, "automountServiceAccountToken"),
        ({"serviceAccountName": "builder"}, "serviceAccountName"),
        ({"securityContext": {"runAsUser": 0}}, "securityContext"),
        ({"securityContext": {"sysctls": [{"name": "a", "value": "b"}]}}, "securityContext"),
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"hostIPC": True}, "hostIPC"),
        ({"hostUsers": True}, "hostUsers"),
        ({"shareProcessNamespace": True}, "shareProcessNamespace"),
        ({"nodeName": "theirs"}, "nodeName"),
        ({"nodeSelector": {"kubernetes.io/hostname": "theirs"}}, "nodeSelector"),
        ({"affinity": {"nodeAffinity": {"a": "b"}}}, "affinity"),
        ({"tolerations": [{"operator": "Exists"}]}, "tolerations"),
        ({"runtimeClassName": "theirs"}, "runtimeClassName"),
        ({"schedulerName": "theirs"}, "schedulerName"),
        ({"priorityClassName": "theirs"}, "priorityClassName"),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1"]}}, "dnsConfig, dnsPolicy"),
        ({"imagePullSecrets": [{"name": "theirs"}]}, "imagePullSecrets"),
        ({"enableServiceLinks": False}, "enableServiceLinks"),
        ({"resourceClaims": [{"name": "theirs"}]}, "resourceClaims"),
        ({"initContainers": None}, "the list of initContainers"),
        ({"containers": [SCAN, SCAN | {"name": "more"}]}, "the list of containers"),
        ({"containers": "scan"}, "the list of containers"),
        (
            {"initContainers": [{"name": "fetch", "image": "skopeo:2"}]},
            "the env of the container fetch, the image of the container fetch",
        ),
    ],
)
def test_a_pod_of_something_else_is_strange(change: Json, what: str) -> None:
    stored = job(gate_of(FULL))
    stored["spec"]["template"]["spec"] |= change
    named = what if "ontainer" in what else ", ".join(f"the {one} of its Pods" for one in what.split(", "))
    assert strangeness(stored, job(gate_of(FULL))) == f"it differs from the gate's template in {named}"


@pytest.mark.parametrize(
    "change",
    [
        {"manualSelector": True},
        {"managedBy": "example.com/me"},
        {"completions": 0},
        {"parallelism": 2},
        {"completionMode": "Indexed"},
        {"successPolicy": {"rules": [{"succeededCount": 1}]}},
        {"podFailurePolicy": {"rules": [{"action": "Ignore"}]}},
        {"backoffLimit": 9},
        {"backoffLimit": None},
        {"activeDeadlineSeconds": 7},
        {"podReplacementPolicy": "Other"},
    ],
)
def test_a_job_that_ends_otherwise_is_strange(change: Json) -> None:
    stored = job(gate_of())
    stored["spec"] |= change
    assert strangeness(stored, job(gate_of())) == f"it differs from the gate's template in spec.{next(iter(change))}"


@pytest.mark.parametrize(
    ("ours", "theirs", "what"),
    [
        ({}, {"annotations": {"sidecar.example.com/inject": "true"}}, "annotations"),
        ({"annotations": {"a": "b"}}, {}, "annotations"),
        ({"annotations": {"a": "b"}}, {"annotations": {"a": "c"}}, "annotations"),
        ({"labels": {"a": "b"}}, {"labels": {"a": "c", "job-name": "x"}}, "labels"),
        ({}, {"labels": {"sidecar.example.com/inject": "true"}}, "labels"),
        ({}, {"labels": "none"}, "labels"),
    ],
)
def test_marks_that_others_heed_are_strange(ours: Json, theirs: Json, what: str) -> None:
    template = {"metadata": ours, "spec": {"containers": [SCAN]}}
    gate = JobGate.model_validate({"template": {"spec": {"template": template}}})
    stored = job(gate)
    stored["spec"]["template"]["metadata"] = theirs
    assert strangeness(stored, job(gate)) == f"it differs from the gate's template in the {what} of its Pods"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"httpGet": {"port": 80}}, {"httpGet": {"port": 80, "path": "/theirs", "scheme": "HTTP"}}),
        ({"httpGet": {"port": 80}}, {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP", "host": "theirs"}}),
        ({"exec": {"command": ["true"]}}, {"exec": {"command": ["true"]}, "failureThreshold": 99}),
    ],
)
def test_only_the_defaults_themselves_are_no_difference(ours: Json, theirs: Json) -> None:
    gate = gate_of({"containers": [SCAN | {"startupProbe": ours}]})
    stored = job(gate)
    stored["spec"]["template"]["spec"]["containers"][0]["startupProbe"] = theirs
    assert strangeness(stored, job(gate)).endswith("in the startupProbe of the container scan")


def test_keys_of_the_users_own_say_nothing_of_their_values() -> None:
    gate = gate_of({"containers": [SCAN], "nodeSelector": {"a": "b"}})
    stored = job(gate)
    stored["spec"]["template"]["spec"]["nodeSelector"] = {"a": "b", "protocol": "TCP", "resources": "many"}
    assert strangeness(stored, job(gate)).endswith("in the nodeSelector of its Pods")


def test_no_more_differences_are_named_than_can_be_read() -> None:
    stored = job(gate_of())
    stored["spec"]["template"]["spec"] |= {f"field{number:02}": "theirs" for number in range(30)}
    why = strangeness(stored, job(gate_of()))
    assert why.endswith("the field04 of its Pods, 25 more")


@pytest.mark.parametrize("spec", [None, [], {"template": "none"}, {"template": {"spec": 7}}])
def test_a_job_that_cannot_be_read_is_strange(spec: object) -> None:
    assert "in the list of containers, " in strangeness(job(gate_of()) | {"spec": spec}, job(gate_of()))


def test_gates_with_templates_can_be_keys() -> None:
    assert len({Gate(job=gate_of()), Gate(job=gate_of()), Gate(job=gate_of(timeout="1m"))}) == 2
