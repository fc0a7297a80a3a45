"""Asking the gates about an image: which digests, in which order, and what is known of them already.

Owns the questions; the desk owns when each is really asked. A dearer gate is asked when the cheaper ones have answered, and not
at all after a failure; a digest that may still pass keeps the next one from being asked about.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from basetracker.api.gates import NamedGate
from basetracker.api.names import GateVerdict
from basetracker.api.status import DownstreamStatus, GateStatus
from basetracker.api.tracker import Mode, Spec
from basetracker.core.gating import ASKED, fails, not_asked, questions_of, waits_for_person
from basetracker.core.observed import ImageSeen, Observed
from basetracker.core.rescan import Slot, slot_of
from basetracker.core.running import asked_now, running_beside
from basetracker.core.situation import asked_about
from basetracker.core.validation import ToAsk, known_answers, validated_before
from basetracker.engine.desk import Desk
from basetracker.oci.refs import Digest
from basetracker.ports import Question


def with_verdicts(desk: Desk, seen: ImageSeen, observed: Observed, spec: Spec) -> ImageSeen:
    """The image with what the gates besides lineage say of its digests by now."""
    digests = asked_about(seen, observed, spec)
    if digests == ToAsk():
        return seen
    tracker = observed.tracker
    slot = slot_of(f"{tracker.key}/{seen.spec.name}", spec.rescan.interval, observed.now)
    asker = _Asker(desk, seen, observed, spec, slot)
    verdicts: dict[Digest, tuple[GateStatus, ...]] = {}
    if digests.validated is not None:
        verdicts[digests.validated] = asker.verdicts(digests.validated)
    for digest in digests.candidates:
        verdicts[digest] = verdicts.get(digest) or asker.verdicts(digest)
        if not fails(verdicts[digest]) and not any(map(waits_for_person, verdicts[digest])):
            break
    for digest in asked_now(digests.running, slot):
        verdicts[digest] = verdicts.get(digest) or asker.verdicts(digest)
    return replace(seen, verdicts=verdicts, gates_due=min([*asker.dues, slot.end]))


class _Asker:
    """The questions about one image in one turn; `dues` is when some have to be asked again."""

    def __init__(self, desk: Desk, seen: ImageSeen, observed: Observed, spec: Spec, slot: Slot) -> None:
        self.dues: list[datetime] = []
        self._desk = desk
        self._seen = seen
        self._observed = observed
        self._spec = spec
        self._before: DownstreamStatus | None = observed.tracker.status.of(seen.spec.name)
        is_asked = observed.tracker.requested_at != observed.tracker.status.last_handled.requested_at
        # An answer of this very second may be from before the person asked.
        self._since = observed.now + timedelta(microseconds=1) if is_asked else slot.begin

    def verdicts(self, digest: Digest) -> tuple[GateStatus, ...]:
        """Every gate's answer about the digest; after a failure no further gate is asked."""
        questions = questions_of(self._spec.asked_gates, self._seen.spec.image)
        known = known_answers(self._before, digest, questions)
        answers: list[GateStatus] = []
        first = ""
        for named in self._spec.asked_gates:
            if first:
                answers.append(not_asked(named.name, digest, f"gate {first} comes first"))
                continue
            answer = self._verdict(named, questions[named.name], digest, known.get(named.name))
            answers.append(answer)
            first = named.name if answer.verdict is GateVerdict.FAIL or answer.reason == ASKED else ""
        return tuple(answers)

    def _verdict(self, named: NamedGate, fingerprint: str, digest: Digest, known: GateStatus | None) -> GateStatus:
        if self._spec.rollout.mode is Mode.PLAN and named.kind.acts:
            return not_asked(named.name, digest, "it would change the cluster (mode Plan)")
        item = self._seen.spec
        running = running_beside(digest, item, self._before, self._seen.targets, without=self._no_yardstick(digest))
        base, base_digest = self._spec.base, self._observed.base.digest
        weighs_base = self._spec.rescan.rebuild and named.kind.weighs_base and self._was_validated(digest)
        question = Question(
            tracker=self._observed.tracker.key,
            uid=self._observed.tracker.uid,
            downstream=item.name,
            name=named.name,
            gate=named.gate,
            fingerprint=fingerprint,
            image=item.image.pinned(digest),
            pull_secret=item.pull_secret_ref.name if item.pull_secret_ref is not None else None,
            running=tuple(item.image.repository.at(one) for one in running),
            workloads=tuple(dict.fromkeys((target.kind, target.name) for target in item.deploy)),
            base=base.image.pinned(base_digest) if weighs_base and base_digest is not None else None,
            base_pull_secret=base.pull_secret_ref.name if weighs_base and base.pull_secret_ref is not None else None,
            since=self._observed.now,
        )
        asked = self._desk.ask(question, known, since=self._since)
        if asked.due is not None:
            self.dues.append(asked.due)
        return asked.status

    def _no_yardstick(self, digest: Digest) -> tuple[Digest, ...]:
        """What fails by now and is to be replaced on the same base: its successor has to be better than that."""
        kept = self._before.validated if self._before is not None else None
        if kept is None or kept.failing is None or kept.digest == digest:
            return ()
        return (kept.digest,) if kept.base_digest == self._observed.base.digest else ()

    def _was_validated(self, digest: Digest) -> bool:
        """Whether it may be built once more on the current base."""
        base = self._observed.base.digest
        return base is not None and digest in validated_before(self._observed, self._seen.spec.name, base)
