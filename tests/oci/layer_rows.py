"""The matrix of lineage, first part: one platform's layers, earlier bases and history. Rows only.

Owns what a row is, too; the tests run the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from basetracker.oci.lineage import Claim, Image, Verdict
from basetracker.oci.refs import Digest

from .pictures import ARM64, diff_id, drawn, one, single, step

PROVEN, CLAIMED, UNKNOWN, REFUTED = Verdict.PROVEN, Verdict.CLAIMED, Verdict.UNKNOWN, Verdict.REFUTED
ENV, LABEL, CMD = (step(name, empty=True) for name in ("ENV", "LABEL", "CMD"))
PYTHON = drawn("debian", "python")
OLD = drawn("debian", "python-old")
SHORT = drawn("debian")
RELABELED = drawn("debian", "python", history=[step("debian"), step("python"), LABEL])
MUTE_PYTHON = drawn("debian", "python", history=[])


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: `says` is a part of the message."""

    id: str
    image: Image
    base: Image
    verdict: Verdict
    says: str
    earlier: Sequence[Image] = ()
    claims: Sequence[Claim] = ()


LAYERS = [
    Case(
        id="prefix",
        image=drawn("debian", "python", "app"),
        base=PYTHON,
        verdict=PROVEN,
        says="its first 2 layers for linux/amd64 are the base's",
    ),
    Case(
        id="prefix of one layer",
        image=drawn("debian", "app"),
        base=SHORT,
        verdict=PROVEN,
        says="its first layer for linux/amd64 is the base's",
    ),
    Case(
        id="settings only",
        image=drawn("debian", "python", history=[step("debian"), step("python"), CMD]),
        base=PYTHON,
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="compressed again",
        image=drawn("debian", "python", "app", built="zstd"),
        base=drawn("debian", "python", built="gzip"),
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="the same content under another digest",
        image=drawn("debian", "python", built="again"),
        base=PYTHON,
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(id="the base itself", image=PYTHON, base=PYTHON, verdict=REFUTED, says="the image is the base itself"),
    Case(
        id="another base",
        image=drawn("alpine", "app"),
        base=PYTHON,
        verdict=UNKNOWN,
        says=f"layer 1 of 2 for linux/amd64 is {Digest(diff_id('alpine')).short} where base {PYTHON.digest.short} has "
        f"{Digest(diff_id('debian')).short}: built on something else, or its layers are squashed",
    ),
    Case(
        id="another base on the same ground",
        image=drawn("debian", "ruby", "app"),
        base=PYTHON,
        verdict=REFUTED,
        says=f"layer 2 of 2 for linux/amd64 is {Digest(diff_id('ruby')).short}",
    ),
    Case(
        id="squashed",
        image=drawn("all in one", history=[step("merged")]),
        base=PYTHON,
        verdict=UNKNOWN,
        says="or its layers are squashed",
    ),
    Case(id="fewer layers", image=SHORT, base=PYTHON, verdict=REFUTED, says="layer 2 of 2 for linux/amd64 is nothing"),
    Case(id="no layers", image=drawn(), base=PYTHON, verdict=UNKNOWN, says="layer 1 of 2 for linux/amd64 is nothing"),
    Case(
        id="a base without layers",
        image=drawn("app"),
        base=drawn(),
        verdict=UNKNOWN,
        says="the base has no layers for linux/amd64",
    ),
    Case(
        id="the base's layers in another order",
        image=drawn("python", "debian", "app"),
        base=PYTHON,
        verdict=UNKNOWN,
        says="layer 1 of 2",
    ),
    Case(
        id="the base's layers not at the beginning",
        image=drawn("other", "debian", "python", "app"),
        base=PYTHON,
        verdict=UNKNOWN,
        says="layer 1 of 2",
    ),
]

EARLIER = [
    Case(
        id="built on the earlier base",
        image=drawn("debian", "python-old", "app"),
        base=PYTHON,
        earlier=[OLD],
        verdict=REFUTED,
        says=f"it is built on the earlier base {OLD.digest.short}",
    ),
    Case(
        id="built on an unknown earlier base",
        image=drawn("debian", "python-old", "app"),
        base=PYTHON,
        verdict=REFUTED,
        says="layer 2 of 2",
    ),
    Case(
        id="built on an earlier base of other layers",
        image=drawn("buster", "app"),
        base=PYTHON,
        earlier=[OLD, drawn("buster")],
        verdict=REFUTED,
        says=f"it is built on the earlier base {drawn('buster').digest.short}",
    ),
    Case(
        id="a longer earlier base, known",
        image=drawn("debian", "python", "app"),
        base=SHORT,
        earlier=[PYTHON],
        verdict=REFUTED,
        says=f"it is built on the earlier base {PYTHON.digest.short}, which begins with the same layers",
    ),
    Case(
        id="a longer earlier base, not known",
        image=drawn("debian", "python", "app"),
        base=SHORT,
        verdict=PROVEN,
        says="its first layer",
    ),
    Case(
        id="a shorter earlier base",
        image=drawn("debian", "python", "app"),
        base=PYTHON,
        earlier=[SHORT],
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="earlier bases that it doesn't contain",
        image=drawn("debian", "python", "app"),
        base=PYTHON,
        earlier=[OLD, drawn("alpine"), drawn()],
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="the current base among the earlier ones",
        image=drawn("debian", "python", "app"),
        base=PYTHON,
        earlier=[PYTHON],
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="an earlier digest of the very same content",
        image=drawn("debian", "python", "app"),
        base=PYTHON,
        earlier=[drawn("debian", "python", built="again")],
        verdict=PROVEN,
        says="its first 2 layers",
    ),
]

HISTORY = [
    Case(
        id="metadata-only change, image of the old one",
        image=drawn("debian", "python", "app", history=[step("debian"), step("python"), ENV, step("app")]),
        base=RELABELED,
        verdict=UNKNOWN,
        says="begin with the base's, but history step 3 differs: built on other metadata, or its builder rewrites history",
    ),
    Case(
        id="metadata-only change, the old one known",
        image=drawn("debian", "python", "app"),
        base=RELABELED,
        earlier=[PYTHON],
        verdict=REFUTED,
        says=f"history step 3 shows that it is built on the earlier base {PYTHON.digest.short}",
    ),
    Case(
        id="metadata-only change, image of the new one",
        image=drawn("debian", "python", "app", history=[step("debian"), step("python"), LABEL, step("app")]),
        base=RELABELED,
        earlier=[PYTHON],
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="a setting was taken away, image of the old one",
        image=drawn("debian", "python", "app", history=[step("debian"), step("python"), LABEL, step("app")]),
        base=PYTHON,
        earlier=[RELABELED],
        verdict=REFUTED,
        says=f"it is built on the earlier base {RELABELED.digest.short}, which begins with the same layers",
    ),
    Case(
        id="the image has no history",
        image=drawn("debian", "python", "app", history=[]),
        base=PYTHON,
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="the base has no history",
        image=drawn("debian", "python", "app"),
        base=MUTE_PYTHON,
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="neither has a history",
        image=drawn("debian", "python", "app", history=[]),
        base=MUTE_PYTHON,
        earlier=[drawn("debian", "python", history=[], built="again")],
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="no history, and an earlier base with the same layers and less history",
        image=drawn("debian", "python", "app", history=[]),
        base=RELABELED,
        earlier=[OLD, PYTHON],
        verdict=UNKNOWN,
        says=f"the earlier base {PYTHON.digest.short} has the same ones, and without history in the image",
    ),
    Case(
        id="no history, and an earlier base with the same layers and more history",
        image=drawn("debian", "python", "app", history=[]),
        base=PYTHON,
        earlier=[RELABELED],
        verdict=UNKNOWN,
        says="the two can't be told apart",
    ),
    Case(
        id="no history, and a longer earlier base",
        image=drawn("debian", "python", "app", history=[]),
        base=SHORT,
        earlier=[PYTHON],
        verdict=REFUTED,
        says="which begins with the same layers",
    ),
    Case(
        id="no history, and an earlier base for another platform only",
        image=drawn("debian", "python", "app", history=[]),
        base=PYTHON,
        earlier=[single(one("debian", "python", history=[], platform=ARM64))],
        verdict=PROVEN,
        says="its first 2 layers",
    ),
]
