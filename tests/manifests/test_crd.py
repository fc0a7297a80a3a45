"""The CRD on its own: bounds, words, columns, and rules that agree with the parsers."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from basetracker.api.duration import parse_duration
from basetracker.emulators.cluster.rules import judge
from basetracker.errors import InvalidError
from basetracker.oci.refs import parse_image

from .schemas import Json, crd, every, object_schema, part, version

BASE_IMAGE = part("spec")["properties"]["base"]["properties"]["image"]
DOWNSTREAM = part("spec")["properties"]["downstream"]["items"]["properties"]
JOB = "spec.gates[].job.template"
MARKS = {f"{JOB}.metadata.labels", f"{JOB}.metadata.annotations"}
FOREIGN = {f"{JOB}.spec"}
INTERVAL = part("spec")["properties"]["base"]["properties"]["interval"]
TIMEOUT = DOWNSTREAM["build"]["properties"]["timeout"]


def test_everything_is_bounded() -> None:
    for path, schema in every(object_schema()):
        match schema["type"]:
            case "string" if path not in ("apiVersion", "kind"):
                assert "enum" in schema or schema.get("format") == "date-time" or "maxLength" in schema, path
            case "array":
                assert "maxItems" in schema, path
                assert schema["x-kubernetes-list-type"] in ("map", "atomic"), path
            case "integer":
                assert "minimum" in schema, path
                assert "format" in schema, path
            case "object" if path in MARKS:
                assert "maxLength" in schema["additionalProperties"], path
                assert "maxProperties" in schema, path
            case "object":
                assert "additionalProperties" not in schema, path
                assert ("x-kubernetes-preserve-unknown-fields" in schema) == (path in FOREIGN), path


def test_everything_is_explained() -> None:
    silent = [
        path
        for path, schema in every(object_schema())
        if path != "metadata" and not re.fullmatch(r"[A-Z`].{3,}[.]", schema.get("description", ""), re.DOTALL)
    ]
    assert silent == []


def test_every_rule_has_words() -> None:
    rules = [
        (path, rule) for path, schema in every(object_schema()) for rule in schema.get("x-kubernetes-validations", [])
    ]
    assert len(rules) > 20
    for path, rule in rules:
        assert 20 <= len(rule["message"]) <= 300, path
        assert "\n" not in rule["rule"].strip("\n") + rule["message"], path


def test_the_short_names() -> None:
    assert crd()["spec"]["names"]["shortNames"] == ["basetrackers", "basetracker", "bit"]


def test_the_columns() -> None:
    columns = [
        (c["name"], c["type"], c["jsonPath"], c.get("priority", 0)) for c in version()["additionalPrinterColumns"]
    ]
    ready = '.status.conditions[?(@.type=="Ready")]'
    assert columns == [
        ("Base", "string", ".spec.base.image", 0),
        ("Digest", "string", ".status.base.shortDigest", 0),
        ("Current", "string", ".status.summary.text", 0),
        ("State", "string", ".status.summary.state", 0),
        ("Ready", "string", f"{ready}.status", 0),
        ("Since", "date", ".status.base.since", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
        ("Message", "string", f"{ready}.message", 1),
        ("Base-Digest", "string", ".status.base.digest", 1),
    ]


def test_trackers_can_be_selected_by_base() -> None:
    assert version()["selectableFields"] == [{"jsonPath": ".spec.base.image"}]


def test_both_images_and_both_secrets_obey_the_same_rules() -> None:
    def rules(schema: Json) -> object:
        return schema["x-kubernetes-validations"], schema["maxLength"]

    assert rules(BASE_IMAGE) == rules(DOWNSTREAM["image"])
    mine = part("spec")["properties"]["base"]["properties"]["pullSecretRef"]["properties"]["name"]
    assert rules(mine) == rules(DOWNSTREAM["pullSecretRef"]["properties"]["name"])


def _admits(schema: Json, text: str) -> bool:
    """Whether the CRD lets the string through: its length and every rule."""
    if len(text) > schema["maxLength"]:
        return False
    return all(judge(rule["rule"], {"self": text}).holds for rule in schema["x-kubernetes-validations"])


def _follows(text: str) -> bool:
    """Whether the parser reads the string as a tag that can be followed."""
    try:
        image = parse_image(text)
    except InvalidError:
        return False
    return image.tag is not None and image.digest is None


_LETTERS = st.text("abzABZ019._-", min_size=0, max_size=6)
_PARTS = st.one_of(st.sampled_from(["a", "a.b", "a_b", "a__b", "a--b", "a___b", "a..b", "A", "-a", "a-", ""]), _LETTERS)
_HOSTS = st.one_of(
    st.sampled_from(
        [
            "",
            "localhost/",
            "localhost:5000/",
            "LOCALHOST/",
            "contoso.azurecr.io/",
            "Contoso.azurecr.io/",
            "a_b.c/",
            "10.0.0.1:443/",
            "[::1]/",
            "[::1]:5000/",
            "[abc]/",
            "[1::2]/",
            "[1:2:3:4:5:6:7::]/",
            "h.io:0/",
            "h.io:65536/",
            "[abc]:5000/",
            "h:/",
            "h:123456/",
            "-h.io/",
            "https://",
            "docker.io/",
            "h..io/",
            ".io/",
            "[:5000/",
            "a|b.io/",
        ]
    ),
    _LETTERS.map(lambda host: f"{host}/"),
)
_TAGS = st.one_of(
    st.sampled_from(["", ":", ":1", ":3.12-slim", ":_", ":.1", ":-1", ":A", ":1+2", ":1:2", ": 1", ":" + "a" * 129]),
    _LETTERS.map(lambda tag: f":{tag}"),
)
_REFERENCES = st.one_of(
    st.tuples(_HOSTS, st.lists(_PARTS, min_size=0, max_size=3).map("/".join), _TAGS).map("".join),
    st.text("aA0.:/@-_[] \n", max_size=12),
    st.text(max_size=8),
)


@settings(max_examples=400, deadline=None)
@given(_REFERENCES)
@example("a" * 127 + ":" + "b" * 128)
@example("contoso.azurecr.io/base/python:3.12")
@example("python:3.12\n")
@example("h.io/" + "a" * 493 + ":1")
@example("h.io/" + "a" * 494 + ":1")
@example("a:1@sha256:" + "0" * 64)
@example("[abc]:5000/a:1")
@example("[::1]:5000/a:1")
@example("[1:2:3:4:5:6:7::]/a:1")
@example("[1:2:3:4:5:6:7:8:9]/a:1")
@example("[1::2:3:4:5:6:7:8]/a:1")
@example("[1:2:3:4:5:6:7:8]/a:1")
@example("[1::2::3]/a:1")
@example("h.io:0/a:1")
@example("h.io:00080/a:1")
@example("h.io:65535/a:1")
@example("h.io:65536/a:1")
def test_the_image_rules_agree_with_the_parser(text: str) -> None:
    assert _admits(BASE_IMAGE, text) == _follows(text)


_NUMBERS = st.one_of(
    st.integers(0, 10**7).map(str), st.decimals(0, 9999, places=2).map(str), st.just("1."), st.just("")
)
_DURATIONS = st.one_of(
    st.lists(st.tuples(_NUMBERS, st.sampled_from(["h", "m", "s", "ms", "d", "", " "])).map("".join), max_size=3).map(
        "".join
    ),
    st.text("0159hms.- ", max_size=8),
)


@settings(max_examples=400, deadline=None)
@given(_DURATIONS)
@example("87840h")
@example("87841h")
@example("999999h999999h999999")
@example("999999h999999h99999m")
@example("10s")
@example("9999ms")
def test_an_admitted_interval_is_read_and_is_long_enough(text: str) -> None:
    if _admits(INTERVAL, text):
        assert parse_duration(text).total_seconds() >= 10
    if _admits(TIMEOUT, text):
        assert parse_duration(text).total_seconds() >= 1
    assert _admits(TIMEOUT, text) or not _admits(INTERVAL, text)


@given(st.integers(10, 10**6))
def test_ordinary_intervals_are_admitted(seconds: int) -> None:
    hours, rest = divmod(seconds, 3600)
    assert _admits(INTERVAL, f"{seconds if seconds < 10**6 else 10}s")
    assert _admits(INTERVAL, f"{hours}h{rest // 60}m{rest % 60}s")
