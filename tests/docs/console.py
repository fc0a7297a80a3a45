"""The commands that the pages show, with what they print below; and whether that is what was really printed.

A `console` block has command lines after `$ ` and their output below; a `sh` block has commands only. In the output, `…`
on a line of its own stands for lines that are left out, and within a line for shortened text. What differs from run to run
(digests, ids of runs, times, ages, the demo's directory) only has to be of the same kind, but what is the same digest or
run in a block has to be the same in the output. Everything else has to be equal, line by line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .pages import Block, Page

SHELL = ("console", "sh")
GAP = "…"
_FURTHER = " " * 20
_LINES = r"(?:[^\n]*\n)*?"
_HEREDOC = re.compile(r"<<-?'?(\w+)'?")
_FILE = re.compile(r"^# ([\w.-]+\.yaml)\n")
_HEX = "[0-9a-f]"
_VOLATILE = re.compile(
    r"""
    (?P<clock>^\ *\d+\.\d+s)                                        # the demo's own time, at a line's begin
    | (?P<cut>\b[0-9a-f]{8}…)                                       # a digest that the page has shortened
    | (?P<digest>\b[0-9a-f]{12}(?P<rest>[0-9a-f]{52})?\b)
    | (?P<run>\bcf[0-9a-z]+\b)
    | (?P<time>\b\d{4}(?P<dash>[-/])\d\d(?P=dash)\d\d[T\ ]\d\d:\d\d:\d\d)
    | (?P<age>(?<=\ )\d+[smhd](?:\d+[smhd])?(?=\s|$))
    | (?P<directory>/tmp/basetracker-demo-\w+)
    | (?P<gap>…)
    | (?P<space>(?<=\S)\ {2,})                                      # columns are as wide as what is in them
    """,
    re.VERBOSE,
)
_ANY = {
    "clock": r" *\d+\.\d+s",
    "cut": f"{_HEX}{{64}}",
    "time": r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d",
    "age": r"\d+[smhd](?:\d+[smhd])?",
    "directory": r"\S*/basetracker-demo-\w+",
    "gap": r"[^\n]*?",
    "space": " {2,}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command of a page; `output` is what is shown below it, None where the page shows commands only."""

    page: str
    line: int
    language: str
    command: str
    output: tuple[str, ...] | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.command.splitlines()[0]}"


def steps(page: Page) -> list[Step]:
    """All commands of a page, from top to bottom. Raises ValueError for a console block that begins with no command."""
    return [step for block in page.blocks(*SHELL) for step in _read(page, block)]


def files(page: Page) -> dict[str, str]:
    """The files that a page tells to write: the YAML blocks with a file's name in their first line."""
    found = ((_FILE.match(block.text), block.text) for block in page.blocks("yaml"))
    return {name[1]: text for name, text in found if name}


def difference(shown: Sequence[str], printed: str, *, ordered: bool = True) -> str:
    """Nothing when `printed` is what is shown, else where the two differ.

    When not `ordered`, each line has to be there with whatever around it; one that is indented far goes with that before it.
    """
    names: list[str] = []
    pattern = _pattern(shown, names) if ordered else _somewhere(shown, names)
    found = re.fullmatch(pattern, _clean(printed))
    if found is None:
        wanted, got = (_plain(text).splitlines() for text in ("\n".join(shown), _clean(printed)))
        return "\n".join(difflib.unified_diff(wanted, got, "the page", "printed", lineterm="", n=20))
    values = [found[name] for name in names]
    if len(set(values)) != len(values):
        return f"what differs on the page is the same in what was printed: {dict(zip(names, values, strict=True))}"
    return ""


def apart(lines: Iterable[str]) -> list[str]:
    """The lines with room for others before, between and after."""
    return [GAP, *(text for line in lines for text in (line, GAP))]


def _read(page: Page, block: Block) -> list[Step]:
    lines = block.text.splitlines()
    if block.language == "console" and not (lines and lines[0].startswith("$ ")):
        raise ValueError(f"{page.name}:{block.line}: a console block begins with a command, after '$ '")
    found: list[Step] = []
    place = 0
    while place < len(lines):
        begin = place
        if block.language == "sh" and (not lines[place].strip() or lines[place].startswith("#")):
            place += 1
            continue
        place = _end_of_command(lines, begin)
        command = "\n".join(lines[begin:place])
        output: tuple[str, ...] | None = None
        if block.language == "console":
            command = command.removeprefix("$ ")
            end = next((at for at in range(place, len(lines)) if lines[at].startswith("$ ")), len(lines))
            output, place = tuple(lines[place:end]), end
        line = block.line + begin
        found.append(Step(page=page.name, line=line, language=block.language, command=command, output=output))
    return found


def _end_of_command(lines: Sequence[str], begin: int) -> int:
    """Where the next one may begin: behind continued lines and a here-document."""
    end = begin + 1
    while lines[end - 1].endswith("\\"):
        end += 1
    if document := _HEREDOC.search(lines[begin]):
        end = lines.index(document[1], end) + 1
    return end


def _clean(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _pattern(shown: Iterable[str], names: list[str]) -> str:
    """An expression for the whole output; its groups' names are put into `names`."""
    return "".join(_LINES if line.strip() == GAP else _line(line.rstrip(), names) + r"\n" for line in shown)


def _somewhere(shown: Iterable[str], names: list[str]) -> str:
    """As `_pattern`, for lines in any order."""
    entries: list[list[str]] = []
    for line in shown:
        if line.startswith(_FURTHER):
            entries[-1].append(line)
        elif line.strip() != GAP:
            entries.append([line])
    return "".join(f"(?={_LINES}{_pattern(entry, names)})" for entry in entries) + _LINES


def _line(line: str, names: list[str]) -> str:
    found, place = "", 0
    for part in _VOLATILE.finditer(line):
        found += re.escape(line[place : part.start()]) + _part(part, names)
        place = part.end()
    return found + re.escape(line[place:])


def _part(part: re.Match[str], names: list[str]) -> str:
    kind = str(part.lastgroup)
    if kind not in {"digest", "run"}:
        return _ANY[kind]
    name = f"{kind}_{part[0][:12]}"
    rest = f"{_HEX}{{52}}" if part["rest"] else ""
    if name in names:
        return f"(?P={name}){rest}"
    names.append(name)
    return f"(?P<{name}>{_HEX}{{12}}){rest}" if kind == "digest" else rf"(?P<{name}>cf[0-9a-z]+)"


def _plain(text: str) -> str:
    """The text with a word for what differs from run to run, to be compared by eye."""
    words = {"space": "  ", "cut": "<digest>", "gap": GAP}
    return "\n".join(
        _VOLATILE.sub(lambda part: words.get(str(part.lastgroup), f"<{part.lastgroup}>"), line.rstrip())
        for line in text.splitlines()
    )
