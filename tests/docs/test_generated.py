"""The generated parts are those of the code as it is, and whoever forgets them is told which."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from types import ModuleType

import pytest

from basetracker.api.names import HistoryEvent, Reason, State
from basetracker.core.rules import RULES
from basetracker.settings import Settings

from .pages import ROOT, pages

PAGES = pages()


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_pages_are_up_to_date() -> None:
    command = [sys.executable, "docs/generate.py", "--check"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_every_part_is_used(generate: ModuleType) -> None:
    used = {name for page in PAGES.values() for name in re.findall(r"<!-- generated:([a-z-]+) -->", page.text)}
    assert used == set(generate.PARTS)


@pytest.mark.parametrize("name", ["tracker-fields", "settings", "rules", "commands"])
def test_a_part_that_is_out_of_date_is_found_and_nothing_else_changes(generate: ModuleType, name: str) -> None:
    page = f"# Before\n\n<!-- generated:{name} -->\nold\n<!-- /generated -->\n\nafter\n"
    fresh = generate.generated(page)
    assert fresh != page
    assert "\nold\n" not in fresh
    assert fresh.startswith("# Before\n\n<!-- generated:")
    assert fresh.endswith("<!-- /generated -->\n\nafter\n")
    assert generate.generated(fresh) == fresh


def test_a_part_that_is_not_known_is_refused(generate: ModuleType) -> None:
    with pytest.raises(KeyError):
        generate.generated("<!-- generated:weather -->\n<!-- /generated -->\n")


def test_every_reason_is_grouped_below_the_state_it_belongs_to(generate: ModuleType) -> None:
    grouped = generate.reasons_by_state()
    assert sorted(one for found in grouped.values() for one in found) == sorted(Reason)
    assert set(grouped) <= set(State)


@pytest.mark.parametrize("enum", [Reason, State, HistoryEvent])
def test_every_name_has_its_own_sentence(generate: ModuleType, enum: type[Reason | State | HistoryEvent]) -> None:
    told = generate.sentences(enum.__name__)
    assert set(told) == {str(member) for member in enum}
    assert len(set(told.values())) == len(told)
    assert [text for text in told.values() if not text.endswith(".")] == []


def test_what_is_generated_tells_all_there_is(generate: ModuleType) -> None:
    assert generate.rule_order().count("\n") + 1 == len(RULES)
    assert all(f"BASETRACKER_{name.upper()}" in generate.settings() for name in Settings.model_fields)
    assert "`name`" not in generate.status_fields(), "a field is named by its whole path"
