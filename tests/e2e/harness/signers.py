"""The real signers, cosign and notation, as Debian packages them: fetched into `.cache/signers/` and run from there.

A Debian release that is older than they are doesn't have them, so a newer one is asked for, at the mirror that this machine's own
apt uses, with lists and settings that are apart from the system's: nothing is installed and no root is needed. By hand and
in CI: `python -m tests.e2e.harness.signers`. Used by the tests of the signature gate.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

TOOLS = ("cosign", "notation")
SUITES = ("forky", "sid")
"""The first Debian release that has both, and the one that always does."""
CACHE = Path(__file__).parents[3] / ".cache" / "signers"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCES = Path("/etc/apt")
SECONDS = 300


class SignersError(RuntimeError):
    """They can't be had; the message says why."""


def obstacle() -> str | None:
    """Why there is a signer missing; None when all is well."""
    lacking = [name for name in TOOLS if find(name) is None]
    if not lacking:
        return None
    return f"no {' and no '.join(lacking)} (on Debian: python -m tests.e2e.harness.signers fetches them)"


def find(name: str) -> Path | None:
    """The program: the machine's own, or the one that was fetched."""
    installed = shutil.which(name)
    if installed:
        return Path(installed)
    fetched = CACHE / "bin" / name
    return fetched if os.access(fetched, os.X_OK) else None


def fetch() -> None:
    """Fetch what is missing.

    Raises:
        SignersError: there is no apt, its mirror isn't Debian's, or has none of them.
    """
    lacking = [name for name in TOOLS if find(name) is None]
    if not lacking:
        return
    if not shutil.which("apt-get"):
        raise SignersError("there is no apt-get on this machine; install cosign and notation by hand")
    mirrors = list(dict.fromkeys(_mirrors()))
    problems = [f"{SOURCES} names no mirror of Debian"] if not mirrors else []
    for mirror in mirrors:
        for suite in SUITES:
            try:
                return _fetch_from(mirror, suite, lacking)
            except subprocess.CalledProcessError as error:
                problems.append(f"{suite}: {(error.stderr or error.stdout or '').strip()[-300:]}")
    raise SignersError("; ".join(problems))


def _fetch_from(mirror: str, suite: str, names: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="bt-signers-") as directory:
        place = Path(directory)
        for part in ("lists/partial", "archives/partial", "packages", "root"):
            (place / part).mkdir(parents=True)
        (place / "status").touch()
        (place / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n")
        apt = ["apt-get", "-q", *_apart(place)]
        _run([*apt, "update"], place)
        _run([*apt, "download", *names], place / "packages")
        for package in (place / "packages").glob("*.deb"):
            _run(["dpkg-deb", "-x", str(package), str(place / "root")], place)
        (CACHE / "bin").mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy2(place / "root" / "usr" / "bin" / name, CACHE / "bin" / f".{name}")
            (CACHE / "bin" / f".{name}").replace(CACHE / "bin" / name)


def _apart(place: Path) -> Iterator[str]:
    """Options that keep apt away from the system's own lists, packages and settings."""
    for name, value in {
        "Dir::State": place,
        "Dir::State::lists": place / "lists",
        "Dir::State::status": place / "status",
        "Dir::Cache": place,
        "Dir::Cache::archives": place / "archives",
        "Dir::Etc::sourcelist": place / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    }.items():
        yield "-o"
        yield f"{name}={value}"


def _mirrors() -> Iterator[str]:
    """The addresses from which apt gets Debian's main archive, in both forms that its sources have."""
    for path in [SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*"))]:
        if path.suffix not in {".list", ".sources"} or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".list":
            yield from re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+/debian/?)\s+\S+\s+.*\bmain\b", text, re.MULTILINE)
        else:
            for line in re.findall(r"^URIs:\s*(.+)$", text, re.MULTILINE):
                yield from (one for one in line.split() if one.rstrip("/").endswith("/debian"))


def _run(command: list[str], directory: Path) -> None:
    subprocess.run(
        command,
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
    )


def main() -> int:
    """Fetch them and say where they are."""
    try:
        fetch()
    except SignersError as error:
        sys.stderr.write(f"no signers: {error}\n")
        return 1
    for name in TOOLS:
        sys.stdout.write(f"{find(name)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
