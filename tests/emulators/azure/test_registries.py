"""Registries over HTTP: how they are guarded, what they keep, how they refuse."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from basetracker.emulators import samples
from basetracker.emulators.images import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST, digest_of, encode

from .conftest import BASE, Answer, World, basic, bearer

HOST = "contoso.azurecr.io"
MANIFEST = f"https://{HOST}/v2/base/python/manifests/3.12"
PULL = "repository:base/python:pull"


async def test_the_challenge_names_realm_service_and_scope(world: World) -> None:
    answer = (await world.ask("HEAD", MANIFEST)).expect(401)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith(f'Bearer realm="https://{HOST}/oauth2/token",service="{HOST}"')
    assert 'scope="repository:base/python:pull"' in challenge
    body = (await world.ask("GET", MANIFEST)).expect(401).json()
    assert body["errors"][0]["code"] == "UNAUTHORIZED"
    (await world.ask("GET", f"https://{HOST}/v2/")).expect(401)


async def test_one_request_a_poll_once_there_is_a_token(world: World) -> None:
    token = await world.acr_token(PULL)
    before = world.cloud.faults.counts[f"HEAD {HOST}"]
    for _ in range(3):
        answer = (await world.ask("HEAD", MANIFEST, headers=bearer(token))).expect(200)
    assert answer.headers["Docker-Content-Digest"] == world.contoso.digest("base/python", "3.12")
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert int(answer.headers["Content-Length"]) == len(samples.python_index().manifest)
    assert world.cloud.faults.counts[f"HEAD {HOST}"] == before + 3
    assert world.cloud.proxy.connects[f"{HOST}:443"] == 1
    (await world.ask("GET", f"https://{HOST}/v2/", headers=bearer(token))).expect(200)


async def test_names_may_be_percent_encoded(world: World) -> None:
    token = await world.acr_token(PULL)
    url = f"https://{HOST}/v2/base%2Fpython/manifests/3.12"
    answer = await world.ask("GET", url, headers=bearer(token))
    assert digest_of(answer.expect(200).body) == world.contoso.digest("base/python", "3.12")


async def test_access_tokens_end_after_75_minutes_and_refresh_tokens_after_3_hours(world: World) -> None:
    entra = world.cloud.entra.token(world.operator, "https://containerregistry.azure.net")
    form = {"grant_type": "access_token", "service": HOST, "access_token": entra}
    refresh = (await world.ask("POST", f"https://{HOST}/oauth2/exchange", data=form)).json()["refresh_token"]
    access = await world.acr_access(refresh, PULL)
    world.clock.advance(74 * 60)
    (await world.ask("HEAD", MANIFEST, headers=bearer(access))).expect(200)
    world.clock.advance(2 * 60)
    (await world.ask("HEAD", MANIFEST, headers=bearer(access))).expect(401)
    access = await world.acr_access(refresh, PULL)
    (await world.ask("HEAD", MANIFEST, headers=bearer(access))).expect(200)
    world.clock.advance(105 * 60)
    form = {"grant_type": "refresh_token", "service": HOST, "refresh_token": refresh, "scope": PULL}
    (await world.ask("POST", f"https://{HOST}/oauth2/token", data=form)).expect(401)


async def test_a_missing_right_is_left_out_of_the_token(world: World) -> None:
    token = await world.acr_token("repository:base/python:pull,push", "repository:other:pull")
    headers = bearer(token, **{"Content-Type": OCI_MANIFEST})
    (await world.ask("HEAD", MANIFEST, headers=headers)).expect(200)
    refused = (await world.ask("PUT", MANIFEST, headers=headers, data=b"{}")).expect(401)
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]


async def test_arm_and_registry_refuse_each_others_tokens(world: World) -> None:
    arm = world.cloud.entra.token(world.operator, "https://management.azure.com")
    acr = world.cloud.entra.token(world.operator, "https://containerregistry.azure.net")
    form = {"grant_type": "access_token", "service": HOST, "access_token": arm}
    (await world.ask("POST", f"https://{HOST}/oauth2/exchange", data=form)).expect(401)
    url = f"https://management.azure.com{world.contoso.id}?api-version=2025-11-01"
    refused = (await world.ask("GET", url, headers=bearer(acr))).expect(401)
    assert refused.json()["error"]["code"] == "InvalidAuthenticationTokenAudience"
    assert len(world.cloud.faults.leaks) == 2
    (await world.ask("GET", url, headers=bearer(arm))).expect(200)


async def test_abac_registries_ignore_acrpull(world: World) -> None:
    world.contoso.access.abac = True
    token = await world.acr_token(PULL)
    (await world.ask("HEAD", MANIFEST, headers=bearer(token))).expect(401)
    world.operator.assign("Container Registry Repository Reader", world.contoso.id, "base/*")
    token = await world.acr_token(PULL, "repository:shop/checkout:pull")
    (await world.ask("HEAD", MANIFEST, headers=bearer(token))).expect(200)
    other = f"https://{HOST}/v2/shop/checkout/manifests/main"
    (await world.ask("HEAD", other, headers=bearer(token))).expect(401)


async def test_anonymous_pull_is_a_switch(world: World) -> None:
    url = f"https://{HOST}/oauth2/token"
    form = {"grant_type": "password", "service": HOST, "scope": PULL}
    (await world.ask("POST", url, data=form)).expect(401)
    world.contoso.access.anonymous_pull = True
    token = (await world.ask("POST", url, data=form)).expect(200).json()["access_token"]
    (await world.ask("HEAD", MANIFEST, headers=bearer(token))).expect(200)
    query = {"service": HOST, "scope": PULL}
    token = (await world.ask("GET", url, params=query)).expect(200).json()["access_token"]
    (await world.ask("HEAD", MANIFEST, headers=bearer(token))).expect(200)


async def test_user_and_password_at_an_azure_registry(world: World) -> None:
    world.contoso.access.add_account("puller", "s3cret")
    query = {"service": HOST, "scope": PULL}
    url = f"https://{HOST}/oauth2/token"
    answer = await world.ask("GET", url, params=query, headers=basic("puller", "s3cret"))
    token = answer.expect(200).json()["access_token"]
    (await world.ask("HEAD", MANIFEST, headers=bearer(token))).expect(200)
    (await world.ask("GET", url, params=query, headers=basic("puller", "wrong"))).expect(401)


async def test_a_registry_whose_token_service_is_another_host(world: World) -> None:
    registry = world.cloud.add_token_registry("registry.example.com", "auth.example.com", {"ann": "pw"})
    digest = world.cloud.push("registry.example.com/library/app:1", samples.python(docker=True))
    url = "https://registry.example.com/v2/library/app/manifests/1"
    challenge = (await world.ask("HEAD", url)).expect(401).headers["WWW-Authenticate"]
    assert 'realm="https://auth.example.com/token"' in challenge
    query = {"service": "registry.example.com", "scope": "repository:library/app:pull"}
    realm = "https://auth.example.com/token"
    (await world.ask("GET", realm, params=query, headers=basic("ann", "no"))).expect(401)
    weak = (await world.ask("GET", realm, params=query)).expect(200).json()["token"]
    (await world.ask("HEAD", url, headers=bearer(weak))).expect(401)
    token = (await world.ask("GET", realm, params=query, headers=basic("ann", "pw"))).json()["token"]
    answer = (await world.ask("HEAD", url, headers=bearer(token))).expect(200)
    assert answer.headers["Docker-Content-Digest"] == digest
    world.clock.advance(301)
    (await world.ask("HEAD", url, headers=bearer(token))).expect(401)
    registry.access.anonymous_pull = True
    free = (await world.ask("GET", realm, params=query)).json()["token"]
    (await world.ask("HEAD", url, headers=bearer(free))).expect(200)
    assert world.cloud.faults.leaks == []


async def test_a_basic_registry_and_an_open_one(world: World) -> None:
    world.cloud.add_basic_registry("basic.example.com", {"ann": "pw"})
    world.cloud.add_open_registry("open.example.com")
    for host in ("basic.example.com", "open.example.com"):
        world.cloud.push(f"{host}/app:1", samples.python())
    guarded = "https://basic.example.com/v2/app/manifests/1"
    assert (await world.ask("HEAD", guarded)).expect(401).headers["WWW-Authenticate"].startswith("Basic ")
    (await world.ask("HEAD", guarded, headers=basic("ann", "pw"))).expect(200)
    (await world.ask("HEAD", "https://open.example.com/v2/app/manifests/1")).expect(200)
    (await world.ask("HEAD", "https://open.example.com/v2/app/manifests/2")).expect(404)
    (await world.ask("GET", "https://open.example.com/acr/v1/app")).expect(404)


async def test_a_secret_at_the_wrong_host_is_noticed(world: World) -> None:
    world.cloud.add_host("evil.example.com", [])
    token = await world.acr_token(PULL)
    (await world.ask("GET", "https://evil.example.com/token", headers=bearer(token))).expect(404)
    [leak] = world.cloud.faults.leaks
    assert (leak.host, leak.authorization) == ("evil.example.com", "Bearer")
    assert leak.leaked[0].kind == f"access_token of {HOST}"


async def test_what_is_not_accepted_is_converted_or_hidden(world: World) -> None:
    world.cloud.add_open_registry("open.example.com")
    multi = samples.python_index(docker=True)
    world.cloud.push("open.example.com/docker:1", multi)
    world.cloud.push("open.example.com/oci:1", samples.python_index())
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    converted = await world.ask("GET", "https://open.example.com/v2/docker/manifests/1", headers=accept)
    assert converted.expect(200).headers["Docker-Content-Digest"] == multi.children[0].digest
    whole = await world.ask(
        "GET", "https://open.example.com/v2/docker/manifests/1", headers={"Accept": f"{OCI_INDEX},{DOCKER_LIST}"}
    )
    assert whole.headers["Docker-Content-Digest"] == multi.digest
    (await world.ask("GET", "https://open.example.com/v2/oci/manifests/1", headers=accept)).expect(404)


async def test_an_image_is_pushed_and_read_back_over_http(world: World) -> None:
    world.cloud.add_open_registry("open.example.com")
    image = samples.python()
    root = "https://open.example.com/v2/team/app"
    headers = {"Content-Type": image.media_type}
    early = await world.ask("PUT", f"{root}/manifests/1", headers=headers, data=image.manifest)
    assert early.expect(400).json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
    for digest, blob in image.blobs.items():
        begun = (await world.ask("POST", f"{root}/blobs/uploads/")).expect(202)
        place = f"https://open.example.com{begun.headers['Location']}"
        (await world.ask("PATCH", place, data=blob[:10])).expect(202)
        (await world.ask("PUT", place, params={"digest": digest}, data=blob[10:])).expect(201)
    made = await world.ask("PUT", f"{root}/manifests/1", headers=headers, data=image.manifest)
    assert made.expect(201).headers["Docker-Content-Digest"] == image.digest
    part = await world.ask("GET", f"{root}/blobs/{image.layers[0].digest}", headers={"Range": "bytes=2-5"})
    assert part.expect(206).body == image.layers[0].blob[2:6]
    assert (await world.ask("GET", f"{root}/tags/list")).json() == {"name": "team/app", "tags": ["1"]}
    (await world.ask("DELETE", f"{root}/manifests/{image.digest}")).expect(202)
    (await world.ask("HEAD", f"{root}/manifests/1")).expect(404)


async def test_a_wrong_upload_digest_is_refused(world: World) -> None:
    world.cloud.add_open_registry("open.example.com")
    url = f"https://open.example.com/v2/x/blobs/uploads/?digest={digest_of(b'a')}"
    refused = (await world.ask("POST", url, data=b"b")).expect(400)
    assert refused.json()["errors"][0]["code"] == "DIGEST_INVALID"


async def test_blob_downloads_may_be_redirected_to_another_host(world: World) -> None:
    world.contoso.blobs.redirect_to = world.cloud.blob_store
    layer = samples.python().layers[0]
    token = await world.acr_token(PULL)
    url = f"https://{HOST}/v2/base/python/blobs/{layer.digest}"
    redirect = (await world.ask("GET", url, headers=bearer(token))).expect(307)
    place = redirect.headers["Location"]
    assert place.startswith("https://weumanaged17.blob.core.windows.net/")
    assert (await world.ask("GET", place)).expect(200).body == layer.blob
    assert world.cloud.faults.leaks == []
    (await world.ask("GET", place, headers=bearer(token))).expect(400)
    assert len(world.cloud.faults.leaks) == 1


async def push_referrer(world: World, kind: str) -> Answer:
    subject = world.contoso.storage.find("base/python", "3.12")
    assert subject is not None
    config = world.contoso.storage.put_blob(b"{}")
    body = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
            "layers": [],
            "subject": {"mediaType": OCI_INDEX, "digest": subject.digest, "size": len(subject.body)},
        }
    )
    world.operator.assign("AcrPush", world.contoso.id)
    token = await world.acr_token("repository:base/python:push,pull")
    url = f"https://{HOST}/v2/base/python/manifests/{digest_of(body)}"
    return await world.ask("PUT", url, data=body, headers=bearer(token, **{"Content-Type": OCI_MANIFEST}))


async def test_referrers_are_listed_by_type_and_can_be_switched_off(world: World) -> None:
    subject = world.contoso.digest("base/python", "3.12")
    for kind in ("application/vnd.a", "application/vnd.b"):
        assert (await push_referrer(world, kind)).expect(201).headers["OCI-Subject"] == subject
    headers = bearer(await world.acr_token(PULL))
    url = f"https://{HOST}/v2/base/python/referrers/{subject}"
    both = (await world.ask("GET", url, headers=headers)).expect(200)
    assert {one["artifactType"] for one in both.json()["manifests"]} == {"application/vnd.a", "application/vnd.b"}
    one = await world.ask("GET", url, params={"artifactType": "application/vnd.a"}, headers=headers)
    assert len(one.json()["manifests"]) == 1
    assert one.headers["OCI-Filters-Applied"] == "artifactType"
    nothing = await world.ask("GET", f"{url[:-4]}0000", headers=headers)
    assert nothing.expect(200).json()["manifests"] == []
    world.contoso.api.referrers_enabled = False
    (await world.ask("GET", url, headers=headers)).expect(404)


async def test_quarantined_images_are_hidden_until_they_pass(world: World) -> None:
    world.contoso.storage.quarantine = True
    digest = world.cloud.push("contoso.azurecr.io/base/python:3.12", samples.python("3.12.12"))
    headers = bearer(await world.acr_token(PULL))
    (await world.ask("HEAD", MANIFEST, headers=headers)).expect(404)
    assert await world.cloud.resolve_image(BASE) is None
    by_digest = f"https://{HOST}/v2/base/python/manifests/{digest}"
    refused = (await world.ask("GET", by_digest, headers=headers)).expect(405)
    assert "disallowed" in refused.json()["errors"][0]["message"]
    world.operator.assign("AcrQuarantineWriter", world.contoso.id)
    writer = bearer(await world.acr_token("repository:base/python:metadata_write"))
    change = {"quarantineState": "Passed", "quarantineDetails": json.dumps({"state": "scan Passed"})}
    url = f"https://{HOST}/acr/v1/base/python/_manifests/{digest}"
    shown = (await world.ask("PATCH", url, json=change, headers=writer)).expect(200).json()["manifest"]
    assert shown["changeableAttributes"]["quarantineState"] == "Passed"
    (await world.ask("HEAD", MANIFEST, headers=headers)).expect(200)


async def test_a_spent_budget_answers_429_and_counts_down(world: World) -> None:
    headers = bearer(await world.acr_token(PULL))
    world.contoso.limits.allow("read", 100, 2)
    for _ in range(2):
        (await world.ask("HEAD", MANIFEST, headers=headers)).expect(200)
    waits = []
    for _ in range(3):
        refused = (await world.ask("HEAD", MANIFEST, headers=headers)).expect(429)
        waits.append(int(refused.headers["Retry-After"]))
        world.clock.advance(15)
    assert waits == [60, 45, 30]
    world.clock.advance(20)
    (await world.ask("HEAD", MANIFEST, headers=headers)).expect(200)


async def test_lists_are_paged_by_relative_links(world: World) -> None:
    for number in range(3):
        world.cloud.push(f"contoso.azurecr.io/base/python:v{number}", samples.python())
    headers = bearer(await world.acr_token("repository:base/python:pull"))
    seen: list[str] = []
    place = "/v2/base/python/tags/list?n=3"
    while place:
        page = (await world.ask("GET", f"https://{HOST}{place}", headers=headers)).expect(200)
        seen += page.json()["tags"]
        place = page.headers.get("Link", "<>").split(">")[0].strip("<")
    assert seen == ["3.12", "v0", "v1", "v2"]


async def test_a_node_finds_images_by_tag_and_digest(world: World) -> None:
    digest = world.contoso.digest("base/python", "3.12")
    assert await world.cloud.resolve_image(BASE) == digest
    assert await world.cloud.resolve_image(f"{BASE}@{digest}") == digest
    assert await world.cloud.resolve_image("contoso.azurecr.io/base/python:nope") is None
    assert await world.cloud.resolve_image("nowhere.example.com/x:1") is None


@pytest.mark.parametrize("field", ["grant_type", "service"])
async def test_a_malformed_exchange_is_a_bad_request(world: World, field: str) -> None:
    form = {"grant_type": "access_token", "service": HOST, "access_token": "x"} | {field: "nonsense"}
    (await world.ask("POST", f"https://{HOST}/oauth2/exchange", data=form)).expect(400)


async def test_hosts_of_ones_own_can_be_added(world: World) -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    world.cloud.add_host("hooks.example.com", [web.get("/", hello)])
    assert (await world.ask("GET", "https://hooks.example.com/")).body == b"hello"
    with pytest.raises(ValueError, match="already"):
        world.cloud.add_host("hooks.example.com", [])


async def test_metadata_tells_platforms_and_survives_a_deleted_child(world: World) -> None:
    [first, *_] = samples.python_index().children
    headers = bearer(await world.acr_token("repository:base/python:metadata_read"))
    url = f"https://{HOST}/acr/v1/base/python/_manifests"
    shown = (await world.ask("GET", f"{url}/{first.digest}", headers=headers)).expect(200).json()["manifest"]
    assert (shown["os"], shown["architecture"], shown["tags"]) == ("linux", "amd64", [])
    assert world.contoso.storage.delete_manifest("base/python", first.digest)
    listed = (await world.ask("GET", url, headers=headers)).expect(200).json()["manifests"]
    assert len(listed) == 4
    about = (await world.ask("GET", f"https://{HOST}/acr/v1/base/python", headers=headers)).expect(200).json()
    assert (about["imageName"], about["manifestCount"], about["tagCount"]) == ("base/python", 4, 1)
