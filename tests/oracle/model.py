"""The model: what must hold, told from the world alone.

Independent of the product's code. It hears of every request the replicas make, looks at the registries' layers, the runs, the Deployments and
the Lease, and writes down each promise that is broken. Must not know what was planned or what goes wrong on purpose, but for two
things that can't be read off the world: which old answers were given, and what people did by hand.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from basetracker.api.names import DELIVERED
from basetracker.core.actions import build_key
from basetracker.core.builds import run_token
from basetracker.core.observed import TaskRef
from basetracker.emulators.acr.storage import Pushed
from basetracker.emulators.cluster.instruments import RequestRecord
from basetracker.emulators.faults import Asked
from basetracker.emulators.references import parse
from basetracker.emulators.tasks.run import Run
from basetracker.oci.refs import Digest, parse_image

from .gate_promises import VIEW_SECONDS, GatePromises
from .shop import NAMESPACE, Json, Shop

MOST_ATTEMPTS = 5
"""How often a build is tried."""
Place = tuple[str, str]
"""The uid of a Deployment and the name of a container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An image that a replica put into a container."""

    at: float
    replica: str
    deployment: str
    place: Place
    image: str
    tracker: str
    base: str

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]


@dataclass(slots=True)
class Model:
    """The promises over one story; `violations` are the broken ones."""

    shop: Shop
    violations: list[str] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    edits: dict[Place, float] = field(default_factory=dict)
    """When somebody last changed a container's image by hand."""
    resumed: dict[str, float] = field(default_factory=dict)
    """When somebody last asked a tracker to go on."""
    respecified_at: dict[str, float] = field(default_factory=dict)
    """When somebody last changed a tracker's spec."""
    writes: Counter[str] = field(default_factory=Counter)
    """The replicas' writes: `status`, `deliveries`, `events`, `runs`, `cancels`."""
    told: list[str] = field(default_factory=list)
    """What the statuses said after each write of one."""
    pushed_at: float = 0.0
    """When a tag was last pushed."""
    _tags: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))
    _validated: dict[tuple[str, str], list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))
    _images: dict[Place, str] = field(default_factory=dict)
    _ours: list[Run] = field(default_factory=list)
    _causes: dict[str, str] = field(default_factory=dict)
    """By a run's id, the digest that it is to replace."""
    _gates: GatePromises = field(init=False)
    _steps: dict[str, tuple[list[str], list[Json]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._gates = GatePromises(self.shop, self.fail)

    def begin(self) -> None:
        """Look on from now on."""
        for host, registry in self.shop.cloud.registries.items():
            for name, repository in registry.storage.repositories.items():
                for tag in repository.tags.values():
                    self._tags[f"{host}/{name}:{tag.name}"].append((self._now, tag.digest))
            registry.storage.listeners.append(self._pushed)
        self.shop.cloud.faults.listeners.append(self._azure_asked)
        self.shop.cluster.listeners.append(self._cluster_asked)
        self.look_at_images()

    # -- what is heard ----------------------------------------------------------------------------------

    def told_old(self, reference: str, digest: str) -> None:
        """An answer named this digest although the tag points elsewhere by now."""
        self._tags[reference].append((self._now, digest))
        self._tags[reference].append((self._now, self.shop.tag(reference)))

    def edited(self, deployment: str, container: str) -> None:
        """Somebody has just set the image of a container."""
        uid = self.shop.deployments()[deployment]["metadata"]["uid"]
        self.edits[uid, container] = self._now
        self.look_at_images()

    def respecified(self, tracker: str) -> None:
        """Somebody has just created a tracker or changed its spec."""
        self.respecified_at[tracker] = self._now
        self._gates.respecified(tracker)

    def look_at_images(self) -> list[tuple[str, Place, str]]:
        """The containers whose image is another one than at the last look: Deployment, place, image."""
        found = []
        for name, document in self.shop.deployments().items():
            for container in document["spec"]["template"]["spec"]["containers"]:
                place = (document["metadata"]["uid"], container["name"])
                if self._images.get(place) != container["image"]:
                    self._images[place] = container["image"]
                    found.append((name, place, container["image"]))
        return found

    def _pushed(self, pushed: Pushed) -> None:
        if pushed.tag is not None:
            self.pushed_at = self._now
            self._tags[f"{pushed.host}/{pushed.repository}:{pushed.tag}"].append((self._now, pushed.digest))

    def _cluster_asked(self, asked: RequestRecord) -> None:
        if asked.method not in {"PATCH", "POST", "PUT", "DELETE"} or not asked.user.startswith("replica-"):
            return
        if "/leases" in asked.path:
            return
        if "/deployments/" in asked.path:
            for deployment, place, image in self.look_at_images():
                self._delivered(asked.user, deployment, place, image)
        elif asked.path.endswith("/status") and asked.status == 200:
            self._status_written(asked.user, asked.path.split("/")[-2])
        elif asked.status in {200, 201}:
            self.writes["events"] += 1

    def _status_written(self, replica: str, tracker: str) -> None:
        self.writes["status"] += 1
        self._must_hold(replica, f"wrote the status of {tracker}")
        document = self.shop.trackers().get(tracker)
        if document is None:
            return
        status = document.get("status", {})
        rows = [
            f"{row['name']} {row['state']} {row['reason']}: {row['message']}" for row in status.get("downstream", [])
        ]
        for row in status.get("downstream", []):
            self._validated[tracker, row["name"]].append((self._now, row.get("validated", {}).get("digest", "")))
        base = status.get("base", {}).get("shortDigest")
        self.told.append(f"{self._now:8.1f}      {replica}: {tracker} on {base}: {'; '.join(rows)}")
        self._gates.judge_status(replica, document)
        self._gates.judge_base(replica, document, self.parent(document))

    def _azure_asked(self, asked: Asked) -> None:
        if asked.method != "POST" or asked.host != "management.azure.com":
            return
        sender = next((one.kind.split()[3] for one in asked.secrets if one.kind.startswith("Entra token of ")), "")
        if "/cancel" in asked.path and asked.status < 300:
            self.writes["cancels"] += 1
            self._must_hold(sender, "cancelled a run")
        for run in self.shop.cloud.tasks.runs:
            if run.update_trigger_token is not None and not any(run is one for one in self._ours):
                self.writes["runs"] += 1
                self._must_hold(sender, f"started {run.id}")
                self._started(run)

    # -- promises -----------------------------------------------------------------------------------------

    def fail(self, what: str) -> None:
        """A promise is broken."""
        self.violations.append(f"{self._now:8.1f}  {what}")

    def _must_hold(self, replica: str, what: str) -> None:
        holder = self.shop.holder()
        if holder != replica:
            self.fail(f"{replica} {what} while {holder or 'nobody'} held the Lease")

    def _started(self, run: Run) -> None:
        """Never two runs of ours live for one task, image and base, nor succeeded for one of them and one cause."""
        base = run.argument(run.task.base_argument) or ""
        cause = self._causes[run.id] = self._cause(run, base.partition("@")[2])
        for other in self._ours:
            is_same = other.task is run.task and other.argument(run.task.base_argument) == base
            has_cause = self._causes[other.id] == cause
            if is_same and (other.live or (has_cause and other.status == "Succeeded")):
                self.fail(f"{run.id} of {run.task.name} for {base} was started while {other.id} is {other.status}")
        self._ours.append(run)
        if cause:
            self._judge_rebuild(run, base, cause)

    def _judge_rebuild(self, run: Run, base: str, replaced: str) -> None:
        """An image that has its base is built once more only for a gate's sake."""
        image = f"{self.shop.registry.host}/{run.task.image}"
        repository = image.rpartition(":")[0]
        why = self._gates.judge_rebuild(
            image,
            base.partition("@")[2],
            replaced,
            self._recent(self._tags[image]),
            lambda digest: self.contains(f"{repository}@{digest}", base),
        )
        if why:
            self.fail(f"{run.id} of {run.task.name} was started instead of {replaced}: {why}")

    def _cause(self, run: Run, base: str) -> str:
        """The digest that a run of ours is to replace, as its token tells; empty where the base has moved."""
        task = TaskRef(registry=str(self.shop.registry.id), name=run.task.name)
        image = parse_image(f"{self.shop.registry.host}/{run.task.image}")
        path = run.task.image.rpartition(":")[0]
        digests = [Digest(one) for one in self.shop.registry.storage.repositories[path].manifests]
        for replaced in (None, *digests):
            for attempt in range(1, MOST_ATTEMPTS + 1):
                if run.update_trigger_token == run_token(build_key(task, image, Digest(base), attempt, replaced)):
                    return str(replaced or "")
        self.fail(f"{run.id} of {run.task.name} has a token that stands for nothing")
        return ""

    @property
    def rebuilt(self) -> int:
        """How many runs of ours were to replace a digest that had its base."""
        return sum(bool(cause) for cause in self._causes.values())

    def rebuilds(self, task: str, base: str, replaced: str) -> list[Run]:
        """Our runs that were to replace a digest which has this base."""
        return [one for one in self.runs_of_ours(task, base) if self._causes[one.id] == replaced]

    def _delivered(self, replica: str, deployment: str, place: Place, image: str) -> None:
        document = self.shop.deployments()[deployment]
        marks = json.loads(document["metadata"]["annotations"][DELIVERED])
        mark = marks[place[1]]
        made = Delivery(
            at=self._now,
            replica=replica,
            deployment=deployment,
            place=place,
            image=image,
            tracker=mark["tracker"],
            base=mark["base"],
        )
        self.writes["deliveries"] += 1
        self._must_hold(replica, f"delivered to {deployment}/{place[1]}")
        if mark["image"] != image:
            self.fail(f"the mark of {deployment}/{place[1]} doesn't tell its image")
        self._judge_delivery(made)
        self.deliveries.append(made)

    def _judge_delivery(self, made: Delivery) -> None:
        tracker = self.shop.trackers().get(made.tracker)
        if tracker is None:
            return  # deleted while its turn went on
        where = f"{made.deployment}/{made.place[1]}"
        spec = tracker["spec"]
        base = spec["base"]["image"]
        if self._now - self.respecified_at.get(made.tracker, 0.0) > VIEW_SECONDS:
            if spec.get("suspend"):
                self.fail(f"{where} got {made.digest} although {made.tracker} is suspended")
            if not any(made.image.startswith(f"{item['image']}@") for item in spec["downstream"]):
                self.fail(f"{where} got {made.image}, which {made.tracker} doesn't track")
            if made.base not in self.views(made.tracker):
                self.fail(f"{where} got {made.digest} for base {made.base}, which isn't that of {made.tracker}")
        if not self.contains(made.image, f"{base.rpartition(':')[0]}@{made.base}"):
            self.fail(f"{where} got {made.digest}, which doesn't contain base {made.base}")
        self._gates.judge_delivery(made.replica, made.tracker, made.image, where)
        self._judge_repetition(made, base, where)

    def _judge_repetition(self, made: Delivery, base: str, where: str) -> None:
        """Nothing twice, unless the base was another one in between, or a person asked for it, or what took its place fails by now."""
        before = [one for one in self.deliveries if (one.place, one.digest) == (made.place, made.digest)]
        if not before or self.resumed.get(made.tracker, -1.0) > before[-1].at:
            return
        between = [one for one in self.deliveries if one.place == made.place and one.at > before[-1].at]
        moved = [digest for at, digest in self._tags[base] if at > before[-1].at - VIEW_SECONDS and digest != made.base]
        replaced = any(self._gates.was_replaced(made.tracker, one.digest, before[-1].at) for one in between)
        if not (between and (moved or replaced)):
            self.fail(f"{where} got {made.digest} twice, at {before[-1].at:.1f} for base {before[-1].base} before")

    def views(self, tracker: str) -> set[str]:
        """The digests that the tracker may take for its base's by now."""
        document = self.shop.trackers()[tracker]
        found = {document.get("status", {}).get("base", {}).get("digest", "")}
        parent = self.parent(document)
        if parent is not None:
            return found | self._recent(self._validated[parent])
        return found | self._recent(self._tags[document["spec"]["base"]["image"]])

    # -- the world --------------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return self.shop.loop.time()

    def contains(self, image: str, base: str) -> bool:
        """Whether the image's layers and history begin with those of the base; both are references with a digest.

        The history tells apart what was built twice: the layers of two runs are the same, their times aren't.
        """
        layers, history = self._steps_of(image)
        base_layers, base_history = self._steps_of(base)
        return layers[: len(base_layers)] == base_layers and history[: len(base_history)] == base_history

    def base_of(self, tracker: Json) -> str:
        """The digest that the tracker is to follow: its tag's, or the one that its parent has validated."""
        parent = self.parent(tracker)
        if self.is_withheld(tracker):
            return str(tracker.get("status", {}).get("base", {}).get("digest", ""))
        return self.validated(*parent) if parent is not None else self.shop.tag(tracker["spec"]["base"]["image"])

    def is_withheld(self, tracker: Json) -> bool:
        """Whether what its parent has validated fails a gate by now, and isn't the tracker's base already."""
        parent = self.parent(tracker)
        if parent is None:
            return False
        row, digest = self.row(self.shop.trackers()[parent[0]], parent[1]), self.validated(*parent)
        fails = any(one["verdict"] == "Fail" and one.get("digest") == digest for one in row.get("gates", []))
        has_it = tracker.get("status", {}).get("base", {}).get("digest") == digest
        return bool(digest) and not has_it and (fails or "failing" in row.get("validated", {}))

    def parent(self, tracker: Json) -> tuple[str, str] | None:
        """The tracker, the eldest of several, that makes this one's base, and as which of its images."""
        for name, other in self.by_age():
            if name != tracker["metadata"]["name"]:
                for item in other["spec"]["downstream"]:
                    if item["image"] == tracker["spec"]["base"]["image"]:
                        return name, item["name"]
        return None

    def by_age(self) -> list[tuple[str, Json]]:
        """The trackers, the eldest first."""
        return sorted(self.shop.trackers().items(), key=lambda one: (one[1]["metadata"]["creationTimestamp"], one[0]))

    def validated(self, tracker: str, name: str) -> str:
        """The digest that a tracker says is validated for one of its images; empty for none."""
        return str(self.row(self.shop.trackers()[tracker], name).get("validated", {}).get("digest", ""))

    def validated_now(self) -> set[str]:
        """All digests that statuses call validated."""
        rows = [row for one in self.shop.trackers().values() for row in one.get("status", {}).get("downstream", [])]
        return {row["validated"]["digest"] for row in rows if "validated" in row}

    @staticmethod
    def row(tracker: Json, name: str) -> Json:
        """What a tracker tells of one of its images."""
        rows = tracker.get("status", {}).get("downstream", [])
        found: Json = next((row for row in rows if row["name"] == name), {})
        return found

    def runs_of_ours(self, task: str, base: str) -> list[Run]:
        """Our runs of a task for a base's digest."""
        return [
            run
            for run in self._ours
            if run.task.name == task and (run.argument(run.task.base_argument) or "").endswith(f"@{base}")
        ]

    def digests_run(self, deployment: str, container: str) -> set[str]:
        """What the nodes report for a container of a Deployment's Pods."""
        found = set()
        for pod in self.shop.cluster.list("Pod", NAMESPACE):
            if pod["metadata"]["labels"].get("app") != deployment or "deletionTimestamp" in pod["metadata"]:
                continue
            rows = pod.get("status", {}).get("containerStatuses", [])
            found |= {row.get("imageID", "").partition("@")[2] for row in rows if row["name"] == container}
        return found

    def _recent(self, told: list[tuple[float, str]]) -> set[str]:
        """What was so at some time within the age of a view."""
        since = self._now - VIEW_SECONDS
        before = [digest for at, digest in told if at < since]
        return {digest for at, digest in told if at >= since} | set(before[-1:])

    def _steps_of(self, reference: str) -> tuple[list[str], list[Json]]:
        """Layers and history."""
        digest = parse(reference).digest or ""
        if digest not in self._steps:
            image = self.shop.pull(reference)
            self._steps[digest] = (list(image.diff_ids), list(image.configuration["history"]))
        return self._steps[digest]


def describe(violations: list[str]) -> dict[str, Any]:
    """Violations by their first words, counted."""
    return dict(Counter(" ".join(one.split()[1:4]) for one in violations))
