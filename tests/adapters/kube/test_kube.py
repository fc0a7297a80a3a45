"""The client against answers of every kind: errors by their meaning, watches, log-in, proxies."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web

from basetracker.adapters.kube import JSON_PATCH, ExpiredError, Kube, WatchEvent, path_of
from basetracker.adapters.kube_login import Login, is_direct
from basetracker.emulators.authority import Authority
from basetracker.errors import (
    BasetrackerError,
    ConflictError,
    DeniedError,
    InvalidError,
    MissingError,
    UnavailableError,
)

PATH = "/api/v1/namespaces/shop/configmaps"
FAILED_TEST = "the server rejected our request due to an error in our request"
RBAC = 'deployments.apps "x" is forbidden: User "u" cannot patch resource "deployments" in API group "apps"'
QUOTA = 'pods "x" is forbidden: exceeded quota: compute'


def status(code: int, message: str, **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "message": message, "details": details}


@pytest.mark.parametrize(
    ("part", "escaped"),
    [("a/b", "a%2Fb"), ("a?b", "a%3Fb"), ("a b", "a%20b"), ("ü", "%C3%BC"), ("a%2e", "a%252e")],
)
def test_parts_of_a_path_are_escaped(part: str, escaped: str) -> None:
    assert path_of("apps/v1", "deployments", "shop", part) == f"/apis/apps/v1/namespaces/shop/deployments/{escaped}"


@pytest.mark.parametrize("part", [".", ".."])
def test_a_path_never_climbs(part: str) -> None:
    with pytest.raises(InvalidError):
        path_of("v1", "secrets", "shop", part)
    with pytest.raises(InvalidError):
        path_of("v1", "secrets", part, "x")


async def test_an_escaped_name_arrives_escaped(scripted: Any, scripted_kube: Kube) -> None:
    assert await scripted_kube.get(path_of("v1", "configmaps", "shop", "../x?y=z")) is None
    assert scripted.requests[0].raw_path == f"{PATH}/..%2Fx%3Fy%3Dz"


async def test_what_is_absent_is_none_on_a_read(scripted: Any, scripted_kube: Kube) -> None:
    scripted.says("GET", 404, status(404, "not found"))
    assert await scripted_kube.get(f"{PATH}/x") is None


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        (400, "bad", InvalidError),
        (401, "Unauthorized", DeniedError),
        (403, RBAC, DeniedError),
        (403, QUOTA, InvalidError),
        (404, "gone", MissingError),
        (408, "slow", UnavailableError),
        (409, "modified", ConflictError),
        (410, "expired", ExpiredError),
        (413, "large", InvalidError),
        (422, 'Deployment.apps "x" is invalid: spec', InvalidError),
        (422, FAILED_TEST, ConflictError),
        (429, "slow down", UnavailableError),
        (500, "failed calling webhook", UnavailableError),
        (503, "down", UnavailableError),
        (504, "timeout", UnavailableError),
    ],
)
async def test_refused_writes_by_their_meaning(
    scripted: Any, scripted_kube: Kube, code: int, message: str, error: type[BasetrackerError]
) -> None:
    scripted.says("PATCH", code, status(code, message))
    with pytest.raises(BasetrackerError) as caught:
        await scripted_kube.patch(f"{PATH}/x", [], content_type=JSON_PATCH, tested=True)
    assert type(caught.value) is error
    assert scripted.requests[0].content_type == JSON_PATCH


async def test_a_failed_patch_is_a_conflict_only_where_asked(scripted: Any, scripted_kube: Kube) -> None:
    scripted.says("PATCH", 422, status(422, FAILED_TEST))
    with pytest.raises(InvalidError):
        await scripted_kube.patch(f"{PATH}/x", [], content_type=JSON_PATCH)


async def test_a_denied_read_is_denied_whatever_its_text(scripted: Any, scripted_kube: Kube) -> None:
    scripted.says("GET", 403, status(403, "no\n" + "very " * 1000))
    with pytest.raises(DeniedError) as caught:
        await scripted_kube.get(f"{PATH}/x")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [({"Retry-After": "7"}, {}, 7.0), ({}, {"retryAfterSeconds": 3}, 3.0), ({"Retry-After": "soon"}, {}, None)],
)
async def test_the_server_names_the_pause(
    scripted: Any, scripted_kube: Kube, headers: dict[str, str], details: dict[str, Any], seconds: float | None
) -> None:
    scripted.says("GET", 429, status(429, "slow down", **details), **headers)
    with pytest.raises(UnavailableError) as caught:
        await scripted_kube.get(f"{PATH}/x")
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{"])
async def test_an_answer_that_is_no_object_is_no_answer(scripted: Any, scripted_kube: Kube, body: bytes) -> None:
    scripted.says("GET", 200, body)
    with pytest.raises(UnavailableError):
        await scripted_kube.get(f"{PATH}/x")


async def test_cut_slow_and_closed_servers_are_unavailable(
    scripted: Any, scripted_kube: Kube, write_kubeconfig: Callable[..., Path], unused_tcp_port: int
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def sleep(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    scripted.on("/cut", cut)
    scripted.on("/sleep", sleep)
    with pytest.raises(UnavailableError):
        await scripted_kube.get("/cut")
    with pytest.raises(UnavailableError, match="in time"):
        await scripted_kube.get("/sleep", seconds=0.2)
    async with Kube(Login(kubeconfig=write_kubeconfig(f"http://127.0.0.1:{unused_tcp_port}"))) as nowhere:
        with pytest.raises(UnavailableError, match="can't be reached"):
            await nowhere.get("/x")


async def test_pages_follow_the_continue_token(scripted: Any, scripted_kube: Kube) -> None:
    scripted.says("GET", 200, {"metadata": {"continue": "a/b=", "resourceVersion": "5"}, "items": [1]})
    scripted.says("continue=a%2Fb%3D", 200, {"metadata": {"resourceVersion": "5"}, "items": [2]})
    assert [page["items"] async for page in scripted_kube.pages(PATH)] == [[1], [2]]
    assert [request.query["limit"] for request in scripted.requests] == ["500", "500"]


async def test_an_expired_page_is_told_apart(scripted: Any, scripted_kube: Kube) -> None:
    scripted.says("GET", 410, status(410, "continue too old"))
    with pytest.raises(ExpiredError):
        _ = [page async for page in scripted_kube.pages(PATH)]


def stream(*pieces: bytes, then: Callable[[web.Request], Awaitable[None]] | None = None) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0)
        if then is not None:
            await then(request)
        return response

    return answer


def line(kind: str, **body: Any) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


async def watched(kube: Kube, **settings: Any) -> list[WatchEvent]:
    async with aclosing(kube.watch(PATH, "7", **settings)) as events:
        return [event async for event in events]


async def test_a_watch_asks_for_bookmarks_and_an_end(scripted: Any, scripted_kube: Kube) -> None:
    text = line("ADDED", a=1) + line("BOOKMARK", b=2) + line("DELETED", c="ü" * 5000)
    scripted.on("GET", stream(text[:10], text[10:40], text[40:-3], text[-3:]))
    events = await watched(scripted_kube)
    assert [(event.type, list(event.object)) for event in events] == [
        ("ADDED", ["a"]),
        ("BOOKMARK", ["b"]),
        ("DELETED", ["c"]),
    ]
    query = scripted.requests[0].query
    assert query["watch"] == query["allowWatchBookmarks"] == "true"
    assert query["resourceVersion"] == "7"
    assert int(query["timeoutSeconds"]) > 0


async def test_a_watch_that_is_too_old_says_so_in_the_stream_and_by_status(scripted: Any, scripted_kube: Kube) -> None:
    scripted.on("GET", stream(line("ERROR", code=410, message="too old resource version: 1 (5)")))
    with pytest.raises(ExpiredError):
        await watched(scripted_kube)
    scripted.says("GET", 410, status(410, "too old"))
    with pytest.raises(ExpiredError):
        await watched(scripted_kube)


async def test_silent_cut_and_broken_watches_are_unavailable(scripted: Any, scripted_kube: Kube) -> None:
    async def silence(_: web.Request) -> None:
        await asyncio.sleep(5)

    async def cut(request: web.Request) -> None:
        assert request.transport is not None
        request.transport.abort()

    opened: list[int] = []
    scripted.on("GET", stream(then=silence))
    with pytest.raises(UnavailableError, match="in time"):
        await watched(scripted_kube, silence=0.2, opened=lambda: opened.append(1))
    assert opened == [1]
    scripted.on("GET", stream(line("ADDED", a=1), then=cut))
    with pytest.raises(UnavailableError):
        await watched(scripted_kube)
    for broken in (b'{"type":"ADDED"\n', b"[]\n", b'{"object":{}}\n', b'{"type":"ADDED"}\n'):
        scripted.on("GET", stream(broken))
        with pytest.raises(UnavailableError):
            await watched(scripted_kube)


async def test_a_rotated_token_file_is_read_after_a_401(
    scripted: Any, write_kubeconfig: Callable[..., Path], tmp_path: Path
) -> None:
    async def check(request: web.Request) -> web.StreamResponse:
        fresh = request.headers["Authorization"] == "Bearer new"
        return web.json_response({"fresh": fresh}, status=200 if fresh else 401)

    scripted.on("GET", check)
    token = tmp_path / "token"
    token.write_text("old")
    async with Kube(Login(kubeconfig=write_kubeconfig(scripted.url, {"tokenFile": str(token)}))) as kube:
        with pytest.raises(DeniedError):
            await kube.get("/x")
        assert len(scripted.requests) == 2, "one more attempt with what the file says now, and no third"
        token.write_text("new")
        assert await kube.get("/x") == {"fresh": True}
        assert await kube.get("/x") == {"fresh": True}
        assert len(scripted.requests) == 5


async def test_an_exec_plugin_is_run_again_after_a_401(
    scripted: Any, write_kubeconfig: Callable[..., Path], tmp_path: Path
) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!{sys.executable}\nimport json, pathlib\n"
        f"runs = pathlib.Path({str(tmp_path / 'runs')!r})\n"
        "count = int(runs.read_text()) + 1 if runs.exists() else 1\nruns.write_text(str(count))\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        " 'status': {'token': f'run-{count}', 'expirationTimestamp': '2999-01-01T00:00:00Z'}}))\n"
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    valid = {"Bearer run-1"}

    async def check(request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=200 if request.headers["Authorization"] in valid else 401)

    scripted.on("GET", check)
    async with Kube(Login(kubeconfig=write_kubeconfig(scripted.url, user))) as kube:
        await asyncio.gather(*(kube.get("/x") for _ in range(5)))
        valid.clear()
        valid.add("Bearer run-2")
        await asyncio.gather(*(kube.get("/x") for _ in range(5)))
    assert (tmp_path / "runs").read_text() == "2", "many refused at once renew together"


def account(folder: Path, authority: Authority, token: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    (folder / "ca.crt").write_bytes(authority.pem)
    (folder / "namespace").write_text("basetracker-system\n")
    return folder


async def test_a_pod_logs_in_by_its_service_account(served: Callable[..., Awaitable[Any]], tmp_path: Path) -> None:
    authority = Authority()
    server = await served(authority.server_context("127.0.0.1"))
    port = server.url.rpartition(":")[2]
    accepted = {"bearer first"}

    async def check(request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=200 if request.headers["Authorization"] in accepted else 401)

    server.on("GET", check)
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
    folder = account(tmp_path / "account", authority, "first")
    async with Kube(Login(environ=environ, service_account=folder)) as kube:
        assert await kube.get("/x") == {}
        assert await kube.namespace() == "basetracker-system"
        (folder / "token").write_text("second")
        accepted.clear()
        accepted.add("bearer second")
        assert await kube.get("/x") == {}, "the kubelet has rotated the token"
        info = kopf.ConnectionInfo(**asdict(await kube.connection()))
    assert (info.scheme, info.token, info.default_namespace) == ("bearer", "second", "basetracker-system")
    assert info.server == server.url
    assert "second" not in repr(await kube.connection())


async def test_a_strange_certificate_is_named_and_a_new_ca_is_taken(
    served: Callable[..., Awaitable[Any]], tmp_path: Path
) -> None:
    ours, theirs = Authority(), Authority()
    server = await served(theirs.server_context("127.0.0.1"))
    server.says("GET", 200, {})
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": server.url.rpartition(":")[2]}
    folder = account(tmp_path / "account", ours, "token")
    async with Kube(Login(environ=environ, service_account=folder)) as kube:
        with pytest.raises(UnavailableError, match="certificate isn't trusted"):
            await kube.get("/x")
        (folder / "ca.crt").write_bytes(theirs.pem)
        assert await kube.get("/x") == {}


async def test_without_any_credentials_the_error_says_what_is_missing(tmp_path: Path) -> None:
    login = Login(kubeconfig=tmp_path / "none", environ={})
    with pytest.raises(InvalidError, match="no kubeconfig"):
        await Kube(login).get("/x")
    (tmp_path / "broken").write_text("clusters: {")
    with pytest.raises(InvalidError, match="can't be read"):
        await Kube(Login(kubeconfig=tmp_path / "broken", environ={})).get("/x")


async def test_another_context_can_be_named(scripted: Any, write_kubeconfig: Callable[..., Path]) -> None:
    path = write_kubeconfig(scripted.url)
    with pytest.raises(InvalidError):
        await Kube(Login(kubeconfig=path, context="other")).get("/x")
    async with Kube(Login(kubeconfig=path, context="main")) as kube:
        assert await kube.namespace() == "shop"


@pytest.mark.parametrize(
    ("server", "exempt", "direct"),
    [
        ("https://10.0.0.1:443", "10.0.0.0/16", True),
        ("https://10.0.0.1:443", "localhost, 10.0.0.0/16 ,.svc", True),
        ("https://10.1.0.1:443", "10.0.0.0/16", False),
        ("https://[fd00::1]:443", "fd00::/8", True),
        ("https://10.0.0.1:443", "", False),
        ("https://api.example.com", "10.0.0.0/16", False),
    ],
)
def test_no_proxy_may_name_a_range(server: str, exempt: str, direct: bool) -> None:
    assert is_direct(server, {"NO_PROXY": exempt}) is direct
    assert is_direct(server, {"no_proxy": exempt}) is direct


async def test_a_proxy_is_used_unless_exempt(
    scripted: Any, write_kubeconfig: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, served: Any
) -> None:
    proxy = await served()
    proxy.says("GET", 200, {"by": "proxy"})
    scripted.says("GET", 200, {"by": "server"})
    path = write_kubeconfig(scripted.url)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with Kube(Login(kubeconfig=path)) as kube:
        assert await kube.get("/x") == {"by": "proxy"}
    for exempt in ("127.0.0.1", "127.0.0.0/8"):
        monkeypatch.setenv("no_proxy", exempt)
        monkeypatch.setenv("NO_PROXY", exempt)
        async with Kube(Login(kubeconfig=path)) as kube:
            assert await kube.get("/x") == {"by": "server"}, exempt
