"""The kopf door: the watch of the trackers. An event is a sighting; it pokes a key, and a turn does the rest."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import kopf

from basetracker.adapters.kube_login import Connection
from basetracker.adapters.trackers import TrackerStore
from basetracker.api.names import GROUP, PLURAL, VERSION
from basetracker.api.tracker import Key
from basetracker.engine.wakeups import Wakeups
from basetracker.handlers.storages import NoDiffBase, NoProgress


def registry_of(
    store: TrackerStore, wakeups: Wakeups[Key], connect: Callable[[], Awaitable[Connection]]
) -> kopf.OperatorRegistry:
    """A registry with the log-in and the one event handler."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        found = await connect()
        return kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_path,
            insecure=found.insecure,
            scheme=found.scheme,
            token=found.token,
            certificate_path=found.certificate_path,
            private_key_path=found.private_key_path,
            default_namespace=found.default_namespace,
            proxy_url=found.proxy_url,
            trust_env=found.trust_env,
        )

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def sighted(type: str | None, body: kopf.Body, **_: Any) -> None:
        take_sighting(store, wakeups, type, body)

    return registry


def take_sighting(store: TrackerStore, wakeups: Wakeups[Key], type: str | None, body: Mapping[str, Any]) -> None:
    """Remember a tracker as the watch tells of it, and give a turn to it and to those that it concerns.

    `type` is the watch event's, None for a tracker in a list.
    """
    key = Key(namespace=body["metadata"]["namespace"], name=body["metadata"]["name"])
    changed = store.gone(key, body["metadata"]["uid"]) if type == "DELETED" else store.seen(dict(body))
    if changed:
        wakeups.poke(key)
        for other in store.in_namespace(key.namespace):
            if other.key != key and _concerns(other.key, key, store):
                wakeups.poke(other.key)


def operator_settings() -> kopf.OperatorSettings:
    """kopf's settings for an operator that lives for months: it never gives up on the API server."""
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = _Backoffs()  # the default ends the process after 54 s of 5xx answers
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 300
    settings.watching.inactivity_timeout = 70  # longer than the server's bookmarks, shorter than a dead connection
    settings.watching.connect_timeout = 10
    settings.queueing.idle_timeout = 0.5
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    return settings


class _Backoffs:
    """Growing waits without end; kopf asks for them anew after each success."""

    def __iter__(self) -> Iterator[float]:
        wait = 0.5
        while True:
            yield wait * random.uniform(0.75, 1.25)  # noqa: S311  spreads retries, protects nothing
            wait = min(wait * 2, 30)


def _concerns(other: Key, changed: Key, store: TrackerStore) -> bool:
    """Whether a changed (or deleted) tracker may change what another one sees: base, circle or claim."""
    mine, theirs = store.get(other), store.get(changed)
    if mine is None or mine.spec is None:
        return False
    if theirs is None or theirs.spec is None:
        return True
    outputs = {item.image for item in theirs.spec.downstream}
    inputs = {item.image for item in mine.spec.downstream}
    places = {(target.kind, target.name) for item in theirs.spec.downstream for target in item.deploy}
    own = {(target.kind, target.name) for item in mine.spec.downstream for target in item.deploy}
    return mine.spec.base.image in outputs or theirs.spec.base.image in inputs or bool(places & own)
