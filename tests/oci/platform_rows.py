"""The matrix of lineage, second part: several platforms, and what others claim. Rows only."""

from __future__ import annotations

from basetracker.oci.lineage import Claim, ClaimSource, Image
from basetracker.oci.manifest import BASE_DIGEST, BASE_NAME
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest

from .layer_rows import CLAIMED, OLD, PROVEN, PYTHON, REFUTED, RELABELED, UNKNOWN, Case
from .pictures import ARM64, drawn, multi, one, single, step

WINDOWS = Platform("windows", "amd64", "", "10.0.20348.2227")
OLDER_WINDOWS = Platform("windows", "amd64", "", "10.0.17763.1")


def annotated(base: Digest | str, *layers: str, name: str = "") -> Image:
    said = {BASE_DIGEST: str(base)} | ({BASE_NAME: name} if name else {})
    return single(one(*layers, annotations=said))


SAME_LAYERS = "layers for linux/amd64"
BOTH = multi(one("debian", "python"), one("debian-arm", "python-arm", platform=ARM64))
BUILT_ON_BOTH = (one("debian", "python", "app"), one("debian-arm", "python-arm", "app", platform=ARM64))
PLATFORMS = [
    Case(id="index on index", image=multi(*BUILT_ON_BOTH), base=BOTH, verdict=PROVEN, says="for linux/amd64 are"),
    Case(id="single on index", image=single(BUILT_ON_BOTH[1]), base=BOTH, verdict=PROVEN, says="for linux/arm64/v8"),
    Case(id="index on single", image=multi(BUILT_ON_BOTH[0]), base=PYTHON, verdict=PROVEN, says="for linux/amd64"),
    Case(
        id="a platform that the base doesn't have",
        image=multi(*BUILT_ON_BOTH),
        base=PYTHON,
        verdict=REFUTED,
        says="the base has no image for linux/arm64/v8; it is there for linux/amd64",
    ),
    Case(
        id="a base for other platforms",
        image=drawn("debian", "python", "app"),
        base=multi(one("debian", "python", platform=WINDOWS), one("debian", "python", platform=ARM64)),
        verdict=REFUTED,
        says="it is there for linux/arm64/v8, windows(10.0.20348.2227)/amd64",
    ),
    Case(
        id="a base for no platform",
        image=drawn("app"),
        base=Image(digest=Digest.of(b"empty"), platforms=()),
        verdict=REFUTED,
        says="it is there for none",
    ),
    Case(
        id="one platform of the image is the base's",
        image=multi(BUILT_ON_BOTH[0], BOTH.platforms[1]),
        base=BOTH,
        verdict=REFUTED,
        says="the image is the base itself",
    ),
    Case(
        id="the worst platform decides, refuted",
        image=multi(BUILT_ON_BOTH[0], one("debian-arm", "old-arm", "app", platform=ARM64)),
        base=BOTH,
        verdict=REFUTED,
        says="for linux/arm64/v8",
    ),
    Case(
        id="the worst platform decides, unknown",
        image=multi(one("squashed", platform=ARM64), BUILT_ON_BOTH[0]),
        base=BOTH,
        verdict=UNKNOWN,
        says="for linux/arm64/v8",
    ),
    Case(
        id="the layers of another platform prove nothing",
        image=single(one("debian", "python", "app", platform=ARM64)),
        base=BOTH,
        verdict=UNKNOWN,
        says="layer 1 of 2 for linux/arm64/v8",
    ),
    Case(
        id="a variant that isn't named",
        image=single(one("debian-arm", "python-arm", "app", platform=Platform("linux", "arm64"))),
        base=BOTH,
        verdict=PROVEN,
        says="for linux/arm64 are",
    ),
    Case(
        id="a base for an older variant",
        image=single(one("raspbian", "app", platform=Platform("linux", "arm", "v7"))),
        base=multi(
            one("armel", platform=Platform("linux", "arm", "v5")),
            one("raspbian", platform=Platform("linux", "arm", "v6")),
        ),
        verdict=PROVEN,
        says="for linux/arm/v7",
    ),
    Case(
        id="the nearer variant is the one that counts",
        image=single(one("raspbian", "app", platform=Platform("linux", "arm", "v7"))),
        base=multi(
            one("raspbian", platform=Platform("linux", "arm", "v6")),
            one("debian", platform=Platform("linux", "arm", "v7")),
        ),
        verdict=UNKNOWN,
        says="for linux/arm/v7",
    ),
    Case(
        id="a Windows build",
        image=single(one("server-2022", "app", platform=WINDOWS)),
        base=multi(one("server-2019", platform=OLDER_WINDOWS), one("server-2022", platform=WINDOWS)),
        verdict=PROVEN,
        says="windows(10.0.20348.2227)/amd64",
    ),
    Case(
        id="another Windows build",
        image=single(one("server-2022", "app", platform=WINDOWS)),
        base=single(one("server-2022", platform=OLDER_WINDOWS)),
        verdict=REFUTED,
        says="it is there for windows(10.0.17763.1)/amd64",
    ),
    Case(
        id="a Windows build that the index doesn't name",
        image=single(one("server-2022", "app", platform=Platform("windows", "amd64"))),
        base=single(one("server-2022", platform=WINDOWS)),
        verdict=PROVEN,
        says="windows/amd64",
    ),
    Case(
        id="an earlier base without this platform",
        image=multi(*BUILT_ON_BOTH),
        base=BOTH,
        earlier=[OLD, single(one("debian-arm", platform=ARM64))],
        verdict=PROVEN,
        says="for linux/amd64",
    ),
    Case(
        id="the base moved for one platform only",
        image=multi(BUILT_ON_BOTH[0], one("debian-arm", "old-arm", "app", platform=ARM64)),
        base=BOTH,
        earlier=[multi(BOTH.platforms[0], one("debian-arm", "old-arm", platform=ARM64))],
        verdict=REFUTED,
        says="for linux/arm64/v8",
    ),
]

ACR = Claim(source=ClaimSource.ACR, base=PYTHON.digest)
BUILD = Claim(source=ClaimSource.BUILD, base=PYTHON.digest)
CLAIMS = [
    Case(
        id="squashed, ACR says so",
        image=drawn("squashed"),
        base=PYTHON,
        claims=[ACR],
        verdict=CLAIMED,
        says="ACR's recorded dependency names this base, but the layers don't prove it: layer 1 of 2",
    ),
    Case(
        id="squashed, we built it",
        image=drawn("squashed"),
        base=PYTHON,
        claims=[Claim(source=ClaimSource.ACR, base=OLD.digest), BUILD],
        verdict=CLAIMED,
        says="our own build record names this base",
    ),
    Case(
        id="squashed, annotated",
        image=annotated(PYTHON.digest, "squashed"),
        base=PYTHON,
        verdict=CLAIMED,
        says="its annotation names this base",
    ),
    Case(
        id="rewritten history, annotated with the index",
        image=single(
            one("debian", "python", "app", history=[step("rewritten")], annotations={BASE_DIGEST: str(BOTH.digest)})
        ),
        base=BOTH,
        verdict=CLAIMED,
        says="the layers don't prove it: the layers for linux/amd64 begin with the base's",
    ),
    Case(
        id="annotated with the platform's manifest",
        image=annotated(BOTH.platforms[0].digest, "squashed"),
        base=BOTH,
        verdict=CLAIMED,
        says="its annotation names this base",
    ),
    Case(
        id="annotated with another platform's manifest",
        image=annotated(BOTH.platforms[1].digest, "squashed"),
        base=BOTH,
        verdict=UNKNOWN,
        says="its annotation names 'a base'",
    ),
    Case(
        id="a claim about another platform's manifest",
        image=drawn("squashed"),
        base=BOTH,
        claims=[Claim(source=ClaimSource.ACR, base=BOTH.platforms[1].digest)],
        verdict=UNKNOWN,
        says="squashed",
    ),
    Case(
        id="a claim about another base",
        image=drawn("squashed"),
        base=PYTHON,
        claims=[Claim(source=ClaimSource.ACR, base=OLD.digest)],
        verdict=UNKNOWN,
        says="squashed",
    ),
    Case(
        id="annotated with another base",
        image=annotated(OLD.digest, "squashed", name="docker.io/library/python:3.11"),
        base=PYTHON,
        verdict=UNKNOWN,
        says=f"its annotation names 'docker.io/library/python:3.11' at '{str(OLD.digest)[:19]}' as its base",
    ),
    Case(
        id="annotated with rubbish",
        image=annotated("\ud800\n" * 90, "squashed", name="\x1b[31m" * 100),
        base=PYTHON,
        verdict=UNKNOWN,
        says=r"its annotation names '\x1b[31m",
    ),
    Case(
        id="no history, and we built it",
        image=drawn("debian", "python", "app", history=[]),
        base=PYTHON,
        earlier=[RELABELED],
        claims=[BUILD],
        verdict=CLAIMED,
        says="our own build record names this base",
    ),
    Case(
        id="a base without layers, claimed",
        image=drawn("app"),
        base=drawn(),
        claims=[Claim(source=ClaimSource.BUILD, base=drawn().digest)],
        verdict=CLAIMED,
        says="the base has no layers",
    ),
    Case(
        id="a claim doesn't outweigh other layers",
        image=drawn("debian", "python-old", "app"),
        base=PYTHON,
        claims=[ACR, BUILD],
        verdict=REFUTED,
        says="layer 2 of 2",
    ),
    Case(
        id="a claim doesn't lower a proof",
        image=annotated(OLD.digest, "debian", "python", "app"),
        base=PYTHON,
        claims=[Claim(source=ClaimSource.ACR, base=OLD.digest)],
        verdict=PROVEN,
        says="its first 2 layers",
    ),
    Case(
        id="a claim doesn't make the base an image on itself",
        image=PYTHON,
        base=PYTHON,
        claims=[ACR, BUILD],
        verdict=REFUTED,
        says="the image is the base itself",
    ),
    Case(
        id="a claim doesn't make up for a missing platform",
        image=multi(*BUILT_ON_BOTH),
        base=PYTHON,
        claims=[ACR, BUILD],
        verdict=REFUTED,
        says="the base has no image for linux/arm64/v8",
    ),
    Case(
        id="a claim for all platforms, one of them proven",
        image=multi(BUILT_ON_BOTH[0], one("squashed", platform=ARM64)),
        base=BOTH,
        claims=[Claim(source=ClaimSource.ACR, base=BOTH.digest)],
        verdict=CLAIMED,
        says="for linux/arm64/v8",
    ),
]
