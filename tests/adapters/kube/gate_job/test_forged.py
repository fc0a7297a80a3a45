"""Jobs that lie ready under the gate's name: only one that says what the template says is taken for its own."""

from __future__ import annotations

import json

import pytest

from basetracker.adapters.kube import Json
from basetracker.api.gates import Gate
from basetracker.api.names import GateVerdict
from basetracker.emulators.cluster import Fault
from basetracker.errors import InvalidError, UnavailableError

from .asking import OTHER, Asked


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ownerReferences": None}, "it doesn't belong to this tracker"),
        ({"annotations": {"basetracker.dev/digest": str(OTHER)}}, "it is about another digest"),
        ({"annotations": {"basetracker.dev/gate-hash": "0"}}, "it was made for another gate"),
    ],
)
async def test_a_foreign_job_of_the_name_is_no_verdict(asked: Asked, change: Json, why: str) -> None:
    question = asked.question()
    assert (await asked.verdict(question)).verdict is GateVerdict.PASS
    name = asked.jobs()[0]["metadata"]["name"]
    await asked.world.merge("batch/v1", "jobs", name, {"metadata": change})
    with pytest.raises(InvalidError, match=why):
        await asked.judge(question)


@pytest.mark.parametrize(
    ("pod", "what"),
    [
        (
            {"containers": [{"name": "scan", "image": "true:1"}]},
            "the args of .* scan, the env of .* scan, the image of .*",
        ),
        ({"serviceAccountName": "builder"}, "the serviceAccountName of its Pods"),
        ({"automountServiceAccountToken": True}, "the automountServiceAccountToken of its Pods"),
        ({"hostNetwork": True}, "the hostNetwork of its Pods"),
        ({"nodeName": "node-1"}, "the nodeName of its Pods"),
        ({"securityContext": {"runAsUser": 0}}, "the securityContext of its Pods"),
        ({"volumes": [{"name": "tmp", "emptyDir": {}}]}, "the volumes of its Pods"),
        ({"runtimeClassName": "kata"}, "the runtimeClassName of its Pods"),
    ],
)
async def test_a_job_that_runs_something_else_is_no_verdict(asked: Asked, pod: Json, what: str) -> None:
    """Whoever may create Jobs could lay one ready that always succeeds."""
    question = asked.question()
    await asked.lay_ready(question, pod)
    with pytest.raises(InvalidError, match=rf"differs from the gate's template in {what}; delete it"):
        await asked.judge(question)


async def test_a_job_of_another_image_is_no_verdict(asked: Asked) -> None:
    """The same in all but the image, which always succeeds."""
    question = asked.question()
    (container,) = asked.wanted(question)["spec"]["template"]["spec"]["containers"]
    name = await asked.lay_ready(question, {"containers": [container | {"image": "true:1"}]})
    with pytest.raises(InvalidError, match="it differs from the gate's template in the image of the container scan;"):
        await asked.judge(question)
    await asked.world.delete("batch/v1", "jobs", name)
    assert (await asked.verdict(question)).verdict is GateVerdict.PASS


async def test_a_job_of_the_same_is_as_good_as_the_gates_own(asked: Asked) -> None:
    question = asked.question()
    await asked.lay_ready(question, {})
    assert (await asked.verdict(question)).verdict is GateVerdict.PASS
    assert len(asked.jobs()) == 1


async def test_what_admission_makes_of_the_gates_own_job_is_no_difference(asked: Asked) -> None:
    question = asked.question()
    await asked.lay_ready(question, {"nodeSelector": {"queue": "batch"}})
    admitted = asked.wanted(question)
    admitted["spec"]["template"]["spec"]["nodeSelector"] = {"queue": "batch"}
    trial = Fault(match=r"POST .*/jobs\?.*dryRun=All", times=None, status=201, body=json.dumps(admitted))
    asked.world.emulated.faults.append(trial)
    assert (await asked.verdict(question)).verdict is GateVerdict.PASS
    assert len(asked.jobs()) == 1
    admitted["spec"]["template"]["spec"]["nodeSelector"] = {"queue": "other"}
    trial.body = json.dumps(admitted)
    with pytest.raises(InvalidError, match="in the nodeSelector of its Pods; delete it"):
        await asked.judge(question)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (201, "{}", InvalidError),
        (201, '{"spec": {"template": {"spec": "none"}}}', InvalidError),
        (201, "[]", (InvalidError, UnavailableError)),
        (400, '{"message": "admission webhook does not support dry run"}', InvalidError),
        (403, '{"message": "forbidden: quota"}', InvalidError),
        (500, "{}", UnavailableError),
    ],
)
async def test_a_trial_that_tells_nothing_changes_nothing(
    asked: Asked, status: int, body: str, error: type[Exception]
) -> None:
    question = asked.question()
    await asked.lay_ready(question, {"nodeSelector": {"queue": "batch"}})
    asked.world.emulated.faults.append(Fault(match=r"POST .*dryRun=All", times=None, status=status, body=body))
    with pytest.raises(error):
        await asked.judge(question)


async def test_a_field_that_nobody_knows_is_for_a_person(asked: Asked) -> None:
    """Left out in silence, it would make the gate's own Job look like somebody else's."""
    template = {"spec": {"containers": [{"name": "scan", "image": "example.com/scan:1"}], "securtyContext": {}}}
    gate = Gate.model_validate({"job": {"template": {"spec": {"template": template}}}})
    with pytest.raises(InvalidError, match=r"the gate's Job can't be created: .*securtyContext"):
        await asked.judge(asked.question(gate))
    assert asked.jobs() == []
