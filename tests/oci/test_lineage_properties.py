"""What holds for every image and base: built on it is Proven, and nothing less than the whole base ever is."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from basetracker.oci.lineage import Claim, ClaimSource, Image, PlatformImage, Verdict, judge
from basetracker.oci.manifest import BASE_DIGEST, HistoryEntry
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest

from .pictures import AMD64, ARM64, diff_id, multi, one, single, step

PLATFORMS = (AMD64, ARM64, Platform("linux", "s390x"), Platform("windows", "amd64", "", "10.0.20348.1"))
_LAYERS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5)
_MORE = st.lists(st.sampled_from("uvwxyz"), max_size=4)
_STEPS = st.lists(st.sampled_from("ABCDEF").map(lambda name: step(name, empty=True)), max_size=3)


@st.composite
def bases(draw: st.DrawFn) -> Image:
    """A base for one or more platforms; some have no history."""
    chosen = draw(st.lists(st.sampled_from(PLATFORMS), min_size=1, max_size=4, unique=True))
    pictures = []
    for platform in chosen:
        layers, settings = draw(_LAYERS), draw(_STEPS)
        history = [] if draw(st.integers(0, 5)) == 0 else [*(step(name) for name in layers), *settings]
        pictures.append(one(*layers, platform=platform, history=history))
    return multi(*pictures)


def extended(base: PlatformImage, layers: list[str], settings: list[HistoryEntry]) -> PlatformImage:
    """What a builder makes on this base; it keeps the base's history in front where there is one."""
    history = (*base.history, *settings, *(step(name) for name in layers)) if base.history else ()
    drawn = repr((base.digest, layers, history))
    return PlatformImage(
        digest=Digest.of(drawn.encode()),
        platform=base.platform,
        diff_ids=(*base.diff_ids, *(diff_id(name) for name in layers)),
        history=history,
    )


@st.composite
def builds(draw: st.DrawFn) -> tuple[Image, Image]:
    """A base, and an image built on it for some of its platforms."""
    base = draw(bases())
    count = draw(st.integers(1, len(base.platforms)))
    return base, multi(*(extended(item, draw(_MORE), draw(_STEPS)) for item in base.platforms[:count]))


def changed(base: Image, place: int, picture: PlatformImage) -> Image:
    """The base with this platform's image put in the place of another one."""
    return multi(*base.platforms[:place], picture, *base.platforms[place + 1 :])


@given(builds())
def test_what_is_built_on_a_base_is_proven(pair: tuple[Image, Image]) -> None:
    base, image = pair
    assert judge(image, base).verdict is Verdict.PROVEN


@given(builds(), st.data())
def test_a_base_with_one_other_layer_is_never_proven(pair: tuple[Image, Image], data: st.DataObject) -> None:
    base, image = pair
    place = data.draw(st.integers(0, len(image.platforms) - 1))
    target = base.platforms[place]
    at = data.draw(st.integers(0, len(target.diff_ids) - 1))
    layers = (*target.diff_ids[:at], diff_id("new"), *target.diff_ids[at + 1 :])
    moved = changed(base, place, replace(target, diff_ids=layers, digest=Digest.of(b"moved")))
    found = judge(image, moved)
    assert found.verdict in {Verdict.REFUTED, Verdict.UNKNOWN}
    assert judge(image, moved, earlier=[base]).verdict is Verdict.REFUTED


@given(builds(), st.data())
def test_a_base_with_one_more_layer_is_never_proven(pair: tuple[Image, Image], data: st.DataObject) -> None:
    base, image = pair
    place = data.draw(st.integers(0, len(image.platforms) - 1))
    target = base.platforms[place]
    longer = replace(target, diff_ids=(*target.diff_ids, diff_id("new")), digest=Digest.of(b"moved"))
    assert judge(image, changed(base, place, longer)).verdict is Verdict.REFUTED


@given(builds(), st.data())
def test_a_base_with_other_history_is_never_proven(pair: tuple[Image, Image], data: st.DataObject) -> None:
    base, image = pair
    place = data.draw(st.integers(0, len(image.platforms) - 1))
    target = base.platforms[place]
    assume(target.history)
    at = data.draw(st.integers(0, len(target.history) - 1))
    old = target.history[at]
    other = data.draw(
        st.sampled_from(
            [
                replace(old, created="new"),
                replace(old, created_by="new"),
                replace(old, comment="new"),
                replace(old, empty_layer=not old.empty_layer),
            ]
        )
    )
    history = (*target.history[:at], other, *target.history[at + 1 :])
    moved = changed(base, place, replace(target, history=history, digest=Digest.of(b"moved")))
    assert judge(image, moved).verdict is Verdict.UNKNOWN
    assert judge(image, moved, earlier=[base]).verdict is Verdict.REFUTED


@given(builds(), st.data())
def test_without_history_an_earlier_base_of_the_same_layers_leaves_it_open(
    pair: tuple[Image, Image], data: st.DataObject
) -> None:
    base, image = pair
    place = data.draw(st.integers(0, len(image.platforms) - 1))
    mute = replace(image.platforms[place], history=())
    target = base.platforms[place]
    earlier = changed(base, place, replace(target, history=(step("other"),), digest=Digest.of(b"earlier")))
    assert judge(single(mute), base, earlier=[earlier]).verdict is Verdict.UNKNOWN


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Image, Image, list[Image], list[Claim]]:
    """Any image, base, earlier bases and claims, from so few layers that they often overlap."""
    names = st.lists(st.sampled_from("ab"), max_size=3)
    histories = st.lists(st.sampled_from([step("a"), step("b"), step("S", empty=True)]), max_size=3)
    digests = st.sampled_from([Digest.of(name.encode()) for name in "xyz"])

    def picture() -> PlatformImage:
        said = {BASE_DIGEST: str(draw(digests))} if draw(st.booleans()) else {}
        platform = draw(st.sampled_from(PLATFORMS[:2]))
        return one(*draw(names), platform=platform, history=draw(histories), annotations=said)

    def image() -> Image:
        pictures = [picture() for _ in range(draw(st.integers(0, 2)))]
        return replace(multi(*pictures), digest=draw(digests)) if draw(st.booleans()) else multi(*pictures)

    base = image()
    sources = st.builds(Claim, source=st.sampled_from(ClaimSource), base=st.sampled_from([base.digest]) | digests)
    return image(), base, [image() for _ in range(draw(st.integers(0, 2)))], draw(st.lists(sources, max_size=2))


@given(worlds())
def test_proven_means_that_every_platform_begins_with_the_whole_base(
    world: tuple[Image, Image, list[Image], list[Claim]],
) -> None:
    image, base, earlier, claims = world
    found = judge(image, base, earlier=earlier, claims=claims)
    if found.verdict is not Verdict.PROVEN:
        return
    assert image.platforms
    assert image.digest != base.digest
    for item in image.platforms:
        offered = [target for target in base.platforms if target.platform.matches(item.platform)]
        assert any(
            target.diff_ids
            and item.diff_ids[: len(target.diff_ids)] == target.diff_ids
            and (not item.history or not target.history or item.history[: len(target.history)] == target.history)
            for target in offered
        )


@given(worlds())
def test_claims_and_earlier_bases_only_move_a_verdict_one_way(
    world: tuple[Image, Image, list[Image], list[Claim]],
) -> None:
    image, base, earlier, claims = world
    plain = judge(_silent(image), base, earlier=earlier)
    claimed = judge(image, base, earlier=earlier, claims=claims)
    for before, after in zip(plain.evidence, claimed.evidence, strict=True):
        if before.verdict is not Verdict.UNKNOWN:
            assert after.verdict is before.verdict
        else:
            assert after.verdict in {Verdict.UNKNOWN, Verdict.CLAIMED}
    knowing_less = judge(image, base)
    for more, less in zip(judge(image, base, earlier=earlier).evidence, knowing_less.evidence, strict=True):
        assert more.verdict is not Verdict.PROVEN or less.verdict is Verdict.PROVEN


def _silent(image: Image) -> Image:
    return replace(image, platforms=tuple(replace(item, annotations={}) for item in image.platforms))


@given(worlds())
def test_the_worst_platform_decides(world: tuple[Image, Image, list[Image], list[Claim]]) -> None:
    image, base, earlier, claims = world
    found = judge(image, base, earlier=earlier, claims=claims)
    assert len(found.evidence) == len(image.platforms)
    assert found.message
    if found.evidence:
        assert found.verdict.rank == min(item.verdict.rank for item in found.evidence)
        assert found.message in {item.message for item in found.evidence if item.verdict is found.verdict}
