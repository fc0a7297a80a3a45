"""Pull Secrets: which entry stands for a host, and what is said when none does."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from typing import Any

import pytest

from basetracker.adapters.secrets import SecretCredentials, best_key, read_entries
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError

SECRET = "/api/v1/namespaces/shop/secrets/hub"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(auths: Any, kind: str = "kubernetes.io/dockerconfigjson") -> dict[str, Any]:
    return {"type": kind, "data": {".dockerconfigjson": encoded(json.dumps({"auths": auths}))}}


@pytest.mark.parametrize(
    ("keys", "host", "best"),
    [
        (["https://index.docker.io/v1/"], "docker.io", "https://index.docker.io/v1/"),
        (["index.docker.io"], "docker.io", "index.docker.io"),
        (["docker.io"], "index.docker.io", "docker.io"),
        (["https://registry-1.docker.io"], "docker.io", "https://registry-1.docker.io"),
        (["contoso.azurecr.io"], "contoso.azurecr.io", "contoso.azurecr.io"),
        (["https://Contoso.azurecr.io/v2/"], "contoso.azurecr.io", "https://Contoso.azurecr.io/v2/"),
        (["http://contoso.azurecr.io"], "contoso.azurecr.io", "http://contoso.azurecr.io"),
        (["registry.local:5000"], "registry.local:5000", "registry.local:5000"),
        (["registry.local"], "registry.local:5000", None),
        (["registry.local:5000"], "registry.local", None),
        (["evil-contoso.azurecr.io"], "contoso.azurecr.io", None),
        (["contoso.azurecr.io.evil.com"], "contoso.azurecr.io", None),
        (["*.azurecr.io"], "contoso.azurecr.io", "*.azurecr.io"),
        (["*.azurecr.io"], "a.contoso.azurecr.io", None),
        (["*"], "contoso.azurecr.io", None),
        (["*.azurecr.io", "contoso.azurecr.io/team", "contoso.azurecr.io"], "contoso.azurecr.io", "contoso.azurecr.io"),
        (["*.azurecr.io", "contoso.azurecr.io/team"], "contoso.azurecr.io", "contoso.azurecr.io/team"),
        ([], "contoso.azurecr.io", None),
    ],
)
def test_the_entry_for_a_host_is_found_as_the_kubelet_does(keys: list[str], host: str, best: str | None) -> None:
    assert best_key(dict.fromkeys(keys), host) == best


@pytest.mark.parametrize(
    ("entry", "username", "password"),
    [
        ({"auth": encoded("me:pass:word")}, "me", "pass:word"),
        ({"username": "me", "password": "word"}, "me", "word"),
        ({"username": "old", "password": "old", "auth": encoded("me:word")}, "me", "word"),
        ({"auth": encoded("me:word\0\0")}, "me", "word"),
    ],
)
async def test_user_and_password_come_from_either_form(
    scripted: Any, scripted_kube: Any, set_clock: Any, entry: dict[str, str], username: str, password: str
) -> None:
    scripted.says(SECRET, 200, secret({"contoso.azurecr.io": entry, "other.io": 5}))
    credential = await SecretCredentials(scripted_kube, clock=set_clock).find("shop", "hub", "contoso.azurecr.io")
    assert (credential.username, credential.password) == (username, password)
    assert password not in repr(credential)


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        (secret({}, kind="Opaque"), "Opaque"),
        ({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "e30="}}, "docker-registry"),
        ({"type": "kubernetes.io/dockerconfigjson"}, "readable"),
        ({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "%%%"}}, "readable"),
        ({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": encoded("[]")}}, "readable"),
        (secret([]), "readable"),
        (secret({"contoso.azurecr.io": "hunter2"}), "object"),
        (secret({"contoso.azurecr.io": {"auth": "hunter2"}}), "base64"),
        (secret({"contoso.azurecr.io": {"auth": encoded("hunter2")}}), "base64"),
        (secret({"contoso.azurecr.io": {"username": "me"}}), "password"),
        (secret({"contoso.azurecr.io": {"auth": encoded("0000:"), "identitytoken": "hunter2"}}), "identity token"),
    ],
)
async def test_what_cannot_be_used_is_named_without_its_content(
    scripted: Any,
    scripted_kube: Any,
    set_clock: Any,
    caplog: pytest.LogCaptureFixture,
    document: dict[str, Any],
    hint: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    scripted.says(SECRET, 200, document)
    with pytest.raises(InvalidError, match=hint) as caught:
        await SecretCredentials(scripted_kube, clock=set_clock).find("shop", "hub", "contoso.azurecr.io")
    assert "shop/hub" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caplog.text


async def test_what_is_absent_is_missing(scripted: Any, scripted_kube: Any, set_clock: Any) -> None:
    credentials = SecretCredentials(scripted_kube, clock=set_clock)
    with pytest.raises(MissingError, match="no Secret shop/hub"):
        await credentials.find("shop", "hub", "contoso.azurecr.io")
    scripted.says(SECRET, 200, secret({"other.io": {}}))
    with pytest.raises(MissingError, match=r"contoso\.azurecr\.io"):
        await credentials.find("shop", "hub", "contoso.azurecr.io")


async def test_a_denied_secret_names_the_role_to_add(scripted: Any, scripted_kube: Any, set_clock: Any) -> None:
    scripted.says(SECRET, 403, {"message": 'User "x" cannot get resource "secrets"'})
    with pytest.raises(DeniedError, match=r'Role in the namespace shop .* resourceNames \["hub"\]'):
        await SecretCredentials(scripted_kube, clock=set_clock).find("shop", "hub", "a.io")
    scripted.says(SECRET, 503, {"message": "down"})
    with pytest.raises(UnavailableError):
        await SecretCredentials(scripted_kube, clock=set_clock).find("shop", "hub", "a.io")


async def test_a_refusal_is_kept_for_ten_seconds(scripted: Any, scripted_kube: Any, set_clock: Any) -> None:
    scripted.says(SECRET, 403, {"message": 'User "x" cannot get resource "secrets"'})
    credentials = SecretCredentials(scripted_kube, clock=set_clock)
    for _ in range(20):
        with pytest.raises(DeniedError, match="may not read the Secret shop/hub"):
            await credentials.find("shop", "hub", "a.io")
    assert len(scripted.requests) == 1
    scripted.says(SECRET, 200, secret({"a.io": {"username": "me", "password": "one"}}))
    set_clock.seconds += 10
    assert (await credentials.find("shop", "hub", "a.io")).password == "one"


async def test_a_secret_is_read_once_a_minute(scripted: Any, scripted_kube: Any, set_clock: Any) -> None:
    entry = {"username": "me", "password": "one"}
    scripted.says(SECRET, 200, secret({"a.io": entry, "b.io": entry}))
    credentials = SecretCredentials(scripted_kube, clock=set_clock)
    for _ in range(50):
        await credentials.find("shop", "hub", "a.io")
        await credentials.find("shop", "hub", "b.io")
    assert len(scripted.requests) == 1
    scripted.says(SECRET, 200, secret({"a.io": entry | {"password": "two"}}))
    set_clock.seconds += 60
    assert (await credentials.find("shop", "hub", "a.io")).password == "two"
    assert len(scripted.requests) == 2


async def test_a_stored_secret_is_read(world: Any, clock: Any) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hub"},
        **secret({"https://index.docker.io/v1/": {"auth": encoded("me:word")}}),
    }
    await world.create("secrets", document)
    credential = await SecretCredentials(world.kube, clock=clock).find(world.namespace, "hub", "docker.io")
    assert (credential.username, credential.password) == ("me", "word")


def test_entries_are_read_by_their_keys() -> None:
    assert read_entries(secret({"a.io": {}}), "the Secret") == {"a.io": {}}
