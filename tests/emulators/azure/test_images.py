"""Built images are true: bytes, digests, and a base that stays in front word for word."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

import pytest

from basetracker.emulators import samples
from basetracker.emulators.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    Index,
    annotate,
    assemble,
    build_on,
    copy,
    digest_of,
    index,
    label,
    load,
    run,
    setting,
    squash,
)


def test_a_layer_is_a_gzipped_tar_of_its_diff_id() -> None:
    image = samples.debian()
    [layer] = image.layers
    raw = gzip.decompress(layer.blob)
    assert "sha256:" + hashlib.sha256(raw).hexdigest() == layer.diff_id
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert "etc/os-release" in tar.getnames()


def test_a_manifest_names_its_blobs_by_digest_and_size() -> None:
    image = samples.python()
    document = json.loads(image.manifest)
    for part in [document["config"], *document["layers"]]:
        blob = image.blobs[part["digest"]]
        assert (digest_of(blob), len(blob)) == (part["digest"], part["size"])


def test_the_base_is_a_verbatim_prefix() -> None:
    base = samples.python()
    built = build_on(base, *samples.application("checkout"))
    size = len(base.diff_ids)
    assert built.diff_ids[:size] == base.diff_ids
    assert len(built.diff_ids) == size + 1
    history = base.configuration["history"]
    assert built.configuration["history"][: len(history)] == history
    assert json.loads(built.manifest)["layers"][:size] == json.loads(base.manifest)["layers"]


def test_history_and_layers_agree() -> None:
    history = build_on(samples.python(), *samples.application("checkout")).configuration["history"]
    filled = [entry for entry in history if not entry.get("empty_layer")]
    assert len(filled) == 3
    assert len(history) > len(filled)


def test_settings_are_inherited_and_overridden() -> None:
    base = build_on(samples.debian(), setting("MODE", "base"), setting("KEEP", "1"), label("team", "platform"))
    built = build_on(base, setting("MODE", "app"), label("app", "checkout"))
    config = built.configuration["config"]
    assert config["Env"] == ["MODE=app", "KEEP=1"]
    assert config["Labels"] == {"team": "platform", "app": "checkout"}


def test_equal_input_gives_equal_bytes_and_other_input_others() -> None:
    assert samples.python_index().digest == samples.python_index().digest
    assert samples.python().digest != samples.python("3.12.12").digest
    assert samples.debian("12.11").diff_ids != samples.debian("12.12").diff_ids


def test_a_squashed_image_holds_the_files_but_not_the_base() -> None:
    built = build_on(samples.python(), copy({"/app/main.py": "x"}), run("make", {"/app/lib": "y"}))
    merged = squash(built)
    assert len(merged.diff_ids) == 1
    assert merged.diff_ids[0] not in built.diff_ids
    with tarfile.open(fileobj=io.BytesIO(merged.layers[0].blob), mode="r:gz") as tar:
        assert {"app/main.py", "app/lib", "etc/os-release"} <= set(tar.getnames())


def test_an_index_lists_platforms_and_their_attestations() -> None:
    multi = samples.python_index()
    entries = json.loads(multi.manifest)["manifests"]
    platforms = [f"{one['platform']['os']}/{one['platform']['architecture']}" for one in entries]
    assert platforms == ["linux/amd64", "linux/arm64", "unknown/unknown", "unknown/unknown"]
    subjects = [one["annotations"]["vnd.docker.reference.digest"] for one in entries[2:]]
    assert subjects == [one["digest"] for one in entries[:2]]
    assert multi.image("linux/arm64") is not None
    assert multi.image("windows/amd64") is None


def test_docker_media_types() -> None:
    multi = samples.python_index(docker=True)
    assert multi.media_type == DOCKER_LIST
    assert [child.media_type for child in multi.children] == [DOCKER_MANIFEST] * 2
    assert build_on(multi.children[0], *samples.application("x")).media_type == DOCKER_MANIFEST


def test_annotations_change_the_digest_only() -> None:
    image = samples.python()
    marked = annotate(image, {"org.opencontainers.image.base.name": "debian:12"})
    assert marked.digest != image.digest
    assert marked.diff_ids == image.diff_ids


@pytest.mark.parametrize("docker", [False, True])
def test_what_was_built_can_be_loaded_again(docker: bool) -> None:
    multi = samples.python_index(docker=docker)
    parts: dict[str, bytes] = {}
    for child in multi.children:
        parts |= {child.digest: child.manifest} | child.blobs
    assert load(multi.manifest, multi.media_type, parts.__getitem__) == multi


def test_variants_are_part_of_the_platform() -> None:
    config = samples.debian(platform="linux/arm64").configuration | {"variant": "v8"}
    image = assemble(config, ())
    assert image.platform == "linux/arm64/v8"
    one = index([image], attested=False)
    assert isinstance(one, Index)
    assert json.loads(one.manifest)["manifests"][0]["platform"]["variant"] == "v8"
