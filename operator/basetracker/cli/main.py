"""The command line: `basetracker`, also installed as `kubectl-basetracker`.

Exit codes: 0 done, 1 not so (stale, blocked, invalid), 2 usage or unreachable. Commands are loaded when they are called, so
that help comes at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import click

from basetracker import __version__
from basetracker.errors import BasetrackerError

COMMANDS: Final = {
    "run": "Run the operator.",
    "demo": "Show the whole story, with no cluster and no Azure.",
    "check": "Validate tracker files and try registry and credentials.",
    "explain": "Say why each image is in its state and what would happen next; touches nothing.",
    "findings": "Scan a downstream image with Trivy and show all that is found.",
    "logs": "Print the log of a downstream image's build.",
}


class _Commands(click.Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"basetracker.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="basetracker")
def commands() -> None:
    """Rebuild, prove and redeploy every image whose base image has moved."""


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = commands.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except BasetrackerError as error:
        click.echo(f"basetracker: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
