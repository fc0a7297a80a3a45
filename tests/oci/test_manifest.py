"""Manifests, indexes and configurations: what is read from the bytes, and that anything else is refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basetracker.errors import InvalidError
from basetracker.oci import manifest as oci
from basetracker.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    PARTS_LIMIT,
    Config,
    Descriptor,
    HistoryEntry,
    Index,
    Manifest,
    parse_config,
    parse_manifest,
)
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest

ONE, TWO, THREE = (Digest.of(text) for text in (b"one", b"two", b"three"))
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": str(ONE), "size": 7}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": str(TWO), "size": 9}
AMD64 = {"os": "linux", "architecture": "amd64"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}
ATTESTED = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": str(ONE)}


def raw(**document: Any) -> bytes:
    return json.dumps(document).encode()


def image(**more: Any) -> bytes:
    return raw(**{"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]} | more)


def entry(digest: Digest = ONE, **more: Any) -> dict[str, Any]:
    return {"mediaType": OCI_MANIFEST, "digest": str(digest), "size": 5} | more


def index(*entries: Any, **more: Any) -> bytes:
    return raw(**{"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)} | more)


def config(**more: Any) -> bytes:
    return raw(**{"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [str(ONE)]}} | more)


def read_index(content: bytes) -> Index:
    found = parse_manifest(content)
    assert isinstance(found, Index)
    return found


def test_every_kind_of_manifest_is_asked_for() -> None:
    assert set(oci.MANIFEST_TYPES) == {OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST}


@pytest.mark.parametrize("kind", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_manifest(kind: str) -> None:
    wanted = Manifest(
        config=Descriptor(digest=ONE, media_type=str(CONFIG["mediaType"]), size=7),
        layers=(Descriptor(digest=TWO, media_type=str(LAYER["mediaType"]), size=9),),
        annotations={"a": "b"},
    )
    assert parse_manifest(image(mediaType=kind, annotations={"a": "b"})) == wanted


@pytest.mark.parametrize("kind", [OCI_INDEX, DOCKER_LIST])
def test_an_index(kind: str) -> None:
    windows = {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1"}
    found = read_index(index(entry(platform=AMD64 | {"variant": "v2"}), entry(TWO, platform=windows), mediaType=kind))
    assert found.images == found.entries
    assert [item.platform for item in found.entries] == [
        Platform("linux", "amd64", "v2"),
        Platform("windows", "amd64", "", "10.0.20348.1"),
    ]
    assert [item.digest for item in found.images] == [ONE, TWO]


def bare(content: bytes) -> bytes:
    document = json.loads(content)
    del document["mediaType"]
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("content", "told", "wanted"),
    [
        (bare(image()), "", Manifest),
        (bare(index(entry())), "", Index),
        (bare(image()), OCI_MANIFEST, Manifest),
        (bare(index(entry())), f"{DOCKER_LIST}; charset=utf-8", Index),
        (image(), OCI_INDEX, Manifest),
        (index(entry()), "text/plain", Index),
    ],
    ids=["bare image", "bare index", "told image", "told index", "the document goes first", "its type goes first"],
)
def test_whose_word_says_what_it_is(content: bytes, told: str, wanted: type) -> None:
    assert isinstance(parse_manifest(content, told), wanted)


@pytest.mark.parametrize(
    ("more", "is_attestation", "is_image"),
    [
        ({"platform": AMD64}, False, True),
        ({}, False, True),
        ({"mediaType": DOCKER_MANIFEST}, False, True),
        ({"platform": {"architecture": "amd64"}}, False, True),
        ({"platform": UNKNOWN}, True, False),
        ({"platform": {"os": "linux", "architecture": "unknown"}}, True, False),
        ({"platform": UNKNOWN, "annotations": ATTESTED}, True, False),
        ({"annotations": ATTESTED}, True, False),
        ({"platform": AMD64, "annotations": ATTESTED}, False, True),
        ({"platform": AMD64, "mediaType": "application/vnd.example+json"}, False, False),
        ({"platform": AMD64, "mediaType": ""}, False, False),
    ],
)
def test_which_entries_are_images(more: dict[str, Any], is_attestation: bool, is_image: bool) -> None:
    (item,) = read_index(index(entry(**more))).entries
    assert item.is_attestation is is_attestation
    assert read_index(index(entry(**more))).images == ((item,) if is_image else ())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not complete JSON; push the image again"),
        (image()[:-20], "is not complete JSON; push the image again"),
        (b"\xff\xfe\xff", "is not complete JSON; push the image again"),
        (b"[" * 100_000, "is not complete JSON; push the image again"),
        (b"[]", "is not a JSON object; push the image again"),
        (b"null", "is not a JSON object; push the image again"),
        (raw(schemaVersion=1, fsLayers=[]), "old schema 1; build and push the image again"),
        (raw(schemaVersion=2), "has the media type '', which is not that of an image; name a tag of an image"),
        (image(mediaType="application/vnd.cncf.helm.config.v1+json"), "which is not that of an image"),
        (image(mediaType=["odd"]), "which is not that of an image"),
        (image(layers=None), "the manifest has no list 'layers'; push the image again"),
        (image(config=None), "the manifest has an entry without a digest; push the image again"),
        (image(config={}), "the manifest has 'None' for a digest; push the image again"),
        (image(layers=[{"digest": "sha256:short"}]), "the manifest has 'sha256:short' for a digest; push"),
        (image(layers=["sha256"]), "the manifest has an entry without a digest"),
        (index(entry(), manifests={}), "the index has no list 'manifests'; push the image again"),
        (index({"digest": 7}), "the index has '7' for a digest; push the image again"),
        (index(entry(), config=CONFIG), "an index and an image at once"),
        (image(manifests=[entry()]), "an index and an image at once"),
        (index(entry(), entry(TWO, mediaType=OCI_INDEX)), f"the index holds another index, {TWO.short}; push an index"),
        (index(entry(mediaType=DOCKER_LIST)), f"the index holds another index, {ONE.short}; push an index"),
    ],
)
def test_what_is_no_manifest(content: bytes, says: str) -> None:
    with pytest.raises(InvalidError) as refusal:
        parse_manifest(content)
    assert says in str(refusal.value)


@pytest.mark.parametrize(("size", "wanted"), [(5, 5), (0, 0), (-1, 0), ("5", 0), (None, 0), (5.5, 0)])
def test_the_size_of_a_descriptor(size: Any, wanted: int) -> None:
    found = parse_manifest(image(config=CONFIG | {"size": size}))
    assert isinstance(found, Manifest)
    assert found.config.size == wanted


def test_unknown_fields_and_odd_annotations_are_passed_over() -> None:
    found = parse_manifest(image(subject=entry(), artifactType="x", annotations=["odd"], news=1))
    assert isinstance(found, Manifest)
    assert found.annotations == {}


def test_a_configuration() -> None:
    content = config(
        variant="v8",
        history=[
            {"created": "2026-01-15T00:00:00Z", "created_by": "ADD", "comment": "c"},
            {"created_by": "ENV", "empty_layer": True, "author": "somebody"},
        ],
        config={"Labels": {"a": "b"}},
    ).replace(b"amd64", b"arm64")
    assert parse_config(content) == Config(
        platform=Platform("linux", "arm64", "v8"),
        diff_ids=(str(ONE),),
        history=(
            HistoryEntry(created="2026-01-15T00:00:00Z", created_by="ADD", comment="c"),
            HistoryEntry(created_by="ENV", empty_layer=True),
        ),
        labels={"a": "b"},
    )


@pytest.mark.parametrize("nothing", [{}, {"history": None}, {"history": []}, {"config": None}, {"config": {}}])
def test_a_configuration_may_lack_history_and_labels(nothing: dict[str, Any]) -> None:
    found = parse_config(config(**nothing))
    assert (found.history, found.labels) == ((), {})


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"config": {"User": "1000:0"}}, "1000:0"),
        ({"config": {"User": ""}}, ""),
        ({"config": {}}, ""),
        ({"config": None}, ""),
        ({}, ""),
        ({"config": {"User": 1000}}, ""),
        ({"config": {"User": "1000", "user": "root"}}, ""),
        ({"config": {"user": "1000"}}, ""),
        ({"config": {"User": "1000", "U\u017fer": "root"}}, ""),
        ({"config": {"User": "1000"}, "Config": {"User": "root"}}, ""),
    ],
)
def test_a_user_that_runtimes_may_read_otherwise_is_root(fields: dict[str, Any], user: str) -> None:
    assert parse_config(config(**fields)).user == user


@pytest.mark.parametrize(
    "twice",
    [
        config(config={"User": "1000"}).replace(b'"User": "1000"', b'"User": "1000", "User": "root"'),
        config(config={"User": "1000"}).replace(b'"rootfs"', b'"config": {"User": "root"}, "rootfs"'),
        config(config={"User": "1000"}).replace(b'"User": "1000"', b'"User": "1000", "U\\u0073er": "root"'),
    ],
)
def test_a_field_that_is_named_twice_is_read_by_nobody(twice: bytes) -> None:
    with pytest.raises(InvalidError, match="the image configuration names a field twice"):
        parse_config(twice)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "the image configuration is not complete JSON; push the image again"),
        (b"7", "the image configuration is not a JSON object"),
        (b"{}", "has no rootfs; it is an artifact, not an image"),
        (config(rootfs=[]), "has no rootfs; it is an artifact, not an image"),
        (config(rootfs={}), "the image configuration has no list 'diff_ids'; push the image again"),
        (config(rootfs={"diff_ids": ["one"]}), "the image configuration has 'one' for a digest; push the image again"),
        (config(rootfs={"diff_ids": [None]}), "the image configuration has 'None' for a digest"),
        (config(history=5), "the image configuration has no list 'history'; push the image again"),
        (config(history={"a": 1}), "the image configuration has no list 'history'"),
        (config(history=[None]), "has a history entry that is no object; push the image again"),
    ],
)
def test_what_is_no_configuration(content: bytes, says: str) -> None:
    with pytest.raises(InvalidError) as refusal:
        parse_config(content)
    assert says in str(refusal.value)


@pytest.mark.parametrize("value", [[], {}, 0, {"a": [0]}], ids=str)
def test_a_document_of_very_many_values_is_refused_before_they_fill_the_memory(value: Any) -> None:
    with pytest.raises(InvalidError, match=f"the manifest has more than {PARTS_LIMIT} values; push the image again"):
        parse_manifest(image(x=[value] * PARTS_LIMIT))
    with pytest.raises(InvalidError, match=f"the image configuration has more than {PARTS_LIMIT} values"):
        parse_config(config(x=[value] * PARTS_LIMIT))


def test_a_document_of_many_values_or_long_ones_is_read() -> None:
    found = parse_config(config(history=[{"created_by": "x"}] * 10_000, config={"Labels": {"sbom": "y" * 4_000_000}}))
    assert len(found.history) == 10_000
    assert len(found.labels["sbom"]) == 4_000_000


def test_odd_settings_are_passed_over() -> None:
    assert parse_config(config(config=["Labels"])).labels == {}
    assert parse_config(config(config={"Labels": ["a"]})).labels == {}


def created(text: Any) -> str:
    return parse_config(config(history=[{"created": text}])).history[0].created


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("2026-01-15T00:00:00.120000000Z", "2026-01-15T00:00:00.12Z"),
        ("2026-01-15T00:00:00.000000000Z", "2026-01-15T00:00:00Z"),
        ("2026-01-15T00:00:00+00:00", "2026-01-15T00:00:00Z"),
        ("2026-01-15T09:00:00.5+09:00", "2026-01-15T00:00:00.5Z"),
        ("2026-01-14T23:30:00-00:30", "2026-01-15T00:00:00Z"),
        ("0001-01-01T00:00:00Z", ""),
    ],
)
def test_times_of_a_history_are_instants(text: str, spelling: str) -> None:
    assert created(text) == created(spelling) == spelling


@pytest.mark.parametrize("text", ["yesterday", "2026-13-40T00:00:00Z", "9999-12-31T23:59:59-14:00", "2026-01-15"])
def test_a_time_that_is_none_stays_as_it_is(text: str) -> None:
    assert created(text) == text


def test_different_instants_stay_different() -> None:
    assert created("2026-01-15T00:00:00.1Z") != created("2026-01-15T00:00:00.01Z")
    assert created(None) == ""


_WORDS = st.sampled_from(
    [
        "schemaVersion",
        "mediaType",
        "manifests",
        "config",
        "layers",
        "digest",
        "platform",
        "annotations",
        "size",
        "os",
        "rootfs",
        "diff_ids",
        "history",
        "Labels",
        "created",
        "architecture",
        "variant",
        "os.version",
        "empty_layer",
    ]
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, str(ONE), "0001-01-01T00:00:00+14:00"]),
)
_DOCUMENTS = st.recursive(
    _LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(_WORDS, below, max_size=4), max_leaves=12
)
_OBJECTS = st.dictionaries(_WORDS, _DOCUMENTS, max_size=6).map(lambda document: json.dumps(document).encode())


@given(st.one_of(_OBJECTS, st.binary(max_size=40)), st.sampled_from(["", OCI_INDEX, OCI_MANIFEST, "text/plain"]))
def test_any_bytes_are_read_or_refused(content: bytes, told: str) -> None:
    for parse in (lambda: parse_manifest(content, told), lambda: parse_config(content)):
        try:
            parse()
        except InvalidError as refusal:
            said = str(refusal)
            if not any(
                mend in said for mend in ("push the image again", "not an image", "name a tag", "push an index")
            ):
                pytest.fail(f"{said!r} doesn't say how to mend it")


@given(
    st.lists(st.binary(max_size=3).map(lambda text: str(Digest.of(text))), max_size=5),
    st.lists(st.fixed_dictionaries({"created_by": st.text(max_size=5), "empty_layer": st.booleans()}), max_size=5),
)
def test_a_configuration_keeps_order_and_number(diff_ids: list[str], history: list[dict[str, Any]]) -> None:
    found = parse_config(config(rootfs={"diff_ids": diff_ids}, history=history))
    assert list(found.diff_ids) == diff_ids
    assert [(step.created_by, step.empty_layer) for step in found.history] == [
        (step["created_by"], step["empty_layer"]) for step in history
    ]
