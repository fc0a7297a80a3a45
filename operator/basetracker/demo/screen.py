"""The screen: the story as a timeline, with a bar for each image on a terminal; plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from basetracker.demo.proof import Running
from basetracker.demo.story import STEPS, Moment, Standing

_COLOURS = {"good": "green", "bad": "red", "plain": "cyan"}
_WIDTH = 160


class Screen:
    """Where the story is shown; times are seconds since `start`."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _console()
        self._start = time.monotonic()
        self._live: Live | None = None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def title(self, text: str) -> None:
        self._console.print(Text(f"\n{text}", style="bold"))

    def note(self, text: str) -> None:
        """Something about the show itself."""
        self._line("", "", text, "dim")

    def deed(self, text: str) -> None:
        """Something that a person (or the world) does."""
        self._line("you", "", text, "bold yellow")

    def moment(self, moment: Moment) -> None:
        """Something that has happened."""
        self._line(moment.tracker, moment.event, moment.text, _COLOURS[moment.mood])

    def _line(self, who: str, event: str, text: str, style: str) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=6, justify="right", style="dim")
        line.add_column(width=12, style="dim")
        line.add_column(width=15, style=style)
        line.add_column(ratio=1, style=style if style.startswith(("bold", "dim", "red")) else "")
        line.add_row(f"{self.elapsed:5.1f}s", who, event, text)
        self._console.print(line)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Show the bars below the timeline while the story goes on; nothing more where there is no terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def standings(self, items: Sequence[Standing]) -> None:
        """How far each image is."""
        if self._live is not None:
            self._live.update(Group(Text(""), *(_bar(item) for item in items)))

    def table(self, before: Sequence[Running], after: Sequence[Running]) -> None:
        """Before and after, one line for each Deployment."""
        table = Table(
            title="What runs, read from the nodes and the registry's layers", title_justify="left", expand=False
        )
        for name in ("Deployment", "image", "digest before", "on base", "digest after", "on base", "ready"):
            table.add_column(name, no_wrap=True)
        for old, new in zip(before, after, strict=True):
            style = "green" if old.digest != new.digest else ""
            table.add_row(
                new.deployment,
                new.image,
                old.digest,
                old.base,
                Text(new.digest, style),
                Text(new.base, style),
                new.pods,
            )
        self._console.print()
        self._console.print(table)

    def line(self, text: str, style: str = "") -> None:
        """A line without a time."""
        self._console.print(Text(text, style=style))


def _console() -> Console:
    """The terminal as it is; where there is none, lines wide enough for a log."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def _bar(item: Standing) -> Table:
    line = Table.grid(padding=(0, 1))
    line.add_column(width=12, style="bold")
    line.add_column(width=46)
    line.add_column()
    steps = Text()
    for number, name in enumerate(STEPS):
        style = "green" if number < item.step else "yellow" if number == item.step else "dim"
        steps.append("●━" if number < item.step else "○─", style=style)
        steps.append(f"{name} ", style=style)
    line.add_row(item.image, steps, Text(str(item.state), style="red" if item.state.needs_person else ""))
    return line
