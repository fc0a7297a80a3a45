"""Trackers as they are stored and as a file has them: what is read, what is said of what can't be."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetracker.api.gates import Accept
from basetracker.api.tracker import DeployTarget, Key, Mode, Spec, parse_tracker, problems
from basetracker.oci.refs import Digest, parse_image

Json = dict[str, Any]
REGISTRY = (
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/images"
    "/providers/Microsoft.ContainerRegistry/registries/contoso"
)
TASK: Json = {
    "name": "build-checkout",
    "registry": REGISTRY,
    "baseArgument": "BASE_IMAGE",
    "arguments": [{"name": "CHANNEL", "value": "stable"}],
    "values": [{"name": "ID", "value": "42"}],
}
WHOLE: Json = {
    "base": {"image": "h.io/base/python:3.12", "interval": "1m30s", "pullSecretRef": {"name": "hub"}},
    "downstream": [
        {
            "name": "checkout",
            "image": "h.io/shop/checkout:main",
            "pullSecretRef": {"name": "hub.shop"},
            "build": {"acrTask": TASK, "timeout": "2h"},
            "deploy": [{"kind": "Deployment", "name": "checkout", "container": "app"}],
        },
        {"name": "cart", "image": "h.io/shop/cart:main"},
    ],
    "gates": [{"lineage": {"accept": "Claimed"}}],
    "rollout": {"mode": "Plan", "maxConcurrent": 2, "progressDeadline": "90s"},
    "suspend": True,
}
LEAST: Json = {"base": {"image": "python:3"}, "downstream": [{"name": "a", "image": "b:1"}]}
Path = tuple[str | int, ...]


def stored(spec: Any, /, **more: Any) -> Json:
    """The object as the server gives it."""
    metadata = {
        "name": "python",
        "namespace": "shop",
        "uid": "u-1",
        "generation": 3,
        "resourceVersion": "77",
        "creationTimestamp": "2026-11-22T07:00:00Z",
    }
    document = {
        "apiVersion": "basetracker.dev/v1alpha1",
        "kind": "BaseImageTracker",
        "metadata": metadata,
        "spec": spec,
    }
    return copy.deepcopy(document | more)


def changed(path: Path, value: Any) -> Json:
    """The whole tracker with another value at this place of its spec."""
    document = stored(WHOLE)
    place: Any = document["spec"]
    for part in path[:-1]:
        place = place[part]
    if isinstance(place, list) and path[-1] == len(place):
        place.append(value)
    else:
        place[path[-1]] = value
    return document


def test_a_whole_tracker() -> None:
    tracker = parse_tracker(stored(WHOLE))
    assert (tracker.key, str(tracker.key)) == (Key(namespace="shop", name="python"), "shop/python")
    assert (tracker.uid, tracker.generation, tracker.resource_version) == ("u-1", 3, "77")
    assert (tracker.created, tracker.deleting) == (datetime(2026, 11, 22, 7, 0, tzinfo=UTC), False)
    assert (tracker.problem, tracker.requested_at, tracker.resume) == ("", "", "")
    spec = tracker.spec
    assert spec is not None
    assert spec.base.image == parse_image("h.io/base/python:3.12")
    assert spec.base.interval == timedelta(seconds=90)
    assert spec.base.pull_secret_ref is not None
    assert spec.base.pull_secret_ref.name == "hub"
    assert (spec.accept, spec.suspend) == (Accept.CLAIMED, True)
    assert (spec.rollout.mode, spec.rollout.max_concurrent) == (Mode.PLAN, 2)
    assert spec.rollout.progress_deadline == timedelta(seconds=90)
    checkout, cart = spec.downstream
    assert checkout.build is not None
    assert checkout.build.timeout == timedelta(hours=2)
    assert checkout.build.acr_task.model_dump(by_alias=True, mode="json") == TASK
    assert checkout.deploy == (DeployTarget(kind="Deployment", name="checkout", container="app"),)
    assert (cart.build, cart.deploy, cart.pull_secret_ref) == (None, (), None)


def test_the_defaults() -> None:
    spec = Spec.model_validate(LEAST)
    assert spec.base.interval == timedelta(minutes=5)
    assert (spec.accept, spec.suspend, spec.rollout.mode) == (Accept.PROVEN, False, Mode.APPLY)
    assert (spec.rollout.max_concurrent, spec.rollout.progress_deadline) == (1, timedelta(minutes=10))
    built = Spec.model_validate(LEAST | {"downstream": [{"name": "a", "image": "b:1", "build": {"acrTask": TASK}}]})
    assert built.downstream[0].build is not None
    assert built.downstream[0].build.timeout == timedelta(hours=1)


def test_what_is_written_out_is_read_back() -> None:
    spec = Spec.model_validate(WHOLE)
    document = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert Spec.model_validate(document) == spec
    assert document["base"]["interval"] == "1m30s"
    assert Spec.model_validate(spec.model_dump()) == spec, "in its own types too"


def test_the_annotations_that_ask_for_something() -> None:
    document = stored(LEAST)
    document["metadata"]["annotations"] = {"basetracker.dev/requested-at": "now", "basetracker.dev/resume": 7}
    tracker = parse_tracker(document)
    assert (tracker.requested_at, tracker.resume) == ("now", "7")


def test_a_new_object_that_says_little() -> None:
    tracker = parse_tracker({"metadata": {"name": "a", "namespace": "b", "annotations": None}})
    assert (tracker.uid, tracker.generation, tracker.resource_version) == ("", 0, "")
    assert tracker.created == datetime(1970, 1, 1, tzinfo=UTC)
    assert tracker.spec is None
    assert tracker.problem == "spec: it has to be an object with fields of its own"


def test_an_object_that_is_being_deleted() -> None:
    document = stored(LEAST)
    document["metadata"]["deletionTimestamp"] = "2026-11-22T08:00:00Z"
    assert parse_tracker(document).deleting


def test_an_unreadable_spec_leaves_the_status() -> None:
    digest = Digest.of(b"one")
    base = {"digest": str(digest), "shortDigest": digest.short, "since": "2026-11-22T07:00:00Z"}
    tracker = parse_tracker(stored({"base": {}, "downstream": []}, status={"base": base}))
    assert tracker.spec is None
    assert tracker.problem == (
        "spec.base.image: it has to be given; spec.downstream: name at least one image that is built on the base"
    )
    assert tracker.status.base is not None
    assert tracker.status.base.digest == digest


def test_an_unreadable_status_leaves_the_spec() -> None:
    tracker = parse_tracker(stored(LEAST, status={"base": "gone"}))
    assert tracker.spec is not None
    assert tracker.status.document() == {}


def test_keys_are_told_apart() -> None:
    keys = {Key(namespace=namespace, name=name) for namespace in "ab" for name in "ab"} | {Key(namespace="a", name="a")}
    assert len(keys) == 4


UNKNOWN: list[tuple[Path, str]] = [
    (("colour",), "spec.colour"),
    (("base", "max_age"), "spec.base.max_age"),
    (("base", "pull_secret_ref"), "spec.base.pull_secret_ref"),
    (("base", "pullSecretRef", "key"), "spec.base.pullSecretRef.key"),
    (("downstream", 1, "images"), "spec.downstream[1].images"),
    (("downstream", 0, "build", "kaniko"), "spec.downstream[0].build.kaniko"),
    (("downstream", 0, "build", "acrTask", "acr"), "spec.downstream[0].build.acrTask.acr"),
    (
        ("downstream", 0, "build", "acrTask", "arguments", 0, "secret"),
        "spec.downstream[0].build.acrTask.arguments[0].secret",
    ),
    (("downstream", 0, "deploy", 0, "namespace"), "spec.downstream[0].deploy[0].namespace"),
    (("gates", 0, "horoscope"), "spec.gates[0].horoscope"),
    (("gates", 0, "lineage", "strict"), "spec.gates[0].lineage.strict"),
    (("rollout", "windows"), "spec.rollout.windows"),
]


@pytest.mark.parametrize(("path", "where"), UNKNOWN, ids=[where for _, where in UNKNOWN])
def test_an_unknown_field_is_told_in_a_file_and_passed_over_when_stored(path: Path, where: str) -> None:
    document = changed(path, {"a": 1})
    assert problems(document) == [f"{where}: unknown field; the server would drop it"]
    tracker = parse_tracker(document)
    if "pull_secret_ref" not in path:
        assert tracker.spec == parse_tracker(stored(WHOLE)).spec
        assert tracker.problem == ""


LISTED = ("downstream", 0, "deploy")
ARGUMENTS = ("downstream", 0, "build", "acrTask", "arguments")
VALUES = ("downstream", 0, "build", "acrTask", "values")
NO_TAG = "spec.base.image: the image has no tag; name the tag to follow"
NO_HOST = "spec.base.image: the registry is not a host name; write it like contoso.azurecr.io"
NO_REPOSITORY = "spec.base.image: not a repository; it is lower case letters and digits"
NO_TAG_AT_ALL = "spec.base.image: not a tag; a tag is up to 128 letters"
INTERVAL = "spec.base.interval: the interval is a duration of at least 10s and at most ten years; write it like 5m"
WRONG: list[tuple[Path, Any, str]] = [
    (("base",), None, "spec.base: it has to be an object with fields of its own"),
    (("base", "image"), 312, "spec.base.image: an image is a string like contoso.azurecr.io/base/python:3.12"),
    (("base", "image"), None, "spec.base.image: an image is a string like"),
    (("base", "image"), "h.io/base/python", NO_TAG),
    (("base", "image"), "localhost:5000/python", NO_TAG),
    (("base", "image"), "", NO_TAG),
    (("base", "image"), "h.io/a:1@sha256:00", "spec.base.image: an image pinned by digest never moves; name the tag"),
    (("base", "image"), f"h.io/a@{Digest.of(b'')}", "spec.base.image: an image pinned by digest never moves"),
    (("base", "image"), "a" * 501, "spec.base.image: longer than 500 characters"),
    (("base", "image"), "https://h.io/a:1", NO_HOST),
    (("base", "image"), "h.io:70000/a:1", NO_HOST),
    (("base", "image"), "h_1.io/a:1", NO_HOST),
    (("base", "image"), "h.io/a:1+2", NO_TAG_AT_ALL),
    (("base", "image"), "h.io/a:", NO_TAG_AT_ALL),
    (("base", "image"), "h.io/Base/python:3.12", NO_REPOSITORY),
    (("base", "image"), "Shop/python:3.12", NO_REPOSITORY),
    (("base", "image"), "h.io/a:1/b:2", NO_REPOSITORY),
    (("base", "interval"), "9s", INTERVAL),
    (("base", "interval"), "5", INTERVAL),
    (("base", "interval"), 300, INTERVAL),
    (("base", "interval"), "87841h", INTERVAL),
    (("base", "interval"), "1h" * 11, INTERVAL),
    (("base", "pullSecretRef"), {"name": "My_Hub"}, "spec.base.pullSecretRef.name: not the name of a Secret; it is"),
    (("base", "pullSecretRef"), {"name": "a" * 254}, "spec.base.pullSecretRef.name: longer than 253 characters"),
    (("base", "pullSecretRef"), {}, "spec.base.pullSecretRef.name: it has to be given"),
    (("downstream",), [], "spec.downstream: name at least one image that is built on the base"),
    (("downstream",), {}, "spec.downstream: it has to be a list"),
    (("downstream", 1), "cart", "spec.downstream[1]: it has to be an object with fields of its own"),
    (("downstream", 1, "name"), "checkout", "spec.downstream: two downstream images have one name; give each"),
    (("downstream", 1, "image"), "h.io/shop/checkout:main", "spec.downstream: two downstream entries name one image"),
    (("downstream", 1, "image"), "H.io/base/python:3.12", "spec.downstream: a downstream image is its own base"),
    (("downstream", 1, "name"), "Cart", "spec.downstream[1].name: not the name of a downstream image; it is lower"),
    (("downstream", 1, "name"), 3, "spec.downstream[1].name: it has to be a string; put it in quotes"),
    (("downstream", 0, "build"), {}, "spec.downstream[0].build.acrTask: it has to be given"),
    (("downstream", 0, "build", "timeout"), "0s", "spec.downstream[0].build.timeout: the timeout is a duration of at"),
    (
        ("downstream", 0, "build", "acrTask", "name"),
        "a/b",
        "spec.downstream[0].build.acrTask.name: not the name of an ACR Task; it is 5 to 50 letters",
    ),
    (
        ("downstream", 0, "build", "acrTask", "registry"),
        "contoso",
        "spec.downstream[0].build.acrTask.registry: not the ARM id of a registry; write it as /subscriptions/<id>",
    ),
    (
        ("downstream", 0, "build", "acrTask", "baseArgument"),
        "CHANNEL",
        "spec.downstream[0].build.acrTask.arguments: baseArgument is also listed in arguments; the operator sets it",
    ),
    (
        ("downstream", 0, "build", "acrTask", "baseArgument"),
        "BASE-IMAGE",
        "spec.downstream[0].build.acrTask.baseArgument: not the name of a build argument; it is letters",
    ),
    (
        ARGUMENTS,
        [{"name": "A", "value": "1"}] * 2,
        "spec.downstream[0].build.acrTask.arguments: a build argument is given twice; keep one entry for each name",
    ),
    (
        (*ARGUMENTS, 0, "value"),
        "a" * 4097,
        "spec.downstream[0].build.acrTask.arguments[0].value: longer than 4096 characters",
    ),
    (
        VALUES,
        [{"name": "A", "value": "1"}] * 2,
        "spec.downstream[0].build.acrTask.values: a task value is given twice; keep one entry for each name",
    ),
    (
        (*VALUES, 0, "name"),
        "run id",
        "spec.downstream[0].build.acrTask.values[0].name: not the name of a task value; it is letters",
    ),
    ((*VALUES, 0, "value"), 42, "spec.downstream[0].build.acrTask.values[0].value: it has to be a string; put it in"),
    (
        (*LISTED, 1),
        {"kind": "Deployment", "name": "checkout", "container": "app"},
        "spec.downstream[0].deploy: one workload is listed twice; keep one entry for each workload and container",
    ),
    ((*LISTED, 0, "kind"), "ReplicaSet", "spec.downstream[0].deploy[0].kind: it has to be 'Deployment'"),
    ((*LISTED, 0, "name"), "Check_Out", "spec.downstream[0].deploy[0].name: not the name of a workload; it is lower"),
    ((*LISTED, 0, "container"), "app.main", "spec.downstream[0].deploy[0].container: not the name of a container"),
    (
        LISTED,
        [{"kind": "Deployment", "name": f"d{n}"} for n in range(26)],
        "spec.downstream[0].deploy: too many entries; it takes 25 at most",
    ),
    (("gates",), [], "spec.gates: no gate at all would deliver what nobody has looked at; leave gates out"),
    (("gates",), [{}], "spec.gates[0]: a gate names exactly one kind"),
    (("gates",), [{"horoscope": {}}], "spec.gates[0]: a gate names exactly one kind"),
    (("gates",), ["lineage"], "spec.gates[0]: it has to be an object with fields of its own"),
    (
        ("gates",),
        [{"lineage": {}}] * 2,
        "spec.gates: lineage is always asked first and once; keep one entry of it, as the first, or none",
    ),
    (("gates", 0, "lineage", "accept"), "Perhaps", "spec.gates[0].lineage.accept: it has to be 'Proven' or 'Claimed'"),
    (("rollout", "mode"), "Try", "spec.rollout.mode: it has to be 'Apply' or 'Plan'"),
    (("rollout", "maxConcurrent"), 0, "spec.rollout.maxConcurrent: it is at least 1"),
    (("rollout", "maxConcurrent"), 1001, "spec.rollout.maxConcurrent: it is at most 1000"),
    (("rollout", "maxConcurrent"), "2", "spec.rollout.maxConcurrent: it has to be a whole number, without quotes"),
    (("rollout", "maxConcurrent"), True, "spec.rollout.maxConcurrent: it has to be a whole number, without quotes"),
    (("rollout", "progressDeadline"), "9s", "spec.rollout.progressDeadline: the progress deadline is a duration of at"),
    (("suspend",), "no", "spec.suspend: it is true or false, without quotes"),
]


@pytest.mark.parametrize(("path", "value", "says"), WRONG, ids=[f"{p}={str(v)[:20]}" for p, v, _ in WRONG])
def test_each_thing_that_is_wrong_is_told_with_its_place_and_a_way_out(path: Path, value: Any, says: str) -> None:
    document = changed(path, value)
    told = [line for line in problems(document) if line.startswith(says)]
    assert len(told) == 1, problems(document)
    tracker = parse_tracker(document)
    assert tracker.spec is None
    assert told[0] in tracker.problem


def test_all_that_is_wrong_is_told_at_once() -> None:
    document = stored(WHOLE | {"suspend": "no", "extra": 1})
    document["spec"]["base"]["interval"] = "1s"
    document["spec"]["downstream"][1]["image"] = "h.io/cart"
    assert [line.partition(":")[0] for line in problems(document)] == [
        "spec.base.interval",
        "spec.downstream[1].image",
        "spec.suspend",
        "spec.extra",
    ]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, []),
        ({"status": {"anything": 1}}, []),
        ({"kind": "Deployment"}, ["kind: 'Deployment' is not BaseImageTracker"]),
        ({"kind": None}, ["kind: None is not BaseImageTracker"]),
        ({"apiVersion": "basetracker.dev/v1"}, ["apiVersion: 'basetracker.dev/v1' is not basetracker.dev/v1alpha1"]),
        ({"metadata": None}, ["metadata.name: None is not a name; it is lower case letters, digits, '-' and '.'"]),
        (
            {"metadata": {"name": "A"}},
            ["metadata.name: 'A' is not a name; it is lower case letters, digits, '-' and '.'"],
        ),
        ({"specs": {}}, ["specs: unknown field; the server would drop it"]),
        ({"spec": None}, ["spec: it has to be an object with fields of its own"]),
    ],
)
def test_what_is_around_the_spec(more: Json, told: list[str]) -> None:
    assert problems(stored(WHOLE, **more)) == told


_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just("h.io/a:1"))
_KEYS = st.sampled_from(
    ["base", "image", "interval", "downstream", "name", "build", "acrTask", "deploy", "kind", "gates", "lineage"]
)
_GARBAGE = st.recursive(
    _LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=4), max_leaves=12
)
PLACES = [path for path, _, _ in WRONG if path[-1] != 1]


@given(_GARBAGE)
def test_any_spec_is_read_or_has_a_problem(spec: Any) -> None:
    tracker = parse_tracker(stored(spec))
    assert (tracker.spec is None) == bool(tracker.problem)
    assert bool(problems(stored(spec))) or tracker.spec is not None


@given(st.sampled_from(PLACES), _GARBAGE)
def test_no_programmers_words_reach_a_user(path: Path, value: Any) -> None:
    for line in problems(changed(path, value)):
        where, _, words = line.partition(": ")
        assert where.startswith("spec")
        assert words
        assert not any(word in line for word in ("Input should", "Tuple", "dictionary", "pydantic", "datetime"))
