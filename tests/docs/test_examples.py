"""What the pages show is right: trackers, command lines, and every name that the project has given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from basetracker.api import names
from basetracker.api.names import ConditionType, Reason
from basetracker.api.tracker import problems
from basetracker.cli.main import COMMANDS, commands
from basetracker.demo.scenarios import SCENARIOS
from basetracker.settings import Settings
from basetracker.telemetry import Metrics

from .pages import ROOT, Page, joined, pages

PAGES = pages()
WRITTEN = [name for name in PAGES if name != "CHANGELOG.md"]
Json = dict[str, Any]


def trackers(page: Page) -> Iterator[Json]:
    """The trackers that a page shows."""
    for block in page.blocks("yaml"):
        for document in yaml.safe_load_all(block.text):
            if isinstance(document, dict) and document.get("kind") == names.KIND:
                yield document


def test_the_pages_show_trackers_and_commands() -> None:
    assert sum(1 for page in PAGES.values() for _ in trackers(page)) >= 8
    assert sum(1 for page in PAGES.values() for _ in page.commands("basetracker")) >= 15


@pytest.mark.parametrize("name", WRITTEN)
def test_every_yaml_block_can_be_read(name: str) -> None:
    for block in PAGES[name].blocks("yaml"):
        assert list(yaml.safe_load_all(block.text))


@pytest.mark.parametrize("name", [name for name in WRITTEN if any(trackers(PAGES[name]))])
def test_every_tracker_is_right(name: str) -> None:
    for tracker in trackers(PAGES[name]):
        assert problems(tracker) == []


@pytest.mark.parametrize("name", [name for name in WRITTEN if any(PAGES[name].commands("basetracker"))])
def test_every_command_line_is_understood(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("tracker.yaml", "FILE"):
        (tmp_path / file).touch()
    for words in PAGES[name].commands("basetracker"):
        _understand([word for word in words if word != "…"])


def _understand(words: list[str]) -> None:
    """Raises what click raises for a wrong command line."""
    if not words or words == ["--help"]:
        return
    context = click.Context(commands, info_name="basetracker")
    command = commands.get_command(context, words[0])
    assert command is not None, f"there is no command {words[0]}"
    if words[1:]:
        command.make_context(words[0], words[1:], parent=context)


@pytest.mark.parametrize(
    "line", ["basetracker explain", "basetracker check tracker.yaml --offlin", "basetracker polish shop"]
)
def test_a_wrong_command_line_is_found(line: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```sh\n{line} x y z\n```\n")
    [words] = Page(page).commands("basetracker")
    with pytest.raises((click.UsageError, AssertionError)):
        _understand(words)


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {
        target
        for page in PAGES.values()
        for block in page.blocks("sh")
        for line in joined(block.text)
        if line.startswith("make ")
        for target in re.match(r"make ((?:[a-z0-9-]+ ?)*)", line)[1].split()  # type: ignore[index]  # always matches
    }
    assert used
    assert used <= targets


def test_every_scenario_of_the_demo_is_told() -> None:
    told = set(re.findall(r"^\| `([a-z-]+)` \|", PAGES["docs/tutorial/demo.md"].text, re.MULTILINE))
    assert told == {scenario.name for scenario in SCENARIOS}


def test_every_command_is_told() -> None:
    headings = re.findall(r"^## basetracker (\w+)$", PAGES["docs/reference/commands.md"].text, re.MULTILINE)
    assert headings == list(COMMANDS)


def test_every_reason_has_its_place_and_no_heading_is_left_over() -> None:
    page = PAGES["docs/howto/troubleshooting.md"]
    headings = re.findall(r"^### (\w+)$", page.text, re.MULTILINE)
    assert set(headings) <= {*map(str, Reason), *map(str, ConditionType)}
    assert len(headings) == len(set(headings))
    referred = PAGES["docs/reference/reasons.md"].text
    assert [reason for reason in Reason if f"`{reason}`" not in referred] == []
    blocked = referred.split("### Blocked")[1].split("\n### ")[0] + referred.split("### Failed")[1].split("\n## ")[0]
    needing = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| <a[^|]*\|", blocked, re.MULTILINE))))
    assert needing <= set(headings), "what a person has to clear is explained step by step"


def test_the_columns_shown_are_those_of_the_crd() -> None:
    crd = yaml.safe_load((ROOT / "crds/baseimagetrackers.basetracker.dev.yaml").read_text(encoding="utf-8"))
    columns = [one["name"].upper() for one in crd["spec"]["versions"][0]["additionalPrinterColumns"]]
    narrow = ["NAME", *columns[:-2]]
    shown = [
        line.split() for page in PAGES.values() for block in page.blocks("console") for line in block.text.splitlines()
    ]
    headers = [words for words in shown if words[:2] == ["NAME", "BASE"]]
    assert headers
    assert [words for words in headers if words != narrow] == []


@pytest.mark.parametrize("name", WRITTEN)
def test_settings_metrics_and_annotations_are_called_as_they_are(name: str) -> None:
    text = PAGES[name].text
    settings = {f"BASETRACKER_{one.upper()}" for one in Settings.model_fields}
    assert set(re.findall(r"\bBASETRACKER_[A-Z_]+\b", text)) <= settings
    families = re.findall(r"^# TYPE (\w+)", Metrics().render().decode(), re.MULTILINE)
    assert set(re.findall(r"\bbasetracker_[a-z_]+\b", text)) <= {re.sub("_created$", "_total", one) for one in families}
    known = {names.API_VERSION, names.REQUESTED_AT, names.RESUME, names.DELIVERED}
    assert set(re.findall(r"(?<![.\w])basetracker\.dev/[a-z0-9-]+", text)) <= known
