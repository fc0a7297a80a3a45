"""The signature gate over emulated registries: images there, signatures beside them, and keys in a cluster of a test's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from basetracker.adapters.cluster_data import Kind
from basetracker.adapters.gates.signature.gate import SignatureGate
from basetracker.api.gates import Gate
from basetracker.api.tracker import Key
from basetracker.emulators import samples
from basetracker.emulators.acr.registry import Registry
from basetracker.emulators.acr.storage import Storage
from basetracker.errors import MissingError
from basetracker.oci.refs import Digest, ImageRef
from basetracker.ports import Answer, Credential, Question

from ...registries.conftest import World, world

__all__ = ["world"]

REPOSITORY = "shop/checkout"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
NOTATION = "application/vnd.cncf.notary.signature"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
Json = dict[str, Any]


class Data:
    """ConfigMaps and Secrets of one namespace."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Kind, str], Mapping[str, bytes]] = {}

    async def read(self, kind: Kind, namespace: str, name: str) -> Mapping[str, bytes]:
        if (kind, name) not in self.objects or namespace != "shop":
            raise MissingError(f"there is no {kind} {namespace}/{name}")
        return self.objects[kind, name]


class Shelf:
    """Where tools put signatures in a registry; `digest` is that of the image."""

    def __init__(self, storage: Storage, digest: Digest) -> None:
        self.storage = storage
        self.digest = digest

    @property
    def tag(self) -> str:
        return str(self.digest).replace(":", "-")

    def refer(
        self, artifact: str, media_type: str, content: bytes, *, subject: Digest | None = None, by_config: bool = False
    ) -> Json:
        """A manifest that refers to the image, with the descriptor that an index has of it."""
        kind = artifact if by_config else "application/vnd.oci.empty.v1+json"
        document: Json = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(kind, b"{}"),
            "layers": [self._blob(media_type, content)],
            "subject": {"mediaType": INDEX, "digest": str(subject or self.digest), "size": 1},
        }
        if not by_config:
            document["artifactType"] = artifact
        body = json.dumps(document).encode()
        self.storage.put_manifest(REPOSITORY, str(Digest.of(body)), body, MANIFEST)
        return {"mediaType": MANIFEST, "digest": str(Digest.of(body)), "size": len(body), "artifactType": artifact}

    def list_by_tag(self, *entries: Json) -> None:
        """The index that stands for the referrers API."""
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
        self.storage.put_manifest(REPOSITORY, self.tag, json.dumps(document).encode(), INDEX)

    def put_old(self, *signed: tuple[bytes, object]) -> None:
        """cosign's old layout: payloads with their signatures under the tag `.sig`."""
        layers = [
            self._blob(SIMPLE, payload) | {"annotations": {"dev.cosignproject.cosign/signature": value}}
            for payload, value in signed
        ]
        config = self._blob("application/vnd.oci.image.config.v1+json", b"{}")
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        self.storage.put_manifest(REPOSITORY, f"{self.tag}.sig", json.dumps(document).encode(), MANIFEST)

    def put_raw(self, tag: str, body: bytes, media_type: str = INDEX) -> None:
        """Whatever bytes under a tag."""
        self.storage.put_manifest(REPOSITORY, tag, body, media_type)

    def _blob(self, media_type: str, content: bytes) -> Json:
        return {"mediaType": media_type, "digest": self.storage.put_blob(content), "size": len(content)}


@dataclass
class Desk:
    """Who asks the gate, and what it is asked about."""

    world: World
    registry: Registry[Any]
    image: ImageRef
    shelf: Shelf
    data: Data = field(default_factory=Data)
    credential: Credential | None = None

    def __post_init__(self) -> None:
        self.since: datetime = self.world.time.now()
        self._gate = SignatureGate(self.world.reader(), self.data, self.world.time)

    async def ask(self, gate: Json, *, image: ImageRef | None = None) -> Answer:
        question = Question(
            tracker=Key(namespace="shop", name="python"),
            uid="u",
            downstream="checkout",
            name="signature",
            gate=Gate.model_validate({"signature": gate}),
            image=image or self.image,
            since=self.since,
        )
        return await self._gate.judge(question, self.credential)

    def later(self, **passed: float) -> None:
        self.world.time.manual.advance(timedelta(**passed).total_seconds())


@pytest.fixture
async def desk(world: World) -> Desk:
    """An index in an Azure registry, not signed yet."""
    image = world.push(f"{world.contoso.host}/{REPOSITORY}:main", samples.python_index())
    assert image.digest is not None
    return Desk(world, world.contoso, image, Shelf(world.contoso.storage, image.digest))
