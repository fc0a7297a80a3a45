"""The end of a story: whether each image is where it should be, or has a reason to be elsewhere that the world confirms.

Reads the statuses as a person would, and believes nothing in them that registries, runs and Deployments don't bear out.
"""

from __future__ import annotations

from collections.abc import Iterator

from .gate_verdict import GateVerdict
from .model import Model, Place
from .shop import Json


class Verdict:
    """What is not yet, or never, as it should be."""

    def __init__(self, model: Model, attempts_lost: int = 0) -> None:
        """`attempts_lost` is how many requests for a run were disturbed, and how often a replica died."""
        self._model = model
        self._shop = model.shop
        self._lost = attempts_lost
        self.gates = GateVerdict(model, self._contains)

    def complaints(self) -> list[str]:
        """For each image that isn't where it should be, what was expected."""
        found = []
        for name, tracker in self._shop.trackers().items():
            if tracker["metadata"]["generation"] != tracker.get("status", {}).get("observedGeneration"):
                found.append(f"{name}: its spec hasn't been looked at")
                continue
            if self.gates.excess_condition(tracker):
                found.append(f"{name}: it has RunningImageFails, and no image fails")
            for item in tracker["spec"]["downstream"]:
                row = self._model.row(tracker, item["name"])
                found += [f"{name}/{item['name']}: {text}" for text in self._about(tracker, item, row)]
        return found

    def _about(self, tracker: Json, item: Json, row: Json) -> Iterator[str]:
        state, reason = row.get("state"), row.get("reason")
        told = f"{state} {reason} ({row.get('message')})"
        if tracker["spec"].get("suspend"):
            if state != "Suspended":
                yield f"it is suspended and {told}"
            return
        base = self._model.base_of(tracker)
        if not base:
            if reason != ("ParentFails" if self._model.is_withheld(tracker) else "ParentNotValidated"):
                yield f"its parent has validated nothing and it is {told}"
            return
        yield from self.gates.complaints(tracker, item, row)
        yield from self.gates.awaited(tracker, item, row, base)
        yield from self.gates.running(tracker, item, row, base)
        yield from self.gates.unmended(tracker, item, row, base)
        if state == "Current" and self._model.is_withheld(tracker):
            yield "is Current although what its parent has validated fails"
        if state == "Current":
            yield from self._validated(tracker, item, row, base)
        elif not self._is_confirmed(tracker, item, row, base, str(reason)):
            yield f"should contain base {base[:19]}, or say why not, and is {told}"
        if row.get("validated", {}).get("baseDigest") == base and not str(reason).startswith("Gate"):
            yield from self._containers(tracker, item, row, base)

    def _validated(self, tracker: Json, item: Json, row: Json, base: str) -> Iterator[str]:
        validated = row.get("validated", {})
        if validated.get("baseDigest") != base:
            yield f"is Current for base {validated.get('baseDigest')}, and the base is {base}"
        elif not self._contains(tracker, item, validated["digest"], base):
            yield f"is Current with {validated['digest']}, which doesn't contain base {base}"

    def _containers(self, tracker: Json, item: Json, row: Json, base: str) -> Iterator[str]:
        """Every container that isn't left alone for a reason runs an image that contains the base."""
        for target in item["deploy"]:
            document = self._shop.deployments().get(target["name"])
            if document is None:
                continue
            for container in document["spec"]["template"]["spec"]["containers"]:
                if not container["image"].startswith(item["image"]):
                    continue
                place = (document["metadata"]["uid"], container["name"])
                where = f"{target['name']}/{container['name']}"
                digest = container["image"].partition("@")[2]
                if self._claimed(tracker, item, target["name"], container["image"]):
                    continue
                if not digest or not self._contains(tracker, item, digest, base):
                    if not self._is_left_alone(tracker, row, place):
                        yield f"{where} has {container['image']}, which doesn't contain base {base[:19]}"
                elif self._model.digests_run(target["name"], container["name"]) != {digest}:
                    yield f"the Pods of {where} don't run {digest[:19]}"

    def _is_confirmed(self, tracker: Json, item: Json, row: Json, base: str, reason: str) -> bool:
        match reason:
            case "NoBuild":
                return "build" not in item and not self._contains(tracker, item, self._shop.tag(item["image"]), base)
            case "Overridden":
                return self._any_edited(item, tracker, row, base)
            case "WorkloadNotFound":
                return any(one["name"] not in self._shop.deployments() for one in item["deploy"])
            case "ContainerClaimed":
                return any(self._claimed(tracker, item, one["name"], item["image"]) for one in item["deploy"])
            case "ParentFails":
                return self._model.is_withheld(tracker)
        is_about_gates = self.gates.is_confirmed(tracker, item, row, base, reason)
        return is_about_gates or self._is_confirmed_by_task(tracker, item, row, base, reason)

    def _is_confirmed_by_task(self, tracker: Json, item: Json, row: Json, base: str, reason: str) -> bool:
        """Whether the image's task and its runs give this reason."""
        build = row.get("build", {})
        task = self._shop.products[item["image"].rpartition("/")[2].partition(":")[0]].task
        run = next((one for one in self._shop.cloud.tasks.runs if one.id == build.get("runID")), None)
        match reason:
            case "BuildFailed":
                failed = [one for one in self._model.runs_of_ours(task.name, base) if one.status not in {"Succeeded"}]
                return len(failed) + self._lost >= 5
            case "LineageNotProven":
                made = build.get("digest", "")
                return run is not None and run.status == "Succeeded" and not self._contains(tracker, item, made, base)
            case "NoOutputImage":
                return run is not None and run.status == "Succeeded" and not run.outputs
            case "ForeignRun":  # one that never ends holds it for as long as Azure lets it go on
                return any(one.live and one.task is task for one in self._shop.cloud.tasks.runs)
            case "TaskDisabled":
                return not task.enabled
        return False

    def _any_edited(self, item: Json, tracker: Json, row: Json, base: str) -> bool:
        """Whether somebody has put there what lacks the base, or fails by now."""
        failing = {gate["digest"] for gate in row.get("failing", [])}
        for target in item["deploy"]:
            document = self._shop.deployments().get(target["name"])
            for container in document["spec"]["template"]["spec"]["containers"] if document else ():
                digest = container["image"].partition("@")[2]
                is_old = not digest or digest in failing or not self._contains(tracker, item, digest, base)
                if document and (document["metadata"]["uid"], container["name"]) in self._model.edits and is_old:
                    return True
        return False

    def _claimed(self, tracker: Json, item: Json, deployment: str, image: str) -> bool:
        """Whether an older tracker names the same Deployment for the same image."""
        for name, other in self._model.by_age():
            for claim in other["spec"]["downstream"]:
                if name == tracker["metadata"]["name"] and claim["name"] == item["name"]:
                    return False
                if image.startswith(claim["image"]) and any(one["name"] == deployment for one in claim["deploy"]):
                    return True
        return False

    def _is_left_alone(self, tracker: Json, row: Json, place: Place) -> bool:
        """Whether somebody has set the image and wants it so; a row tells but one of its reasons."""
        if place not in self._model.edits or row.get("state") != "Blocked":
            return False
        resumed = self._model.resumed.get(tracker["metadata"]["name"], -1.0)
        return row["reason"] == "Overridden" or self._model.edits[place] > resumed

    def _contains(self, tracker: Json, item: Json, digest: str, base: str) -> bool:
        if not digest:
            return False
        repository = tracker["spec"]["base"]["image"].rpartition(":")[0]
        return self._model.contains(f"{item['image'].rpartition(':')[0]}@{digest}", f"{repository}@{base}")
