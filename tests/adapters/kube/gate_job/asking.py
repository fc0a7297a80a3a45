"""The gate that asks a Job, as tests ask it: a tracker in an emulated cluster, whose nodes end Pods as they are told to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from basetracker.adapters.gates.job.gate import JobGates
from basetracker.adapters.gates.job.template import job_of
from basetracker.adapters.kube import Json
from basetracker.api.gates import Gate
from basetracker.api.tracker import Key
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest, parse_image
from basetracker.ports import Answer, Credential, Question

DIGEST = Digest("sha256:" + "a" * 64)
OTHER = Digest("sha256:" + "b" * 64)
IMAGE = parse_image("contoso.azurecr.io/shop/checkout:main")
SINCE = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
EXIT_CODE, LOG = "emulator.basetracker.dev/exit-code", "emulator.basetracker.dev/log"
SECONDS = 10.0


def gate_of(
    *, timeout: str = "10m", spec: Json | None = None, image: str = "example.com/scan:1", **annotations: str
) -> Gate:
    """A Job's gate whose Pods have these annotations; the emulated nodes heed them."""
    container = {"name": "scan", "image": image, "args": ["{{image}}", "--digest={{digest}}"]}
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}
    job = {"metadata": {"labels": {"team": "shop"}}, "spec": {"template": template} | (spec or {})}
    return Gate.model_validate({"job": {"template": job, "timeout": timeout}})


@dataclass
class Asked:
    """A tracker in the world's namespace, and the gate that is asked about its image."""

    world: Any
    clock: Any
    gates: JobGates
    uid: str = ""
    may: list[bool] = field(default_factory=lambda: [True])

    def question(self, gate: Gate | None = None, *, digest: Digest = DIGEST) -> Question:
        return Question(
            tracker=Key(namespace=self.world.namespace, name="python.3"),
            uid=self.uid,
            downstream="checkout",
            name="job",
            gate=gate or gate_of(),
            image=IMAGE.pinned(digest),
            since=SINCE,
        )

    async def judge(self, question: Question) -> Answer:
        return await self.gates.judge(question, Credential(username="nobody", password="hidden"))

    async def verdict(self, question: Question) -> Answer:
        """The answer once the Job is done."""
        async with asyncio.timeout(SECONDS):
            while (answer := await self.judge(question)).reason == "JobRuns":  # noqa: ASYNC110  # what is waited for is the state of a server
                await asyncio.sleep(0.02)
        return answer

    async def ends(self, question: Question) -> Answer | InvalidError:
        try:
            return await self.verdict(question)
        except InvalidError as error:
            return error

    @staticmethod
    def wanted(question: Question) -> Json:
        """The gate's own Job."""
        assert question.gate.job is not None
        return job_of(question, question.gate.job)

    async def lay_ready(self, question: Question, pod: Json) -> str:
        """Let somebody else have created the gate's Job, with this in its Pods' spec; the answer is its name."""
        job = self.wanted(question)
        job["spec"]["template"]["spec"] |= pod
        await self.world.create("jobs", job)
        return str(job["metadata"]["name"])

    def jobs(self) -> list[Json]:
        return list(self.world.emulated.list("Job", self.world.namespace))

    def pods(self) -> list[Json]:
        return list(self.world.emulated.list("Pod", self.world.namespace))
