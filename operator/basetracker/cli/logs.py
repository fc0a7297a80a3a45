"""`basetracker logs`: the log of the run that builds a downstream image. Never shows the address that it is read from."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import click

from basetracker.adapters.kube import path_of
from basetracker.api.names import API_VERSION, PLURAL
from basetracker.api.tracker import Build, Downstream, Tracker, parse_tracker
from basetracker.cli.connection import cluster_options, namespace_option
from basetracker.cli.looking import NO_CREDENTIALS, announced, has_azure, looking, read_settings, run
from basetracker.errors import DeniedError, InvalidError, MissingError
from basetracker.wiring import Parts

_RUN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@click.command("logs")
@click.argument("tracker")
@click.argument("downstream")
@namespace_option
@click.option("--run", "run_id", help="The run's id; else the one that the tracker's status names.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@cluster_options
def command(
    tracker: str,
    downstream: str,
    namespace: str | None,
    run_id: str | None,
    follow: bool,
    kubeconfig: Path | None,
    context: str | None,
) -> int:
    """Print the log of the run that builds the image DOWNSTREAM of TRACKER.

    Exit code 0 when there was one, 1 when it is empty so far, 2 when something that was named doesn't exist or can't be
    reached.
    """
    if run_id is not None and not _RUN_ID.fullmatch(run_id):
        raise click.UsageError(f"{run_id!r} is not the id of a run; it is like cf12")
    return run(_logs(tracker, downstream, namespace, run_id, follow, kubeconfig, context))


async def _logs(
    name: str,
    downstream: str,
    namespace: str | None,
    run_id: str | None,
    follow: bool,
    kubeconfig: Path | None,
    context: str | None,
) -> int:
    async with looking(read_settings(), kubeconfig, context) as parts:
        async with announced("reading the tracker and its run"):
            tracker = await _tracker(parts, namespace or await parts.kube.namespace(), name)
            item, build = _build(tracker, downstream)
            wanted = run_id or _recorded_run(tracker, item)
            if not has_azure():
                raise DeniedError(f"the log of run {wanted} can't be read: {NO_CREDENTIALS}")
            builder = parts.world.builder
            task = await builder.resolve(build.acr_task, item.image)
            if await builder.run(task, wanted) is None:
                raise MissingError(f"registry {task.registry.rpartition('/')[2]} has no run {wanted}")
        written = 0
        stdout = sys.stdout.buffer
        async for piece in builder.log(task, wanted, follow=follow):
            stdout.write(piece)
            stdout.flush()
            written += len(piece)
    if not written:
        click.echo(f"basetracker: run {wanted} has no log yet, or not any more", err=True)
    return 0 if written else 1


async def _tracker(parts: Parts, namespace: str, name: str) -> Tracker:
    body = await parts.kube.get(path_of(API_VERSION, PLURAL, namespace, name))
    if body is None:
        raise MissingError(f"there is no BaseImageTracker {namespace}/{name}")
    return parse_tracker(body)


def _build(tracker: Tracker, downstream: str) -> tuple[Downstream, Build]:
    if tracker.spec is None:
        raise InvalidError(f"the spec of {tracker.key} can't be read: {tracker.problem}")
    item = next((one for one in tracker.spec.downstream if one.name == downstream), None)
    if item is None:
        names = ", ".join(one.name for one in tracker.spec.downstream)
        raise MissingError(f"{tracker.key} has no downstream image {downstream}; it has {names}")
    if item.build is None:
        raise MissingError(f"no build is declared for {downstream} of {tracker.key}, so it has no runs")
    return item, item.build


def _recorded_run(tracker: Tracker, item: Downstream) -> str:
    before = tracker.status.of(item.name)
    record = before.build if before is not None else None
    if record is None or record.run_id is None:
        raise MissingError(f"the status of {tracker.key} names no run of {item.name}; name one with --run")
    return record.run_id
