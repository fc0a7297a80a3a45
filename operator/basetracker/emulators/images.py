"""Real images, built in memory as docker and buildkit build them.

Owns layers, configs, manifests and indexes as exact bytes: gzipped tars with their true diff_ids, histories
with empty layers, platforms, labels, attestations. Equal input gives equal bytes. Knows no registry and no
network. Used by the emulated registries and ACR Tasks, the demo and the tests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from basetracker.emulators.timeline import rfc3339

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
IN_TOTO = "application/vnd.in-toto+json"
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})

EPOCH = datetime(2026, 1, 15, tzinfo=UTC)
Json = dict[str, Any]
Files = Mapping[str, str | bytes]


def digest_of(data: bytes) -> str:
    """`sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(document: Json) -> bytes:
    """JSON as this world stores it: the bytes decide the digest."""
    return json.dumps(document, indent=2).encode()


@dataclass(frozen=True, slots=True)
class Layer:
    """A gzipped tar and the digest of the tar inside."""

    blob: bytes = field(repr=False)
    diff_id: str

    @property
    def digest(self) -> str:
        """The digest of the compressed blob, as manifests name it."""
        return digest_of(self.blob)


@dataclass(frozen=True, slots=True)
class Image:
    """One platform's image: exact bytes of manifest and config, and its layers, lowest first."""

    manifest: bytes = field(repr=False)
    media_type: str
    config: bytes = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest)

    @property
    def configuration(self) -> Json:
        """The config, parsed."""
        parsed: Json = json.loads(self.config)
        return parsed

    @property
    def diff_ids(self) -> list[str]:
        """The layers' uncompressed digests, lowest first."""
        return list(self.configuration["rootfs"]["diff_ids"])

    @property
    def platform(self) -> str:
        """`linux/amd64`, `linux/arm64/v8`."""
        config = self.configuration
        parts = [config.get("os", ""), config.get("architecture", ""), config.get("variant", "")]
        return "/".join(part for part in parts if part)

    @property
    def blobs(self) -> dict[str, bytes]:
        """Everything the manifest refers to, by digest."""
        return {digest_of(self.config): self.config} | {layer.digest: layer.blob for layer in self.layers}


@dataclass(frozen=True, slots=True)
class Index:
    """An image index or manifest list and the images it names, attestations included."""

    manifest: bytes = field(repr=False)
    media_type: str
    children: tuple[Image, ...] = field(repr=False)

    @property
    def digest(self) -> str:
        """The digest of the index."""
        return digest_of(self.manifest)

    def image(self, platform: str) -> Image | None:
        """The image of a platform, e.g. `linux/arm64`; None when there is none."""
        return next((child for child in self.children if child.platform == platform), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One Dockerfile line: it may add files (a layer) or only settings (an empty history entry)."""

    line: str
    files: Files | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def copy(files: Files) -> Step:
    """`COPY` of these files, by absolute path."""
    return Step(line=f"COPY {' '.join(sorted(files))} / # buildkit", files=files)


def run(command: str, files: Files) -> Step:
    """`RUN command`, which leaves these files."""
    return Step(line=f"RUN /bin/sh -c {command} # buildkit", files=files)


def setting(name: str, value: str) -> Step:
    """`ENV name=value`."""
    return Step(line=f"ENV {name}={value}", env={name: value})


def label(name: str, value: str) -> Step:
    """`LABEL name=value`."""
    return Step(line=f"LABEL {name}={value}", labels={name: value})


def make_layer(files: Files) -> Layer:
    """A layer with these files (absolute paths), owned by root, with a fixed time."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files):
            content = files[path]
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(data), 0o644, int(EPOCH.timestamp())
            tar.addfile(entry, io.BytesIO(data))
    tarball = raw.getvalue()
    return Layer(gzip.compress(tarball, mtime=0), digest_of(tarball))


def scratch(platform: str = "linux/amd64", *, docker: bool = False) -> Image:
    """An image of this platform with nothing in it, to build on; `docker` chooses Docker's media types."""
    system, architecture, *variant = platform.split("/")
    config: Json = {"architecture": architecture, "os": system, "config": {"Env": [], "Labels": {}}}
    if variant:
        config["variant"] = variant[0]
    config |= {"created": rfc3339(EPOCH), "rootfs": {"type": "layers", "diff_ids": []}, "history": []}
    return assemble(config, (), docker=docker)


def build_on(base: Image, *steps: Step, created: datetime = EPOCH) -> Image:
    """The image that a Dockerfile `FROM base` with these steps gives.

    The base's layers, diff_ids and history stay in front, word for word; its environment and labels are
    inherited and the steps' put over them. `created` is when the build ran.
    """
    config = base.configuration
    layers = list(base.layers)
    for step in steps:
        entry: Json = {"created": rfc3339(created), "created_by": step.line, "comment": "buildkit.dockerfile.v0"}
        if step.files is None:
            entry["empty_layer"] = True
        else:
            layers.append(make_layer(step.files))
            config["rootfs"]["diff_ids"].append(layers[-1].diff_id)
        config["history"].append(entry)
        _apply_settings(config["config"], step)
    config["created"] = rfc3339(created)
    return assemble(config, layers, docker=base.media_type == DOCKER_MANIFEST)


def _apply_settings(config: Json, step: Step) -> None:
    environment = dict(line.split("=", 1) for line in config.get("Env", []))
    config["Env"] = [f"{name}={value}" for name, value in (environment | dict(step.env)).items()]
    config["Labels"] = dict(config.get("Labels") or {}) | dict(step.labels)
    if step.line.startswith("USER "):
        config["User"] = step.line.removeprefix("USER ")


def squash(image: Image) -> Image:
    """The same files in one layer of its own, as `docker build --squash` leaves: no base can be seen in it."""
    files: dict[str, bytes] = {}
    for layer in image.layers:
        with tarfile.open(fileobj=io.BytesIO(layer.blob), mode="r:gz") as tar:
            for entry in tar.getmembers():
                content = tar.extractfile(entry)
                files["/" + entry.name] = content.read() if content else b""
    merged = make_layer(files)
    config = image.configuration
    config["rootfs"]["diff_ids"] = [merged.diff_id]
    config["history"] = [{"created": config["created"], "comment": "merged all layers"}]
    return assemble(config, (merged,), docker=image.media_type == DOCKER_MANIFEST)


def assemble(
    config: Json | bytes,
    layers: Sequence[Layer],
    *,
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """An image of this config and these layers; a config given as bytes is kept word for word."""
    raw = config if isinstance(config, bytes) else encode(config)
    kinds = (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER) if docker else (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER)
    manifest: Json = {
        "schemaVersion": 2,
        "mediaType": kinds[0],
        "config": descriptor(raw, kinds[1]),
        "layers": [descriptor(layer.blob, kinds[2]) for layer in layers],
    }
    if annotations:
        manifest["annotations"] = dict(annotations)
    return Image(encode(manifest), kinds[0], raw, tuple(layers))


def annotate(image: Image, annotations: Mapping[str, str]) -> Image:
    """The same image with these manifest annotations; its digest is another."""
    return assemble(image.config, image.layers, docker=image.media_type == DOCKER_MANIFEST, annotations=annotations)


def descriptor(data: bytes, media_type: str) -> Json:
    """An OCI descriptor of these bytes."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def index(images: Sequence[Image], *, attested: bool = True, docker: bool = False) -> Index:
    """An index of one image a platform.

    `attested` adds what buildkit adds: a provenance manifest an image, with platform `unknown/unknown`
    (Docker's manifest lists carry none).
    """
    children = list(images)
    entries = [_entry(image) for image in images]
    if attested and not docker:
        for image in images:
            proof = _attestation(image)
            children.append(proof)
            entries.append(_attestation_entry(proof, image))
    media_type = DOCKER_LIST if docker else OCI_INDEX
    document: Json = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return Index(encode(document), media_type, tuple(children))


def _entry(image: Image) -> Json:
    system, architecture, *variant = image.platform.split("/")
    platform = {"architecture": architecture, "os": system} | ({"variant": variant[0]} if variant else {})
    return descriptor(image.manifest, image.media_type) | {"platform": platform}


def _attestation(image: Image) -> Image:
    statement = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "subject": [{"name": "image", "digest": {"sha256": image.digest.removeprefix("sha256:")}}],
        "predicate": {"buildType": "https://mobyproject.org/buildkit@v1"},
    }
    blob = encode(statement)
    config = encode(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(blob)]},
        }
    )
    layer = descriptor(blob, IN_TOTO) | {
        "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    }
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(config, OCI_CONFIG)}
    return Image(encode(manifest | {"layers": [layer]}), OCI_MANIFEST, config, (Layer(blob, digest_of(blob)),))


def _attestation_entry(proof: Image, image: Image) -> Json:
    return descriptor(proof.manifest, OCI_MANIFEST) | {
        "annotations": {
            "vnd.docker.reference.digest": image.digest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
        "platform": {"architecture": "unknown", "os": "unknown"},
    }


def load(manifest: bytes, media_type: str, blob: Callable[[str], bytes]) -> Image | Index:
    """The image or index whose bytes these are; `blob` answers a child manifest or blob by digest.

    Raises whatever `blob` raises for a missing digest.
    """
    document: Json = json.loads(manifest)
    if media_type in INDEXES:
        children = (load(blob(one["digest"]), one["mediaType"], blob) for one in document["manifests"])
        return Index(manifest, media_type, tuple(child for child in children if isinstance(child, Image)))
    config = blob(document["config"]["digest"])
    diff_ids = json.loads(config).get("rootfs", {}).get("diff_ids", [])
    blobs = [blob(layer["digest"]) for layer in document["layers"]]
    layers = (Layer(data, diff_id) for data, diff_id in zip(blobs, diff_ids, strict=False))
    return Image(manifest, media_type, config, tuple(layers))
