"""Words of others as they may stand in a message. Pure.

Owns that a name from a report, a log or a finding is one printable line of a bounded length. Used by the gates.
"""

from __future__ import annotations


def one_line(text: str, longest: int | None = None) -> str:
    """The text on one line, without what isn't printed; cut to `longest` characters with an ellipsis."""
    if longest is not None:
        text = text[: longest * 10]  # a bound for the work, too
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"
