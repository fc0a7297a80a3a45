"""`basetracker explain`, run as a person runs it: what it says, what it exits with, and that it touches nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from basetracker.api.gates import Gate, NamedGate
from basetracker.api.tracker import parse_tracker
from basetracker.cli.account import account, view_of
from basetracker.cli.account_text import text_of
from basetracker.cli.output import lines
from basetracker.core.actions import build_key
from basetracker.core.builds import run_token
from basetracker.core.gating import question_of
from basetracker.core.observed import Observed, TagSeen, TaskRef
from basetracker.emulators import samples
from basetracker.emulators.cluster import Fault
from basetracker.emulators.images import build_on
from basetracker.oci.refs import Digest, parse_image

from .shop import BASE, CHECKOUT, Json, Shop, deployment, run, tracker

BLOCKED: Json = {
    "observedGeneration": 1,
    "base": {"digest": "sha256:" + "a" * 64, "shortDigest": "a" * 12, "since": "2026-01-02T03:04:05Z"},
    "downstream": [
        {
            "name": "checkout",
            "state": "Blocked",
            "reason": "TaskDisabled",
            "message": "task contoso/build-checkout is disabled; enable it with az acr task update --status Enabled",
            "staleSince": "2026-01-02T03:05:05Z",
        }
    ],
}


def shape(value: Any) -> Any:
    """The keys of a document, at every depth; of a list those of its first entry."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value[:1]] if isinstance(value, list) else None


async def explained(shop: Shop, *arguments: str, **options: Any) -> tuple[int, Json]:
    ran = await shop.run("explain", "python", "-o", "json", *arguments, **options)
    assert ran.out, ran.err
    assert shop.writes() == []
    return ran.code, ran.json


async def test_a_current_image(shop: Shop) -> None:
    await shop.cluster.apply(tracker())
    ran = await shop.run("explain", "python")
    assert (ran.code, ran.err) == (0, "")
    assert "shop/python: Current, 1/1 current" in ran.out
    assert f"digest: {shop.base_digest}, as its tag points" in ran.out
    short = Digest(shop.image_digest).short
    assert f"lineage of {short} (tag, validated, Deployment checkout/app): Proven" in ran.out
    assert "linux/amd64: Proven: its first 2 layers for linux/amd64 are the base's" in ran.out
    assert "next: nothing to be done now" in ran.out
    assert shop.writes() == []


async def test_a_moved_base_names_the_run_that_would_be_started(shop: Shop) -> None:
    await shop.cluster.apply(tracker())
    before = (await explained(shop))[1]
    moved = shop.move_base()
    code, found = await explained(shop)
    assert code == 1
    (image,) = found["images"]
    assert (image["state"], image["lineage"], image["source"]) == ("Building", "Refuted", "seen")
    (action,) = image["next"]
    assert (action["action"], action["task"], action["attempt"]) == ("StartBuild", "contoso/build-checkout", 1)
    assert (action["digest"], action["adopts"]) == (moved, None)
    (argument,) = action["arguments"]
    assert (argument["name"], str(parse_image(argument["value"]).digest)) == ("BASE_IMAGE", moved)
    (workload,) = image["workloads"]
    assert (workload["lineage"], workload["needsDelivery"]) == ("Refuted", False)
    assert "lineage is Refuted" in workload["message"]
    # Stable: whatever is the case, the keys are the same; what isn't stored yet has no time that would move.
    for one in (before["images"][0], image):
        one.update(next=[], validated=None)
    assert shape(found | {"conditions": []}) == shape(before | {"conditions": []}) | {"notes": [None]}
    again = (await explained(shop))[1]
    again["images"][0].update(next=[], validated=None)
    drop = {"seenAt": None, "nextLook": None}
    assert again | drop == found | drop


async def test_a_delivery_names_each_container(shop: Shop) -> None:
    base = samples.python("3.12.12")
    shop.cloud.push(BASE, base)
    digest = shop.cloud.push(CHECKOUT, build_on(base, *samples.application("checkout")))
    await shop.cluster.apply(tracker())
    code, found = await explained(shop)
    (image,) = found["images"]
    (action,) = image["next"]
    assert (code, image["state"], action["action"]) == (1, "RollingOut", "Deliver")
    assert (action["kind"], action["name"], action["digest"]) == ("Deployment", "checkout", digest)
    (change,) = action["containers"]
    assert (change["old"], change["new"]) == (f"{CHECKOUT}@{shop.image_digest}", f"{CHECKOUT}@{digest}")
    assert {one["digest"]: one["verdict"] for one in image["lineages"]} == {
        digest: "Proven",
        shop.image_digest: "Refuted",
    }
    text = (await shop.run("explain", "python")).out
    assert f"next: Deployment checkout gets {digest}" in text
    assert f"container app: {CHECKOUT}@{shop.image_digest} -> {CHECKOUT}@{digest}" in text


async def test_a_run_that_exists_would_be_adopted(shop: Shop) -> None:
    await shop.cluster.apply(tracker())
    moved = Digest(shop.move_base())
    ref = TaskRef(shop.contoso.id, "build-checkout")
    key = build_key(ref, parse_image(CHECKOUT), moved, 1)
    started = shop.cloud.tasks.schedule(
        shop.task, {"overrideTaskStepProperties": {"updateTriggerToken": run_token(key)}}
    )
    ran = await shop.run("explain", "python")
    assert f"next: adopt run {started.id} of task contoso/build-checkout" in ran.out
    assert len(shop.cloud.tasks.runs) == 1


async def test_mode_plan_says_what_would_be_done(shop: Shop) -> None:
    await shop.cluster.apply(tracker(rollout={"mode": "Plan"}))
    shop.move_base()
    code, found = await explained(shop)
    (image,) = found["images"]
    assert (code, image["state"], image["reason"]) == (1, "Stale", "Planned")
    assert [one["action"] for one in image["next"]] == ["StartBuild"]
    assert "mode Plan: nothing is built or delivered" in (await shop.run("explain", "python")).out


async def test_a_suspended_tracker_is_in_order(shop: Shop) -> None:
    await shop.cluster.apply(tracker(suspend=True))
    code, found = await explained(shop)
    assert (code, found["images"][0]["state"]) == (0, "Suspended")
    assert found["nextLook"] == {"at": None, "message": "when spec.suspend is set to false"}
    assert not shop.cloud.faults.log, "nothing is polled for it"


async def test_without_credentials_the_stored_status_speaks(shop: Shop) -> None:
    await shop.cluster.apply(tracker())
    await shop.set_status(BLOCKED)
    ran = await shop.run("explain", "python", "-o", "json", azure=False)
    (image,) = ran.json["images"]
    assert ran.code == 1
    assert (image["state"], image["reason"], image["source"]) == ("Blocked", "TaskDisabled", "status")
    assert (image["seen"]["reason"], image["staleSince"]) == ("AccessDenied", "2026-01-02T03:05:05Z")
    assert any("lets nobody read base/python" in one for one in image["unread"])
    assert ran.json["base"]["source"] == "status"
    text = (await shop.run("explain", "python", azure=False)).out
    assert "task contoso/build-checkout is disabled; enable it with" in text
    assert "couldn't be read from here: contoso.azurecr.io lets nobody read shop/checkout" in text
    assert "the state is the one that the operator has written into the status" in text
    assert "next: isn't known from here" in text
    assert "no Azure credentials are at hand here: set AZURE_TENANT_ID" in text
    assert "azure.workload.identity/use" not in text, "advice for the operator's Pod helps nobody here"


async def test_a_status_that_was_overtaken_is_told_too(shop: Shop) -> None:
    await shop.cluster.apply(tracker())
    await shop.set_status(BLOCKED)
    code, found = await explained(shop)
    (image,) = found["images"]
    assert (code, image["state"], image["source"]) == (0, "Current", "seen")
    assert image["stored"]["reason"] == "TaskDisabled"
    assert "the status still says: Blocked (TaskDisabled)" in (await shop.run("explain", "python")).out


async def test_what_fails_by_now_and_its_rebuild_are_told(shop: Shop) -> None:
    gate = {"trivy": {"severity": ["CRITICAL"]}}
    asked = question_of(NamedGate(name="trivy", gate=Gate.model_validate(gate)), parse_image(CHECKOUT))
    said = {"name": "trivy", "reason": "Because", "digest": shop.image_digest, "question": asked}
    passed = {**said, "verdict": "Pass", "message": "no CRITICAL that counts"}
    fails = {**said, "verdict": "Fail", "message": "1 CRITICAL: CVE-2026-1 in openssl", "mendable": True}
    kept = {"digest": shop.image_digest, "baseDigest": shop.base_digest, "at": "2026-01-02T03:04:05Z"}
    row = {"name": "checkout", "state": "Current", "reason": "Current", "message": "so it was"}
    await shop.cluster.apply(tracker(gates=[gate], rescan={"rebuild": True}))
    status = {**BLOCKED, "downstream": [{**row, "validated": {**kept, "gates": [passed], "failing": fails}}]}
    await shop.set_status(status)
    ran = await shop.run("explain", "python")
    short = Digest(shop.image_digest).short
    assert "trivy: no CRITICAL that counts" in ran.out
    assert f"{short} fails trivy by now: 1 CRITICAL: CVE-2026-1 in openssl" in ran.out
    assert f"{shop.base_digest}, attempt 1, instead of {shop.image_digest}" in " ".join(ran.out.split())
    _, found = await explained(shop)
    (action,) = found["images"][0]["next"]
    assert (action["action"], action["replaces"]) == ("StartBuild", shop.image_digest)


async def test_locks_are_listed(shop: Shop) -> None:
    entry = {"repository": "contoso.azurecr.io/shop/checkout", "digest": shop.image_digest, "state": "Locked"}
    gone = {
        "repository": "contoso.azurecr.io/shop/gone",
        "digest": "sha256:" + "b" * 64,
        "message": "no right to unlock",
    }
    row = BLOCKED["downstream"][0] | {"protected": [entry]}
    await shop.cluster.apply(tracker())
    assert (await explained(shop))[1]["locks"] == []
    await shop.set_status(BLOCKED | {"downstream": [row], "unlocking": [gone]})
    assert (await explained(shop))[1]["locks"] == [
        {**entry, "for": "checkout", "message": ""},
        {**gone, "for": None, "state": "Unlocking"},
    ]
    text = (await shop.run("explain", "python")).out
    assert f"contoso.azurecr.io/shop/checkout@{Digest(shop.image_digest).short}" in text
    assert "Unlocking" in text
    assert "no right to unlock" in text


async def test_the_allow_list_counts_where_it_is_at_hand(shop: Shop) -> None:
    await shop.cluster.apply(tracker())
    shop.move_base()
    allowed = shop.directory / "tasks.yaml"
    allowed.write_text("- {namespaces: [other], registries: [contoso], tasks: ['*']}\n")
    _, found = await explained(shop, environment={"BASETRACKER_ALLOW_LIST": str(allowed)})
    assert found["images"][0]["reason"] == "TaskNotAllowed"
    assert not any("allow-list" in note for note in found["notes"])
    _, found = await explained(shop)
    assert found["images"][0]["reason"] == "BuildRequested"
    assert any("isn't at hand" in note and "contoso/build-checkout" in note for note in found["notes"])


async def test_chains_and_circles(shop: Shop) -> None:
    child = tracker("child", base=CHECKOUT, image="contoso.azurecr.io/shop/cart:main")
    child["spec"]["downstream"][0]["deploy"] = []
    await shop.cluster.apply(tracker(), child)
    _, parent = await explained(shop)
    assert parent["chain"] == {"parent": None, "children": ["child"], "circle": []}
    ran = await shop.run("explain", "child")
    assert "parent: the base is built by tracker python as checkout" in ran.out
    assert (ran.code, "Unknown (ParentNotValidated)" in ran.out) == (1, True)
    await shop.cluster.apply(tracker(base="contoso.azurecr.io/shop/cart:main"))
    code, found = await explained(shop)
    assert (code, found["images"][0]["reason"]) == (1, "Circle")
    assert found["chain"]["circle"] == ["python", "child", "python"]


async def test_who_may_not_list_still_gets_an_answer(shop: Shop) -> None:
    await shop.cluster.apply(tracker(), *_reader())
    token = shop.cluster.user_token("anna")
    kubeconfig = shop.write_kubeconfig("anna", token=token)
    _, found = await explained(shop, "--kubeconfig", str(kubeconfig))
    assert found["images"][0]["state"] == "Current"
    assert any("other trackers aren't known" in note for note in found["notes"])


def _reader() -> tuple[Json, Json]:
    """What allows anna to get single objects and to list none."""
    group = "rbac.authorization.k8s.io"
    role: Json = {
        "apiVersion": f"{group}/v1",
        "kind": "Role",
        "metadata": {"name": "reader", "namespace": "shop"},
        "rules": [
            {"apiGroups": ["basetracker.dev"], "resources": ["baseimagetrackers"], "verbs": ["get"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        ],
    }
    binding: Json = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader", "namespace": "shop"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "anna"}],
    }
    return role, binding


async def test_what_isnt_there_or_cant_be_reached(shop: Shop) -> None:
    ran = await shop.run("explain", "absent", "-n", "shop")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "basetracker: there is no BaseImageTracker shop/absent\n"
    nowhere = await run("explain", "python", "--kubeconfig", str(shop.directory / "missing"))
    assert (nowhere.code, "does not exist" in nowhere.err) == (2, True)
    wrong = await shop.run("explain", "python", environment={"BASETRACKER_WORKERS": "many"})
    assert (wrong.code, "settings.workers" in wrong.err) == (2, True)
    await shop.cluster.stop()
    unreachable = await shop.run("explain", "python")
    assert (unreachable.code, unreachable.out) == (2, "")
    assert "the Kubernetes API server can't be reached" in unreachable.err


async def test_a_long_wait_is_told_on_standard_error(shop: Shop) -> None:
    await shop.cluster.apply(tracker())
    shop.cluster.faults.append(Fault(match="GET .*/baseimagetrackers", delay=3.0))
    ran = await shop.run("explain", "python", "-o", "json")
    assert ran.err == "reading the tracker, its registries, its tasks and its workloads ...\n"
    assert ran.json["images"][0]["state"] == "Current"


async def test_a_container_without_a_digest(shop: Shop) -> None:
    await shop.cluster.apply(deployment(CHECKOUT), tracker())
    _, found = await explained(shop)
    (image,) = found["images"]
    assert [one["action"] for one in image["next"]] == ["Deliver"]
    (workload,) = image["workloads"]
    assert (workload["digest"], workload["needsDelivery"]) == (None, True)


def test_a_spec_that_cant_be_read() -> None:
    body = tracker()
    body["metadata"] |= {"uid": "u", "generation": 2, "resourceVersion": "7"}
    body["spec"]["base"]["image"] = "contoso.azurecr.io/base/python"
    now = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
    observed = Observed(now=now, tracker=parse_tracker(body), base=TagSeen(due=now), images=())
    found = account(view_of(observed, ["a note"]))
    assert (found["base"], found["images"], found["summary"]["state"]) == (None, [], "Blocked")
    text = list(lines(text_of(found)))
    assert text[0] == "shop/python: Blocked, 0/0 current"
    assert text[1].startswith("  the spec can't be read: spec.base.image: the image has no tag")
    assert "  note: a note" in text


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "-o", "yaml"]])
async def test_wrong_usage(arguments: list[str]) -> None:
    ran = await run("explain", *arguments)
    assert (ran.code, ran.out) == (2, "")
