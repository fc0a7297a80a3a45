"""Locks against deletion in an emulated Azure registry: a locked digest can't be deleted, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from yarl import URL

from basetracker.adapters.fence import FencedError
from basetracker.adapters.registries.acr import ENTRA_SCOPE
from basetracker.adapters.registries.locks import AcrLocks
from basetracker.emulators import samples
from basetracker.emulators.faults import Fault
from basetracker.emulators.images import OCI_INDEX
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import Digest, ImageRef, parse_image

from .conftest import World

REFERENCE = "contoso.azurecr.io/shop/checkout:main"
PATCH = "PATCH contoso.azurecr.io /acr/v1/"
GET = "GET contoso.azurecr.io /acr/v1/"


@pytest.fixture
def image(world: World) -> ImageRef:
    """An image whose attributes the operator may change."""
    world.operator.assign("AcrPush", world.contoso.id)
    return world.push(REFERENCE, samples.python_index())


def _locks(world: World, *, azure: bool = True, may: Callable[[], bool] = lambda: True) -> AcrLocks:
    http = world.http()
    return AcrLocks(http, world.identity(http) if azure else None, may=may)


def _attributes(world: World, image: ImageRef) -> dict[str, Any]:
    """What may be changed about the digest, as it is stored."""
    found = world.contoso.storage.find(image.repository.path, str(image.digest))
    assert found is not None
    return dict(found.attributes.values)


async def _delete(world: World, image: ImageRef) -> int:
    """What the registry answers to somebody who may delete and does."""
    path, host = image.repository.path, image.host
    cleaner = world.cloud.add_identity("cleaner", subject="system:serviceaccount:ops:cleaner")
    cleaner.assign("AcrDelete", world.contoso.id)
    http = world.http()
    entra = await world.identity(http, cleaner).token(ENTRA_SCOPE)
    form = {"grant_type": "access_token", "service": host, "access_token": entra}
    refresh = (await http.request("POST", URL(f"https://{host}/oauth2/exchange"), form=form)).body
    form = {"grant_type": "refresh_token", "service": host, "scope": f"repository:{path}:delete"}
    form["refresh_token"] = refresh.decode().split('"')[3]
    token = (await http.request("POST", URL(f"https://{host}/oauth2/token"), form=form)).body.decode().split('"')[3]
    url = URL(f"https://{host}/v2/{path}/manifests/{image.digest}")
    return (await http.request("DELETE", url, headers={"Authorization": f"Bearer {token}"})).status


async def test_a_locked_digest_cannot_be_deleted_until_it_is_unlocked(world: World, image: ImageRef) -> None:
    locks = _locks(world)
    assert not await locks.is_locked(image)
    await locks.lock(image)
    assert await locks.is_locked(image)
    assert await _delete(world, image) == 405
    await locks.unlock(image)
    assert not await locks.is_locked(image)
    assert await _delete(world, image) == 202


async def test_only_deletion_of_just_this_digest_is_locked(world: World, image: ImageRef) -> None:
    other = world.push("contoso.azurecr.io/shop/checkout:old", samples.python_index("3.12.12"))
    before, elsewhere = _attributes(world, image), _attributes(world, other)
    await _locks(world).lock(image)
    assert _attributes(world, image) == before | {"deleteEnabled": False}
    assert _attributes(world, other) == elsewhere
    moved = world.push(REFERENCE, samples.python_index("3.12.13"))
    assert moved.digest != image.digest, "the tag still moves"


async def test_locking_and_unlocking_twice_is_doing_it_once(world: World, image: ImageRef) -> None:
    locks = _locks(world)
    await locks.lock(image)
    await locks.lock(image)
    assert await locks.is_locked(image)
    await locks.unlock(image)
    await locks.unlock(image)
    assert not await locks.is_locked(image)


async def test_unlocking_leaves_a_lock_of_another_kind(world: World, image: ImageRef) -> None:
    found = world.contoso.storage.find(image.repository.path, str(image.digest))
    assert found is not None
    found.attributes.values["writeEnabled"] = False
    locks = _locks(world)
    assert await locks.is_locked(image), "it can't be deleted either"
    await locks.unlock(image)
    assert _attributes(world, image)["writeEnabled"] is False


async def test_a_digest_that_is_gone(world: World, image: ImageRef) -> None:
    gone = parse_image(REFERENCE).pinned(Digest.of(b"gone"))
    locks = _locks(world)
    with pytest.raises(MissingError, match="has no shop/checkout"):
        await locks.is_locked(gone)
    with pytest.raises(MissingError):
        await locks.lock(gone)
    await locks.unlock(gone)
    nowhere = parse_image("contoso.azurecr.io/shop/cart:main").pinned(Digest.of(b"gone"))
    await locks.unlock(nowhere)


async def test_who_may_only_pull_can_look_but_not_lock(world: World) -> None:
    image = world.push(REFERENCE, samples.python_index())
    locks = _locks(world)
    assert not await locks.is_locked(image)
    for call in (locks.lock, locks.unlock):
        with pytest.raises(DeniedError, match="grant it AcrPush, or Container Registry Repository Writer"):
            await call(image)
    assert _attributes(world, image)["deleteEnabled"] is True


async def test_repository_permissions_count_where_the_registry_uses_them(world: World, image: ImageRef) -> None:
    world.contoso.access.abac = True
    with pytest.raises(DeniedError):
        await _locks(world).lock(image)
    world.operator.assign("Container Registry Repository Writer", world.contoso.id, "shop/*")
    await _locks(world).lock(image)
    assert _attributes(world, image)["deleteEnabled"] is False


async def test_without_an_identity_nothing_is_asked(world: World, image: ImageRef) -> None:
    with pytest.raises(DeniedError, match="nothing can be locked: the operator has no Azure identity"):
        await _locks(world, azure=False).lock(image)
    assert world.asked("contoso") == []


@pytest.mark.parametrize("host", ["open.example.com", "docker.io", "azurecr.io.example.com"])
async def test_no_token_goes_to_a_registry_that_is_not_azures(world: World, host: str) -> None:
    world.cloud.add_open_registry(host) if host != "docker.io" else None
    image = parse_image(f"{host}/shop/checkout:main").pinned(Digest.of(b"one"))
    with pytest.raises(InvalidError, match="has no locks"):
        await _locks(world).lock(image)
    assert world.asked(host) == []


async def test_a_tag_is_no_digest(world: World, image: ImageRef) -> None:
    with pytest.raises(InvalidError, match="names no digest"):
        await _locks(world).lock(parse_image(REFERENCE))


async def test_one_that_lost_the_lead_on_the_way_locks_nothing(world: World, image: ImageRef) -> None:
    holds = True

    def lose(asked: object) -> None:
        nonlocal holds
        holds = False

    world.cloud.faults.listeners.append(lose)
    with pytest.raises(FencedError):
        await _locks(world, may=lambda: holds).lock(image)
    assert _attributes(world, image)["deleteEnabled"] is True


async def test_a_token_that_was_withdrawn_is_replaced(world: World, image: ImageRef) -> None:
    locks = _locks(world)
    await locks.lock(image)
    world.cloud.expire_tokens()
    world.time.manual.advance(60)
    await locks.unlock(image)
    assert _attributes(world, image)["deleteEnabled"] is True


async def test_the_index_is_locked_as_it_is(world: World, image: ImageRef) -> None:
    await _locks(world).lock(image)
    found = world.contoso.storage.find(image.repository.path, str(image.digest))
    assert found is not None
    assert found.media_type == OCI_INDEX
    assert not found.attributes.deletable


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 500}, UnavailableError),
        ({"status": 503, "headers": {"Retry-After": "9"}}, UnavailableError),
        ({"status": 429, "headers": {"Retry-After": "9"}}, UnavailableError),
        ({"status": 409}, UnavailableError),
        ({"drop": True, "n": 2}, UnavailableError),
        ({"torn": True}, UnavailableError),
        ({"status": 403}, DeniedError),
        ({"status": 400}, InvalidError),
        ({"status": 200, "body": "<html>"}, UnavailableError),
        ({"status": 200, "body": "{}"}, InvalidError),
        ({"status": 200, "body": "[]"}, InvalidError),
        ({"status": 200, "body": '{"manifest": {"digest": "sha256:0"}}'}, InvalidError),
        ({"truncate": 30}, UnavailableError),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_no_answer_and_a_broken_one_are_errors(
    world: World, image: ImageRef, method: str, fault: dict[str, Any], error: type[Exception]
) -> None:
    locks = _locks(world)
    # The first request is refused for want of a token, the second is the one that counts.
    world.cloud.faults.add(Fault(match=f"{method} contoso.azurecr.io /acr/v1/", skip=1, **fault))
    with pytest.raises(error):
        await (locks.is_locked(image) if method == "GET" else locks.lock(image))


async def test_an_answer_that_the_lock_is_not_set_is_an_error(world: World, image: ImageRef) -> None:
    body = {"manifest": {"digest": str(image.digest), "changeableAttributes": {"deleteEnabled": True}}}
    world.cloud.faults.add(Fault(match=PATCH, skip=1, status=200, body=body))
    with pytest.raises(InvalidError, match="has not changed the lock"):
        await _locks(world).lock(image)
    world.cloud.faults.add(Fault(match=GET, skip=1, status=200, body=body))
    with pytest.raises(InvalidError, match="doesn't tell whether"):
        await _locks(world).is_locked(image)


async def test_no_secret_goes_to_a_wrong_host(world: World, image: ImageRef) -> None:
    await _locks(world).lock(image)
    assert world.cloud.faults.leaks == []
