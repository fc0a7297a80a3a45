"""Where each command of the pages is run by the tests, and why some are not.

`EMULATED` is `tests/functional/test_docs_commands.py`, `REAL` is `tests/e2e/test_docs_commands.py`. A command that is in
neither table fails `test_console.py`.
"""

from __future__ import annotations

import re
from enum import StrEnum

from .console import Step, steps
from .pages import pages


class Where(StrEnum):
    """On what a command is run."""

    EMULATED = "emulated"
    REAL = "real"


PLACES = {
    ("README.md", "console"): Where.EMULATED,
    ("README.md", "sh"): Where.REAL,
    ("docs/howto/aks.md", "sh"): Where.REAL,
    ("docs/howto/chains.md", "console"): Where.EMULATED,
    ("docs/howto/other-registries.md", "sh"): Where.EMULATED,
    ("docs/howto/protect.md", "sh"): Where.EMULATED,
    ("docs/howto/single-namespace.md", "sh"): Where.REAL,
    ("docs/howto/troubleshooting.md", "sh"): Where.REAL,
    ("docs/reference/annotations.md", "console"): Where.EMULATED,
    ("docs/reference/annotations.md", "sh"): Where.REAL,
    ("docs/reference/status.md", "console"): Where.EMULATED,
    ("docs/tutorial/demo.md", "console"): Where.EMULATED,
    ("docs/tutorial/demo.md", "sh"): Where.EMULATED,
}
"""By page and language of the block."""

NOT_RUN = (
    (r"(\w+=\$\()?az ", "needs an Azure subscription"),
    (r"make (?!demo ARGS)|\.ci/run", "starts this very suite, the demo, or a tool; that the targets exist is tested"),
    (r"kubectl .* logs deploy/", "no process runs in the Pods of emulated nodes"),
    (
        r"(cosign|notation) ",
        "signs in a pipeline; the tools are run in tests/adapters/gates/signature/test_real_tools.py",
    ),
    (r"kubectl .* create configmap [a-z-]+ --from-file", "stores a file that a tool or an authority has made"),
    (r"(BASETRACKER|AZURE)_\w+=", "an environment, not a command"),
)
"""The begin of a command, and why it isn't run."""

INSTEAD = "kubectl -n basetracker-system exec -i deploy/basetracker -- "
"""What follows it is run beside the operator, as the operator: no process runs in the Pods of emulated nodes."""

TEXTS = {
    "README.md": "compared with what the demo prints",
    "docs/tutorial/demo.md": "compared with what the demo prints",
    "docs/dev/add-a-gate.md": "a drawing",
    "docs/dev/house.md": "a drawing",
    "docs/explanation/lineage.md": "a drawing",
    "docs/reference/commands.md": "generated",
}
"""The pages with `text` blocks, and what is done about them."""


def where(step: Step) -> Where | str:
    """On what a step is run, or the reason why it isn't. Raises LookupError when nothing is said about it."""
    for pattern, reason in NOT_RUN:
        if re.match(pattern, step.command):
            return reason
    try:
        return PLACES[step.page, step.language]
    except KeyError:
        raise LookupError(f"{step}: say in {__name__} where it is run, or why not") from None


def steps_at(place: Where, page: str) -> list[Step]:
    """What of a page is run there, from top to bottom."""
    return [step for step in steps(pages()[page]) if where(step) is place]
