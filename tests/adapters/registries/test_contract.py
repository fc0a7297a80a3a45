"""What `ports.Registry` promises, for every kind of registry."""

from __future__ import annotations

import pytest

from basetracker.emulators import images, samples
from basetracker.emulators.faults import Fault
from basetracker.errors import DeniedError, InvalidError, UnavailableError
from basetracker.oci.lineage import Verdict, judge
from basetracker.oci.refs import Digest, parse_image

from .conftest import GUARDED, REPOSITORY, Kind, World

POLLS = 120


def tag(kind: Kind, name: str = "3.12") -> str:
    return f"{kind.host}/{REPOSITORY}:{name}"


async def test_a_tag_is_the_digest_of_its_index(world: World, kind: Kind) -> None:
    pushed = world.push(tag(kind), samples.python_index())
    found = await world.reader(azure=kind.azure).digest(parse_image(tag(kind)), kind.credential)
    assert found == pushed.digest
    assert not world.cloud.faults.leaks


async def test_an_unknown_tag_is_none(world: World, kind: Kind) -> None:
    world.push(tag(kind), samples.python())
    reader = world.reader(azure=kind.azure)
    assert await reader.digest(parse_image(tag(kind, "none")), kind.credential) is None


async def test_an_unknown_repository_is_none_where_the_registry_says_so(world: World, kind: Kind) -> None:
    # This role covers some repositories only; of any other it doesn't say whether it exists.
    repository = "base/none" if kind.name == "acr-repository-roles" else "none"
    reader = world.reader(azure=kind.azure)
    assert await reader.digest(parse_image(f"{kind.host}/{repository}:1"), kind.credential) is None


async def test_an_unknown_digest_is_none(world: World, kind: Kind) -> None:
    world.push(tag(kind), samples.python())
    missing = parse_image(tag(kind)).pinned(Digest.of(b"nothing"))
    assert await world.reader(azure=kind.azure).image(missing, kind.credential) is None


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
async def test_an_image_has_its_platforms_and_layers(world: World, kind: Kind, docker: bool) -> None:
    built = samples.python_index(docker=docker)
    pushed = world.push(tag(kind), built)
    found = await world.reader(azure=kind.azure).image(pushed, kind.credential)
    assert found is not None
    assert found.digest == pushed.digest
    assert [str(one.platform) for one in found.platforms] == ["linux/amd64", "linux/arm64"]  # and no attestation
    for one in found.platforms:
        child = built.image(str(one.platform))
        assert child is not None
        assert (str(one.digest), list(one.diff_ids)) == (child.digest, child.diff_ids)
        assert [step.created_by for step in one.history] == [
            entry["created_by"] for entry in child.configuration["history"]
        ]
    assert not world.cloud.faults.leaks


async def test_lineage_can_be_judged_by_what_is_read(world: World, kind: Kind) -> None:
    base = samples.python()
    app = images.build_on(base, *samples.application("checkout"))
    base_ref = world.push(tag(kind), base)
    app_ref = world.push(f"{kind.host}/base/checkout:main", app)
    reader = world.reader(azure=kind.azure)
    seen_base = await reader.image(base_ref, kind.credential)
    seen_app = await reader.image(app_ref, kind.credential)
    assert seen_base is not None
    assert seen_app is not None
    assert judge(seen_app, seen_base).verdict is Verdict.PROVEN
    assert judge(seen_base, seen_app).verdict is Verdict.REFUTED


async def test_an_unchanged_poll_is_one_request_on_a_kept_connection(world: World, kind: Kind) -> None:
    pushed = world.push(tag(kind), samples.python_index())
    reader = world.reader(azure=kind.azure)
    image = parse_image(tag(kind))
    assert await reader.digest(image, kind.credential) == pushed.digest
    first = [one for one in world.asked() if "login.microsoftonline.com" not in one]
    assert len(first) <= kind.warm_up, first
    before, connects = len(world.cloud.faults.log), sum(world.cloud.proxy.connects.values())
    for _ in range(POLLS):
        world.time.manual.advance(2)
        assert await reader.digest(image, kind.credential) == pushed.digest
    sent = len(world.cloud.faults.log) - before
    assert POLLS <= sent <= POLLS * 1.02
    assert len(world.asked(f"HEAD {kind.host} /v2/{REPOSITORY}/manifests/3.12")) >= POLLS
    assert sum(world.cloud.proxy.connects.values()) - connects <= 5 * POLLS / 100
    assert not world.cloud.faults.leaks


async def test_an_image_is_read_once(world: World, kind: Kind) -> None:
    pushed = world.push(tag(kind), samples.python_index())
    reader = world.reader(azure=kind.azure)
    first = await reader.image(pushed, kind.credential)
    before = len(world.cloud.faults.log)
    assert await reader.image(pushed, kind.credential) is first
    assert len(world.cloud.faults.log) == before


async def test_a_missing_digest_header_is_made_up_for_by_the_content(world: World, kind: Kind) -> None:
    pushed = world.push(tag(kind), samples.python())
    world.cloud.faults.add(Fault(match=r"/manifests/", n=None, headers={"Docker-Content-Digest": ""}))
    found = await world.reader(azure=kind.azure).digest(parse_image(tag(kind)), kind.credential)
    assert found == pushed.digest
    assert world.asked(f"GET {kind.host} .*manifests/3.12")


async def test_a_digest_that_is_not_that_of_the_content_is_refused(world: World, kind: Kind) -> None:
    world.push(tag(kind), samples.python())
    wrong = str(Digest.of(b"something else"))
    world.cloud.faults.add(
        Fault(match=r"HEAD .*/manifests/3.12", n=None, headers={"Docker-Content-Digest": "nonsense"}),
        Fault(match=r"GET .*/manifests/3.12", n=None, headers={"Docker-Content-Digest": wrong}),
    )
    with pytest.raises(InvalidError, match="changes or cuts content"):
        await world.reader(azure=kind.azure).digest(parse_image(tag(kind)), kind.credential)


@pytest.mark.parametrize("part", ["manifests", "blobs"])
async def test_content_that_is_cut_or_changed_is_refused(world: World, kind: Kind, part: str) -> None:
    pushed = world.push(tag(kind), samples.python())
    reader = world.reader(azure=kind.azure)
    for fault in (Fault(match=f"GET .*/{part}/", truncate=100), Fault(match=f"GET .*/{part}/", pad=1)):
        await reader.digest(pushed.tagged, kind.credential)
        world.cloud.faults.add(fault)
        with pytest.raises(InvalidError, match="changes or cuts content"):
            await reader.image(pushed, kind.credential)
    assert await reader.image(pushed, kind.credential) is not None  # and nothing wrong was kept


@pytest.mark.parametrize("part", ["manifests", "blobs"])
async def test_an_answer_torn_off_heals_by_itself(world: World, kind: Kind, part: str) -> None:
    pushed = world.push(tag(kind), samples.python())
    reader = world.reader(azure=kind.azure)
    await reader.digest(pushed.tagged, kind.credential)
    world.cloud.faults.add(Fault(match=f"GET .*/{part}/", torn=True))
    with pytest.raises(UnavailableError, match="broke before the answer was complete"):
        await reader.image(pushed, kind.credential)
    assert await reader.image(pushed, kind.credential) is not None


@pytest.mark.parametrize(("part", "size"), [("manifests", 4 << 20), ("blobs", 8 << 20)])
async def test_too_large_content_is_refused(world: World, kind: Kind, part: str, size: int) -> None:
    pushed = world.push(tag(kind), samples.python())
    reader = world.reader(azure=kind.azure)
    await reader.digest(pushed.tagged, kind.credential)
    world.cloud.faults.add(Fault(match=f"GET .*/{part}/", n=None, pad=size))
    with pytest.raises(InvalidError, match=f"more than {size // 1024} KiB"):
        await reader.image(pushed, kind.credential)


async def test_a_server_error_is_unavailable_and_asked_once(world: World, kind: Kind) -> None:
    pushed = world.push(tag(kind), samples.python())
    reader = world.reader(azure=kind.azure)
    await reader.digest(pushed.tagged, kind.credential)
    before = len(world.cloud.faults.log)
    world.cloud.faults.add(Fault(match="HEAD .*/manifests/", status=500))
    with pytest.raises(UnavailableError, match=r"can't answer now \(status 500\)"):
        await reader.digest(pushed.tagged, kind.credential)
    assert len(world.cloud.faults.log) == before + 1
    assert await reader.digest(pushed.tagged, kind.credential) == pushed.digest


@pytest.mark.parametrize("kind", GUARDED, indirect=True)
async def test_a_refused_reader_is_denied_and_told_what_is_needed(world: World, kind: Kind) -> None:
    assert kind.guarded
    pushed = world.push(tag(kind), samples.python())
    reader = world.reader(azure=kind.azure)
    assert await reader.digest(pushed.tagged, kind.credential) == pushed.digest
    challenge = {"WWW-Authenticate": 'Bearer realm="https://auth.example.com/token",service="registry.example.com"'}
    if kind.name == "basic":
        challenge = {"WWW-Authenticate": 'Basic realm="Registry Realm"'}
    world.cloud.faults.add(Fault(match="HEAD .*/manifests/", n=None, status=401, headers=challenge))
    before = len(world.asked("HEAD"))
    texts = set()
    for _ in range(3):
        with pytest.raises(DeniedError) as caught:
            await reader.digest(pushed.tagged, kind.credential)
        texts.add(str(caught.value))
    assert len(texts) == 1  # so that a condition doesn't flap
    text = texts.pop()
    assert kind.host in text
    assert REPOSITORY in text
    assert "pull" in text
    assert len(world.asked("HEAD")) - before <= 2 * 3
    world.cloud.faults.clear()
    assert await reader.digest(pushed.tagged, kind.credential) == pushed.digest
