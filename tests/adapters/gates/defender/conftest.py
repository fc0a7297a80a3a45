"""An emulated Azure with Defender's assessments in it, and the gate that reads them through the product's own way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from basetracker.adapters.azure_identity import AzureSettings, azure_identity
from basetracker.adapters.builders.arm import Arm
from basetracker.adapters.gates.defender.asking import Findings
from basetracker.adapters.gates.defender.gate import Defender
from basetracker.adapters.host_limits import HostLimits
from basetracker.adapters.http import Http
from basetracker.api.gates import Gate
from basetracker.api.tracker import Key
from basetracker.emulators.cloud import SUBSCRIPTION, Cloud
from basetracker.emulators.identities import Identity
from basetracker.emulators.resource_graph import assessment
from basetracker.emulators.timeline import ManualClock, utcnow
from basetracker.oci.lineage import Image, PlatformImage
from basetracker.oci.platform import Platform
from basetracker.oci.refs import Digest, ImageRef, parse_image
from basetracker.ports import Answer, Credential, Question

SCOPE = f"/subscriptions/{SUBSCRIPTION}"
IMAGE = parse_image("contoso.azurecr.io/shop/checkout:main")
DIGEST = Digest.of(b"checkout")
OTHER = Digest.of(b"cart")
QUERIES = "POST management.azure.com /providers/Microsoft.ResourceGraph/resources"


class Time:
    """The clock of a test: it moves when told to, and when somebody sleeps."""

    def __init__(self) -> None:
        self.manual = ManualClock(utcnow())  # Azure's clients judge a token's end by the real time
        self._start = self.manual.now
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.manual.now

    def monotonic(self) -> float:
        return (self.manual.now - self._start).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.manual.advance(seconds)
        await asyncio.sleep(0)


class Images:
    """A registry that has images with these platforms."""

    def __init__(self, platforms: dict[Digest, tuple[Digest, ...]]) -> None:
        self._platforms = platforms

    async def digest(self, image: ImageRef, credential: Credential | None) -> Digest | None:
        return image.digest

    async def image(self, image: ImageRef, credential: Credential | None) -> Image | None:
        assert image.digest is not None
        if image.digest not in self._platforms:
            return None
        found = [
            PlatformImage(digest=one, platform=Platform("linux", "amd64"), diff_ids=())
            for one in self._platforms[image.digest]
        ]
        return Image(digest=image.digest, platforms=tuple(found))


@dataclass
class World:
    """The emulated Azure of a test and the gate on it."""

    cloud: Cloud
    time: Time
    operator: Identity
    http: Http
    directory: Path
    began: datetime
    platforms: dict[Digest, tuple[Digest, ...]] = field(default_factory=lambda: {DIGEST: (DIGEST,), OTHER: (OTHER,)})
    """The digests of each image's platforms; its own where it is of one platform."""
    _open: list[Any] = field(default_factory=list)

    def findings(self, *, anonymous: bool = False, subscriptions: tuple[str, ...] = (), most: int = 50) -> Findings:
        """The way to ask, of the operator's identity or of nobody."""
        variables = self.cloud.environment(self.directory, None if anonymous else self.operator)
        identity = azure_identity(AzureSettings.from_environment(variables), self.http)
        arm = Arm(self.http, identity)
        found = Findings(arm, self.time, subscriptions=subscriptions, most=most)
        self._open += [found, arm, *([identity] if identity else [])]
        return found

    def gate(self, **settings: Any) -> Defender:
        """The gate over `findings(**settings)`."""
        return Defender(self.findings(**settings), Images(self.platforms), self.time)

    def found(self, *cves: tuple[str, str], digest: Digest = DIGEST, **said: Any) -> None:
        """Let Defender have found these (id, severity) in a package of the digest."""
        self.cloud.graph.add(assessment(digest=str(digest), subscription=SUBSCRIPTION, cves=cves, **said))

    def question(self, digest: Digest = DIGEST, **gate: Any) -> Question:
        """The gate's question about a digest, first asked when the test began."""
        return Question(
            tracker=Key(namespace="shop", name="python"),
            uid="u-1",
            downstream="checkout",
            name="defender",
            gate=Gate.model_validate({"defender": gate}),
            image=IMAGE.pinned(digest),
            since=self.began,
        )

    async def judge(self, digest: Digest = DIGEST, **gate: Any) -> Answer:
        """What a fresh gate answers."""
        return await self.gate().judge(self.question(digest, **gate), None)

    def wait(self, **span: float) -> None:
        """Let time pass."""
        self.time.manual.advance(timedelta(**span).total_seconds())

    def queries(self) -> list[str]:
        """The queries that Resource Graph was asked, answered or not."""
        return [str(one) for one in self.cloud.faults.asked(QUERIES)]

    async def close(self) -> None:
        for one in self._open:
            await one.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An Azure whose findings the operator's identity may read; there are none yet."""
    time = Time()
    cloud = Cloud(clock=time.manual)
    operator = cloud.add_identity("operator", subject="system:serviceaccount:basetracker:operator")
    operator.assign("Security Reader", SCOPE)
    async with cloud:
        http = Http(
            time,
            limits=HostLimits(time, rate=1_000, burst=1_000),
            ca_bundle=str(cloud.authority.write(tmp_path / "ca.pem")),
            proxies={"https": cloud.proxy_url},
        )
        world = World(cloud, time, operator, http, tmp_path, time.now())
        yield world
        await world.close()
        await http.close()
