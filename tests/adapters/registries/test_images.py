"""What is an image, and what isn't."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from basetracker.adapters.registries.content import ImageReader
from basetracker.emulators import images, samples
from basetracker.emulators.images import OCI_INDEX, OCI_MANIFEST, Image, Index, assemble, descriptor, encode
from basetracker.errors import InvalidError
from basetracker.oci.manifest import BASE_DIGEST, BASE_NAME
from basetracker.oci.refs import Digest, parse_image

from .conftest import World

HOST = "open.example.com"
REF = f"{HOST}/base/python:1"


@pytest.fixture
def opened(world: World) -> World:
    """The world with a registry that anybody may read."""
    world.cloud.add_open_registry(HOST)
    return world


def manifest(document: dict[str, Any], kind: str = OCI_MANIFEST, config: bytes = b"{}") -> Image:
    """A manifest of these very words."""
    return Image(encode(document), kind, config, ())


async def refused(world: World, content: Image | Index, match: str) -> None:
    pushed = world.push(REF, content)
    reader = world.reader(azure=False)
    assert await reader.digest(pushed.tagged, None) == pushed.digest  # a tag is followed whatever it points to
    for _ in range(2):
        with pytest.raises(InvalidError, match=match):
            await reader.image(pushed, None)


async def test_a_schema_1_manifest_is_no_image(opened: World) -> None:
    document = {"schemaVersion": 1, "name": "base/python", "tag": "1", "fsLayers": [], "history": []}
    await refused(opened, manifest(document, "application/vnd.docker.distribution.manifest.v1+prettyjws"), "schema 1")


async def test_a_helm_chart_is_no_image(opened: World) -> None:
    config = encode({"name": "chart", "version": "1.0.0", "apiVersion": "v2"})
    kind = "application/vnd.cncf.helm.config.v1+json"
    document = {"schemaVersion": 2, "config": descriptor(config, kind), "layers": []}
    await refused(opened, manifest(document, config=config), "is an artifact, not an image")


async def test_an_artifact_with_an_empty_configuration_is_no_image(opened: World) -> None:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example",
        "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [],
    }
    await refused(opened, manifest(document), "is an artifact, not an image")


async def test_an_index_without_images_is_no_image(opened: World) -> None:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    await refused(opened, Index(encode(document), OCI_INDEX, ()), "an index without any image")


async def test_a_configuration_that_names_other_layers_than_the_manifest_proves_nothing(opened: World) -> None:
    base = samples.python()
    foreign = images.make_layer({"/evil": "x"})
    await refused(opened, assemble(base.config, (foreign,)), "has 1 layers, but its configuration names")


async def test_a_configuration_announced_as_huge_is_not_fetched(opened: World) -> None:
    base = samples.python()
    document = json.loads(base.manifest)
    document["config"]["size"] = 9 << 20
    pushed = opened.push(REF, Image(encode(document), base.media_type, base.config, base.layers))
    with pytest.raises(InvalidError, match="more than 8 MiB"):
        await opened.reader().image(pushed, None)
    assert not opened.asked("/blobs/")


async def test_too_many_platforms_are_refused_before_they_are_fetched(opened: World) -> None:
    one = samples.python()
    entry = descriptor(one.manifest, one.media_type) | {"platform": {"os": "linux", "architecture": "amd64"}}
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] * 65}
    pushed = opened.push(REF, Index(encode(document), OCI_INDEX, (one,)))
    with pytest.raises(InvalidError, match="more than 64 platforms"):
        await opened.reader().image(pushed, None)
    assert len(opened.asked("GET")) == 1


@pytest.mark.parametrize("part", ["manifest", "config"])
async def test_a_part_that_is_gone_is_named(opened: World, part: str) -> None:
    built = samples.python_index()
    pushed = opened.push(REF, built)
    storage = opened.cloud.registry(HOST).storage
    child = built.children[1]
    if part == "manifest":
        del storage.repositories["base/python"].manifests[child.digest]
        missing = child.digest
    else:
        missing = json.loads(child.manifest)["config"]["digest"]
        del storage.blobs[missing]
    with pytest.raises(InvalidError, match=f"has no {missing[7:19]}, which is a part of the image"):
        await opened.reader().image(pushed, None)


async def test_annotations_go_before_labels_and_only_those_of_lineage_are_kept(opened: World) -> None:
    digest = "sha256:" + "a" * 64
    built = images.build_on(
        samples.python(),
        images.label(BASE_NAME, "by-label"),
        images.label(BASE_DIGEST, "x"),
        images.label("other", "y"),
    )
    pushed = opened.push(REF, images.annotate(built, {BASE_DIGEST: digest}))
    found = await opened.reader().image(pushed, None)
    assert found is not None
    assert found.platforms[0].annotations == {BASE_NAME: "by-label", BASE_DIGEST: digest}


async def test_the_platform_of_the_index_is_believed(opened: World) -> None:
    arm = samples.python(on=samples.debian(platform="linux/arm64"))
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    entry = descriptor(arm.manifest, arm.media_type) | {"platform": platform}
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    pushed = opened.push(REF, Index(encode(document), OCI_INDEX, (arm,)))
    found = await opened.reader().image(pushed, None)
    assert found is not None
    assert [str(one.platform) for one in found.platforms] == ["linux/arm64/v8"]


async def test_what_is_fetched_by_many_at_once_is_fetched_once(opened: World) -> None:
    pushed = opened.push(REF, samples.python_index())
    reader = opened.reader(azure=False)
    found = await asyncio.gather(*(reader.image(pushed, None) for _ in range(20)))
    assert len({id(one) for one in found}) == 1
    assert len(opened.asked("GET .*/manifests/")) == 3
    assert len(opened.asked("GET .*/blobs/")) == 2


async def test_somebody_who_gives_up_does_not_take_the_answer_from_the_others(opened: World) -> None:
    pushed = opened.push(REF, samples.python_index())
    reader = opened.reader(azure=False)
    first = asyncio.create_task(reader.image(pushed, None))
    second = asyncio.create_task(reader.image(pushed, None))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_the_cache_is_bounded(opened: World) -> None:
    reader = opened.reader(azure=False, cache_size=4)
    pushed = [opened.push(f"{HOST}/base/python:{n}", samples.python_index(f"3.12.{n}")) for n in range(3)]
    for image in pushed:
        await reader.image(image, None)
    before = len(opened.asked("GET"))
    await reader.image(pushed[2], None)
    await reader.image(pushed[1], None)
    assert len(opened.asked("GET")) == before
    await reader.image(pushed[0], None)
    assert len(opened.asked("GET")) > before


def wordy(length: int) -> Image:
    """An image whose only layer is said to be made by a command of so many characters."""
    layer = images.make_layer({"/a": "x"})
    document = json.loads(samples.python().config)
    document["rootfs"]["diff_ids"] = [layer.diff_id]
    document["history"] = [{"created_by": "x" * length}]
    return assemble(encode(document), (layer,))


async def test_an_image_that_says_very_much_takes_the_place_of_many_in_the_cache(opened: World) -> None:
    reader = opened.reader(azure=False, cache_size=20)
    small = [opened.push(f"{HOST}/base/python:{n}", samples.python(f"3.12.{n}")) for n in range(3)]
    large = opened.push(f"{HOST}/base/large:1", wordy(1_000_000))
    for image in (*small, large):
        await reader.image(image, None)
    before = len(opened.asked("GET"))
    await reader.image(large, None)
    assert len(opened.asked("GET")) == before
    await reader.image(small[0], None)
    assert len(opened.asked("GET")) > before


@pytest.mark.parametrize("length", [1_000, 100_000])
async def test_a_large_document_is_read_beside_the_event_loop(length: int) -> None:
    image = wordy(length)
    config, others_had_a_turn = Digest.of(image.config), list[int]()

    async def manifest(wanted: Digest) -> tuple[bytes, str]:
        return image.manifest, image.media_type

    async def configuration(wanted: Digest) -> bytes:
        assert wanted == config
        asyncio.get_running_loop().call_soon(others_had_a_turn.append, length)
        return image.config

    found = await ImageReader(parse_image(REF).repository, manifest, configuration).read(Digest.of(image.manifest))
    assert found is not None
    assert len(found.platforms[0].history[0].created_by) == length
    assert others_had_a_turn == ([length] if length == 100_000 else [])


async def test_of_many_platforms_a_few_are_read_at_once() -> None:
    single = [samples.python(f"3.12.{n}") for n in range(12)]
    entries = [
        descriptor(one.manifest, one.media_type) | {"platform": {"os": "linux", "architecture": f"a{n}"}}
        for n, one in enumerate(single)
    ]
    index = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    contents = {Digest.of(one.manifest): (one.manifest, one.media_type) for one in single}
    contents[Digest.of(index)] = (index, OCI_INDEX)
    configs = {Digest.of(one.config): one.config for one in single}
    at_once: list[int] = []
    now = 0

    async def manifest(wanted: Digest) -> tuple[bytes, str]:
        return contents[wanted]

    async def configuration(wanted: Digest) -> bytes:
        nonlocal now
        now += 1
        at_once.append(now)
        await asyncio.sleep(0)
        now -= 1
        return configs[wanted]

    found = await ImageReader(parse_image(REF).repository, manifest, configuration).read(Digest.of(index))
    assert found is not None
    assert len(found.platforms) == 12
    assert 1 < max(at_once) <= 4


async def test_an_image_needs_a_digest(opened: World) -> None:
    with pytest.raises(InvalidError, match="names no digest"):
        await opened.reader().image(parse_image(REF), None)


async def test_docker_hub_is_asked_by_its_real_name(world: World) -> None:
    registry = world.cloud.add_token_registry("registry-1.docker.io", "auth.docker.io", {})
    registry.access.anonymous_pull = True
    registry.push("library/python", "3.12", samples.python_index())
    found = await world.reader().digest(parse_image("python:3.12"), None)
    assert str(found) == registry.digest("library/python", "3.12")
    assert not world.cloud.faults.leaks


async def test_every_request_accepts_all_four_kinds_of_manifest(opened: World) -> None:
    """A registry converts what isn't accepted, and then the digest is another."""
    for number, content in enumerate(
        (samples.python(), samples.python(docker=True), samples.python_index(), samples.python_index(docker=True))
    ):
        pushed = opened.push(f"{HOST}/base/python:{number}", content)
        assert await opened.reader().digest(pushed.tagged, None) == pushed.digest
        assert str(pushed.digest) == content.digest
