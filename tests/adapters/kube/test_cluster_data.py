"""ConfigMaps and Secrets by name: read once a minute, with words for what is missing, and never shown."""

from __future__ import annotations

import base64
from typing import Any, Literal

import pytest

from basetracker.adapters.cluster_data import ClusterData
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError

CONFIG_MAP = "/api/v1/namespaces/shop/configmaps/keys"
SECRET = "/api/v1/namespaces/shop/secrets/keys"
Kind = Literal["ConfigMap", "Secret"]
BOTH: list[tuple[Kind, str]] = [("ConfigMap", CONFIG_MAP), ("Secret", SECRET)]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_entries_are_read(scripted: Any, scripted_kube: Any, set_clock: Any) -> None:
    data = ClusterData(scripted_kube, clock=set_clock)
    scripted.says(CONFIG_MAP, 200, {"data": {"cosign.pub": "a key", "other": ""}, "binaryData": {"x": "AAA="}})
    scripted.says(SECRET, 200, {"data": {"cosign.pub": encoded("another")}})
    assert await data.read("ConfigMap", "shop", "keys") == {"cosign.pub": b"a key", "other": b"", "x": bytes(2)}
    assert await data.read("Secret", "shop", "keys") == {"cosign.pub": b"another"}
    scripted.says(SECRET, 200, {"data": None})
    set_clock.seconds += 60
    assert await data.read("Secret", "shop", "keys") == {}


@pytest.mark.parametrize(("kind", "path"), BOTH)
async def test_each_is_read_once_a_minute(
    scripted: Any, scripted_kube: Any, set_clock: Any, kind: Kind, path: str
) -> None:
    data = ClusterData(scripted_kube, clock=set_clock)
    scripted.says(path, 200, {"data": {"a": encoded("one")}})
    for _ in range(20):
        await data.read(kind, "shop", "keys")
    assert len(scripted.requests) == 1
    scripted.says(path, 200, {"data": {"a": encoded("two")}})
    before = await data.read(kind, "shop", "keys")
    set_clock.seconds += 60
    assert await data.read(kind, "shop", "keys") != before
    assert len(scripted.requests) == 2


@pytest.mark.parametrize(("kind", "path"), BOTH)
async def test_what_can_not_be_had_is_named(
    scripted: Any, scripted_kube: Any, set_clock: Any, kind: Kind, path: str
) -> None:
    data = ClusterData(scripted_kube, clock=set_clock)
    with pytest.raises(MissingError, match=f"no {kind} shop/keys"):
        await data.read(kind, "shop", "keys")
    scripted.says(path, 503, {"message": "down"})
    with pytest.raises(UnavailableError):
        await data.read(kind, "shop", "keys")
    scripted.says(path, 403, {"message": "cannot get"})
    plural = kind.lower() + "s"
    for _ in range(20):
        with pytest.raises(DeniedError, match=rf'Role in the namespace shop .* {plural} with resourceNames \["keys"\]'):
            await data.read(kind, "shop", "keys")
    assert len(scripted.requests) == 3
    set_clock.seconds += 10
    scripted.says(path, 200, {"data": {}})
    assert await data.read(kind, "shop", "keys") == {}


@pytest.mark.parametrize("document", [{"data": "hunter2"}, {"data": {"a": 5}}, {"data": {"a": "%hunter2%"}}])
async def test_content_that_can_not_be_read_is_not_shown(
    scripted: Any, scripted_kube: Any, set_clock: Any, document: Any
) -> None:
    scripted.says(SECRET, 200, document)
    with pytest.raises(InvalidError, match="the Secret shop/keys has entries that can't be read") as caught:
        await ClusterData(scripted_kube, clock=set_clock).read("Secret", "shop", "keys")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["..", ".", "../../pods"])
async def test_a_name_leads_nowhere_else(scripted: Any, scripted_kube: Any, set_clock: Any, name: str) -> None:
    with pytest.raises((InvalidError, MissingError)):
        await ClusterData(scripted_kube, clock=set_clock).read("Secret", "shop", name)
    assert all("/secrets/" in one.raw_path and one.raw_path.count("/") == 6 for one in scripted.requests)


async def test_stored_objects_are_read(world: Any, clock: Any) -> None:
    for plural, kind, entries in (
        ("configmaps", "ConfigMap", {"data": {"cosign.pub": "a key"}}),
        ("secrets", "Secret", {"data": {"cosign.pub": encoded("a key")}, "type": "Opaque"}),
    ):
        await world.create(plural, {"apiVersion": "v1", "kind": kind, "metadata": {"name": "keys"}, **entries})
    data = ClusterData(world.kube, clock=clock)
    assert await data.read("ConfigMap", world.namespace, "keys") == {"cosign.pub": b"a key"}
    assert await data.read("Secret", world.namespace, "keys") == {"cosign.pub": b"a key"}
