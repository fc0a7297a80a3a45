"""`basetracker demo`: the whole story with no cluster and no Azure."""

from __future__ import annotations

import asyncio
import signal

import click

NAMES = ("patched-base", "lacks-base", "failing-build", "stuck-rollout", "acr-trigger-first")


@click.command("demo")
@click.option(
    "--scenario", "name", type=click.Choice(NAMES), default=NAMES[0], show_default=True, help="Which story to play."
)
@click.option(
    "--speed", type=click.FloatRange(0.1, 20), default=1.0, show_default=True, help="How fast builds and Pods are."
)
@click.option("--keep", is_flag=True, help="Stay up at the end, to look around with kubectl.")
def command(name: str, speed: float, keep: bool) -> int:
    """Play a small shop on emulated ACR, Tasks and Kubernetes: a base is patched, every image follows."""
    try:
        from basetracker.demo.scenarios import scenario
        from basetracker.demo.screen import Screen
        from basetracker.demo.show import show
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the demo needs {error.name}; install it with: pip install 'basetracker[demo]'"
        ) from error

    async def play() -> int:
        playing = asyncio.ensure_future(show(scenario(name), speed=speed, keep=keep, screen=Screen()))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
        return await playing

    try:
        return asyncio.run(play())
    except asyncio.CancelledError:
        return 143
