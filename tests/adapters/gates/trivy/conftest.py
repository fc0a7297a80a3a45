"""An Azure registry with images to scan and a database of planted holes, and the Trivy gate that the wiring would make."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from basetracker.adapters.azure_identity import AzureSettings, azure_identity
from basetracker.adapters.gates.trivy.gate import TrivyJudge
from basetracker.adapters.gates.trivy.making import TrivySettings, make_trivy
from basetracker.adapters.gates.trivy.scanning import Trivy
from basetracker.adapters.http import Http
from basetracker.adapters.registries.oci import OciRegistry
from basetracker.api.gates import Gate
from basetracker.api.tracker import Key
from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.cloud import Cloud
from basetracker.emulators.images import Image, Index
from basetracker.errors import MissingError
from basetracker.oci.refs import Digest, ImageRef, parse_image
from basetracker.ports import Answer, Credential, Question

from .scanned import HOLES
from .stand_in import until
from .vulnerability_database import artifact, write

TRIVY = str(Path(sys.executable).with_name("trivy"))
NO_TRIVY = "no Trivy here (its package for the tests is for Linux on x86-64)"
DATABASE = "contoso.azurecr.io/own/trivy-db:2"


class Time:
    """A clock whose day can be set, and whose long sleeps end when the test says so."""

    def __init__(self) -> None:
        self.today: datetime | None = None
        self.tick = asyncio.Event()
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.today or datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.tick.wait()
        self.tick.clear()


@dataclass
class Logins:
    """The logins that the trackers name; what was asked for."""

    known: Credential | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def find(self, namespace: str, secret: str, host: str) -> Credential:
        self.asked.append((namespace, secret, host))
        if self.known is None:
            raise MissingError(f"there is no Secret {secret}")
        return self.known


@dataclass
class World:
    """The registry, and the parts that read from it."""

    cloud: Cloud
    contoso: AzureRegistry
    directory: Path
    time: Time
    http: Http
    registry: OciRegistry
    logins: Logins = field(default_factory=Logins)
    open: list[Trivy] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return self.directory / "cache"

    def trivy(self, executable: str = TRIVY, environ: Mapping[str, str] | None = None, **settings: Any) -> Trivy:
        """Trivy as the wiring makes it; what isn't given is as in an installation with a database of its own."""
        chosen = TrivySettings(
            **{"db_repository": DATABASE, "cache": self.cache, "ca_file": self.directory / "ca.pem", **settings},
            executable=executable,
        )
        variables = {"PATH": os.environ["PATH"], **self.cloud.environment(self.directory), **(environ or {})}
        del variables["SSL_CERT_FILE"]  # the private CA comes by ca_file alone
        made = make_trivy(chosen, variables, self.http, self.time, self.registry)
        self.open.append(made)
        return made

    def judge(self, executable: str = TRIVY, **settings: Any) -> TrivyJudge:
        """The gate with such a Trivy."""
        return TrivyJudge(self.trivy(executable, **settings), self.logins, self.time)

    def push(self, name: str, image: Image | Index) -> ImageRef:
        """Push to contoso; the reference with tag and digest."""
        reference = f"contoso.azurecr.io/{name}"
        return parse_image(reference).pinned(Digest(self.cloud.push(reference, image)))

    def asked(self, part: str) -> list[str]:
        """The requests whose line holds `part`."""
        return [line for line in map(str, self.cloud.faults.asked("")) if part in line]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An Azure registry that the operator's identity may read, with the database in it."""
    cloud = Cloud()
    contoso = cloud.add_azure_registry("contoso")
    operator = cloud.add_identity("operator")
    operator.assign("AcrPull", contoso.id)
    cloud.push(DATABASE, artifact(HOLES))
    time = Time()
    async with cloud:
        variables = cloud.environment(tmp_path, operator)
        http = Http(time, ca_bundle=variables["SSL_CERT_FILE"], proxies={"https": cloud.proxy_url})
        async with http:
            identity = azure_identity(AzureSettings.from_environment(variables), http)
            assert identity is not None
            world = World(cloud, contoso, tmp_path, time, http, OciRegistry(http, time, identity=identity))
            yield world
            for trivy in world.open:
                await trivy.close()
            await identity.close()


@pytest.fixture
def real() -> str:
    """The real Trivy."""
    if shutil.which(TRIVY) is None:
        pytest.skip(NO_TRIVY)
    return TRIVY


def question(image: ImageRef, *running: ImageRef, **gate: Any) -> Question:
    """What the desk would ask."""
    return Question(
        tracker=Key(namespace="shop", name="python"),
        uid="u-1",
        downstream="checkout",
        name="trivy",
        gate=Gate.model_validate({"trivy": gate}),
        image=image,
        running=running,
        since=datetime(2026, 11, 22, tzinfo=UTC),
    )


Ask = Callable[..., Any]


@pytest.fixture
def ask(world: World, real: str) -> Ask:
    """Ask the gate with the real Trivy: `await ask(image, *running, severity=[…])`."""
    judge = world.judge(real)

    async def asked(image: ImageRef, *running: ImageRef, credential: Credential | None = None, **gate: Any) -> Answer:
        return await judge.judge(question(image, *running, **gate), credential)

    return asked


@pytest.fixture
async def server(world: World, real: str, tmp_path: Path) -> AsyncIterator[str]:
    """A real Trivy server with the planted holes, which wants a token."""
    cache = tmp_path / "server"
    write(cache / "db", HOLES)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        *(
            real,
            "server",
            "--listen",
            address,
            "--cache-dir",
            str(cache),
            "--skip-db-update",
            "--token",
            "server-token",
        ),
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdout=-3,
        stderr=-3,
    )
    await until(lambda: _listens(address))
    yield f"http://{address}"
    process.kill()
    await process.wait()


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False
