"""How trackers relate: who feeds whom, circles, and who may change a container."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from basetracker.api.names import GateVerdict, Reason, State
from basetracker.api.status import DownstreamStatus, GateStatus, Validated
from basetracker.api.tracker import Tracker
from basetracker.core.observed import Container
from basetracker.core.relations import (
    children_of,
    chosen_containers,
    circle_of,
    claimant,
    inherited_base,
    parent_of,
)
from basetracker.oci.refs import Digest, parse_image

from .builders import B1, B2, BASE, IMAGE, NOW, image_spec, tracker, validated, workload

OS = parse_image("contoso.azurecr.io/base/os:12")
PYTHON = tracker("python")


def feeding(name: str, **fields: Any) -> Tracker:
    """A tracker that builds the base of the others."""
    return tracker(name, base=OS, downstream=[image_spec("python", image=BASE, deploy=())], **fields)


def unreadable(one: Tracker) -> Tracker:
    return one.model_copy(update={"spec": None})


def leaving(one: Tracker) -> Tracker:
    return one.model_copy(update={"deleting": True})


class TestParents:
    def test_the_tracker_whose_output_is_the_base(self) -> None:
        found = parent_of(PYTHON, [tracker("other"), feeding("os")])
        assert found is not None
        assert (found.key.name, found.downstream) == ("os", "python")

    def test_the_eldest_of_several(self) -> None:
        elder = feeding("z-elder", created=NOW - timedelta(days=9))
        found = parent_of(PYTHON, [feeding("a-younger"), elder])
        assert found is not None
        assert found.key == elder.key

    def test_none(self) -> None:
        assert parent_of(PYTHON, []) is None
        assert parent_of(PYTHON, [unreadable(feeding("os")), leaving(feeding("os2"))]) is None
        assert parent_of(unreadable(PYTHON), [feeding("os")]) is None

    def test_children(self) -> None:
        parent = feeding("os")
        assert children_of(parent, [PYTHON, unreadable(tracker("broken")), feeding("os2")]) == (PYTHON,)
        assert children_of(unreadable(parent), [PYTHON]) == ()


class TestCircles:
    def ring(self, *names: str) -> list[Tracker]:
        """Each feeds the next, the last the first."""
        images = [parse_image(f"contoso.azurecr.io/ring/{name}:1") for name in names]
        return [
            tracker(name, base=images[number - 1], downstream=[image_spec(name, image=images[number], deploy=())])
            for number, name in enumerate(names)
        ]

    def test_of_three(self) -> None:
        one, two, three = self.ring("one", "two", "three")
        assert circle_of(one, [two, three]) == ("one", "two", "three", "one")

    def test_who_only_hangs_on_a_circle_isnt_in_it(self) -> None:
        one, two = self.ring("one", "two")
        image = parse_image("contoso.azurecr.io/ring/two:1")
        tail = tracker("tail", base=image, downstream=[image_spec("tail", deploy=())])
        assert circle_of(tail, [one, two]) == ()
        assert circle_of(one, [two, tail]) == ("one", "two", "one")

    def test_two_ways_to_one_tracker_are_no_circle(self) -> None:
        left, right = feeding("left"), feeding("right")
        root = tracker("root", downstream=[image_spec("os", image=OS, deploy=())], base=IMAGE)
        assert circle_of(root, [left, right, tracker("leaf", downstream=[image_spec("leaf", deploy=())])]) == ()


class TestClaims:
    def claims(self, one: Tracker, *siblings: Tracker, container: str = "app") -> str:
        assert one.spec is not None
        found = next(each for each in SEEN.containers if each.name == container)
        return claimant(one, one.spec.downstream[0], found, SEEN, siblings)

    def test_the_elder_one(self) -> None:
        elder = tracker("elder", created=NOW - timedelta(days=9))
        assert self.claims(PYTHON, elder) == "elder/checkout"
        assert self.claims(elder, PYTHON) == ""

    def test_of_one_age_the_first_by_name(self) -> None:
        assert self.claims(PYTHON, tracker("a")) == "a/checkout"
        assert self.claims(PYTHON, tracker("z")) == ""

    def test_who_is_leaving_or_broken_claims_nothing(self) -> None:
        elder = tracker("elder", created=NOW - timedelta(days=9))
        assert self.claims(PYTHON, leaving(elder), unreadable(elder)) == ""

    def test_for_one_that_is_leaving_nobody_else_counts_but_those_who_stay(self) -> None:
        assert self.claims(leaving(PYTHON)) == ""
        assert self.claims(leaving(PYTHON), tracker("z")) == "z/checkout"

    def test_another_container_isnt_claimed(self) -> None:
        named = image_spec(container="other")
        elder = tracker("elder", created=NOW - timedelta(days=9), downstream=[named])
        assert self.claims(PYTHON, elder) == ""

    def test_an_earlier_image_of_the_same_tracker(self) -> None:
        entries = [image_spec("first", container="app"), image_spec("second", container="app")]
        both = tracker("both", downstream=entries)
        assert both.spec is not None
        assert claimant(both, both.spec.downstream[1], SEEN.containers[0], SEEN, ()) == "both/first"


SEEN = workload(
    containers=(
        Container(name="app", image=str(IMAGE)),
        Container(name="odd", image="UPPER"),
        Container(name="x", image="x"),
    )
)


def test_without_a_name_every_container_of_the_repository_is_meant() -> None:
    assert PYTHON.spec is not None
    item = PYTHON.spec.downstream[0]
    assert [one.name for one in chosen_containers(item, item.deploy[0], SEEN)] == ["app"]
    named = item.deploy[0].model_copy(update={"container": "odd"})
    assert [one.name for one in chosen_containers(item, named, SEEN)] == ["odd"]


def said(verdict: GateVerdict, digest: Digest = B2) -> GateStatus:
    return GateStatus(name="trivy", verdict=verdict, reason="Because", message="so it is", digest=digest)


def made(kept: Validated | None, *gates: GateStatus) -> DownstreamStatus:
    """The row of an image of the parent."""
    return DownstreamStatus(
        name="python", state=State.CURRENT, reason=Reason.CURRENT, message="so it is", validated=kept, gates=gates
    )


FAIL, PASS, PENDING = GateVerdict.FAIL, GateVerdict.PASS, GateVerdict.PENDING
SOUND = validated(B2, B1)
FAILING = SOUND.model_copy(update={"failing": said(FAIL)})


@pytest.mark.parametrize(
    ("item", "stored", "base", "is_withheld"),
    [
        (None, B1, None, False),
        (made(None), B1, None, False),
        (made(SOUND), None, B2, False),
        (made(SOUND), B1, B2, False),
        (made(SOUND, said(PASS)), B1, B2, False),
        (made(SOUND, said(PENDING)), B1, B2, False),
        (made(SOUND, said(FAIL, B1)), B1, B2, False),
        (made(FAILING), B1, None, True),
        (made(FAILING), None, None, True),
        (made(FAILING), B2, B2, False),
        (made(SOUND, said(PASS), said(FAIL)), B1, None, True),
        (made(SOUND, said(FAIL)), B2, B2, False),
    ],
    ids=lambda value: "",
)
def test_what_fails_by_now_is_a_base_only_for_those_that_have_it(
    item: DownstreamStatus | None, stored: Digest | None, base: Digest | None, is_withheld: bool
) -> None:
    found, withheld = inherited_base(item, stored)
    assert found == base
    assert (withheld is not None) is is_withheld
    if withheld is not None:
        assert (withheld.verdict, withheld.digest) == (FAIL, B2)
