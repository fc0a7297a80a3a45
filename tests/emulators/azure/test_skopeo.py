"""A client written by others, in Go: skopeo reads and copies images of the emulated registries."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from basetracker.emulators import samples

from .conftest import BASE, World

SKOPEO = shutil.which("skopeo")
pytestmark = pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed")


async def skopeo(world: World, *arguments: str) -> str:
    """Run skopeo through the proxy; answers what it prints."""
    variables = world.cloud.environment(world.directory) | {"PATH": "/usr/bin:/bin", "HOME": str(world.directory)}
    child = await asyncio.create_subprocess_exec(
        str(SKOPEO),
        "--insecure-policy",
        *arguments,
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()
    return output.decode()


async def test_inspect_shows_config_and_layers(world: World) -> None:
    world.contoso.access.add_account("puller", "s3cret")
    shown = json.loads(await skopeo(world, "inspect", "--creds", "puller:s3cret", f"docker://{BASE}"))
    assert shown["Digest"] == world.contoso.digest("base/python", "3.12")
    assert shown["Layers"] == [layer.digest for layer in samples.python().layers]
    assert "PYTHON_VERSION=3.12.11" in shown["Env"]


@pytest.mark.parametrize("docker", [False, True])
async def test_copy_keeps_every_byte(world: World, docker: bool) -> None:
    source = world.cloud.add_open_registry("open.example.com")
    world.cloud.add_token_registry("far.example.com", "auth.example.com", {"ann": "pw"})
    source.push("base", "1", samples.python_index(docker=docker))
    await skopeo(
        world,
        "copy",
        "--all",
        "--dest-creds",
        "ann:pw",
        "docker://open.example.com/base:1",
        "docker://far.example.com/team/base:1",
    )
    copied = await world.cloud.fetch("far.example.com/team/base:1")
    assert copied == samples.python_index(docker=docker)
    assert world.cloud.faults.leaks == []
