"""Trials: whether what a tracker names can be read from here: its tags, its pull Secrets, its tasks.

Owns what is asked and how answers are told. Each image is asked for by one HEAD request, each task by one GET; nothing is
written. Used by `check`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from basetracker.api.tracker import Build, Downstream, SecretRef
from basetracker.cli.looking import AssumedAllowList
from basetracker.cli.tracker_files import Finding, Result, TrackerFile
from basetracker.core.observed import TaskRef
from basetracker.errors import BasetrackerError, DeniedError
from basetracker.oci.refs import Digest, ImageRef
from basetracker.ports import Credential
from basetracker.wiring import Parts

Answer = tuple[Result, str]
_NOBODY: Final = "no AZURE_* credentials are at hand here"


class Trials:
    """The trials of one command: what several trackers name is asked once."""

    def __init__(self, parts: Parts, *, namespace: str | None, azure: bool) -> None:
        """`namespace` is that of trackers that name none, else the kubeconfig's; without `azure` no task is asked for."""
        self._parts = parts
        self._namespace = namespace
        self._azure = azure
        self._asked: dict[tuple[object, ...], asyncio.Task[Any]] = {}

    async def of(self, tracker: TrackerFile) -> list[Finding]:
        """What came of trying everything that the tracker names, in the order of its spec."""
        base = tracker.spec.base
        waiting = [self._image(tracker, "base", base.image, base.pull_secret_ref)]
        for item in tracker.spec.downstream:
            waiting.append(self._image(tracker, f"image {item.name}", item.image, item.pull_secret_ref))
            if item.build is not None:
                waiting.append(self._task(tracker, item, item.build))
        return list(await asyncio.gather(*waiting))

    async def _image(self, tracker: TrackerFile, what: str, image: ImageRef, secret: SecretRef | None) -> Finding:
        try:
            credential = await self._credential(tracker, image, secret)
        except BasetrackerError as error:
            message = f"{image} isn't tried, since its pull Secret can't be read: {error}"
            return tracker.finding(what, Result.WRONG, message)
        try:
            digest = await self._once(("digest", image, credential), self._digest(image, credential))
        except BasetrackerError as error:
            anonymous = credential is None and not self._azure and isinstance(error, DeniedError)
            hint = f" ({_NOBODY})" if anonymous else ""
            return tracker.finding(what, Result.WRONG, f"{image}: {error}{hint}")
        if digest is None:
            return tracker.finding(what, Result.WRONG, f"{image}: {image.host} has no such tag")
        return tracker.finding(what, Result.OK, f"{image} is {digest.short}")

    async def _digest(self, image: ImageRef, credential: Credential | None) -> Digest | None:
        return await self._parts.world.registry.digest(image, credential)

    async def _credential(self, tracker: TrackerFile, image: ImageRef, secret: SecretRef | None) -> Credential | None:
        if secret is None:
            return None
        namespace = tracker.namespace or self._namespace
        if not namespace:
            namespace = await self._once(("namespace",), self._parts.kube.namespace())
        find = self._parts.world.credentials.find(namespace, secret.name, image.host)
        found: Credential = await self._once(("secret", namespace, secret.name, image.host), find)
        return found

    async def _task(self, tracker: TrackerFile, item: Downstream, build: Build) -> Finding:
        what, task = f"task {item.name}", build.acr_task
        if not self._azure:
            message = f"{task.name} isn't asked for: {_NOBODY}"
            return tracker.finding(what, Result.SKIPPED, message)
        try:
            ref = await self._parts.world.builder.resolve(task, item.image)
            result, message = await self._once(("task", ref), self._task_answer(ref))
            if result is Result.OK and not await self._is_allowed(tracker, ref):
                message = f"{ref}: the allow-list of tasks doesn't name it for this namespace"
                return tracker.finding(what, Result.WRONG, message)
        except BasetrackerError as error:
            return tracker.finding(what, Result.WRONG, f"{task.name}: {error}")
        return tracker.finding(what, result, message)

    async def _task_answer(self, ref: TaskRef) -> Answer:
        facts = await self._parts.world.builder.facts(ref)
        if facts is None:
            return Result.WRONG, f"{ref}: there is no such task; create it or mend acrTask.name"
        if not facts.enabled:
            return Result.WRONG, f"{ref} is disabled; enable it with az acr task update --status Enabled"
        if facts.base_trigger:
            return Result.OK, f"{ref} is enabled; ACR's own base image trigger is on, so each base push runs it twice"
        return Result.OK, f"{ref} is enabled"

    async def _is_allowed(self, tracker: TrackerFile, ref: TaskRef) -> bool:
        """Whether the allow-list, where one is at hand, lets the operator start the task."""
        allowed = self._parts.world.allow_list
        if isinstance(allowed, AssumedAllowList):
            return True
        namespace = tracker.namespace or self._namespace
        if not namespace:
            namespace = await self._once(("namespace",), self._parts.kube.namespace())
        return await allowed.allows(namespace, ref.registry, ref.name)

    async def _once(self, key: tuple[object, ...], work: Coroutine[Any, Any, Any]) -> Any:
        """The answer to what may have been asked already."""
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.ensure_future(work)
        else:
            work.close()
        return await task


async def try_all(trials: Trials, trackers: Iterable[TrackerFile]) -> list[Finding]:
    """The trials of all trackers, in their order."""
    found = await asyncio.gather(*(trials.of(tracker) for tracker in trackers))
    return [finding for one in found for finding in one]
