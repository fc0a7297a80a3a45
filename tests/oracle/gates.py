"""The gates of a story besides lineage: what is true of each digest, who asks, and everything that was ever answered.

One for the whole story, as a registry of signatures or a database of findings is; each replica asks it through judges of its
own. What it makes of an answer is the replica's matter. Knows no tracker and no plan: people and troubles change what is true.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any, Final

from basetracker.api.gates import Gate, GateKind
from basetracker.api.names import GateVerdict
from basetracker.errors import BasetrackerError, DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import Digest
from basetracker.ports import Answer, Credential, Question

from .loop import VirtualLoop

PASS, FAIL, PENDING = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.PENDING
KINDS: Final = tuple(kind for kind in GateKind if kind is not GateKind.LINEAGE)
WITH_EDITION: Final = frozenset({GateKind.TRIVY})
"""The kinds that tell when what they know has changed; the others are asked again at a rescan or when a person wants it."""
ASKS_AGAIN: Final = {GateKind.REPORTS: timedelta(minutes=5), GateKind.SIGNATURE: timedelta(hours=1)}
"""The kinds whose failures others may mend unseen, and when these want to be asked again."""
NEVER: Final = float("inf")
PREPARING: Final = 5.0
"""How many seconds a judge takes to find out its edition."""


class GateBrokeError(Exception):
    """A gate that breaks on purpose."""


def fields_of(entry: Gate | dict[str, Any]) -> str:
    """What names a gate's question besides image and digest: all of its fields."""
    return (entry if isinstance(entry, Gate) else Gate.model_validate(entry)).model_dump_json()


def questions_in(spec: dict[str, Any]) -> tuple[str, ...]:
    """The fields of every gate besides lineage that a tracker's spec names."""
    return tuple(fields_of(entry) for entry in spec.get("gates", ()) if "lineage" not in entry)


@cache
def kind_of(fields: str) -> GateKind:
    """The kind of a gate with these fields."""
    return Gate.model_validate_json(fields).kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What one tracker asks of one image: the tracker's uid, which image, and the gate's fields."""

    uid: str
    downstream: str
    image: str
    fields: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One answer that was given, or that a gate had none."""

    asked_at: float
    at: float
    replica: str
    gate: str
    """Its name in the status."""
    subject: Subject
    fingerprint: str
    digest: str
    verdict: GateVerdict
    mends: str = ""
    """Of a Fail: the digest of the base on which a rebuild may mend it, if that was said."""


@dataclass(slots=True, kw_only=True)
class _Finding:
    """What is true of one digest: whether it passes, from when on that can be told, and whether a rebuild would mend it."""

    passes: bool
    ready: float = 0.0
    is_mendable: bool = False


@dataclass(slots=True)
class Gates:
    """What is true, what is out of order, and what was told."""

    loop: VirtualLoop
    rng: random.Random
    told: list[Told] = field(default_factory=list)
    changed_at: dict[GateKind, float] = field(default_factory=dict)
    """When what a kind knows was last changed."""
    editions: Counter[GateKind] = field(default_factory=Counter)
    down_until: dict[GateKind, float] = field(default_factory=dict)
    breaks: Counter[GateKind] = field(default_factory=Counter)
    """How many of the next questions end in a crash."""
    strays: Counter[GateKind] = field(default_factory=Counter)
    """How many of the next answers are passes of another digest."""
    slow_until: dict[GateKind, float] = field(default_factory=dict)
    unusable: dict[GateKind, Callable[[str], BasetrackerError]] = field(default_factory=dict)
    """What a person has to mend before a kind can answer."""
    _findings: dict[tuple[str, str], _Finding] = field(default_factory=dict)
    _approved: set[str] = field(default_factory=set)
    _is_mended: bool = False
    _by_subject: dict[tuple[Subject, str], list[Told]] = field(default_factory=lambda: defaultdict(list))
    fields_by_fingerprint: dict[str, str] = field(default_factory=dict)
    """What each question's hash in a status stands for."""
    _by_fingerprint: set[tuple[str, str, str, str, GateVerdict]] = field(default_factory=set)

    # -- what is true -----------------------------------------------------------------------------------

    def verdict(self, fields: str, digest: str) -> GateVerdict:
        """What a gate with these fields would say of the digest now, if it can be asked."""
        found = self._finding(fields, digest)
        if found.ready > self.loop.time():
            return PENDING
        return PASS if found.passes else FAIL

    def is_mendable(self, fields: str, digest: str) -> bool:
        """Whether a rebuild may turn a failure into a pass."""
        return self._finding(fields, digest).is_mendable

    def is_endless(self, fields: str, digest: str) -> bool:
        """Whether the answer has to be waited for until a person acts."""
        return self._finding(fields, digest).ready == NEVER

    def passes_all(self, questions: Iterable[str], digest: str) -> bool:
        """Whether the digest would pass all of these gates now."""
        return all(self.verdict(fields, digest) is PASS for fields in questions)

    def approve(self, digest: str) -> None:
        """Every gate lets this digest, which is new, pass until something is found in it."""
        self._approved.add(digest)

    def find(self, kind: GateKind, digest: str, *, passes: bool) -> int:
        """Let all gates of a kind say this of the digest from now on; the answer is how many said otherwise."""
        touched = [
            found
            for (fields, one), found in self._findings.items()
            if one == digest and kind_of(fields) is kind and found.passes is not passes
        ]
        for found in touched:
            found.passes, found.ready = passes, 0.0
        if touched:
            self.changed_at[kind] = self.loop.time()
            self.editions[kind] += 1
        return len(touched)

    def known(self, kind: GateKind, *, passing: bool) -> list[str]:
        """The digests of which a gate of this kind has something to say that passes, or fails."""
        return list(
            dict.fromkeys(
                digest
                for (fields, digest), found in self._findings.items()
                if kind_of(fields) is kind and found.passes is passing
            )
        )

    def mend(self) -> None:
        """From now on everything can be asked, and nothing is waited for in vain."""
        self._is_mended = True
        self.unusable.clear()
        for found in self._findings.values():
            found.ready = min(found.ready, self.loop.time())

    def calm_down(self) -> None:
        """No more troubles; what waits for a person goes on waiting."""
        for troubles in (self.down_until, self.breaks, self.strays, self.slow_until):
            troubles.clear()

    def _finding(self, fields: str, digest: str) -> _Finding:
        key = (fields, digest)
        if key not in self._findings and digest in self._approved:
            self._findings[key] = _Finding(passes=True, is_mendable=self.rng.random() < 0.6)
        elif key not in self._findings:
            passes = self.rng.random() < 0.85
            wait = self.rng.choices((0.0, self.rng.uniform(5, 400), NEVER), (86, 11, 0 if self._is_mended else 3))[0]
            is_mendable = self.rng.random() < 0.6
            self._findings[key] = _Finding(passes=passes, ready=self.loop.time() + wait, is_mendable=is_mendable)
        return self._findings[key]

    # -- what was told ------------------------------------------------------------------------------------

    def tell(self, told: Told) -> None:
        """Remember an answer; it is told at this moment."""
        self.told.append(told)
        self._by_subject[told.subject, told.digest].append(told)
        subject = told.subject
        self.fields_by_fingerprint[told.fingerprint] = subject.fields
        self._by_fingerprint.add((subject.uid, subject.downstream, told.fingerprint, told.digest, told.verdict))

    def answers(self, subject: Subject, digest: str) -> list[Told]:
        """All clear answers to this question, the oldest first."""
        return [one for one in self._by_subject.get((subject, digest), ()) if one.verdict is not PENDING]

    def asked_since(self, subject: Subject, digest: str, when: float) -> bool:
        """Whether this has been asked since then, whatever came of it."""
        return any(one.at >= when for one in self._by_subject.get((subject, digest), ()))

    def is_news(self, first: int) -> bool:
        """Whether one of the answers from this number on says clearly what the last one to its question did not."""
        latest: dict[tuple[Subject, str, str], tuple[GateVerdict, str]] = {}
        for number, one in enumerate(self.told):
            if one.verdict is PENDING:
                continue
            says = (one.verdict, one.mends)
            if number >= first and latest.get((one.subject, one.digest, one.gate)) != says:
                return True
            latest[one.subject, one.digest, one.gate] = says
        return False

    def was_told(self, uid: str, downstream: str, fingerprint: str, digest: str, verdict: GateVerdict) -> bool:
        """Whether a gate has really given this verdict, asked by this tracker for this image."""
        return (uid, downstream, fingerprint, digest, verdict) in self._by_fingerprint

    def judges(self, replica: str) -> dict[GateKind, Judge]:
        """The gates as one replica has them."""
        return {kind: Judge(self, kind, replica) for kind in KINDS}


class Judge:
    """One kind of gate in one replica."""

    def __init__(self, gates: Gates, kind: GateKind, replica: str) -> None:
        self._gates = gates
        self._kind = kind
        self._replica = replica
        self._knows_from = NEVER

    def edition(self) -> str:
        """See `ports.JudgesImages`; it isn't known until a while after it was wanted, or an answer was given."""
        if self._kind not in WITH_EDITION:
            return ""
        self._knows_from = min(self._knows_from, self._gates.loop.time() + PREPARING)
        return f"edition {self._gates.editions[self._kind]}" if self._knows else ""

    @property
    def _knows(self) -> bool:
        return self._gates.loop.time() >= self._knows_from

    async def judge(self, question: Question, credential: Credential | None) -> Answer:
        """See `ports.JudgesImages`; what is said is what was true when it began, or trouble."""
        subject = Subject(
            uid=question.uid,
            downstream=question.downstream,
            image=str(question.image).partition("@")[0],
            fields=fields_of(question.gate),
        )
        knew, asked_at = self._knows, self._gates.loop.time()
        verdict = self._gates.verdict(subject.fields, str(question.image.digest))
        await asyncio.sleep(self._seconds())
        if not knew:  # what it knows is what it has got only now
            self._knows_from = self._gates.loop.time()
            verdict = self._gates.verdict(subject.fields, str(question.image.digest))
        answer = self._answer(question, verdict)
        is_clear = not isinstance(answer, Exception) and answer.digest == question.image.digest
        is_mendable = not isinstance(answer, Exception) and bool(answer.mendable)
        self._gates.tell(
            Told(
                asked_at=asked_at,
                at=self._gates.loop.time(),
                replica=self._replica,
                gate=question.name,
                subject=subject,
                fingerprint=question.fingerprint,
                digest=str(question.image.digest),
                verdict=verdict if is_clear else PENDING,
                mends=str(question.base.digest) if is_clear and is_mendable and question.base is not None else "",
            )
        )
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _seconds(self) -> float:
        if self._gates.slow_until.get(self._kind, 0.0) > self._gates.loop.time():
            return self._gates.rng.uniform(30, 300)
        return self._gates.rng.choice((0.0, 0.0, 2.0, 15.0))

    def _answer(self, question: Question, verdict: GateVerdict) -> Answer | Exception:
        gates, kind = self._gates, self._kind
        if kind in gates.unusable:
            return gates.unusable[kind](f"{kind} lacks something")
        if gates.down_until.get(kind, 0.0) > gates.loop.time():
            return UnavailableError(f"{kind} can't be reached", retry_after=gates.rng.choice((None, 20.0)))
        if gates.breaks[kind] > 0:
            gates.breaks[kind] -= 1
            return GateBrokeError(str(kind))
        assert question.image.digest is not None
        answer = Answer(
            digest=question.image.digest,
            verdict=verdict,
            reason="Looked",
            message=f"{kind} says {verdict}",
            again=ASKS_AGAIN.get(kind) if verdict is FAIL else None,
        )
        if verdict is FAIL and question.base is not None:
            is_mendable = gates.is_mendable(fields_of(question.gate), str(question.image.digest))
            is_slow = gates.slow_until.get(kind, 0.0) > gates.loop.time()
            answer = replace(answer, mendable=None if is_slow else is_mendable)
        if gates.strays[kind] > 0:
            gates.strays[kind] -= 1
            other = Digest(f"sha256:{gates.rng.randbytes(32).hex()}")
            return Answer(digest=other, verdict=PASS, reason="Looked", message=answer.message)
        return answer


WAYS_TO_BE_UNUSABLE: Final[tuple[Callable[[str], BasetrackerError], ...]] = (InvalidError, MissingError, DeniedError)
