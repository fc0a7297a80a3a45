"""A cache of one kind of object, kept by list and watch, that holds a projection instead of the objects.

Owns listing, watching, beginning anew after a loss, and telling what changed. Must not know what is projected.
Used by `workloads.py`, one for each namespace and kind, or one for the whole cluster.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from random import SystemRandom
from typing import Final, Generic, Protocol, TypeVar

from basetracker.adapters.kube import ExpiredError, Json, Kube, WatchEvent
from basetracker.adapters.versions import is_newer
from basetracker.errors import BasetrackerError, UnavailableError
from basetracker.ports import Clock

_log = logging.getLogger(__name__)
_random = SystemRandom()

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 30.0
SHORT_WATCH: Final = 1.0
"""Seconds: a watch that ends sooner and told nothing counts as failed, so that it isn't begun in a tight loop."""

Name = tuple[str, str]
"""Namespace and name."""


class Projected(Protocol):
    """What an informer keeps of an object."""

    @property
    def uid(self) -> str: ...

    @property
    def resource_version(self) -> str: ...


T = TypeVar("T", bound=Projected)


class Informer(Generic[T]):
    """`run` fills `items` and never ends by itself; `changed` is called with each name whose projection changed."""

    def __init__(
        self,
        kube: Kube,
        path: str,
        *,
        project: Callable[[Json], T],
        differs: Callable[[T, T], bool],
        changed: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        """`differs` leaves the resourceVersion out of the comparison."""
        self._kube = kube
        self._path = path
        self._project = project
        self._differs = differs
        self._changed = changed
        self._clock = clock
        self._items: dict[Name, T] = {}
        self._version: str | None = None
        self._delay = FIRST_DELAY
        self._troubled_since: float | None = None
        self.synced = asyncio.Event()
        self.problem: BasetrackerError | None = None
        """Why it can't list or watch now."""
        self.awaited_in_vain = False
        """Whether somebody gave up waiting for the first list: it is then announced like changes."""
        self.last_contact = clock.monotonic()
        """When the server last told anything, by the monotonic clock."""

    @property
    def items(self) -> Mapping[Name, T]:
        """The newest known projection of each object."""
        return self._items

    def troubled_for(self) -> float:
        """Seconds since it was last in order; 0 when it is."""
        return 0.0 if self._troubled_since is None else self._clock.monotonic() - self._troubled_since

    def adopt(self, document: Json) -> T:
        """The projection of an answer to a write of ours; kept if the object is known and this is newer."""
        item = self._project(document)
        known = self._items.get(_name(document))
        if known is not None and known.uid == item.uid:
            self._keep(_name(document), item)
        return item

    async def run(self) -> None:
        """List and watch for ever; every failure is tried again, ever more slowly up to half a minute."""
        while True:
            try:
                if self._version is None:
                    self._version = await self._list()
                await self._watch(self._version)
            except ExpiredError as error:
                _log.info("beginning anew: %s", error, extra={"path": self._path})
                self._version = None
                await self._pause(error)
            except BasetrackerError as error:
                await self._pause(error)
            except Exception as error:  # a bug must not end the cache; the list is the safe way back
                _log.exception("the cache failed and begins anew", extra={"path": self._path})
                self._version = None
                await self._pause(UnavailableError(f"the cache of {self._path} failed ({type(error).__name__})"))

    async def _list(self) -> str:
        """Take over all that exists, page by page, and drop what doesn't; the list's resourceVersion."""
        found: set[Name] = set()
        version = ""
        first = not self.synced.is_set()
        async with aclosing(self._kube.pages(self._path)) as pages:
            async for page in pages:
                version = page.get("metadata", {}).get("resourceVersion", "")
                for document in page.get("items") or ():
                    found.add(_name(document))
                    self._see(document, announce=not first)
        for name in [name for name, item in self._items.items() if name not in found]:
            if not is_newer(self._items[name].resource_version, version):
                self._drop(name)
        self._in_order()
        self.synced.set()
        if first and self.awaited_in_vain:
            for name in self._items:
                self._changed(*name)
        return version

    async def _watch(self, version: str) -> None:
        began, told = self._clock.monotonic(), False
        async with aclosing(self._kube.watch(self._path, version, opened=self._in_order)) as events:
            async for event in events:
                told, self._delay = True, FIRST_DELAY
                self._in_order()
                self._version = event.object["metadata"]["resourceVersion"]
                self._take(event)
        if not told and self._clock.monotonic() - began < SHORT_WATCH:
            raise UnavailableError("the watch ended at once")
        self._delay = FIRST_DELAY

    def _take(self, event: WatchEvent) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                self._see(event.object, announce=True)
            case "DELETED":
                name = _name(event.object)
                known = self._items.get(name)
                if known is not None and known.uid == event.object["metadata"].get("uid", known.uid):
                    self._drop(name)
            case _:
                pass  # a bookmark carries nothing but its version

    def _see(self, document: Json, *, announce: bool) -> None:
        try:
            item = self._project(document)
        except (KeyError, TypeError, AttributeError, ValueError):
            _log.exception("an object can't be read and is left out", extra={"path": self._path})
            return
        self._keep(_name(document), item, announce=announce)

    def _keep(self, name: Name, item: T, *, announce: bool = True) -> None:
        known = self._items.get(name)
        if known is not None and not is_newer(item.resource_version, known.resource_version):
            return
        self._items[name] = item
        if announce and (known is None or self._differs(item, known)):
            self._changed(*name)

    def _drop(self, name: Name) -> None:
        del self._items[name]
        self._changed(*name)

    def _in_order(self) -> None:
        if self.problem is not None:
            _log.info("the cluster can be watched again", extra={"path": self._path})
        self.problem = None
        self._troubled_since = None
        self.last_contact = self._clock.monotonic()

    async def _pause(self, error: BasetrackerError) -> None:
        if self.problem is None or str(self.problem) != str(error):
            _log.warning("the cluster can't be watched now: %s", error, extra={"path": self._path})
        self.problem = error
        if self._troubled_since is None:
            self._troubled_since = self._clock.monotonic()
        asked = error.retry_after if isinstance(error, UnavailableError) else None
        seconds = max(self._delay, min(asked or 0.0, LONGEST_DELAY)) * _random.uniform(0.75, 1.25)
        self._delay = min(self._delay * 2, LONGEST_DELAY)
        await self._clock.sleep(seconds)


def _name(document: Json) -> Name:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
