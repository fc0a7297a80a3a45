"""The Job that a question becomes, and whether a Job that is there already is this one. Pure.

Owns the Job's name and marks, and what of the template is filled in. Must not know how a Job is created or read.
Used by `gate.py`.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from typing import Final

from basetracker.adapters.gates.job.difference import differences
from basetracker.adapters.kube import Json
from basetracker.api.gate_job import JobGate
from basetracker.api.names import API_VERSION, FIELD_MANAGER, GROUP, KIND
from basetracker.errors import InvalidError
from basetracker.ports import Question

DIGEST: Final = f"{GROUP}/digest"
GATE: Final = f"{GROUP}/gate"
SPEC_HASH: Final = f"{GROUP}/gate-hash"
TRACKER: Final = f"{GROUP}/tracker"
DOWNSTREAM: Final = f"{GROUP}/downstream"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
KEPT_SECONDS: Final = 3600
"""How long a Job stays after its end, unless the template says otherwise."""
LEAST_KEPT_SECONDS: Final = 60
"""So that its end is read before it is gone."""
LONGEST_LABEL: Final = 63
_CONTAINERS: Final = ("initContainers", "containers")
_TEXTS: Final = ("command", "args")
# What decides which Pods a Job counts and who runs it: with these a verdict could be somebody else's.
_REFUSED: Final = ("selector", "manualSelector", "managedBy")


def job_of(question: Question, gate: JobGate) -> Json:
    """The Job for this question: always the same name and content for the same question.

    Raises:
        InvalidError: the template can't become a Job whose end is a verdict.
    """
    template = gate.template
    metadata = template.metadata
    spec = _spec(copy.deepcopy(template.spec), gate)
    values = _values(question)
    for container in _each_container(spec):
        _fill_in(container, values)
    marks = {
        TRACKER: question.tracker.name,
        DOWNSTREAM: question.downstream,
        GATE: question.name,
        DIGEST: values["digest"],
        SPEC_HASH: spec_hash(gate),
    }
    labels = {MANAGED_BY: FIELD_MANAGER, TRACKER: _label(question.tracker.name), GATE: question.name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(question, gate),
            "namespace": question.tracker.namespace,
            "labels": (metadata.labels if metadata else {}) | labels,
            "annotations": (metadata.annotations if metadata else {}) | marks,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": question.tracker.name,
                    "uid": question.uid,
                    "controller": True,
                }
            ],
        },
        "spec": spec,
    }


def job_name(question: Question, gate: JobGate) -> str:
    """The Job's name: the tracker's and the gate's for people, and a hash of all that the verdict depends on."""
    parts = (question.uid, question.downstream, question.name, spec_hash(gate), str(question.image))
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"{_slug(question.tracker.name, 36)}-{_slug(question.name, 9)}-{digest}"


def spec_hash(gate: JobGate) -> str:
    """A hash of the gate as it is declared."""
    return hashlib.sha256(f"{gate.template.canonical}\0{gate.timeout}".encode()).hexdigest()[:32]


def strangeness(job: Json, wanted: Json) -> str:
    """Why a Job of the wanted name isn't the wanted Job; empty when it is."""
    metadata, ours = job.get("metadata") or {}, wanted["metadata"]
    owners = metadata.get("ownerReferences") or ()
    if not any(isinstance(one, dict) and one.get("uid") == ours["ownerReferences"][0]["uid"] for one in owners):
        return "it doesn't belong to this tracker"
    annotations = metadata.get("annotations") or {}
    if annotations.get(DIGEST) != ours["annotations"][DIGEST]:
        return "it is about another digest"
    if annotations.get(SPEC_HASH) != ours["annotations"][SPEC_HASH]:
        return "it was made for another gate"
    if found := differences(job.get("spec"), wanted["spec"]):
        return f"it differs from the gate's template in {', '.join(found)}"
    return ""


def _spec(spec: Json, gate: JobGate) -> Json:
    """The JobSpec with its limits; it runs once, in a Pod that stays to be read."""
    if refused := [field for field in _REFUSED if field in spec]:
        raise InvalidError(
            f"the gate's Job template sets spec.{refused[0]}, which a gate's Job can't have; take it out"
        )
    seconds = max(1, int(gate.timeout.total_seconds()))
    given = spec.get("activeDeadlineSeconds")
    spec["activeDeadlineSeconds"] = min(given, seconds) if isinstance(given, int) and given > 0 else seconds
    spec.setdefault("backoffLimit", 0)
    kept = spec.get("ttlSecondsAfterFinished")
    spec["ttlSecondsAfterFinished"] = max(kept, LEAST_KEPT_SECONDS) if isinstance(kept, int) else KEPT_SECONDS
    template = spec.get("template")
    pod = template.get("spec") if isinstance(template, dict) else None
    if not isinstance(pod, dict) or not pod.get("containers"):
        raise InvalidError("the gate's Job template has no spec.template.spec.containers; name the scanner's container")
    if pod.setdefault("restartPolicy", "Never") != "Never":
        raise InvalidError(
            "the gate's Job template sets a restartPolicy other than Never; then nobody could read how the scanner ended"
        )
    # A scanner has no business with the API server; a template that wants the token says so.
    pod.setdefault("automountServiceAccountToken", False)
    return spec


def _each_container(spec: Json) -> list[Json]:
    pod = spec["template"]["spec"]
    listed = [pod.get(field) or [] for field in _CONTAINERS]
    if not all(isinstance(one, list) for one in listed):
        raise InvalidError("the gate's Job template has containers that aren't a list")
    containers = [container for one in listed for container in one]
    if not all(isinstance(container, dict) for container in containers):
        raise InvalidError("the gate's Job template has a container that isn't an object")
    return containers


def _values(question: Question) -> Mapping[str, str]:
    image = question.image
    return {
        "image": str(image),
        "repository": str(image.repository),
        "tag": image.tag or "",
        "digest": str(image.digest),
    }


def _fill_in(container: Json, values: Mapping[str, str]) -> None:
    """Replace the placeholders as plain text, and put the image's names first into the environment.

    First, so that the template's own variables and arguments can refer to them as $(IMAGE).
    """
    for field in _TEXTS:
        listed = container.get(field)
        if isinstance(listed, list):
            container[field] = [_replaced(text, values) for text in listed]
    ours = [
        {"name": "IMAGE", "value": values["image"]},
        *({"name": f"IMAGE_{name.upper()}", "value": values[name]} for name in ("repository", "tag", "digest")),
    ]
    names = {entry["name"] for entry in ours}
    listed = container.get("env") or []
    if not isinstance(listed, list):
        raise InvalidError("the gate's Job template has a container whose env isn't a list")
    theirs = [entry for entry in listed if not (isinstance(entry, dict) and entry.get("name") in names)]
    container["env"] = ours + [_replaced_value(entry, values) for entry in theirs]


def _replaced_value(entry: object, values: Mapping[str, str]) -> object:
    return (
        entry | {"value": _replaced(entry["value"], values)} if isinstance(entry, dict) and "value" in entry else entry
    )


def _replaced(text: object, values: Mapping[str, str]) -> object:
    """The text with its placeholders replaced once: what comes out of one isn't looked at again."""
    if not isinstance(text, str):
        return text
    return re.sub(r"\{\{(image|repository|tag|digest)\}\}", lambda found: values[found[1]], text)


def _slug(text: str, longest: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:longest].strip("-") or "gate"


def _label(name: str) -> str:
    """The name as a label's value; a long one is cut, the annotation has it whole."""
    return name if len(name) <= LONGEST_LABEL else name[:LONGEST_LABEL].rstrip(".-")
