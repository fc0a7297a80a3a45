"""Every link leads somewhere, and every page says for whom it is."""

from __future__ import annotations

import re

import pytest

from .pages import ROOT, Page, pages

PAGES = pages()
EXPLAINED = [name for name in PAGES if name.startswith("docs/")]


def test_there_are_pages_of_each_kind() -> None:
    folders = {name.split("/")[1] for name in EXPLAINED if name.count("/") == 2}
    assert folders == {"tutorial", "howto", "explanation", "reference", "dev", "decisions"}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = PAGES[name]
    assert [link for link in page.links() if not _leads_somewhere(page, link)] == []


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_page_says_at_its_top_for_whom_it_is(name: str) -> None:
    title, _, rest = PAGES[name].text.partition("\n\n")
    assert title.startswith("# ")
    assert re.match(r"\*(For |Status: )", rest), "who reads this page?"


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_page_can_be_reached_from_the_readme(name: str) -> None:
    assert PAGES[name].path in _reached(PAGES["README.md"])


def test_pictures_are_used_and_drawn_in_text() -> None:
    shown = {link.rpartition("/")[2] for page in PAGES.values() for link in page.links()}
    assert {path.name for path in (ROOT / "docs/pictures").iterdir()} <= shown
    assert {path.suffix for path in (ROOT / "docs/pictures").iterdir()} == {".svg"}


def _leads_somewhere(page: Page, link: str) -> bool:
    if re.match(r"https://|mailto:", link):
        return True
    path, _, anchor = link.partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or (target.suffix == ".md" and anchor in Page(target).anchors())


def _reached(start: Page) -> set[object]:
    found, waiting = {start.path}, [start]
    while waiting:
        page = waiting.pop()
        for link in page.links():
            target = (page.path.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and target not in found:
                found.add(target)
                waiting.append(Page(target))
    return set(found)
