"""The Trivy gate, as the `JudgesImages` port: scans what is asked about and, to compare, what runs.

Owns which scans a question needs. What the findings mean is `core/findings`' matter. Made by the wiring.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from basetracker.adapters.gates.trivy.scanning import Trivy
from basetracker.api.gate_trivy import Compare, TrivyGate
from basetracker.api.names import GateVerdict
from basetracker.core.findings import Scans, Weighed, remedy_of, weigh
from basetracker.errors import BasetrackerError, InvalidError
from basetracker.oci.refs import ImageRef
from basetracker.ports import Answer, Clock, Credential, Credentials, Question

MISSING = "ImageMissing"
_BASE_AGAIN: Final = timedelta(minutes=10)
"""When to ask again where the base couldn't be scanned."""
_MOST_RUNNING = 8
"""Rollouts that stand still leave a few digests beside each other; more are not compared with, so that all count."""


class TrivyJudge:
    """Answers by what Trivy finds."""

    def __init__(self, trivy: Trivy, credentials: Credentials, clock: Clock) -> None:
        """`credentials` finds the login for a base whose registry needs one of the tracker's own."""
        self._trivy = trivy
        self._credentials = credentials
        self._clock = clock

    async def judge(self, question: Question, credential: Credential | None) -> Answer:
        """See `ports.JudgesImages`."""
        gate, digest = question.gate.trivy, question.image.digest
        if gate is None or digest is None:
            raise InvalidError("the Trivy gate was asked about no digest, or for another gate")
        found = await self._scan(question.image, credential, gate)
        if found is None:
            return Answer(
                digest=digest,
                verdict=GateVerdict.PENDING,
                reason=MISSING,
                message=f"{question.image.host} has no such image in {question.image.repository.path}",
            )
        running = await self._running(question, credential, gate)
        weighed = weigh(gate, found, running, self._clock.now().date())
        answer = Answer(digest=digest, verdict=weighed.verdict, reason=str(weighed.reason), message=weighed.message)
        if answer.verdict is not GateVerdict.FAIL or question.base is None:
            return answer
        return await self._with_remedy(answer, weighed, question.base, question, gate)

    def edition(self) -> str:
        """See `ports.JudgesImages`; the edition of Trivy's database, which is fetched when it isn't there."""
        if not self._trivy.edition:
            self._trivy.prepare()
        return self._trivy.edition

    async def close(self) -> None:
        """End what goes on in the background."""
        await self._trivy.close()

    async def _with_remedy(
        self, answer: Answer, weighed: Weighed, base: ImageRef, question: Question, gate: TrivyGate
    ) -> Answer:
        """The failure with what a rebuild on the base would do about it, as far as that can be told now."""
        try:
            credential = await self._base_credential(question, base)
            found = await self._scan(base, credential, gate)
        except BasetrackerError as error:
            told = f"whether a rebuild would mend it isn't known: {error}"
            return replace(answer, message=f"{answer.message}; {told}", again=_BASE_AGAIN)
        remedy = remedy_of(weighed, found or ())
        return replace(answer, message=f"{answer.message}; {remedy.message}", mendable=remedy.mends)

    async def _base_credential(self, question: Question, base: ImageRef) -> Credential | None:
        if question.base_pull_secret is None:
            return None
        return await self._credentials.find(question.tracker.namespace, question.base_pull_secret, base.host)

    async def _running(self, question: Question, credential: Credential | None, gate: TrivyGate) -> list[Scans]:
        """The scans of what runs; none at all for what the registry hasn't any more, so that everything is new beside it."""
        if gate.compare is not Compare.NO_WORSE or len(question.running) > _MOST_RUNNING:
            return []
        found = []
        for image in question.running:
            other = credential if image.host == question.image.host else None
            found.append(await self._scan(image, other, gate) or ())
        return found

    async def _scan(self, image: ImageRef, credential: Credential | None, gate: TrivyGate) -> Scans | None:
        return await self._trivy.scan(image, credential, frozenset(gate.scanners), gate.timeout)
