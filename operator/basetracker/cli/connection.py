"""Options that say which cluster and namespace, as kubectl has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from basetracker.adapters.kube_login import Login


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--kubeconfig` and `--context`."""
    function = click.option("--context", help="The kubeconfig's context to use.")(function)
    return click.option(
        "--kubeconfig",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The kubeconfig file; else $KUBECONFIG, the Pod's service account or ~/.kube/config.",
    )(function)


def namespace_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-n`."""
    return click.option("-n", "--namespace", help="The namespace; else that of the context.")(function)


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--output`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Form of the output.",
    )(function)


def login(kubeconfig: Path | None, context: str | None) -> Login:
    """How to log in."""
    return Login(kubeconfig=kubeconfig, context=context)
