"""The Job gate in the whole operator: nothing is delivered that its scanner refuses, and one Job is asked once, whoever asks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml

from basetracker.demo.files import SYSTEM
from basetracker.emulators.cluster import Fault

from .world import BASE, NAMESPACE, World, a_tracker, image_of

Json = dict[str, Any]
EXIT_CODE, LOG = "emulator.basetracker.dev/exit-code", "emulator.basetracker.dev/log"
RULES = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]


@pytest.fixture(autouse=True)
async def rights(world: World) -> None:
    """The sample's Role is bound."""
    rbac = "rbac.authorization.k8s.io"
    metadata = {"name": "basetracker-job-gate", "namespace": NAMESPACE}
    subject = {"kind": "ServiceAccount", "name": "basetracker", "namespace": SYSTEM}
    await world.cluster.apply(
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": RULES},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": metadata["name"]},
            "subjects": [subject],
        },
    )


def gated(**annotations: str) -> str:
    """A tracker with a gate whose Pods have these annotations; the emulated node heeds them."""
    container = {"name": "scan", "image": BASE, "args": ["{{repository}}@{{digest}}"]}
    template = {"spec": {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}}}
    return a_tracker(fields={"gates": yaml.safe_dump([{"job": {"template": template}}])})


def jobs(world: World) -> list[str]:
    """The digests that there are Jobs for."""
    return [job["metadata"]["annotations"]["basetracker.dev/digest"] for job in world.cluster.list("Job", NAMESPACE)]


def created(world: World) -> int:
    """How many Jobs the operator has created."""
    return sum("/jobs" in one.path and one.status == 201 for one in world.by_operator("POST"))


async def judged(world: World, many: int) -> None:
    """So many Jobs have ended, and the operator looks again: by itself it does so every ten seconds."""

    def have_ended() -> bool:
        found = world.cluster.list("Job", NAMESPACE)
        return sum(bool(job.get("status", {}).get("conditions")) for job in found) == many

    await world.until(have_ended, f"{many} Jobs have ended")
    await asyncio.sleep(1.1)  # the operator's clock has whole seconds
    await world.look()


async def begin(world: World) -> str:
    """`checkout` is built, its Job has passed it, and it is current; the answer is its digest."""
    await world.furnish()
    await world.operate()
    await world.apply(gated())
    await judged(world, 1)
    await world.becomes("Current")
    return world.digest(image_of("checkout"))


async def test_what_the_scanner_refuses_is_not_delivered(world: World) -> None:
    old = await begin(world)
    assert jobs(world) == [old]
    await world.apply(gated(**{EXIT_CODE: "1", LOG: "CVE-2026-1 in openssl\n"}))
    await world.move_base()
    await judged(world, 2)
    row = await world.becomes("Blocked GateFailed")
    assert "has failed with exit code 1: CVE-2026-1 in openssl; it is not delivered" in row["message"]
    assert world.runs_digests() == {old}


async def test_a_job_outlives_the_operator_that_created_it(world: World) -> None:
    """Its successor finds it by its name, asks nothing twice, and takes its word."""
    await world.furnish()
    first = await world.operate()
    await world.apply(gated(**{EXIT_CODE: "never"}))
    await world.until(lambda: jobs(world) != [], "there is a Job")
    await first.killed()
    world.operators.remove(first)
    await world.operate("two")
    await world.until(lambda: "isn't done yet" in world.image("checkout").get("message", ""), "it is waited for")
    assert world.state() == "Validating GatePending"
    assert (created(world), len(jobs(world))) == (1, 1)
    (job,) = world.cluster.list("Job", NAMESPACE)
    await world.cluster.delete("Job", NAMESPACE, job["metadata"]["name"])
    await world.look()
    await world.until(lambda: created(world) == 2, "a Job that is gone is made anew")


async def test_a_lost_answer_makes_no_second_job(world: World) -> None:
    world.cluster.faults.append(Fault(match=r"^POST /apis/batch/v1/namespaces/shop/jobs", drop=True, after=True))
    old = await begin(world)
    assert created(world) <= 1
    assert jobs(world) == [old]
