"""The Trivy gate in the whole operator, with the real Trivy: what it delivers, holds back and warns of."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from basetracker.emulators.samples import PACKAGES, debian, python

from ..adapters.gates.trivy.conftest import DATABASE, NO_TRIVY, TRIVY
from ..adapters.gates.trivy.vulnerability_database import MADE, Hole, artifact
from .world import BASE, NAMESPACE, World, a_tracker, image_of

pytestmark = pytest.mark.skipif(not Path(TRIVY).exists(), reason=NO_TRIVY)

GATED = a_tracker(fields={"gates": "[{lineage: {}}, {trivy: {severity: [CRITICAL], timeout: 1m}}]"})
BAD, GOOD = "3.0.15-1~deb12u1", PACKAGES["openssl"]
HOLE = Hole(id="CVE-2026-77", package="openssl", fixed=GOOD, severity="CRITICAL", bucket="debian 12")
LATE = Hole(id="CVE-2026-88", package="libc6", fixed="2.36-9+deb12u99", severity="CRITICAL", bucket="debian 12")


@pytest.fixture
def world(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """With a database in the registry, and an operator that has Trivy and looks for a newer one every second."""
    world.cloud.push(DATABASE, artifact([HOLE]))
    settings = {"": TRIVY, "_CACHE": str(tmp_path / "trivy"), "_DB_REPOSITORY": DATABASE, "_DB_INTERVAL": "1s"}
    for name, value in settings.items():
        monkeypatch.setenv(f"BASETRACKER_TRIVY{name}", value)
    return world


def _push_base(world: World, version: str, openssl: str) -> str:
    """Let the base's tag point to this version of it; the answer is its digest."""
    return world.cloud.push(BASE, python(version, on=debian(packages={**PACKAGES, "openssl": openssl})))


async def _findings(world: World) -> tuple[int | None, str]:
    """What `basetracker findings` ends with and prints for somebody who may read the image."""
    kubeconfig = world.directory / "person.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(world.cluster.kubeconfig(namespace=NAMESPACE)))
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("basetracker")), "findings", "python", "checkout"),
        env={**os.environ, **world.environment(), "KUBECONFIG": str(kubeconfig)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def _warnings(world: World) -> list[str]:
    """The messages of the Events about a running image that fails."""
    return [one["message"] for one in world.cluster.list("Event", NAMESPACE) if one["reason"] == "RunningImageFails"]


async def test_what_trivy_finds_is_held_back_and_what_it_finds_later_is_warned_of(world: World) -> None:
    await world.furnish()
    old = world.digest(image_of("checkout"))
    await world.operate()
    await world.apply(GATED)
    row = await world.becomes("Current")
    assert [(gate["name"], gate["reason"]) for gate in row["gates"]] == [("lineage", "Proven"), ("trivy", "NoFindings")]

    _push_base(world, "3.12.12", BAD)
    await world.look()
    row = await world.becomes("Blocked GateFailed")
    assert f"CVE-2026-77 in openssl {BAD} (fixed in {GOOD})" in row["message"]
    assert world.runs_digests() == {old}
    code, shown = await _findings(world)
    assert (code, "CVE-2026-77" in shown) == (1, True), shown

    mended = _push_base(world, "3.12.13", GOOD)
    await world.look()
    new = await world.catches_up(mended)
    assert new != old
    await world.until(lambda: world.runs_digests() == {new}, "the Pods run it")
    assert world.deliveries() == 2, "the first digest and the mended one"

    world.cloud.push(DATABASE, artifact([HOLE, LATE], MADE + timedelta(minutes=1)))
    for _ in range(40):
        await asyncio.sleep(0.5)  # until the operator has the new edition
        await world.look()
        if world.condition("RunningImageFails").get("status") == "True":
            break
    await world.until(lambda: len(_warnings(world)) == 1, "an Event warns of what runs")
    assert "CVE-2026-88 in libc6" in _warnings(world)[0]
    assert world.condition("RunningImageFails")["status"] == "True"
    assert world.runs_digests() == {new}, "what runs stays"
