"""The Dockerfile, read: pinned and checked installs, the user that the Deployment names, nothing missing to copy."""

from __future__ import annotations

import re
import tomllib

from .kustomizations import ROOT, built, only

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# One instruction a line, without comments and line ends inside it.
LINES = [line for line in re.sub(r"\\\n\s*", "", TEXT).splitlines() if line and not line.startswith("#")]
FROM = [number for number, line in enumerate(LINES) if line.startswith("FROM ")]
FINAL = LINES[FROM[-1] :]


def _locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9_.-]+)==([^\s;\\]+)", text, re.MULTILINE))


def test_both_stages_are_of_the_one_base_that_can_be_passed_in() -> None:
    assert [LINES[number].split()[1] for number in FROM] == ["${BASE_IMAGE}"] * 2
    assert LINES[0].startswith("ARG BASE_IMAGE=")
    assert "ARG BASE_IMAGE" in FINAL, "its label would be empty"
    assert any('org.opencontainers.image.base.name="${BASE_IMAGE}"' in line for line in FINAL)


def test_every_download_is_checked() -> None:
    installs = [line for line in LINES if re.search(r"\bpip\b.*\b(install|wheel|download)\b", line)]
    assert len(installs) == 3
    for line in installs:
        for command in (part for part in line.split("&&") if " install " in part or " wheel " in part):
            assert "--require-hashes" in command or "--no-index" in command, command


def test_the_final_stage_runs_nothing_and_is_nobody() -> None:
    user = only(built("manifests/base"), "Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert [line for line in FINAL if line.startswith("RUN")] == []
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in FINAL
    assert FINAL[-2:] == ['ENTRYPOINT ["basetracker"]', 'CMD ["run"]']


def test_the_deployment_starts_what_the_image_starts() -> None:
    (container,) = only(built("manifests/base"), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert (container["command"], container["args"]) == (["basetracker"], ["run"])


def test_all_that_is_copied_exists_and_reaches_the_builder() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    admitted = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copies = [line.split()[1:-1] for line in LINES if line.startswith("COPY ") and "--from" not in line]
    copied = {source for sources in copies for source in sources}
    assert copied == admitted
    assert all((ROOT / source).exists() for source in copied)


def test_all_that_the_wheel_takes_in_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    taken = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])
    assert taken <= {line.split()[1] for line in LINES if line.startswith("COPY ")}


def test_the_tools_that_build_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = {re.split(r"[<>=~ ]", item)[0] for item in project["build-system"]["requires"]}
    build, dev = _locked("requirements-build.lock"), _locked("requirements-dev.lock")
    assert wanted <= set(build)
    assert {name: version for name, version in build.items() if dev.get(name) != version} == {}
