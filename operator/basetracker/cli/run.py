"""`basetracker run`: the operator. Each setting is a flag and a `BASETRACKER_*` variable; the flag goes before."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from basetracker.api.tracker import describe
from basetracker.cli.connection import cluster_options, login
from basetracker.errors import BasetrackerError
from basetracker.settings import Settings


def _setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each setting, with its description."""
    for name, field in reversed(Settings.model_fields.items()):
        flag = "--" + name.replace("_", "-")
        text = f"{field.description} [env BASETRACKER_{name.upper()}]"
        function = click.option(flag, name, metavar="VALUE", help=text)(function)
    return function


@click.command("run")
@cluster_options
@_setting_options
def command(kubeconfig: Path | None, context: str | None, **flags: str | None) -> int:
    """Run the operator: wait for the Lease, then watch the trackers and bring their images up to date."""
    try:
        settings = Settings(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]  # validated here
    except ValidationError as error:
        raise click.UsageError("; ".join(describe(error, root="settings"))) from error
    # Loaded here, since kopf and the clients take their time and `--help` needs neither.
    from basetracker.handlers.lifecycle import run_operator, stop_on_signals
    from basetracker.telemetry import LOGGER, set_up_logs

    set_up_logs(settings.log_level, settings.log_format)

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        await run_operator(
            settings, login(kubeconfig, context), os.environ, stop=stop, watching=lambda: stop_on_signals(stop)
        )

    try:
        asyncio.run(run())
    except BasetrackerError as error:
        LOGGER.error("ending: %s", error)  # a line of the log like all others, for whoever reads them by machine
        return 2
    return 0
