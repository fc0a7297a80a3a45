"""How commands print: plainly into a pipe, drawn on a terminal, and harmless in both."""

from __future__ import annotations

import io

from basetracker.cli.output import Branch, Grid, Tone, lines, show

ITEMS = (
    Branch(
        "shop/python: Current",
        (
            Branch("why: \x1b[31mred\x1b[0m [bold]not bold[/bold]\nsecond line", tone=Tone.BAD),
            Grid(columns=("NAME", "STATE"), rows=(("a", "Current"), ("checkout", "Stale")), tones=(Tone.GOOD,)),
        ),
    ),
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_aligned_lines() -> None:
    out = io.StringIO()
    show(ITEMS, out)
    assert out.getvalue().splitlines() == [
        "shop/python: Current",
        "  why:  [31mred [0m [bold]not bold[/bold] second line",
        "  NAME       STATE",
        "  a          Current",
        "  checkout   Stale",
    ]


def test_a_terminal_gets_a_tree_and_a_table() -> None:
    out = Terminal()
    show(ITEMS, out)
    text = out.getvalue()
    assert "└── " in text
    assert "[bold]not bold[/bold] second line" in text, "text is no markup"
    assert "\x1b[31mred" not in text, "text steers no terminal"
    assert "checkout" in text


def test_nothing_is_cut_off_on_a_narrow_terminal() -> None:
    out = Terminal()
    show([Grid(columns=("A", "B"), rows=(("x" * 90, "y" * 90),))], out)
    assert (out.getvalue().count("x"), out.getvalue().count("y")) == (90, 90)


def test_every_row_has_a_tone() -> None:
    (grid,) = [item for item in ITEMS[0].below if isinstance(item, Grid)]
    assert [grid.tone(row) for row in range(2)] == [Tone.GOOD, Tone.PLAIN]
    assert next(iter(lines([grid]))).split() == ["NAME", "STATE"]
