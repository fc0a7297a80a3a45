"""`basetracker explain`: why each image of a tracker is in its state, and what would happen next. Touches nothing.

It goes the operator's own way (observe, plan) with the user's kubeconfig and credentials, and stops before acting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from basetracker.adapters.kube import path_of
from basetracker.api.names import API_VERSION, PLURAL
from basetracker.api.tracker import Key, Tracker
from basetracker.cli.account import IN_ORDER, account, view_of
from basetracker.cli.account_text import text_of
from basetracker.cli.connection import cluster_options, namespace_option, output_option
from basetracker.cli.looking import (
    NO_CREDENTIALS,
    AssumedAllowList,
    announced,
    has_azure,
    looking,
    read_settings,
    run,
)
from basetracker.cli.output import show, show_json
from basetracker.engine.observe import observe
from basetracker.errors import DeniedError, MissingError
from basetracker.wiring import Parts


@click.command("explain")
@click.argument("tracker")
@namespace_option
@output_option
@cluster_options
def command(tracker: str, namespace: str | None, output: str, kubeconfig: Path | None, context: str | None) -> int:
    """Say why each image of TRACKER is in its state, what would free it, and what would happen next.

    Reads cluster, registries and builder with your own credentials and writes nothing anywhere. Exit code 0 when every
    image is current (or the tracker suspended), 1 when not, 2 when the tracker doesn't exist or can't be reached.
    """
    found = run(_explain(tracker, namespace, kubeconfig, context))
    if output == "json":
        show_json(found)
    else:
        show(text_of(found))
    images = found["images"]
    return 0 if images and all(item["state"] in IN_ORDER for item in images) else 1


async def _explain(name: str, namespace: str | None, kubeconfig: Path | None, context: str | None) -> dict[str, Any]:
    async with (
        looking(read_settings(), kubeconfig, context) as parts,
        announced("reading the tracker, its registries, its tasks and its workloads"),
    ):
        key = Key(namespace=namespace or await parts.kube.namespace(), name=name)
        tracker, notes = await _read(parts, key)
        observed = await observe(parts.world, tracker)
        if not has_azure():
            notes.append(f"{NO_CREDENTIALS}; Azure registries were read as anybody may, and ACR Tasks not at all")
        notes += _assumed(parts, key)
        return account(view_of(observed, notes))


async def _read(parts: Parts, key: Key) -> tuple[Tracker, list[str]]:
    """The tracker, with its siblings in the store where they may be listed; and what is to be said about that."""
    notes = []
    try:
        async for page in parts.kube.pages(path_of(API_VERSION, PLURAL, key.namespace)):
            for body in page.get("items") or ():
                parts.store.seen(body)
    except DeniedError as error:
        notes.append(f"the namespace's other trackers aren't known, nor chains and shared containers: {error}")
        body = await parts.kube.get(path_of(API_VERSION, PLURAL, key.namespace, key.name))
        if body is not None:
            parts.store.seen(body)
    tracker = parts.store.get(key)
    if tracker is None:
        raise MissingError(f"there is no BaseImageTracker {key}")
    return tracker, notes


def _assumed(parts: Parts, key: Key) -> list[str]:
    allowed = parts.world.allow_list
    if not isinstance(allowed, AssumedAllowList) or not allowed.asked:
        return []
    tasks = ", ".join(sorted(allowed.asked))
    return [
        f"the operator's allow-list isn't at hand (BASETRACKER_ALLOW_LIST): that namespace {key.namespace} may have "
        f"{tasks} started is assumed"
    ]
