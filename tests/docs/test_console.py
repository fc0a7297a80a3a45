"""Every command of the pages has its place in the tests, and what is compared there is really compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .console import Step, apart, difference, files, steps
from .coverage import INSTEAD, NOT_RUN, PLACES, TEXTS, Where, where
from .pages import Page, pages

PAGES = pages()
STEPS = [step for page in PAGES.values() for step in steps(page)]
SHOWN = [
    "NAME   DIGEST         SINCE",
    "a      5b122a0e3901   16s",
    "…",
    "b:",
    "  digest: sha256:9d097e0b919b00bc89d8153cd59c4a051106e2b616460f562a1cbe3eeb9d18e3, shortened sha256:9d097e0b…",
    "  run: cf4 for base 5b122a0e3901, not … at 2026-11-22T08:01:39Z",
]
LONG = "abcdef012345" + 52 * "0"
PRINTED = f"""\
NAME    DIGEST         SINCE
a       111111111111   2m10s
left
out
b:
  digest: sha256:{LONG}, shortened sha256:{LONG}
  run: cf12 for base 111111111111, not built on anything at 2027-01-02T03:04:05Z
"""


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_every_command_is_run_or_has_a_reason(step: Step) -> None:
    assert where(step)


def test_every_kind_of_command_and_every_page_of_the_tables_is_there() -> None:
    told = {where(step) for step in STEPS}
    assert told == {*Where, *(reason for _, reason in NOT_RUN)}
    assert {(step.page, step.language) for step in STEPS if isinstance(where(step), Where)} == set(PLACES)
    assert [step for step in STEPS if step.command.startswith(INSTEAD)]
    assert {name for name, page in PAGES.items() if page.blocks("text")} == set(TEXTS)


def test_every_command_line_of_a_block_is_found() -> None:
    blocks = [block for page in PAGES.values() for block in page.blocks("console")]
    assert blocks
    shown = sum(line.startswith("$ ") for block in blocks for line in block.text.splitlines())
    assert shown == sum(step.language == "console" for step in STEPS)
    programs = re.compile(r"^(kubectl|basetracker|az|make) ", re.MULTILINE)
    lines = [line for page in PAGES.values() for block in page.blocks("sh") for line in programs.findall(block.text)]
    assert len(lines) == sum(bool(programs.match(step.command)) for step in STEPS if step.language == "sh")


def test_a_page_is_read_as_commands_with_output_and_files(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "```console\n$ first \\\n  --long\none\n\ntwo\n$ second\n```\n\n"
        "   ```sh\n   # why\n   third   # remark\n\n   cat > f <<END\n   $text\n   END\n   ```\n\n"
        "```yaml\n# f.yaml\nkind: A\n```\n"
    )
    page = Page(path)
    found = [(step.line, step.command, step.output) for step in steps(page)]
    assert found == [
        (2, "first \\\n  --long", ("one", "", "two")),
        (7, "second", ()),
        (12, "third   # remark", None),
        (14, "cat > f <<END\n$text\nEND", None),
    ]
    assert files(page) == {"f.yaml": "# f.yaml\nkind: A\n"}


def test_output_without_a_command_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("```console\nNAME\n```\n")
    with pytest.raises(ValueError, match="begins with a command"):
        steps(Page(path))


def test_what_differs_from_run_to_run_is_no_difference() -> None:
    assert difference(SHOWN, PRINTED) == ""
    assert difference([], "") == ""


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("a  ", "c  "),
        ("NAME    DIGEST", "NAME DIGEST"),
        ("2m10s", "soon"),
        ("b:\n", ""),
        ("b:\n", "b:\n\n"),
        ("  digest:", "   digest:"),
        (LONG, LONG[:-1]),
        ("for base 111111111111", "for base 222222222222"),
        (LONG, "111111111111" + 52 * "0"),
        ("cf12", "run"),
        ("2027-01-02", "2027-01"),
        ("05Z\n", "05Z\nmore\n"),
        ("not built on anything", "built on anything"),
    ],
)
def test_whatever_else_differs_is_a_difference(there: str, instead: str) -> None:
    assert there in PRINTED
    assert difference(SHOWN, PRINTED.replace(there, instead)) != ""


def test_lines_that_others_come_between() -> None:
    printed = "first\nother\nsecond\nthird\n"
    assert difference(apart(["first", "third"]), printed) == ""
    assert difference(["first", "third"], printed) != ""
    assert difference(apart(["third", "first"]), printed) != ""
    assert difference(apart(["first", "3rd"]), printed) != ""


def test_lines_in_any_order() -> None:
    shown = ["  1.0s run cf4 goes", "…", "  2.0s run cf4 made", 30 * " " + "5b122a0e3901", "  3.0s third"]
    printed = f" 12.5s run cf9 made\n{30 * ' '}111111111111\n 12.5s run cf9 goes\nother\n 13.0s third\n"
    assert difference(shown, printed, ordered=False) == ""
    assert difference(shown, printed) != ""
    for wrong in (
        printed.replace("9 goes", "8 goes"),
        printed.replace("third", "3rd"),
        printed.replace("      11", "11"),
    ):
        assert difference(shown, wrong, ordered=False) != ""
