"""The Defender gate in the whole operator: nothing is delivered that Defender calls severe, or that it hasn't seen."""

from __future__ import annotations

import asyncio

from basetracker.emulators.cloud import SUBSCRIPTION
from basetracker.emulators.resource_graph import assessment

from .world import World, a_tracker, image_of

ASKED = a_tracker(fields={"gates": "[{lineage: {}}, {defender: {severity: [CRITICAL], waitAtLeast: 0s}}]"})
SILENCE = "says nothing about this digest"
LENIENT = a_tracker(fields={"gates": "[{defender: {waitAtLeast: 0s, onUnknown: Pass}}]"})


def _found(world: World, digest: str, cve: str, severity: str) -> None:
    """Let Defender find this in a package of the digest."""
    row = assessment(digest=digest, subscription=SUBSCRIPTION, software=f"lib-{cve}", cves=[(cve, severity)])
    world.cloud.graph.add(row)


async def _begin(world: World) -> str:
    """`checkout` is built, Defender has found nothing severe in it, and it is current; the answer is its digest."""
    await world.furnish()
    world.identity.assign("Security Reader", f"/subscriptions/{SUBSCRIPTION}")
    digest = world.digest(image_of("checkout"))
    _found(world, digest, "CVE-2026-1", "Low")
    await world.operate()
    await world.apply(ASKED)
    await world.becomes("Current")
    return digest


async def _look_later(world: World) -> None:
    """Ask for a look in another second than that of the last answer: the operator's clock has whole ones."""
    await asyncio.sleep(1.1)
    await world.look()


async def test_a_digest_waits_until_defender_has_seen_it(world: World) -> None:
    old = await _begin(world)
    new_base = await world.move_base()
    await world.until(lambda: SILENCE in world.image("checkout")["message"], "Defender's silence is told")
    assert world.state() == "Validating GatePending"
    assert world.runs_digests() == {old}
    new = world.digest(image_of("checkout"))
    assert new != old
    _found(world, new, "CVE-2026-2", "High")
    await _look_later(world)
    assert await world.catches_up(new_base) == new
    assert world.runs_digests() == {new}


async def test_a_severe_finding_keeps_a_digest_away_from_the_workloads(world: World) -> None:
    old = await _begin(world)
    await world.move_base()
    await world.until(lambda: SILENCE in world.image("checkout")["message"], "Defender's silence is told")
    _found(world, world.digest(image_of("checkout")), "CVE-2026-2", "Critical")
    await _look_later(world)
    row = await world.becomes("Blocked GateFailed")
    assert "CVE-2026-2 in lib-CVE-2026-2" in row["message"]
    assert world.runs_digests() == {old}


async def test_silence_passes_where_the_tracker_says_so(world: World) -> None:
    await world.furnish()
    world.identity.assign("Security Reader", f"/subscriptions/{SUBSCRIPTION}")
    await world.operate()
    await world.apply(LENIENT)
    row = await world.becomes("Current")
    assert [(gate["name"], gate["verdict"], gate["reason"]) for gate in row["gates"]][1:] == [
        ("defender", "Pass", "UnknownToDefender")
    ]
