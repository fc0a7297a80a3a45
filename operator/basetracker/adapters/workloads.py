"""Workloads of the cluster: read from a cache, changed by a patch that proves what it changes: `ports.Workloads`.

Owns which caches run and the one patch that delivers. Must not know why an image is delivered. The engine reads and
delivers through it; `handlers/` is told of changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from basetracker.adapters.fence import May, always, only_while
from basetracker.adapters.informer import Informer
from basetracker.adapters.kube import JSON_PATCH, Json, Kube
from basetracker.adapters.projection import KINDS, WorkloadKind, kind_of, project
from basetracker.api.names import CHANGE_CAUSE, DELIVERED, FIELD_MANAGER
from basetracker.core.actions import ContainerChange, Deliver
from basetracker.core.observed import Workload
from basetracker.errors import DeniedError, UnavailableError
from basetracker.ports import Clock

SYNC_SECONDS: Final = 15.0
STALE_SECONDS: Final = 60.0
"""A cache that couldn't watch for so long is no longer believed."""

Scope = tuple[str, str]
"""Namespace, empty for the whole cluster, and kind."""


class ClusterWorkloads:
    """Workloads by namespace, kind and name; a cache begins when something of its namespace is first asked for."""

    def __init__(
        self,
        kube: Kube,
        *,
        clock: Clock,
        changed: Callable[[str, str, str], None],
        cluster_wide: bool,
        may: May = always,
    ) -> None:
        """`changed` gets namespace, kind and name; with `cluster_wide` one watch for each kind serves all namespaces.

        Deliveries are sent only while `may`.
        """
        self._kube = kube
        self._may = may
        self._clock = clock
        self._changed = changed
        self._cluster_wide = cluster_wide
        self._informers: dict[Scope, Informer[Workload]] = {}
        self._tasks: dict[Scope, asyncio.Task[None]] = {}

    def start(self, namespaces: Collection[str]) -> None:
        """Begin the caches of these namespaces (all kinds) before somebody asks; those that run go on."""
        for namespace in namespaces:
            for kind in KINDS.values():
                self._informer(namespace, kind)

    def retain(self, namespaces: Collection[str]) -> None:
        """End the caches of all other namespaces; one for the whole cluster goes on."""
        for scope in [scope for scope in self._tasks if scope[0] and scope[0] not in namespaces]:
            self._tasks.pop(scope).cancel()
            del self._informers[scope]

    async def stop(self) -> None:
        """End all caches."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._informers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def is_synced(self) -> bool:
        """Whether every cache that has begun has seen its first list."""
        return all(informer.synced.is_set() for informer in self._informers.values())

    def silent_for(self) -> float:
        """Seconds since the cache that has heard least from the server heard of it; 0 without caches."""
        now = self._clock.monotonic()
        return max((now - informer.last_contact for informer in self._informers.values()), default=0.0)

    async def find(self, namespace: str, kind: str, name: str) -> Workload | None:
        """The workload as it was last seen.

        Raises:
            DeniedError: the operator may not list or watch workloads there.
            UnavailableError: the cache isn't filled yet, or couldn't be kept up to date for a minute.
        """
        informer = self._informer(namespace, kind_of(kind))
        if not informer.synced.is_set():
            await self._first_list(informer, namespace, kind)
        if informer.problem is not None and informer.troubled_for() > STALE_SECONDS:
            raise _because(informer, f"{kind}s of the namespace {namespace} can't be watched")
        return informer.items.get((namespace, name))

    async def _first_list(self, informer: Informer[Workload], namespace: str, kind: str) -> None:
        waiting = {
            asyncio.ensure_future(informer.synced.wait()),
            asyncio.ensure_future(self._clock.sleep(SYNC_SECONDS)),
        }
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        if not informer.synced.is_set():
            informer.awaited_in_vain = True
            raise _because(informer, f"{kind}s of the namespace {namespace} aren't listed yet")

    def _informer(self, namespace: str, kind: WorkloadKind) -> Informer[Workload]:
        scope = ("" if self._cluster_wide else namespace, kind.kind)
        informer = self._informers.get(scope)
        if informer is None:
            informer = Informer(
                self._kube,
                kind.path(scope[0]),
                project=lambda document: project(kind, document),
                differs=_differs,
                changed=lambda where, name: self._changed(where, kind.kind, name),
                clock=self._clock,
            )
            self._informers[scope] = informer
            self._tasks[scope] = asyncio.create_task(informer.run(), name=f"watch {scope[0] or '*'}/{kind.plural}")
        return informer

    async def deliver(self, delivery: Deliver) -> Workload:
        """Change the images of the named containers and the marks, and nothing else.

        Raises:
            ConflictError: a container, its old image or the marks aren't what was seen; nothing was changed.
            InvalidError: the cluster refuses the change (admission, quota).
            MissingError, DeniedError, UnavailableError: as named.
        """
        seen = delivery.workload
        kind = kind_of(seen.kind)
        with only_while(self._may):
            answer = await self._kube.patch(
                kind.path(seen.namespace, seen.name),
                delivery_patch(kind, delivery),
                {"fieldManager": FIELD_MANAGER},
                content_type=JSON_PATCH,
                tested=True,
            )
        return self._informer(seen.namespace, kind).adopt(answer)


def delivery_patch(kind: WorkloadKind, delivery: Deliver) -> list[Json]:
    """The JSON patch of a delivery: everything that it relies on is tested first, in the same transaction."""
    patch: list[Json] = [_test("/metadata/uid", delivery.workload.uid)]
    for change in delivery.containers:
        patch += _container_patch(kind, change)
    return patch + _mark_patch(delivery)


def _container_patch(kind: WorkloadKind, change: ContainerChange) -> list[Json]:
    pointer = kind.pointer(init=change.init, index=change.index)
    return [
        _test(f"{pointer}/name", change.container),
        _test(f"{pointer}/image", change.old),
        {"op": "replace", "path": f"{pointer}/image", "value": change.new},
    ]


def _mark_patch(delivery: Deliver) -> list[Json]:
    """Marks as seen, then as they become. In the API server's JSON patch what is absent equals null."""
    mark, cause = _annotation(DELIVERED), _annotation(CHANGE_CAUSE)
    if delivery.workload.has_annotations:
        guard = [_test(mark, delivery.workload.delivered_raw)]
    else:
        guard = [
            _test("/metadata/annotations", None),
            {"op": "add", "path": "/metadata/annotations", "value": {}},
        ]
    return [
        *guard,
        {"op": "add", "path": mark, "value": delivery.delivered},
        {"op": "add", "path": cause, "value": delivery.cause},
    ]


def _test(pointer: str, value: str | None) -> Json:
    return {"op": "test", "path": pointer, "value": value}


def _annotation(name: str) -> str:
    return "/metadata/annotations/" + name.replace("~", "~0").replace("/", "~1")


def _differs(one: Workload, other: Workload) -> bool:
    return replace(one, resource_version="") != replace(other, resource_version="")


def _because(informer: Informer[Workload], what: str) -> DeniedError | UnavailableError:
    match informer.problem:
        case None:
            error: DeniedError | UnavailableError = UnavailableError(what)
        case DeniedError() as problem:
            error = DeniedError(f"{what}: {problem}")
        case problem:
            error = UnavailableError(f"{what}: {problem}")
    error.__cause__ = informer.problem
    return error
