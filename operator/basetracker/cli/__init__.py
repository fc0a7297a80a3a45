"""The terminal door: one file a command."""

from basetracker.cli.main import main

__all__ = ["main"]
