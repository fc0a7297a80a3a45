"""What must hold of gates: no verdict is made up, and what is validated or delivered has really passed all that its tracker names.

Part of the model; knows what each gate was asked and answered, what each tracker's spec said when, and the statuses as stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .gates import FAIL, PASS, Subject, questions_in
from .shop import Json, Shop

VIEW_SECONDS = 420.0
"""How old the view may be on which a delivery stands: an interval, an outage of an answer, and the turn itself."""


@dataclass(slots=True)
class _Spec:
    """What a tracker's spec said, and until when."""

    uid: str
    spec: Json
    until: float = float("inf")


@dataclass(slots=True)
class GatePromises:
    """Listens with the model; `fail` takes each broken promise."""

    shop: Shop
    fail: Callable[[str], None]
    _specs: dict[str, list[_Spec]] = field(default_factory=dict)
    _by_generation: dict[tuple[str, int], Json] = field(default_factory=dict)
    _validated: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """By the tracker's uid and the image's name: the validated digest and its base, as last stored."""
    _bases: dict[str, str] = field(default_factory=dict)
    """By the tracker's uid, its base as last stored."""
    _failing: dict[tuple[str, str, str, str], float] = field(default_factory=dict)
    """By uid, image, digest and the question's hash: since when the status says that what is validated fails."""

    def respecified(self, tracker: str) -> None:
        """Somebody has just created a tracker or changed its spec."""
        document = self.shop.trackers()[tracker]
        uid, spec = document["metadata"]["uid"], document["spec"]
        known = self._specs.setdefault(tracker, [])
        if known:
            known[-1].until = self._now
        known.append(_Spec(uid, spec))
        self._by_generation[uid, document["metadata"]["generation"]] = spec

    # -- deliveries -------------------------------------------------------------------------------------

    def judge_delivery(self, replica: str, tracker: str, image: str, where: str) -> None:
        """`image` is the reference with a digest that a replica has just put into a container."""
        named, _, digest = image.partition("@")
        recent = [one for one in self._specs[tracker] if one.until > self._now - VIEW_SECONDS]
        lacks = [self._lacking(one.uid, one.spec, named, digest) for one in recent]
        if all(lacks):
            self.fail(f"{where} got {digest}, which has never passed {lacks[-1]}")
        if len(recent) == 1:
            for subject in self._subjects(recent[0].uid, recent[0].spec, named):
                self._judge_failures(subject, replica, digest, where)

    def _judge_failures(self, subject: Subject, replica: str, digest: str, where: str) -> None:
        """What fails by now isn't delivered: neither by who was told so, nor when the status says it."""
        answers = self.shop.gates.answers(subject, digest)
        own = [one for one in answers if one.replica == replica]
        if own and own[-1].verdict is FAIL and own[-1].at < self._now - VIEW_SECONDS:
            self.fail(
                f"{where} got {digest} although {replica} was told at {own[-1].at:.1f} that it fails {subject.fields}"
            )
        for hash_ in {one.fingerprint for one in answers}:
            since = self._failing.get((subject.uid, subject.downstream, digest, hash_))
            if since is not None and not any(one.at >= since and one.verdict is PASS for one in answers):
                self.fail(
                    f"{where} got {digest} although the status says since {since:.1f} that it fails {subject.fields}"
                )

    def _lacking(self, uid: str, spec: Json, image: str, digest: str) -> str:
        """A gate of the spec that has never let the digest pass; empty for none."""
        subjects = self._subjects(uid, spec, image)
        return next((one.fields for one in subjects if not self._has_passed(one, digest)), "")

    def _has_passed(self, subject: Subject, digest: str) -> bool:
        return any(one.verdict is PASS for one in self.shop.gates.answers(subject, digest))

    @staticmethod
    def _subjects(uid: str, spec: Json, image: str) -> list[Subject]:
        """What a tracker with this spec asks of the image."""
        name = next((item["name"] for item in spec["downstream"] if item["image"] == image), "")
        return [Subject(uid=uid, downstream=name, image=image, fields=one) for one in questions_in(spec)]

    def was_replaced(self, tracker: str, digest: str, since: float) -> bool:
        """Whether what was delivered instead of a digest has failed a gate, or the gates have changed, since then."""
        specs = self._specs.get(tracker, [])
        if len(specs) > 1 and specs[-2].until > since - VIEW_SECONDS:
            return True
        told = reversed(self.shop.gates.told)
        return any(one.digest == digest and one.verdict is FAIL for one in told if one.at > since - VIEW_SECONDS)

    # -- statuses -----------------------------------------------------------------------------------------

    def judge_status(self, replica: str, tracker: Json) -> None:
        """A replica has just written the status of this tracker."""
        uid, status = tracker["metadata"]["uid"], tracker.get("status", {})
        spec = self._by_generation.get((uid, status.get("observedGeneration", 0)))
        for row in status.get("downstream", []):
            where = f"{replica} wrote of {tracker['metadata']['name']}/{row['name']}"
            for gate in _gates_of(row):
                told = (uid, row["name"], gate.get("question", ""), gate.get("digest", ""))
                if gate["verdict"] != "Pending" and not any(
                    self.shop.gates.was_told(*told, one) for one in (PASS, FAIL) if one == gate["verdict"]
                ):
                    self.fail(
                        f"{where} that {gate['name']} says {gate['verdict']} of {gate.get('digest')}; it never did"
                    )
                if gate.get("mendable") and not self._was_mendable(told):
                    self.fail(
                        f"{where} that a rebuild mends what {gate['name']} says of {gate['digest']}; it never said so"
                    )
            self._follow(uid, row)
            self._judge_validated(uid, row, spec, where)

    def judge_base(self, replica: str, tracker: Json, parent: tuple[str, str] | None) -> None:
        """In a chain no tracker comes to a base that is known to fail."""
        uid, base = tracker["metadata"]["uid"], tracker.get("status", {}).get("base", {}).get("digest", "")
        before = self._bases.get(uid)
        self._bases[uid] = base
        if parent is None or base == before:
            return
        above = self.shop.trackers()[parent[0]]["metadata"]["uid"]
        for (one, item, digest, _), since in self._failing.items():
            if (one, item, digest) == (above, parent[1], base) and since < self._now - VIEW_SECONDS:
                self.fail(f"{replica} moved {tracker['metadata']['name']} to {base}, which fails since {since:.1f}")

    def _was_mendable(self, told: tuple[str, str, str, str]) -> bool:
        uid, downstream, hash_, digest = told
        return any(
            one.mends
            for one in self.shop.gates.told
            if (one.subject.uid, one.subject.downstream, one.fingerprint, one.digest)
            == (uid, downstream, hash_, digest)
        )

    # -- rebuilds -----------------------------------------------------------------------------------------

    def judge_rebuild(
        self, image: str, base: str, replaced: str, tags: set[str], contains: Callable[[str], bool]
    ) -> str:
        """Why the image should not have been built once more instead of `replaced`; empty when a tracker had reason to.

        `tags` is what its tag may be seen to point to, `contains` whether a digest of it contains the base.
        """
        whys = ["no tracker says so"]
        for name, tracker in self.shop.trackers().items():
            rows = tracker.get("status", {}).get("downstream", [])
            if not any(row.get("build", {}).get("replaces") == replaced for row in rows):
                continue
            for one in self._specs[name]:
                if one.uid == tracker["metadata"]["uid"] and one.until > self._now - VIEW_SECONDS:
                    whys.append(self._against_rebuild(one, image, base, replaced, tags, contains))
        return "" if "" in whys else whys[-1]

    def _against_rebuild(
        self, spec: _Spec, image: str, base: str, replaced: str, tags: set[str], contains: Callable[[str], bool]
    ) -> str:
        if not spec.spec.get("rescan", {}).get("rebuild"):
            return "rescan.rebuild is off"
        subjects = self._subjects(spec.uid, spec.spec, image)
        if not any(told.mends == base for one in subjects for told in self.shop.gates.answers(one, replaced)):
            return "no gate has said that a rebuild mends it"
        if len(tags) == 1:  # else it may have seen another one
            digest = next(iter(tags))
            answers = [self.shop.gates.answers(one, digest) for one in subjects]
            has_failed = any(told.verdict is FAIL for one in answers for told in one)
            if digest != replaced and contains(digest) and not has_failed:
                return f"{digest}, to which the tag points, may still pass"
        return ""

    def _follow(self, uid: str, row: Json) -> None:
        """Remember since when the validated digest fails."""
        failing = row.get("validated", {}).get("failing")
        key = (uid, row["name"], failing["digest"], failing["question"]) if failing else None
        for known in [one for one in self._failing if one[:2] == (uid, row["name"]) and one != key]:
            del self._failing[known]
        if key is not None:
            self._failing.setdefault(key, self._now)

    def _judge_validated(self, uid: str, row: Json, spec: Json | None, where: str) -> None:
        """A digest that is newly validated, or current, has passed every gate that was named."""
        validated = row.get("validated", {})
        now = (validated.get("digest", ""), validated.get("baseDigest", ""))
        before = self._validated.get((uid, row["name"]))
        self._validated[uid, row["name"]] = now
        if spec is None or not now[0] or (now == before and row["state"] != "Current"):
            return
        item = next((one for one in spec["downstream"] if one["name"] == row["name"]), None)
        lacking = self._lacking(uid, spec, item["image"], now[0]) if item is not None else ""
        if lacking:
            self.fail(f"{where} that {now[0]} is validated ({row['state']}), which has never passed {lacking}")

    @property
    def _now(self) -> float:
        return self.shop.loop.time()


def _gates_of(row: Json) -> Iterator[Json]:
    """All that a row says of gates besides lineage."""
    validated = row.get("validated", {})
    yield from (gate for gate in row.get("gates", []) if gate["name"] != "lineage")
    yield from validated.get("gates", [])
    yield from row.get("failing", [])
    if "failing" in validated:
        yield validated["failing"]
