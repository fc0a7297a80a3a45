"""What refers to an image, and raw manifests and blobs: bounded, matched with their digests, and asked of the host alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from basetracker.emulators import samples
from basetracker.emulators.faults import Fault
from basetracker.errors import DeniedError, InvalidError, UnavailableError
from basetracker.oci.refs import Digest, ImageRef

from .conftest import REPOSITORY, Kind, World

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def signed(world: World, host: str) -> tuple[ImageRef, Digest, Digest]:
    """An image, a manifest that refers to it, and the blob in that."""
    image = world.push(f"{host}/{REPOSITORY}:3.12", samples.python_index())
    storage = world.cloud.registries[host].storage
    blob = storage.put_blob(b"a signature")
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/x", "digest": storage.put_blob(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/x", "digest": blob, "size": 11}],
        "subject": {"mediaType": INDEX, "digest": str(image.digest), "size": 1},
    }
    body = json.dumps(document).encode()
    storage.put_manifest(REPOSITORY, str(Digest.of(body)), body, MANIFEST)
    return image, Digest.of(body), Digest(blob)


async def test_what_refers_to_an_image_is_read_in_every_kind_of_registry(world: World, kind: Kind) -> None:
    image, referrer, blob = signed(world, kind.host)
    assert image.digest is not None
    reader, repository = world.reader(azure=kind.azure), image.repository
    pages = await reader.referrers(repository, image.digest, kind.credential, pages=4)
    assert pages is not None
    assert [entry["digest"] for page in pages for entry in json.loads(page)["manifests"]] == [str(referrer)]
    manifest = await reader.raw_manifest(repository, referrer, kind.credential)
    assert manifest is not None
    assert Digest.of(manifest) == referrer
    by_tag = await reader.raw_manifest(repository, "3.12", kind.credential)
    assert by_tag is not None
    assert Digest.of(by_tag) == image.digest
    assert await reader.raw_blob(repository, blob, kind.credential, limit=11) == b"a signature"
    assert world.cloud.faults.leaks == []


async def test_what_is_not_there_is_none(world: World) -> None:
    image, _, _ = signed(world, world.contoso.host)
    assert image.digest is not None
    reader, nothing = world.reader(), Digest.of(b"nothing")
    assert await reader.raw_manifest(image.repository, nothing, None) is None
    assert await reader.raw_manifest(image.repository, "none", None) is None
    assert await reader.raw_blob(image.repository, nothing, None, limit=10) is None
    world.contoso.api.referrers_enabled = False
    assert await reader.referrers(image.repository, image.digest, None, pages=4) is None


async def test_other_content_than_asked_for_is_refused(world: World) -> None:
    image, referrer, blob = signed(world, world.contoso.host)
    reader = world.reader()
    world.cloud.faults.add(Fault(match="/manifests/sha256:", pad=1), Fault(match="/blobs/sha256:", pad=1))
    with pytest.raises(InvalidError, match="changes or cuts content"):
        await reader.raw_manifest(image.repository, referrer, None)
    with pytest.raises(InvalidError, match="changes or cuts content"):
        await reader.raw_blob(image.repository, blob, None, limit=100)
    with pytest.raises(InvalidError, match="answers with more than"):
        await reader.raw_blob(image.repository, blob, None, limit=10)


@pytest.mark.parametrize(("status", "error"), [(403, DeniedError), (429, UnavailableError), (500, UnavailableError)])
async def test_what_can_not_be_seen_is_an_error(world: World, status: int, error: type[Exception]) -> None:
    image, _, _ = signed(world, world.contoso.host)
    assert image.digest is not None
    reader = world.reader()
    world.cloud.faults.add(Fault(match="/referrers/", n=None, status=status))
    with pytest.raises(error):
        await reader.referrers(image.repository, image.digest, None, pages=4)


def page(number: int, link: str) -> Fault:
    return Fault(match="/referrers/", status=200, body=f'{{"page": {number}}}', headers={"Link": link})


async def test_pages_are_followed_up_to_a_number(world: World) -> None:
    image, _, _ = signed(world, world.contoso.host)
    assert image.digest is not None
    path = f"/v2/{REPOSITORY}/referrers/{image.digest}"
    reader = world.reader()
    world.cloud.faults.add(page(1, f'<{path}?last=a%2Bb&n=1>; rel="next"'), page(2, f'<{path}?last=c&n=1>; rel="next"'))
    pages = await reader.referrers(image.repository, image.digest, None, pages=2)
    assert pages == (b'{"page": 1}', b'{"page": 2}')
    assert [one.partition("?")[2] for one in world.asked("/referrers/")] == ["", "last=a%2Bb&n=1 -> 200"]


@pytest.mark.parametrize(
    "link",
    [
        "<https://elsewhere.example.com/v2/x/referrers/y?last=a>; rel=next",
        "<//elsewhere.example.com/?last=a>; rel=next",
        "</acr/v1/_catalog?last=a>; rel=next",
    ],
)
async def test_a_link_leads_nowhere_but_to_the_next_page(world: World, link: str) -> None:
    image, _, _ = signed(world, world.contoso.host)
    assert image.digest is not None
    reader = world.reader()
    world.cloud.faults.add(page(1, link))
    pages = await reader.referrers(image.repository, image.digest, None, pages=4)
    assert pages is not None
    assert len(pages) == 2
    assert {one.split()[1] for one in world.asked("referrers|catalog|elsewhere")} == {world.contoso.host}
    assert world.asked("_catalog") == []


@pytest.mark.parametrize("link", ["", "<>; rel=next", "</v2/x?>; rel=next", "<http://[>; rel=next", "<a?b>; rel=prev"])
async def test_a_link_that_names_no_page_ends_it(world: World, link: str) -> None:
    image, _, _ = signed(world, world.contoso.host)
    assert image.digest is not None
    world.cloud.faults.add(page(1, link))
    assert await world.reader().referrers(image.repository, image.digest, None, pages=4) == (b'{"page": 1}',)
