"""The emulated Azure beside a real cluster: a `Cloud` in a thread with an event loop of its own.

Owns that thread, and the way from the tests and the emulated nodes into it. The tests speak to it in calls that wait;
its servers go on meanwhile. Bases that lie in a real registry are fetched from there when a task builds.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from basetracker.emulators import entra
from basetracker.emulators.acr.registry import AzureRegistry
from basetracker.emulators.authority import Authority
from basetracker.emulators.cloud import TENANT, Cloud
from basetracker.emulators.faults import Asked, Fault
from basetracker.emulators.identities import Identity
from basetracker.emulators.images import Image, Index
from basetracker.emulators.tasks.definition import Behaviour, Task

from .registry import DockerRegistry

T = TypeVar("T")
CALL_SECONDS = 30.0
QUEUE_SECONDS, RUN_SECONDS = 0.5, 1.0


class EmulatedAzure:
    """Entra, ARM, ACR and ACR Tasks with one registry, `<name>.azurecr.io`, an identity for the operator and a person's."""

    def __init__(self, authority: Authority, name: str) -> None:
        self.cloud = Cloud(authority=authority, queue_seconds=QUEUE_SECONDS, run_seconds=RUN_SECONDS)
        self.registry: AzureRegistry = self.cloud.add_azure_registry(name)
        self.identity: Identity = self.cloud.add_identity("basetracker")
        self._person: Identity = self.cloud.add_identity("person")
        for one in (self.identity, self._person):
            one.assign("AcrPull", self.registry.id)
            one.assign("basetracker operator", f"/subscriptions/{self.cloud.subscription}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="emulated-azure", daemon=True)

    def start(self) -> None:
        """Return when it answers."""
        self._thread.start()
        self._wait(self.cloud.start())

    def stop(self) -> None:
        """End its servers and its thread."""
        self._wait(self.cloud.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def fetch_from(self, real: DockerRegistry) -> None:
        """Let tasks build on images of a real registry too."""

        async def fetch(reference: str) -> Image | Index | None:
            host, _, path = reference.partition("/")
            if host != real.host:
                return await self.cloud.fetch(reference)
            return await asyncio.to_thread(real.pull, path)

        self.cloud.tasks.builder.fetch = fetch

    async def resolve(self, image: str) -> str | None:
        """The digest that a node pulls; to be awaited in any thread's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.cloud.resolve_image(image), self._loop))

    def environment(self, directory: Path) -> dict[str, str]:
        """What a person's process needs to find the emulated hosts; writes its files into `directory`."""
        return self._call(lambda: self.cloud.environment(directory, self._person))

    # -- what the operator's cluster has to know -------------------------------------------------------

    tenant, login = TENANT, f"https://{entra.HOST}/"

    @property
    def proxy(self) -> str:
        """The URL of the proxy behind which the emulated hosts are."""
        return self.cloud.proxy_url

    @property
    def authority(self) -> str:
        """The certificate of the authority that they are signed by."""
        return self.cloud.authority.pem.decode()

    def federate(self, issuer: str, subject: str) -> None:
        """Trust the tokens of this issuer for this subject, and no other, to be the operator's."""
        self.identity.issuer, self.identity.subject = issuer, subject

    def note(self, token: str) -> None:
        """Take it for a leak when a host other than Entra's is shown this token."""
        self._call(lambda: self.cloud.ledger.issue(token, "ServiceAccount token", {entra.HOST}))

    def ended_assertion(self) -> str:
        """A token for Entra as the cluster gave one to the operator; it has ended a minute ago."""
        who = self.identity
        assert who.subject is not None
        assert who.issuer is not None
        subject, issuer = who.subject, who.issuer
        return self._call(lambda: self.cloud.federated_token(subject, issuer=issuer, seconds=-60))

    def refused_by_entra(self) -> int:
        """How many requests Entra has refused so far."""
        return self._call(lambda: sum(one.host == entra.HOST and one.status == 401 for one in self.cloud.faults.log))

    # -- what is in it -----------------------------------------------------------------------------------

    def add_task(self, name: str, *, image: str, base: str) -> Task:
        """A task that builds `repository:tag` on a base, once run, as a pipeline had done before the story begins."""
        task = self._call(lambda: self.cloud.tasks.add(name, self.registry, image=image, base=base))
        usual, task.behaviour = task.behaviour, Behaviour(queue_seconds=0, run_seconds=0)
        self._wait(self._run_now(task))
        task.behaviour = usual
        return task

    def push(self, reference: str, image: Image | Index) -> str:
        """Push to `host/repository:tag` past all guards; the digest."""
        return self._call(lambda: self.cloud.push(reference, image))

    def runs(self, task: Task) -> list[str]:
        """The status of each run of a task, oldest first."""
        return self._call(lambda: [run.status for run in self.cloud.tasks.runs_of(task)])

    def image(self, reference: str) -> Image:
        """The image of one platform behind a full reference. Raises LookupError."""
        found = self._wait(self.cloud.fetch(reference))
        if not isinstance(found, Image):
            raise LookupError(f"there is no image {reference}")
        return found

    def disturb(self, *faults: Fault) -> None:
        """Let these strike from now on, after those that were there before."""
        self._call(lambda: self.cloud.faults.add(*faults))

    def disturb_after(self, request: str, fault: Fault) -> None:
        """Let this strike from the first request on that matches, when that one has had its effect."""
        faults = self.cloud.faults

        def seen(asked: Asked) -> None:
            if re.search(request, f"{asked.method} {asked.host} {asked.path}"):
                faults.add(fault)
                self._loop.call_soon(faults.listeners.remove, seen)  # not while they are told one after another

        self._call(lambda: faults.listeners.append(seen))

    def calm(self, fault: Fault) -> None:
        """Let this one strike no more."""
        self._call(lambda: self.cloud.faults.pending.remove(fault))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Break every request meanwhile, whatever host it is for, and every connection."""
        broken = Fault(match=".", n=None, drop=True)
        self._call(lambda: self.cloud.faults.pending.insert(0, broken))
        self._call(self.cloud.proxy.cut_tunnels)
        try:
            yield
        finally:
            self.calm(broken)

    def expire_tokens(self) -> None:
        """Let every token that was given so far end."""
        self._call(self.cloud.expire_tokens)

    def answers(self, status: int) -> int:
        """How many requests had this status so far; 0 stands for those that were broken off."""
        return self._call(lambda: sum(one.status == status for one in self.cloud.faults.log))

    @property
    def leaks(self) -> list[str]:
        """Secrets that were shown to a host which they aren't for."""
        return self._call(lambda: [str(leak) for leak in self.cloud.faults.leaks])

    async def _run_now(self, task: Task) -> None:
        run = self.cloud.tasks.schedule(task, {})
        while run.live:
            await asyncio.sleep(0.02)
            await self.cloud.settle()
        if run.error:
            raise RuntimeError(f"the first run of {task.name} failed: {run.error}")

    def _call(self, function: Callable[[], T]) -> T:
        async def called() -> T:
            return function()

        return self._wait(called())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)
