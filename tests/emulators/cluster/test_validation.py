"""The validator on its own: a schema, an object, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from basetracker.emulators.cluster.extensions import crd_violations
from basetracker.emulators.cluster.jsonpath import matches
from basetracker.emulators.cluster.schema import apply_defaults, prune
from basetracker.emulators.cluster.validation import violations

from .conftest import widget_definition

TEXT = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _ruled(rule: str, **properties: Any) -> dict[str, Any]:
    return _object(**properties) | {"x-kubernetes-validations": [{"rule": rule, "message": "no"}]}


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("has(self.a)", {"a": "x"}, True),
        ("has(self.a)", {}, False),
        ("self.l.all(x, x.startsWith('a'))", {"l": ["ab", "ac"]}, True),
        ("self.l.exists_one(x, x == 'a')", {"l": ["a", "a"]}, False),
        ("self.l.exists(x, self.l.filter(y, y == x).size() > 1)", {"l": ["a", "b"]}, False),
        ("self.l.map(x, x + '!').join(',') == 'a!,b!'", {"l": ["a", "b"]}, True),
        ("self.a.split('/')[0] == 'x'", {"a": "x/y"}, True),
        ("self.a.find('[0-9]+') == '12'", {"a": "ab12cd"}, True),
        ("self.a.lowerAscii().indexOf('b') == 1", {"a": "AB"}, True),
        ("self.l.indexOf('b') == 1 && self.l.isSorted()", {"l": ["a", "b"]}, True),
        ("duration(self.a) > duration('1m')", {"a": "1m1s"}, True),
        ("duration(self.a) > duration('1m')", {"a": "soon"}, False),
        ("self.at < timestamp('2026-01-01T00:00:00Z')", {"at": "2025-01-01T00:00:00Z"}, True),
        ("self.__for__ > duration('1h')", {"for": "2h"}, True),
        ("self.__namespace__ == 'shop'", {"namespace": "shop"}, True),
        ("self.number / 2.0 > 1.0", {"number": 3}, True),
        ("self.missing == 'x'", {}, False),
    ],
)
def test_rules(rule: str, value: dict[str, Any], holds: bool) -> None:
    properties = {
        "a": TEXT,
        "l": {"type": "array", "items": TEXT},
        "at": {"type": "string", "format": "date-time"},
        "for": {"type": "string", "format": "duration"},
        "namespace": TEXT,
        "number": {"type": "number"},
    }
    assert (violations(_ruled(rule, **properties), value) == []) is holds


def test_transition_rules_are_asked_of_changes_only() -> None:
    schema = _ruled("self.a == oldSelf.a", a=TEXT)
    assert violations(schema, {"a": "x"}) == []
    assert violations(schema, {"a": "x"}, {"a": "x"}) == []
    (found,) = violations(schema, {"a": "y"}, {"a": "x"})
    assert found.message == "Invalid value: no"


def test_an_optional_old_self_is_asked_at_once() -> None:
    rule = {"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": True}
    schema = _object(a=TEXT | {"x-kubernetes-validations": [rule]})
    assert violations(schema, {"a": "first"}) == []
    assert len(violations(schema, {"a": "second"})) == 1
    assert violations(schema, {"a": "second"}, {"a": "first"}) == []


def test_what_was_wrong_already_may_stay() -> None:
    schema = _object(a=TEXT | {"maxLength": 3}, b=TEXT | {"maxLength": 3})
    old = {"a": "much too long", "b": "ok"}
    assert violations(schema, old | {"b": "new"}, old) == []
    assert len(violations(schema, old | {"a": "another long one"}, old)) == 1


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("date-time", "2026-01-01T00:00:00Z", "2026-01-01"),
        ("date", "2026-01-01", "01.01.2026"),
        ("duration", "1h30m", "1 day"),
        ("ipv4", "10.0.0.1", "10.0.0"),
        ("uri", "https://example.com/x", "nothing"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        ("byte", "YWJj", "a"),
    ],
)
def test_formats(form: str, good: str, bad: str) -> None:
    schema = _object(a={"type": "string", "format": form})
    assert violations(schema, {"a": good}) == []
    assert len(violations(schema, {"a": bad})) == 1


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("quantity(self.a).isGreaterThan(quantity('1'))", "can't evaluate the function(s) isGreaterThan, quantity"),
        ("self.a ==", "compilation failed"),
        ("self.a == other.a", "undeclared reference to other"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_refused_loudly(rule: str, words: str) -> None:
    definition = widget_definition()
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [{"rule": rule}]
    (found,) = crd_violations(definition)
    assert words in found.message
    assert found.path.endswith(".properties[spec].x-kubernetes-validations[0].rule")


def test_keys_of_keyed_lists_must_be_there() -> None:
    definition = widget_definition()
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["parts"]["items"]["required"]
    assert ["x-kubernetes-list-map-keys" in found.message for found in crd_violations(definition)] == [True]


def test_pruning_tells_what_it_dropped() -> None:
    schema = _object(a=_object(b=TEXT), free={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    value = {"a": {"b": "x", "c": 1}, "free": {"z": 1}, "d": 2, "metadata": {"name": "x"}, "kind": "K"}
    assert sorted(prune(schema, value)) == ["a.c", "d"]
    assert value == {"a": {"b": "x"}, "free": {"z": 1}, "metadata": {"name": "x"}, "kind": "K"}


def test_defaults_reach_into_what_is_there() -> None:
    item = _object(size={"type": "integer", "default": 5})
    schema = _object(parts={"type": "array", "items": item}, more=_object(x=TEXT | {"default": "y"}))
    value: dict[str, Any] = {"parts": [{}, {"size": 1}]}
    apply_defaults(schema, value)
    assert value == {"parts": [{"size": 5}, {"size": 1}]}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.image", ["i"]),
        ("{.spec.image}", ["i"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".spec.list[0]", [1]),
        (".spec.list[*]", [1, 2]),
        (r".metadata.labels.example\.com/x", ["y"]),
        (".metadata.labels['example.com/x']", ["y"]),
        (".nothing.here", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    document = {
        "metadata": {"labels": {"example.com/x": "y"}},
        "spec": {"image": "i", "list": [1, 2]},
        "status": {"conditions": [{"type": "Other", "status": "x"}, {"type": "Ready", "status": "True"}]},
    }
    assert matches(path, document) == found
