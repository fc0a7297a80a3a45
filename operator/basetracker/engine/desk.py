"""The desk: asks the gates in the background and keeps their answers, so that no turn waits for a scan.

Owns when a gate is asked again: a Pending after a growing wait, what runs when its time has come or when what the gate knows
has changed. Nothing here decides what a verdict means; whatever isn't a clear answer about the digest is Pending.
Used by `engine/observe`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from basetracker.api.gates import GateKind
from basetracker.api.names import GateVerdict
from basetracker.api.status import GateStatus
from basetracker.api.tracker import Key
from basetracker.core.gating import ASKED, NOT_ASKED
from basetracker.engine.problems import problem_of
from basetracker.errors import BasetrackerError, UnavailableError
from basetracker.oci.refs import ImageRef
from basetracker.ports import Answer, Clock, Credential, Credentials, JudgesImages, Question
from basetracker.telemetry import LOGGER, Metrics

FIRST_WAIT: Final = timedelta(seconds=10)
LONGEST_WAIT: Final = timedelta(minutes=10)
LIMIT_SECONDS: Final = 2 * 3600.0
"""Longer than any gate's own limit; one that hangs all the same is given up."""
KEPT_FOR: Final = timedelta(hours=25)
"""How long an answer is remembered that nobody asks for any more."""
LONGEST_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a gate says by now, and when to come again even though nothing calls."""

    status: GateStatus
    due: datetime | None = None


@dataclass(slots=True, kw_only=True)
class _File:
    """All about one question: the answer so far, and the task that brings the next one."""

    since: datetime
    wanted: datetime
    answer: GateStatus | None = None
    at: datetime
    edition: str = ""
    due: datetime | None = None
    tries: int = 0
    base: ImageRef | None = None
    """The base that the answer has weighed."""
    base_asked: ImageRef | None = None
    """The base that the gate was last asked to weigh; an answer that doesn't come is waited for like any other."""
    task: asyncio.Task[None] | None = None


class Desk:
    """Answers at once with what is known; `poke` gives the tracker a turn when there is more to know."""

    def __init__(
        self,
        gates: Mapping[GateKind, JudgesImages],
        credentials: Credentials,
        clock: Clock,
        metrics: Metrics,
        *,
        poke: Callable[[Key], None],
        may: Callable[[], bool],
    ) -> None:
        self._gates = gates
        self._credentials = credentials
        self._clock = clock
        self._metrics = metrics
        self._poke = poke
        self._may = may
        self._began = clock.now()
        self._first_editions: dict[GateKind, str] = {}
        self._files: OrderedDict[Hashable, _File] = OrderedDict()

    def ask(self, question: Question, known: GateStatus | None, *, since: datetime) -> Asked:
        """What the gate says of the digest; asked again when the answer is older than `since` or its edition changes.

        `known` is an earlier answer to the same question. A clear one counts until the gate says otherwise, so that a new
        process doesn't ask all over again.
        """
        now = self._clock.now()
        key = _key(question)
        file = self._files.get(key)
        begun = known.since if known is not None and known.since is not None else file.since if file else None
        question = replace(question, since=begun or question.since)
        if file is None:
            has_passed = known is not None and known.verdict is GateVerdict.PASS
            if not self._may() or (has_passed and since <= self._began and not self._has_moved_on(question.gate.kind)):
                return Asked(status=known or _pending(question, NOT_ASKED, "it has not been asked yet"))
            file = self._files[key] = _File(since=question.since, wanted=now, at=now, answer=known)
            if known is not None and known.mendable is not None:
                file.base = question.base  # only what was validated for this base has such an answer
        file.wanted = now
        self._files.move_to_end(key)
        self._forget(now - KEPT_FOR)
        if file.task is None and self._may() and self._is_due(file, question, since):
            gate = self._gates.get(question.gate.kind)
            file.edition = gate.edition() if gate is not None else ""
            file.base_asked = question.base
            file.task = asyncio.ensure_future(self._find_out(question, file))
        status = file.answer or _pending(question, ASKED, "it is being asked")
        if status.mendable is not None and question.base != file.base:
            status = status.model_copy(update={"mendable": None})
        return Asked(status=status, due=None if file.task is not None else file.due)

    async def close(self) -> None:
        """Give up everything that is under way."""
        tasks = [file.task for file in self._files.values() if file.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _has_moved_on(self, kind: GateKind) -> bool:
        """Whether what the gate knows has changed since this process first heard of it."""
        gate = self._gates.get(kind)
        edition = gate.edition() if gate is not None else ""
        first = self._first_editions.setdefault(kind, edition) if edition else edition
        return edition != first

    def _is_due(self, file: _File, question: Question, since: datetime) -> bool:
        fails = file.answer is not None and file.answer.verdict is GateVerdict.FAIL
        if fails and question.base not in {None, file.base, file.base_asked}:
            return True
        if file.due is not None:
            return self._clock.now() >= file.due or file.at < since
        gate = self._gates.get(question.gate.kind)
        has_moved_on = gate is not None and file.edition not in {"", gate.edition()}
        return file.tries == 0 or file.at < since or has_moved_on

    def _forget(self, before: datetime) -> None:
        """Forget what nobody has asked for since `before`."""
        while self._files:
            key, file = next(iter(self._files.items()))
            if file.wanted >= before or file.task is not None:
                return
            del self._files[key]

    async def _find_out(self, question: Question, file: _File) -> None:
        try:
            answer = await self._answer(question)
        finally:
            file.task = None
        file.tries += 1
        file.at = self._clock.now()
        gate = self._gates.get(question.gate.kind)
        if gate is not None and not file.edition:
            file.edition = gate.edition()  # the gate has only now found out what it knows
        is_final = answer.verdict is not GateVerdict.PENDING
        self._metrics.gates.labels(gate=str(question.gate.kind), verdict=str(answer.verdict)).inc()
        wait = answer.again or min(FIRST_WAIT * int(2 ** min(file.tries - 1, 10)), LONGEST_WAIT)
        file.due = file.at + wait if answer.again is not None or not is_final else None
        if is_final:
            file.tries = 1
        before = file.answer
        if is_final:
            answer = _with_known_remedy(answer, before, is_same_base=file.base == question.base)
            file.base = question.base
        if is_final or before is None or before.verdict is GateVerdict.PENDING:
            file.answer = _status(question, answer)
        # Without a change there is nothing to tell, but the next question has to be planned.
        if file.answer != before or file.due is not None:
            self._poke(question.tracker)

    async def _answer(self, question: Question) -> Answer:
        """The gate's answer; whatever isn't one is Pending."""
        asked = question.image.digest
        assert asked is not None, question  # noqa: S101  whoever asks names the digest
        gate = self._gates.get(question.gate.kind)
        if gate is None:
            return _unclear(question, "Missing", f"this operator has no gate of kind {question.gate.kind}")
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                answer = await gate.judge(question, await self._credential(question))
        except UnavailableError as error:
            again = timedelta(seconds=error.retry_after) if error.retry_after is not None else None
            return replace(_unclear(question, str(problem_of(error).kind), str(error)), again=again)
        except BasetrackerError as error:
            return _unclear(question, str(problem_of(error).kind), str(error))
        except TimeoutError:
            return _unclear(question, "TimedOut", "it has not answered in time")
        except Exception as error:  # a gate that breaks must neither pass anything nor end the operator
            LOGGER.exception("gate %s broke about %s", question.name, question.image)
            return _unclear(question, "Crashed", f"it broke ({type(error).__name__}); the operator's log tells where")
        if answer.digest != asked:
            return _unclear(question, "OtherDigest", f"it has answered about {answer.digest.short} instead")
        return answer

    async def _credential(self, question: Question) -> Credential | None:
        if question.pull_secret is None:
            return None
        return await self._credentials.find(question.tracker.namespace, question.pull_secret, question.image.host)


def _key(question: Question) -> Hashable:
    """What makes two questions the same one: all but when it was first asked, and what is asked about a failure besides."""
    place = (question.tracker, question.uid, question.downstream, question.name, question.pull_secret)
    return (place, question.fingerprint, question.image, question.running, question.workloads)


def _with_known_remedy(answer: Answer, before: GateStatus | None, *, is_same_base: bool) -> Answer:
    """A failure with what was known of its remedy, while that can't be told anew."""
    fails = answer.verdict is GateVerdict.FAIL and before is not None and before.verdict is GateVerdict.FAIL
    if not fails or before is None or answer.mendable is not None or not is_same_base:
        return answer
    return replace(answer, mendable=before.mendable)


def _unclear(question: Question, reason: str, message: str) -> Answer:
    digest = question.image.digest
    assert digest is not None, question  # noqa: S101  whoever asks names the digest
    return Answer(digest=digest, verdict=GateVerdict.PENDING, reason=reason, message=message)


def _pending(question: Question, reason: str, message: str) -> GateStatus:
    return _status(question, _unclear(question, reason, message))


def _status(question: Question, answer: Answer) -> GateStatus:
    text = " ".join(answer.message.split())
    return GateStatus(
        name=question.name,
        verdict=answer.verdict,
        reason=answer.reason,
        message=text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…",
        digest=question.image.digest,
        since=question.since,
        question=question.fingerprint,
        mendable=answer.mendable if answer.verdict is GateVerdict.FAIL else None,
    )
