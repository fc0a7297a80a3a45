"""How commands print: one description of a text, drawn for a terminal or written plainly for a pipe; and JSON.

Owns the drawing only; what is said comes from the commands. Text from registries and clusters is made harmless: no control
characters, no markup.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TextIO

import click


class Tone(StrEnum):
    """What a line means; the value is its style on a terminal."""

    PLAIN = ""
    GOOD = "green"
    WORKING = "yellow"
    BAD = "red"
    FAINT = "dim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Rows under headings; `tones` are those of the rows, plain where there are none."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    tones: tuple[Tone, ...] = ()

    def tone(self, row: int) -> Tone:
        return self.tones[row] if row < len(self.tones) else Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Branch:
    """A line with what belongs below it."""

    text: str
    below: tuple[Branch | Grid, ...] = ()
    tone: Tone = Tone.PLAIN


Item = Branch | Grid


def show(items: Iterable[Item], out: TextIO | None = None) -> None:
    """Print to `out` (standard output): drawn on a terminal, plain lines otherwise."""
    stream = out or sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # a console that lacks a letter still gets the rest
    if stream.isatty():
        _draw(items, stream)
        return
    for line in lines(items):
        click.echo(line, file=stream)


def show_json(document: Any) -> None:
    """Print JSON with the keys in their order."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))


def lines(items: Iterable[Item], indent: str = "") -> Iterable[str]:
    """The plain text: two spaces for each level, columns set apart by three."""
    for item in items:
        if isinstance(item, Grid):
            yield from (f"{indent}{line}".rstrip() for line in _aligned([item.columns, *item.rows]))
            continue
        yield f"{indent}{harmless(item.text)}"
        yield from lines(item.below, indent + "  ")


def harmless(text: str) -> str:
    """`text` in one line, without characters that could steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    clean = [[harmless(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in clean) for i in range(len(clean[0]))]
    for row in clean:
        yield "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _draw(items: Iterable[Item], stream: TextIO) -> None:
    # Loaded here, since a pipe needs none of it.
    from rich.console import Console
    from rich.tree import Tree

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for item in items:
        if isinstance(item, Grid):
            console.print(_table(item))
            continue
        tree = Tree(_text(item.text, item.tone), guide_style="dim")
        _grow(tree, item.below)
        console.print(tree)


def _grow(tree: Any, items: Iterable[Item]) -> None:
    for item in items:
        if isinstance(item, Grid):
            tree.add(_table(item))
        else:
            _grow(tree.add(_text(item.text, item.tone)), item.below)


def _table(grid: Grid) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for column in grid.columns:
        table.add_column(column, overflow="fold")  # a digest or a path that is cut off is of no use
    for number, row in enumerate(grid.rows):
        table.add_row(*(_text(cell, Tone.PLAIN) for cell in row), style=str(grid.tone(number)) or None)
    return table


def _text(text: str, tone: Tone) -> Any:
    from rich.text import Text

    return Text(harmless(text), style=str(tone))
