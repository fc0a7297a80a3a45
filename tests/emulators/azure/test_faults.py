"""Faults strike as told, before or after the side effect, and the proxy lets nothing out."""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.mgmt.containerregistrytasks import models as m

from basetracker.emulators import samples
from basetracker.emulators.faults import Fault

from .conftest import BASE, GROUP, World

SCHEDULE = "POST management.azure.com .*/scheduleRun"
OPEN = "https://open.example.com/v2/app/manifests/1"


async def schedule(world: World) -> None:
    """Start the task as the SDK does, without retries."""
    async with world.tasks_client() as client:
        await client.registries.schedule_run(GROUP, "contoso", m.TaskRunRequest(task_id=world.task.id))


async def test_a_side_effect_and_then_an_error(world: World) -> None:
    world.cloud.faults.add(Fault(match=SCHEDULE, status=500, after=True))
    with pytest.raises(HttpResponseError):
        await schedule(world)
    assert len(world.cloud.tasks.runs) == 1


async def test_a_side_effect_and_then_a_cut(world: World) -> None:
    world.cloud.faults.add(Fault(match=SCHEDULE, drop=True, after=True))
    with pytest.raises(ServiceRequestError):
        await schedule(world)
    assert len(world.cloud.tasks.runs) == 1
    assert [one.status for one in world.cloud.faults.asked(SCHEDULE)] == [0]


async def test_an_error_or_a_cut_before_the_side_effect(world: World) -> None:
    world.cloud.faults.add(Fault(match=SCHEDULE, status=503), Fault(match=SCHEDULE, drop=True))
    for kind in (HttpResponseError, ServiceRequestError):
        with pytest.raises(kind):
            await schedule(world)
    assert len(world.cloud.tasks.runs) == 0
    await schedule(world)
    assert len(world.cloud.tasks.runs) == 1


async def test_the_sdks_own_retry_doubles_a_run(world: World) -> None:
    world.cloud.faults.add(Fault(match=SCHEDULE, status=500, after=True))
    async with world.tasks_client(retry_total=3, retry_backoff_factor=0) as client:
        await client.registries.schedule_run(GROUP, "contoso", m.TaskRunRequest(task_id=world.task.id))
    assert len(world.cloud.tasks.runs) == 2


async def test_the_sdk_stumbles_over_an_error_without_a_body(world: World) -> None:
    world.cloud.faults.add(Fault(match=SCHEDULE, status=502, body=b"", after=True))
    with pytest.raises(json.JSONDecodeError):
        await schedule(world)
    assert len(world.cloud.tasks.runs) == 1


@pytest.fixture
async def image(world: World) -> str:
    """A digest in an open registry."""
    world.cloud.add_open_registry("open.example.com")
    return world.cloud.push("open.example.com/app:1", samples.python())


async def test_a_fault_strikes_so_often_after_so_many(world: World, image: str) -> None:
    world.cloud.faults.add(Fault(match="GET open", n=2, skip=1, status=429, headers={"Retry-After": "7"}))
    answers = [await world.ask("GET", OPEN) for _ in range(4)]
    assert [one.status for one in answers] == [200, 429, 429, 200]
    assert answers[1].headers["Retry-After"] == "7"


async def test_a_fault_for_ever_until_cleared(world: World, image: str) -> None:
    world.cloud.faults.add(Fault(match="open", n=None, status=500, body={"errors": []}))
    for _ in range(3):
        assert (await world.ask("GET", OPEN)).expect(500).json() == {"errors": []}
    world.cloud.faults.clear()
    (await world.ask("GET", OPEN)).expect(200)


async def test_damaged_answers(world: World, image: str) -> None:
    world.cloud.faults.add(
        Fault(match="GET open", truncate=10),
        Fault(match="GET open", pad=5),
        Fault(match="GET open", headers={"Docker-Content-Digest": "sha256:" + "0" * 64}),
        Fault(match="HEAD open", headers={"Docker-Content-Digest": "nonsense"}),
        Fault(match="GET open", torn=True),
    )
    whole = samples.python().manifest
    assert (await world.ask("GET", OPEN)).body == whole[:10]
    assert (await world.ask("GET", OPEN)).body == whole + b" " * 5
    wrong = await world.ask("GET", OPEN)
    assert (wrong.body, wrong.headers["Docker-Content-Digest"]) == (whole, "sha256:" + "0" * 64)
    assert (await world.ask("HEAD", OPEN)).headers["Docker-Content-Digest"] == "nonsense"
    with pytest.raises(aiohttp.ClientPayloadError):
        await world.ask("GET", OPEN)
    assert (await world.ask("GET", OPEN)).headers["Docker-Content-Digest"] == image


async def test_a_late_answer(world: World, image: str) -> None:
    world.cloud.faults.add(Fault(match="GET open", delay=5))
    with pytest.raises(TimeoutError):
        await world.ask("GET", OPEN, timeout=aiohttp.ClientTimeout(total=0.2))
    (await world.ask("GET", OPEN)).expect(200)


async def test_the_proxy_refuses_and_notes_every_other_host(world: World) -> None:
    with pytest.raises(aiohttp.ClientHttpProxyError) as refusal:
        await world.ask("GET", "https://example.org/")
    assert refusal.value.status == 502
    assert list(world.cloud.proxy.refused) == ["CONNECT example.org:443"]


async def test_the_proxy_survives_nonsense(world: World, image: str) -> None:
    port = int(world.cloud.proxy_url.rpartition(":")[2])
    for nonsense in (b"hello\r\n\r\n", b"GET http://example.org/ HTTP/1.1\r\n\r\n", b"x" * 100_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(nonsense)
        writer.write_eof()
        async with asyncio.timeout(5):
            try:
                answer = await reader.read()
            except ConnectionError:
                answer = b""
        assert answer == b"" or answer.startswith(b"HTTP/1.1 502")
        writer.close()
    (await world.ask("GET", OPEN)).expect(200)


async def test_cut_tunnels_heal(world: World, image: str) -> None:
    (await world.ask("GET", OPEN)).expect(200)
    world.cloud.proxy.cut_tunnels()
    (await world.ask("GET", OPEN)).expect(200)
    assert world.cloud.proxy.connects["open.example.com:443"] == 2


async def test_a_child_process_finds_everything_by_its_environment(world: World) -> None:
    program = """
import asyncio, sys
from azure.identity.aio import WorkloadIdentityCredential
from azure.containerregistry.aio import ContainerRegistryClient
async def main():
    async with WorkloadIdentityCredential() as credential:
        async with ContainerRegistryClient("https://contoso.azurecr.io", credential) as client:
            print((await client.get_tag_properties("base/python", "3.12")).digest)
asyncio.run(main())
"""
    variables = world.cloud.environment(world.directory, world.operator) | {"PATH": "/usr/bin:/bin"}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=variables, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, _ = await child.communicate()
    assert child.returncode == 0
    assert output.decode().strip() == await world.cloud.resolve_image(BASE)
