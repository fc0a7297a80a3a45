"""Every row of the matrix of lineage has its verdict and its words."""

from __future__ import annotations

import pytest

from basetracker.oci.lineage import (
    Evidence,
    Image,
    Lineage,
    PlatformImage,
    Verdict,
    contains_history,
    contains_layers,
    judge,
)
from basetracker.oci.manifest import BASE_DIGEST
from basetracker.oci.refs import Digest

from .layer_rows import CLAIMED, EARLIER, ENV, HISTORY, LAYERS, OLD, PROVEN, PYTHON, REFUTED, UNKNOWN, Case
from .pictures import AMD64, ARM64, multi, one
from .platform_rows import ACR, BOTH, BUILD, BUILT_ON_BOTH, CLAIMS, PLATFORMS, WINDOWS


@pytest.mark.parametrize("case", LAYERS + EARLIER + HISTORY + PLATFORMS + CLAIMS, ids=lambda case: case.id)
def test_the_verdict(case: Case) -> None:
    found = judge(case.image, case.base, earlier=iter(case.earlier), claims=case.claims)
    assert (found.verdict, found.image, found.base) == (case.verdict, case.image.digest, case.base.digest)
    assert case.says in found.message
    assert [item.platform for item in found.evidence] == [item.platform for item in case.image.platforms]
    assert "\n" not in found.message
    assert found.message.isprintable()


def test_each_platform_has_its_evidence() -> None:
    image = multi(
        BUILT_ON_BOTH[0],
        one("squashed", platform=ARM64, annotations={BASE_DIGEST: str(BOTH.digest)}),
        one("app", platform=WINDOWS),
    )
    found = judge(image, BOTH)
    assert [(item.platform, item.verdict) for item in found.evidence] == [
        (AMD64, PROVEN),
        (ARM64, CLAIMED),
        (WINDOWS, REFUTED),
    ]
    assert found.message == found.evidence[2].message


def test_an_image_of_no_platform_proves_nothing() -> None:
    image = Image(digest=Digest.of(b"empty"), platforms=())
    found = judge(image, PYTHON, claims=[ACR, BUILD])
    assert (found.verdict, found.evidence) == (UNKNOWN, ())
    assert found.message == "the image has no platform that could be compared"


def test_verdicts_are_ranked_from_worst_to_best() -> None:
    assert sorted(Verdict, key=lambda verdict: verdict.rank) == [REFUTED, UNKNOWN, CLAIMED, PROVEN]


def test_the_first_of_several_that_are_as_bad_is_told() -> None:
    evidence = tuple(
        Evidence(platform=AMD64, verdict=verdict, message=message)
        for verdict, message in ((PROVEN, "a"), (REFUTED, "b"), (REFUTED, "c"))
    )
    lineage = Lineage(image=PYTHON.digest, base=OLD.digest, verdict=REFUTED, evidence=evidence)
    assert lineage.message == "b"


@pytest.mark.parametrize(
    ("image", "base", "layers", "history"),
    [
        (one("a", "b"), one("a"), True, True),
        (one("a"), one("a", "b"), False, False),
        (one("a", "b", history=[]), one("a"), True, True),
        (one("a", "b"), one("a", history=[]), True, True),
        (one("a", "b", history=[ENV]), one("a"), True, False),
        (one("a"), one(), False, True),
        (one("b", "a"), one("a"), False, False),
    ],
)
def test_what_is_contained(image: PlatformImage, base: PlatformImage, layers: bool, history: bool) -> None:
    assert contains_layers(image, base) is layers
    assert contains_history(image, base) is history
