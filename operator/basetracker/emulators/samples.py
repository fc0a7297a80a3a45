"""Images that look like the ones people build on: a Debian, a Python on it, an application on that.

Made of `images.py` alone. The package list in the Debian's dpkg database is true to form, so a scanner can
read it. Used by the demo and the tests.
"""

from __future__ import annotations

from collections.abc import Mapping

from basetracker.emulators.images import Files, Image, Index, Step, build_on, copy, index, run, scratch, setting

PACKAGES = {"base-files": "12.4+deb12u11", "libc6": "2.36-9+deb12u10", "openssl": "3.0.16-1~deb12u1"}
BOTH = ("linux/amd64", "linux/arm64")


def debian(
    point: str = "12.11",
    packages: Mapping[str, str] = PACKAGES,
    *,
    platform: str = "linux/amd64",
    docker: bool = False,
) -> Image:
    """A small Debian bookworm; another `point` release or package version gives another digest."""
    architecture = platform.split("/")[1]
    files: Files = {
        "/etc/debian_version": f"{point}\n",
        "/etc/os-release": f'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\n'
        f'VERSION_ID="12"\nVERSION="{point} (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n',
        "/var/lib/dpkg/status": "".join(_package(name, version, architecture) for name, version in packages.items()),
        "/bin/sh": b"\x7fELF" + architecture.encode(),
    }
    line = f"# debian.sh --arch '{architecture}' out/ 'bookworm' '@1736899200'"
    bottom = scratch(platform, docker=docker)
    return build_on(bottom, Step(line=line, files=files), Step(line='CMD ["bash"]'))


def python(
    version: str = "3.12.11",
    *,
    on: Image | None = None,
    platform: str = "linux/amd64",
    docker: bool = False,
) -> Image:
    """A Python base image on a Debian."""
    return build_on(
        on or debian(platform=platform, docker=docker),
        setting("PATH", "/usr/local/bin:/usr/bin:/bin"),
        setting("PYTHON_VERSION", version),
        run("make install", {"/usr/local/bin/python3": f"#!ELF python {version}\n"}),
        Step(line='CMD ["python3"]'),
    )


def python_index(version: str = "3.12.11", *, point: str = "12.11", docker: bool = False) -> Index:
    """The same base for amd64 and arm64, attested as buildkit does it."""
    images = [python(version, on=debian(point, platform=platform, docker=docker), docker=docker) for platform in BOTH]
    return index(images, docker=docker)


def application(name: str, version: str = "1.0.0") -> tuple[Step, ...]:
    """What the Dockerfile of an application adds to its base."""
    return (
        Step(line="WORKDIR /app"),
        copy({"/app/main.py": f"print('{name} {version}')\n"}),
        setting("APP_VERSION", version),
        Step(line='CMD ["python3" "/app/main.py"]'),
    )


def _package(name: str, version: str, architecture: str) -> str:
    return (
        f"Package: {name}\nStatus: install ok installed\nPriority: required\nSection: libs\n"
        f"Maintainer: Debian\nArchitecture: {architecture}\nSource: {name}\nVersion: {version}\n"
        f"Description: {name}\n\n"
    )
