"""`basetracker check`: validate tracker files as the API server would, and try what they name."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from basetracker.cli.connection import cluster_options, namespace_option, output_option
from basetracker.cli.looking import announced, has_azure, looking, read_settings, run
from basetracker.cli.output import Grid, Tone, show, show_json
from basetracker.cli.tracker_files import Finding, Result, TrackerFile, read_trackers
from basetracker.cli.trials import Trials, try_all

_TONES: Final = {Result.OK: Tone.PLAIN, Result.WRONG: Tone.BAD, Result.SKIPPED: Tone.FAINT}


@click.command("check")
@click.argument(
    "files",
    metavar="FILE…",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=str),
)
@click.option("--offline", is_flag=True, help="Validate only; ask no registry, no cluster and no Azure.")
@namespace_option
@output_option
@cluster_options
def command(
    files: tuple[str, ...],
    offline: bool,
    namespace: str | None,
    output: str,
    kubeconfig: Path | None,
    context: str | None,
) -> int:
    """Validate the trackers in FILE… (- is standard input) and try whether what they name can be read.

    Tags are asked for with the tracker's pull Secret, read from the cluster, else with the AZURE_* credentials, else as
    anybody may; tasks with the AZURE_* credentials. Exit code 0 when all is well, 1 when something is invalid or
    can't be read, 2 for wrong usage.
    """
    findings: list[Finding] = []
    trackers: list[TrackerFile] = []
    for file in files:
        for found in read_trackers(_name(file), _content(file)):
            if isinstance(found, TrackerFile):
                trackers.append(found)
            else:
                findings.append(found)
    if trackers and not offline:
        findings += run(_tried(trackers, namespace, kubeconfig, context))
    places = [_name(file) for file in files]
    findings.sort(key=lambda finding: (places.index(finding.file), finding.line))
    ok = all(finding.result is not Result.WRONG for finding in findings)
    if output == "json":
        show_json({"ok": ok, "trackers": len(trackers), "findings": [asdict(finding) for finding in findings]})
    elif findings:
        show([_grid(findings)])
    if not findings:
        click.echo("basetracker: the files hold nothing", err=True)
    return 0 if ok else 1


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


def _content(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} can't be read: {error.strerror}") from error


async def _tried(
    trackers: list[TrackerFile], namespace: str | None, kubeconfig: Path | None, context: str | None
) -> list[Finding]:
    async with (
        looking(read_settings(), kubeconfig, context) as parts,
        announced("asking registries, the cluster and Azure"),
    ):
        return await try_all(Trials(parts, namespace=namespace, azure=has_azure()), trackers)


def _grid(findings: Iterable[Finding]) -> Grid:
    ordered = list(findings)
    return Grid(
        columns=("FILE", "TRACKER", "WHAT", "RESULT", "MESSAGE"),
        rows=tuple(_row(finding) for finding in ordered),
        tones=tuple(_TONES[finding.result] for finding in ordered),
    )


def _row(finding: Finding) -> tuple[Any, ...]:
    place = f"{finding.file}:{finding.line}" + (f":{finding.column}" if finding.column is not None else "")
    return (place, finding.tracker or "-", finding.what, str(finding.result), finding.message)
