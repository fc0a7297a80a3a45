"""The end of a story as far as gates go: whether what a status says of them is borne out by what they know and have said.

Part of the verdict. Before the people have asked for a look at everything, a replica may believe what it was told last; after
that only what is true counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from basetracker.api.duration import parse_duration
from basetracker.core.rescan import slot_of

from .gates import FAIL, KINDS, PASS, PENDING, WITH_EDITION, Subject, Told, kind_of, questions_in
from .loop import START
from .model import Model
from .shop import NAMESPACE, Json

NOTICED_SECONDS = 150.0
"""Within what time a leader has asked again about what runs when a kind knows more."""
MOST_PENDING = 6
"""How often at most a gate that has no answer yet is asked during the calm."""


class GateVerdict:
    """What is not as it should be with gates; `contains` says whether a digest of an image contains a base."""

    def __init__(self, model: Model, contains: Callable[[Json, Json, str, str], bool]) -> None:
        self._model = model
        self._shop = model.shop
        self._gates = model.shop.gates
        self._contains = contains
        self.is_all_asked = False
        """Whether every gate has been asked again since anything was found or withdrawn."""
        self.led_since = 0.0

    # -- reasons to wait --------------------------------------------------------------------------------

    def is_confirmed(self, tracker: Json, item: Json, row: Json, base: str, reason: str) -> bool:
        """Whether the gates give this reason not to deliver what contains the base."""
        candidates = self._candidates(tracker, item, base)
        digests = {one["digest"] for one in row.get("gates", []) if "digest" in one} & candidates
        match reason:
            case "GateFailed":
                rescued = any(self._must_pass(tracker, item, one) for one in self._tagged(tracker, item, base))
                return not rescued and any(self._fails_one(tracker, item, one) for one in digests)
            case "GatePending":
                if "failing" in row.get("validated", {}):  # what may take its place isn't told
                    digests = candidates - {row["validated"]["digest"]}
                questions = questions_in(tracker["spec"])
                return any(self._waits_for_person(fields, one) for fields in questions for one in digests)
            case "GateUnusable":
                kinds = {kind_of(one) for one in questions_in(tracker["spec"])}
                return bool(digests) and bool(kinds & set(self._gates.unusable))
        return False

    def _candidates(self, tracker: Json, item: Json, base: str) -> set[str]:
        """All digests of the image that contain the base."""
        path = item["image"].partition("/")[2].rpartition(":")[0]
        manifests = self._shop.registry.storage.repositories[path].manifests
        return {one for one in manifests if self._contains(tracker, item, one, base)}

    def _tagged(self, tracker: Json, item: Json, base: str) -> set[str]:
        tag = self._shop.tag(item["image"])
        return {tag} if self._contains(tracker, item, tag, base) else set()

    def _fails_one(self, tracker: Json, item: Json, digest: str) -> bool:
        """Whether the digest fails one of the tracker's gates, or has failed one when it was asked last."""
        for subject in self._subjects(tracker, item):
            answers = self._gates.answers(subject, digest)
            if not self.is_all_asked and answers and answers[-1].verdict is FAIL:
                return True
            if self._gates.verdict(subject.fields, digest) is FAIL:
                return True
        return False

    def _must_pass(self, tracker: Json, item: Json, digest: str) -> bool:
        """Whether all gates pass the digest, and none has said otherwise last."""
        return not self._fails_one(tracker, item, digest) and self._gates.passes_all(
            questions_in(tracker["spec"]), digest
        )

    def _subjects(self, tracker: Json, item: Json) -> list[Subject]:
        """What the tracker asks of the image, in the order in which it asks."""
        uid = tracker["metadata"]["uid"]
        return [
            Subject(uid=uid, downstream=item["name"], image=item["image"], fields=one)
            for one in sorted(questions_in(tracker["spec"]), key=lambda fields: KINDS.index(kind_of(fields)))
        ]

    def awaited(self, tracker: Json, item: Json, row: Json, base: str) -> Iterator[str]:
        """The answers that come by themselves and haven't yet."""
        for gate in row.get("gates", []):
            if gate["verdict"] != "Pending" or gate["name"] == "lineage" or gate["reason"] == "NotAsked":
                continue
            if not self._contains(tracker, item, gate["digest"], base):
                continue  # of an earlier base: there is nothing new to say
            fields = self._gates.fields_by_fingerprint.get(gate["question"])
            if fields is not None and self._waits_for_person(fields, gate["digest"]):
                continue
            yield f"gate {gate['name']} could have answered about {gate['digest']}: {gate['message']}"

    def _waits_for_person(self, fields: str, digest: str) -> bool:
        return kind_of(fields) in self._gates.unusable or self._gates.is_endless(fields, digest)

    # -- what is validated ---------------------------------------------------------------------------------

    def complaints(self, tracker: Json, item: Json, row: Json) -> Iterator[str]:
        """What is wrong with what a row says of its validated digest."""
        validated = row.get("validated", {})
        told = validated.get("failing")
        digest = validated.get("digest", "")
        subjects = self._subjects(tracker, item)
        if not digest:
            return
        last = {one: self._gates.answers(one, digest) for one in subjects}
        passed = [one for one in validated.get("gates", []) if one["verdict"] == "Pass"]
        kept = {(one["name"], self._gates.fields_by_fingerprint.get(one["question"], "")) for one in passed}
        if not kept >= self._named(tracker):
            if row["state"] == "Current":
                yield f"is Current with {digest}, which hasn't passed every gate"
            return  # it isn't asked about any more before it may be validated again
        if not all(last.values()):
            return
        fails = {one.fields for one in subjects if self._fails(one, digest, last[one])}
        if fails and told is None:
            yield f"{digest} is validated and fails {sorted(fails)}, and nothing says so"
        if not fails and told is not None and self._is_sure(last, digest):
            yield f"{digest} is said to fail {told['name']}, and passes"
        if told is not None and not self._has_condition(tracker):
            yield f"{digest} is said to fail {told['name']}, and the tracker has no RunningImageFails"
        yield from self._unasked(tracker, digest, last)

    @staticmethod
    def _named(tracker: Json) -> set[tuple[str, str]]:
        """The names of the tracker's gates, and their fields: the second of a kind is named `kind-2`."""
        counts: Counter[str] = Counter()
        found = set()
        for fields in questions_in(tracker["spec"]):
            kind = str(kind_of(fields))
            counts[kind] += 1
            found.add((kind if counts[kind] == 1 else f"{kind}-{counts[kind]}", fields))
        return found

    def _unasked(self, tracker: Json, digest: str, last: dict[Subject, list[Told]]) -> Iterator[str]:
        """The gates that know more by now and haven't been asked again; none is asked after one that fails."""
        for subject, answers in last.items():
            kind = kind_of(subject.fields)
            changed = self._gates.changed_at.get(kind, 0.0)
            was_there = kind in WITH_EDITION and self.led_since + NOTICED_SECONDS < changed
            is_old = self._model.respecified_at[tracker["metadata"]["name"]] < changed
            if was_there and is_old and not self._gates.asked_since(subject, digest, changed):
                yield f"{digest} hasn't been asked about since {changed:.1f}, when {kind} changed"
            if answers[-1].verdict is FAIL:
                return

    def _fails(self, subject: Subject, digest: str, answers: list[Told]) -> bool:
        """Whether it must be known that the digest fails this gate."""
        if self.is_all_asked:
            return self._gates.verdict(subject.fields, digest) is FAIL
        leader = self._shop.leader()
        own = [one for one in answers if leader is not None and one.replica == leader.name]
        return bool(own) and own[-1].verdict is FAIL

    def _is_sure(self, last: dict[Subject, list[Told]], digest: str) -> bool:
        """Whether nobody has reason to believe that it fails a gate."""
        if self.is_all_asked:
            return True
        return all(answers[-1].verdict is PASS for answers in last.values())

    @staticmethod
    def _has_condition(tracker: Json) -> bool:
        return any(one["type"] == "RunningImageFails" for one in tracker["status"]["conditions"])

    def excess_condition(self, tracker: Json) -> bool:
        """Whether the tracker says that something fails which no row names."""
        rows = tracker.get("status", {}).get("downstream", [])
        return self._has_condition(tracker) and not any(
            "failing" in row or "failing" in row.get("validated", {}) for row in rows
        )

    # -- what runs, and what is built once more ---------------------------------------------------------------

    def running(self, tracker: Json, item: Json, row: Json, base: str) -> Iterator[str]:
        """What runs and fails is told, once all has been asked, and nothing else; of the validated digest its record tells."""
        told = {gate["digest"] for gate in row.get("failing", [])}
        runs, validated = self._running(item), row.get("validated", {}).get("digest", "")
        if told - runs:
            yield f"{sorted(told - runs)} is said to fail and doesn't run"
        if told and not self._has_condition(tracker):
            yield f"{sorted(told)} is said to fail, and the tracker has no RunningImageFails"
        if not self.is_all_asked:
            return
        questions = questions_in(tracker["spec"])
        for digest in runs - {validated}:
            fails = any(self._gates.verdict(fields, digest) is FAIL for fields in questions)
            if digest in told and not fails:
                yield f"{digest} is said to fail, and passes"
            if fails and digest not in told and self._contains(tracker, item, digest, base):
                yield f"{digest} runs and fails, and nothing says so"

    def _running(self, item: Json) -> set[str]:
        """The digests of the image's repository that its containers have."""
        repository, found = item["image"].rpartition(":")[0], set()
        for target in item["deploy"]:
            document = self._shop.deployments().get(target["name"])
            for container in document["spec"]["template"]["spec"]["containers"] if document else ():
                if container["image"].startswith(repository):
                    found.add(container["image"].partition("@")[2])
        return found - {""}

    def unmended(self, tracker: Json, item: Json, row: Json, base: str) -> Iterator[str]:
        """What a rebuild may mend is built once more, where that is wanted."""
        validated = row.get("validated", {})
        wants = tracker["spec"].get("rescan", {}).get("rebuild") and "build" in item and row["state"] == "Current"
        if wants and validated.get("failing", {}).get("mendable") and validated["baseDigest"] == base:
            task = item["build"]["acrTask"]["name"]
            if not any(run.status == "Succeeded" for run in self._model.rebuilds(task, base, validated["digest"])):
                yield f"{validated['digest']} fails, a rebuild may mend it, and there was none"

    # -- nothing is asked for nothing -----------------------------------------------------------------------

    def needless(self, asked: list[Told], began: float) -> Iterator[str]:
        """The questions of a calm time that no rescan explains; `began` in virtual seconds."""
        counts: Counter[tuple[Subject, str, str]] = Counter((one.subject, one.digest, one.gate) for one in asked)
        for (subject, digest, _), count in counts.items():
            answers = self._gates.answers(subject, digest)
            is_clear = bool(answers) and self._gates.verdict(subject.fields, digest) is not PENDING
            again = answers[-1].verdict is FAIL if answers else False
            most = self._rescans(subject, began) + int(again) if is_clear else MOST_PENDING
            if kind_of(subject.fields) in self._gates.unusable:
                most = MOST_PENDING
            if count > most:
                yield f"{digest} was asked about {count} times ({subject.fields}), and {most} would do"

    def _rescans(self, subject: Subject, began: float) -> int:
        """How many rescans of the subject begin about now; when that is, is for the product to say."""
        now, end = began - NOTICED_SECONDS, self._shop.loop.time()
        for name, tracker in self._shop.trackers().items():
            if tracker["metadata"]["uid"] == subject.uid:
                interval = parse_duration(tracker["spec"].get("rescan", {}).get("interval", "24h"))
                slot = slot_of(f"{NAMESPACE}/{name}/{subject.downstream}", interval, self._at(now))
                return int(slot.end <= self._at(end))
        return 0

    @staticmethod
    def _at(seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)
