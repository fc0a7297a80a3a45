"""Images for Trivy to look at, and the holes that are known of what is in them."""

from __future__ import annotations

from collections.abc import Mapping

from basetracker.emulators.images import Files, Image, Index, Step, build_on, index, scratch

from .vulnerability_database import Hole

HOLES = (
    Hole(id="CVE-2026-1", package="openssl", fixed="3.5.1-r0", severity="CRITICAL"),
    Hole(id="CVE-2026-2", package="jinja2", bucket="pip", fixed="3.2.0", severity="HIGH"),
    Hole(id="CVE-2026-3", package="busybox", severity="HIGH"),
    Hole(id="CVE-2026-4", package="zlib", fixed="1.3.2-r0", severity="MEDIUM"),
    Hole(id="CVE-2026-5", package="curl", fixed="8.15.0-r0", severity="CRITICAL"),
)
CLEAN = {"musl": "1.2.5-r10"}


def alpine(
    packages: Mapping[str, str] = CLEAN,
    *,
    release: str = "3.22.1",
    python: Mapping[str, str] | None = None,
    files: Files | None = None,
    platform: str = "linux/amd64",
) -> Image:
    """An image that looks like Alpine with these packages installed, and with these of Python."""
    found: dict[str, str | bytes] = {
        "/etc/os-release": f'NAME="Alpine Linux"\nID=alpine\nVERSION_ID={release}\n',
        "/etc/alpine-release": f"{release}\n",
        "/lib/apk/db/installed": installed(packages),
        **(files or {}),
    }
    for name, version in (python or {}).items():
        place = f"/usr/lib/python3.12/site-packages/{name}-{version}.dist-info/METADATA"
        found[place] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    return layered(found, platform=platform)


def layered(files: Files, *, platform: str = "linux/amd64") -> Image:
    """An image with these files and nothing else, whose history is that of a Dockerfile."""
    return build_on(
        scratch(platform),
        Step(line="COPY rootfs / # buildkit", files=files),
        Step(line="USER 1000"),
        Step(line='CMD ["/bin/sh"]'),
    )


def both(amd64: Mapping[str, str], arm64: Mapping[str, str]) -> Index:
    """An index of two platforms with different packages, attested as buildkit does it."""
    return index([alpine(amd64), alpine(arm64, platform="linux/arm64")])


def installed(packages: Mapping[str, str]) -> str:
    """The list of installed packages as apk keeps it."""
    return "".join(f"P:{name}\nV:{version}\nA:x86_64\nL:MIT\no:{name}\n\n" for name, version in packages.items())
