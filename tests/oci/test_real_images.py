"""Lineage of whole images: exact bytes as docker and buildkit make them, read by the parsers, then judged."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from basetracker.emulators import images, samples
from basetracker.emulators.images import EPOCH, Step, build_on, run, setting, squash
from basetracker.oci.lineage import Claim, ClaimSource, Image, PlatformImage, Verdict, judge
from basetracker.oci.manifest import (
    BASE_DIGEST,
    BASE_NAME,
    DOCKER_MANIFEST,
    Index,
    Manifest,
    parse_config,
    parse_manifest,
)
from basetracker.oci.refs import Digest

Built = images.Image | images.Index
APP = samples.application("checkout")
PROVEN, CLAIMED, UNKNOWN, REFUTED = Verdict.PROVEN, Verdict.CLAIMED, Verdict.UNKNOWN, Verdict.REFUTED


def _platform(built: images.Image) -> PlatformImage:
    manifest = parse_manifest(built.manifest, built.media_type)
    assert isinstance(manifest, Manifest)
    assert str(manifest.config.digest) == images.digest_of(built.config)
    assert [str(layer.digest) for layer in manifest.layers] == [layer.digest for layer in built.layers]
    config = parse_config(built.config)
    said = {**config.labels, **manifest.annotations}
    return PlatformImage(
        digest=Digest(built.digest),
        platform=config.platform,
        diff_ids=config.diff_ids,
        history=config.history,
        annotations={name: said[name] for name in (BASE_DIGEST, BASE_NAME) if name in said},
    )


def read(built: Built) -> Image:
    """The image that the bytes tell of; what an index lists beside its images is left out."""
    if isinstance(built, images.Image):
        return Image(digest=Digest(built.digest), platforms=(_platform(built),))
    found = parse_manifest(built.manifest, built.media_type)
    assert isinstance(found, Index)
    children = {child.digest: child for child in built.children}
    return Image(
        digest=Digest(built.digest), platforms=tuple(_platform(children[str(item.digest)]) for item in found.images)
    )


def on_index(base: images.Index, *steps: Step, docker: bool = False) -> images.Index:
    """The index that a build for both platforms makes on this base."""
    pairs = ((base.image(name), name) for name in samples.BOTH)
    return images.index([build_on(child, *steps) for child, _ in pairs if child is not None], docker=docker)


def compressed_again(built: images.Image) -> images.Image:
    """The same layers in other bytes, as a copying or converting tool leaves them."""
    layers = [
        images.Layer(gzip.compress(gzip.decompress(layer.blob), compresslevel=1, mtime=7), layer.diff_id)
        for layer in built.layers
    ]
    return images.assemble(built.config, layers, docker=built.media_type == DOCKER_MANIFEST)


def reconfigured(built: images.Image, change: Callable[[images.Json], None]) -> images.Image:
    config = built.configuration
    change(config)
    return images.assemble(config, built.layers, docker=built.media_type == DOCKER_MANIFEST)


def without_history(built: images.Image) -> images.Image:
    return reconfigured(built, lambda config: config.pop("history"))


def in_go_spelling(built: images.Image) -> images.Image:
    """The same history with its times as another builder spells them."""

    def change(config: images.Json) -> None:
        for entry in config["history"]:
            entry["created"] = entry["created"].replace("Z", ".000000000+00:00")

    return reconfigured(built, change)


DEBIAN = samples.debian()
PYTHON = samples.python()
PATCHED = samples.python("3.12.12")
PATCHED_DEBIAN = samples.python(on=samples.debian("12.12"))
DOCKER_PYTHON = samples.python(docker=True)
INDEX = samples.python_index()
MOVED_INDEX = samples.python_index("3.12.12")
RELABELED = build_on(PYTHON, images.label("org.opencontainers.image.revision", "2"))
LONGER = build_on(PYTHON, run("apt-get upgrade -y", {"/usr/lib/new": "new"}))
ON_PYTHON = build_on(PYTHON, *APP)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One row."""

    id: str
    image: Built
    base: Built
    verdict: Verdict
    earlier: tuple[Built, ...] = ()
    claims: tuple[Claim, ...] = ()


CASES = [
    Case(id="FROM the base", image=ON_PYTHON, base=PYTHON, verdict=PROVEN),
    Case(id="FROM the base, Docker's types", image=build_on(DOCKER_PYTHON, *APP), base=DOCKER_PYTHON, verdict=PROVEN),
    Case(id="OCI image on a Docker base", image=ON_PYTHON, base=DOCKER_PYTHON, verdict=PROVEN),
    Case(id="Docker image on an OCI base", image=build_on(DOCKER_PYTHON, *APP), base=PYTHON, verdict=PROVEN),
    Case(id="settings only", image=build_on(PYTHON, setting("A", "1")), base=PYTHON, verdict=PROVEN),
    Case(id="the grandparent", image=ON_PYTHON, base=DEBIAN, verdict=PROVEN),
    Case(id="the grandparent's tag moved past it", image=ON_PYTHON, base=samples.debian("12.12"), verdict=UNKNOWN),
    Case(id="compressed again", image=compressed_again(ON_PYTHON), base=PYTHON, verdict=PROVEN),
    Case(id="the base compressed again", image=ON_PYTHON, base=compressed_again(PYTHON), verdict=PROVEN),
    Case(id="history spelled anew", image=ON_PYTHON, base=in_go_spelling(PYTHON), verdict=PROVEN),
    Case(id="the base itself", image=PYTHON, base=PYTHON, verdict=REFUTED),
    Case(id="one image of the base index", image=INDEX.children[0], base=INDEX, verdict=REFUTED),
    Case(id="the base moved", image=ON_PYTHON, base=PATCHED, verdict=REFUTED),
    Case(id="the base moved, the old one known", image=ON_PYTHON, base=PATCHED, earlier=(PYTHON,), verdict=REFUTED),
    Case(id="the base's own base moved", image=ON_PYTHON, base=PATCHED_DEBIAN, verdict=UNKNOWN),
    Case(
        id="the base's own base moved, the old one known",
        image=ON_PYTHON,
        base=PATCHED_DEBIAN,
        earlier=(PYTHON,),
        verdict=REFUTED,
    ),
    Case(id="built on the new one", image=build_on(PATCHED, *APP), base=PATCHED, earlier=(PYTHON,), verdict=PROVEN),
    Case(id="only a label of the base moved", image=ON_PYTHON, base=RELABELED, verdict=UNKNOWN),
    Case(
        id="only a label moved, the old one known", image=ON_PYTHON, base=RELABELED, earlier=(PYTHON,), verdict=REFUTED
    ),
    Case(
        id="built on the new label", image=build_on(RELABELED, *APP), base=RELABELED, earlier=(PYTHON,), verdict=PROVEN
    ),
    Case(
        id="only a label moved, history absent",
        image=without_history(ON_PYTHON),
        base=RELABELED,
        earlier=(PYTHON,),
        verdict=UNKNOWN,
    ),
    Case(id="history absent", image=without_history(ON_PYTHON), base=PYTHON, verdict=PROVEN),
    Case(id="history absent in the base", image=ON_PYTHON, base=without_history(PYTHON), verdict=PROVEN),
    Case(id="the base lost a layer", image=build_on(LONGER, *APP), base=PYTHON, earlier=(LONGER,), verdict=REFUTED),
    Case(id="the base lost a layer, the old one not known", image=build_on(LONGER, *APP), base=PYTHON, verdict=PROVEN),
    Case(id="the base won a layer", image=ON_PYTHON, base=LONGER, earlier=(PYTHON,), verdict=REFUTED),
    Case(id="the base built again, byte for byte", image=ON_PYTHON, base=samples.python(), verdict=PROVEN),
    Case(id="squashed", image=squash(ON_PYTHON), base=PYTHON, verdict=UNKNOWN),
    Case(
        id="squashed, and our build says so",
        image=squash(ON_PYTHON),
        base=PYTHON,
        claims=(Claim(source=ClaimSource.BUILD, base=Digest(PYTHON.digest)),),
        verdict=CLAIMED,
    ),
    Case(
        id="squashed and annotated",
        image=images.annotate(squash(ON_PYTHON), {BASE_DIGEST: PYTHON.digest, BASE_NAME: "base/python:3.12"}),
        base=PYTHON,
        verdict=CLAIMED,
    ),
    Case(
        id="annotated with this base but built on the old one",
        image=images.annotate(ON_PYTHON, {BASE_DIGEST: PATCHED.digest}),
        base=PATCHED,
        verdict=REFUTED,
    ),
    Case(id="both platforms", image=on_index(INDEX, *APP), base=INDEX, verdict=PROVEN),
    Case(id="a manifest list on an index", image=on_index(INDEX, *APP, docker=True), base=INDEX, verdict=PROVEN),
    Case(
        id="both platforms, Docker's types",
        image=on_index(samples.python_index(docker=True), *APP, docker=True),
        base=samples.python_index(docker=True),
        verdict=PROVEN,
    ),
    Case(id="both platforms, moved", image=on_index(INDEX, *APP), base=MOVED_INDEX, verdict=REFUTED),
    Case(id="single on index", image=ON_PYTHON, base=INDEX, verdict=PROVEN),
    Case(id="index on single", image=images.index([ON_PYTHON]), base=PYTHON, verdict=PROVEN),
    Case(id="index with a platform more", image=on_index(INDEX, *APP), base=PYTHON, verdict=REFUTED),
    Case(
        id="one platform left behind",
        image=images.index([on_index(MOVED_INDEX, *APP).children[0], on_index(INDEX, *APP).children[1]]),
        base=MOVED_INDEX,
        verdict=REFUTED,
    ),
    Case(
        id="a named variant",
        image=build_on(samples.python(platform="linux/arm64/v8"), *APP),
        base=samples.python(platform="linux/arm64"),
        verdict=PROVEN,
    ),
    Case(id="FROM scratch", image=build_on(images.scratch(), *APP), base=images.scratch(), verdict=UNKNOWN),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_verdict(case: Case) -> None:
    earlier = [read(item) for item in case.earlier]
    found = judge(read(case.image), read(case.base), earlier=earlier, claims=case.claims)
    assert found.verdict is case.verdict, found.message
    assert found.message


def test_attestations_are_left_out() -> None:
    built = on_index(INDEX, *APP)
    found = parse_manifest(built.manifest, built.media_type)
    assert isinstance(found, Index)
    assert [item.is_attestation for item in found.entries] == [False, False, True, True]
    assert [str(item.platform) for item in read(built).platforms] == list(samples.BOTH)


def test_the_same_layers_built_later_are_another_history() -> None:
    later = build_on(
        DEBIAN, *(Step(line=f"RUN {n}", files={f"/{n}": "x"}) for n in "ab"), created=EPOCH + timedelta(days=1)
    )
    sooner = build_on(DEBIAN, *(Step(line=f"RUN {n}", files={f"/{n}": "x"}) for n in "ab"))
    assert read(later).platforms[0].diff_ids == read(sooner).platforms[0].diff_ids
    assert judge(read(build_on(sooner, *APP)), read(later)).verdict is UNKNOWN
    assert judge(read(build_on(sooner, *APP)), read(later), earlier=[read(sooner)]).verdict is REFUTED
    assert judge(read(build_on(later, *APP)), read(later), earlier=[read(sooner)]).verdict is PROVEN


def test_what_the_emulators_write_is_strict_json() -> None:
    for built in (ON_PYTHON, INDEX, DOCKER_PYTHON):
        assert parse_manifest(json.dumps(json.loads(built.manifest)).encode()) == parse_manifest(built.manifest)
