"""The gate that asks a Job, over HTTP: what passes is a Job of this very digest that has succeeded, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from basetracker.adapters.gates.job.gate import TRIES, TRIES_SECONDS, JobGates
from basetracker.adapters.gates.job.template import job_name
from basetracker.adapters.kube import Kube
from basetracker.api.gates import Gate
from basetracker.api.names import GateVerdict
from basetracker.api.tracker import Key
from basetracker.emulators.cluster import Fault
from basetracker.errors import DeniedError, InvalidError, UnavailableError
from basetracker.ports import Question

from .asking import DIGEST, EXIT_CODE, IMAGE, LOG, OTHER, SECONDS, SINCE, Asked, gate_of


async def test_a_job_that_succeeds_passes(asked: Asked) -> None:
    question = asked.question()
    first = await asked.judge(question)
    assert (first.verdict, first.reason) == (GateVerdict.PENDING, "JobRuns")
    assert first.again is not None
    answer = await asked.verdict(question)
    assert (answer.verdict, answer.digest) == (GateVerdict.PASS, DIGEST)
    assert answer.message == f"the Job {job_name(question, question.gate.job)} has succeeded"  # type: ignore[arg-type]  # it has one
    assert asked.world.counts["POST 201"] == 1


async def test_the_job_is_ours_and_limited(asked: Asked) -> None:
    await asked.judge(asked.question())
    (job,) = asked.jobs()
    metadata, spec = job["metadata"], job["spec"]
    assert metadata["ownerReferences"][0]["uid"] == asked.uid
    assert "blockOwnerDeletion" not in metadata["ownerReferences"][0]
    assert metadata["labels"] == {
        "team": "shop",
        "app.kubernetes.io/managed-by": "basetracker",
        "basetracker.dev/tracker": "python.3",
        "basetracker.dev/gate": "job",
    }
    assert metadata["annotations"]["basetracker.dev/digest"] == str(DIGEST)
    limits = {key: spec[key] for key in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")}
    assert limits == {"backoffLimit": 0, "activeDeadlineSeconds": 600, "ttlSecondsAfterFinished": 3600}
    pod = spec["template"]["spec"]
    assert (pod["restartPolicy"], pod["automountServiceAccountToken"]) == ("Never", False)
    (container,) = pod["containers"]
    assert container["args"] == [f"contoso.azurecr.io/shop/checkout:main@{DIGEST}", f"--digest={DIGEST}"]
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {
        "IMAGE": f"contoso.azurecr.io/shop/checkout:main@{DIGEST}",
        "IMAGE_REPOSITORY": "contoso.azurecr.io/shop/checkout",
        "IMAGE_TAG": "main",
        "IMAGE_DIGEST": str(DIGEST),
    }
    assert "hidden" not in str(job), "the tracker's credential stays with the operator"


async def test_a_job_that_fails_tells_its_last_lines(asked: Asked) -> None:
    log = "scanning\n\x1b[31mCVE-2026-1\x1b[0m in\topenssl \x00\n\n1 found\n"
    question = asked.question(gate_of(**{EXIT_CODE: "1", LOG: log}))
    answer = await asked.verdict(question)
    assert (answer.verdict, answer.reason) == (GateVerdict.FAIL, "JobFailed")
    assert answer.message.endswith("has failed with exit code 1: scanning | CVE-2026-1 in openssl | 1 found")
    assert await asked.judge(question) == answer, "the same evidence gives the same text"


async def test_a_silent_failure_says_so(asked: Asked) -> None:
    answer = await asked.verdict(asked.question(gate_of(**{EXIT_CODE: "3"})))
    assert answer.verdict is GateVerdict.FAIL
    assert answer.message.endswith("has failed with exit code 3; it wrote nothing")


@pytest.mark.parametrize("code", ["126", "127"])
async def test_a_scanner_that_is_missing_is_no_verdict(asked: Asked, code: str) -> None:
    with pytest.raises(InvalidError, match="can't judge anything: its container scan can't be started"):
        await asked.verdict(asked.question(gate_of(**{EXIT_CODE: code})))


@pytest.mark.parametrize("code", ["137", "139", "255"])
async def test_a_scanner_that_crashes_is_no_verdict(asked: Asked, code: str) -> None:
    answer = await asked.verdict(asked.question(gate_of(**{EXIT_CODE: code})))
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "JobLost")
    assert f"was killed (exit code {code})" in answer.message


async def test_a_job_that_takes_too_long_is_no_verdict(asked: Asked) -> None:
    answer = await asked.verdict(asked.question(gate_of(timeout="1s", **{EXIT_CODE: "never"})))
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "JobTimedOut")


async def test_a_scanner_that_cannot_be_pulled_is_named(asked: Asked) -> None:
    question = asked.question(gate_of(image="example.com/missing:1"))
    async with asyncio.timeout(SECONDS):
        while "can't be pulled" not in (answer := await asked.judge(question)).message:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.02)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "JobRuns")
    assert answer.message.endswith("isn't done yet: the image of its container scan can't be pulled")


async def test_a_job_without_a_pod_proves_nothing(asked: Asked) -> None:
    found = await asked.ends(asked.question(gate_of(spec={"completions": 0})))
    assert isinstance(found, InvalidError)
    assert "complete without a Pod" in str(found)


async def test_one_job_for_a_digest_and_a_gate(asked: Asked, clock: Any) -> None:
    again = JobGates(asked.world.kube, clock=clock)
    question = asked.question()
    await asyncio.gather(*(gates.judge(question, None) for gates in (asked.gates, again) for _ in range(3)))
    assert len(asked.jobs()) == 1
    await asked.judge(asked.question(digest=OTHER))
    await asked.judge(asked.question(gate_of(timeout="11m")))
    await asked.judge(replace(question, name="job-2"))
    await asked.judge(replace(question, downstream="cart"))
    assert len({job["metadata"]["name"] for job in asked.jobs()}) == 5
    assert all(len(job["metadata"]["name"]) <= 63 for job in asked.jobs())


async def test_a_restart_finds_the_job_and_its_verdict(asked: Asked, clock: Any) -> None:
    question = asked.question()
    before = await asked.verdict(question)
    assert await JobGates(asked.world.kube, clock=clock).judge(question, None) == before
    assert asked.world.counts["POST 201"] == 1


async def test_a_job_that_vanishes_is_made_anew_and_not_for_ever(asked: Asked) -> None:
    question = asked.question(gate_of(**{EXIT_CODE: "never"}))
    for _ in range(TRIES):
        assert (await asked.judge(question)).verdict is GateVerdict.PENDING
        await asked.world.delete("batch/v1", "jobs", asked.jobs()[0]["metadata"]["name"])
    with pytest.raises(InvalidError, match="3 times within a day without a verdict"):
        await asked.judge(question)
    assert asked.jobs() == []
    asked.clock.seconds += TRIES_SECONDS + 1
    assert (await asked.judge(question)).verdict is GateVerdict.PENDING
    assert len(asked.jobs()) == 1


async def test_a_job_is_removed_and_judges_anew(asked: Asked) -> None:
    question = asked.question()
    for _ in range(TRIES + 2):
        assert (await asked.verdict(question)).verdict is GateVerdict.PASS
        await asked.world.delete("batch/v1", "jobs", asked.jobs()[0]["metadata"]["name"])
    assert asked.world.counts["POST 201"] == TRIES + 2


async def test_nothing_is_created_without_the_lead(asked: Asked) -> None:
    asked.may[0] = False
    with pytest.raises(UnavailableError):
        await asked.judge(asked.question())
    assert asked.jobs() == []


@pytest.mark.parametrize(
    ("match", "what"),
    [
        (r"GET .*/jobs/", "may not get Jobs"),
        (r"POST .*/jobs", "may not create Jobs"),
        (r"GET .*/pods", "may not list Pods"),
    ],
)
async def test_a_missing_right_is_named(asked: Asked, match: str, what: str) -> None:
    message = '{"message": "forbidden: User \\"operator\\" cannot do it"}'
    asked.world.emulated.faults.append(Fault(match=match, status=403, body=message, times=1000))
    with pytest.raises(DeniedError, match=f"{what} in the namespace .*manifests/samples/job-gate.yaml"):
        await asked.judge(asked.question())


async def test_a_log_that_cannot_be_read_changes_no_verdict(asked: Asked) -> None:
    message = '{"message": "forbidden: User \\"operator\\" cannot get pods/log"}'
    asked.world.emulated.faults.append(Fault(match=r"GET .*/log", status=403, body=message, times=1000))
    answer = await asked.verdict(asked.question(gate_of(**{EXIT_CODE: "1", LOG: "found"})))
    assert answer.verdict is GateVerdict.FAIL
    assert answer.message.endswith("its log can't be read, since the operator may not get pods/log")


async def test_what_the_cluster_refuses_is_for_a_person(asked: Asked) -> None:
    broken = Gate.model_validate(
        {"job": {"template": {"spec": {"template": {"spec": {"containers": [{"name": "scan"}]}}}}}}
    )
    with pytest.raises(InvalidError, match=r"the gate's Job can't be created: .*image"):
        await asked.judge(asked.question(broken))


async def test_a_lost_answer_creates_no_second_job(asked: Asked) -> None:
    asked.world.emulated.faults.append(Fault(match=r"POST .*/jobs", drop=True, after=True))
    question = asked.question()
    with pytest.raises(UnavailableError):
        await asked.judge(question)
    assert (await asked.verdict(question)).verdict is GateVerdict.PASS
    assert len(asked.jobs()) == 1


@pytest.mark.parametrize("after", [False, True])
async def test_an_answer_that_takes_too_long_is_no_verdict_and_creates_no_second_job(asked: Asked, after: bool) -> None:
    asked.world.emulated.faults.append(Fault(match=r"POST .*/jobs", delay=30.0, after=after))
    question = asked.question()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asked.judge(question)
    assert (await asked.verdict(question)).verdict is GateVerdict.PASS
    assert len(asked.jobs()) == 1


async def test_garbage_is_never_a_pass(scripted: Any, scripted_kube: Kube, clock: Any) -> None:
    gates = JobGates(scripted_kube, clock=clock)
    question = Question(
        tracker=Key(namespace="shop", name="python"),
        uid="u",
        downstream="checkout",
        name="job",
        gate=gate_of(),
        image=IMAGE.pinned(DIGEST),
        since=SINCE,
    )
    for status, document in [
        (200, "not json"),
        (200, []),
        (500, {}),
        (200, {"metadata": {"name": "x"}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}),
    ]:
        scripted.says(r"/jobs", status, document)
        with pytest.raises((InvalidError, UnavailableError)):
            await gates.judge(question, None)
