"""The documentation's pages as the tests read them: text, code blocks, links and the places that a link can lead to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^( *)```([a-z]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its language, its text without indentation, and the line of the page that the text begins at."""

    language: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path)

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self, *languages: str) -> list[Block]:
        """The fenced blocks of these languages."""
        text = self.text
        return [
            Block(language=one[2], text=_outdented(one[3], one[1]), line=text.count("\n", 0, one.start(3)) + 1)
            for one in _FENCE.finditer(text)
            if one[2] in languages
        ]

    def links(self) -> list[str]:
        """The targets of all links and pictures."""
        return _LINK.findall(self.prose)

    def anchors(self) -> set[str]:
        """What `#…` can name: headings as GitHub names them, and places that are named in HTML."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {_slug(heading) for heading in headings} | set(re.findall(r'<a id="([^"]+)">', self.prose))

    def commands(self, program: str) -> Iterator[list[str]]:
        """The arguments of each call of `program` that the page shows, in blocks and in the text."""
        lines = [line for block in self.blocks("sh", "console") for line in joined(block.text)]
        lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", self.prose)]
        for line in lines:
            words = _words(line.removeprefix("$ "))
            for start, word in enumerate(words):
                if word == program and (start == 0 or words[start - 1] in {"--", ";", "kubectl", "("}):
                    yield _until_the_end(words[start + 1 :])


def joined(text: str) -> list[str]:
    """The lines, those that end in a backslash with the next one."""
    return re.sub(r" *\\\n *", " ", text).splitlines()


def _outdented(text: str, indentation: str) -> str:
    return "".join(line.removeprefix(indentation) for line in text.splitlines(keepends=True))


def _words(line: str) -> list[str]:
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";<>|&()")
        lexer.whitespace_split = True
        return list(lexer)
    except ValueError:  # what isn't a command line, such as a message with an apostrophe
        return []


def _until_the_end(words: list[str]) -> list[str]:
    end = next((place for place, word in enumerate(words) if set(word) <= set(";<>|&()")), len(words))
    return words[:end]


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


@cache
def pages() -> dict[str, Page]:
    """Every page, by its path in the project."""
    found = [Page(path) for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])]
    return {page.name: page for page in found}
