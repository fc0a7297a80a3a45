"""The build itself: resolves the base a run is to stand on, builds on it for real, pushes what came out.

Owns what `docker build` and `docker push` would do. Gets images through `fetch` and hands them on through
`push`, so the registries may be the emulated ones or real ones. Knows no run states and no ARM.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime

from basetracker.emulators.acr.storage import LockedError
from basetracker.emulators.images import Image, Index, annotate, build_on, index, squash
from basetracker.emulators.references import parse
from basetracker.emulators.tasks.definition import dependency
from basetracker.emulators.tasks.run import Run

Fetch = Callable[[str], Awaitable[Image | Index | None]]
"""Answers the image behind a full reference; None when there is none."""
Push = Callable[[str, Image | Index], Awaitable[str]]
"""Pushes an image to `host/repository:tag`; answers the digest. Raises LockedError."""


class BuildFailedError(Exception):
    """The build failed; the argument is the run's error message."""


class Builder:
    """Builds for runs. `fetch` and `push` may be replaced at any time."""

    def __init__(self, fetch: Fetch, push: Push) -> None:
        self.fetch = fetch
        self.push = push

    async def build(self, run: Run, now: datetime) -> None:
        """Build and push, and fill the run's outputs, log and the task's recorded base.

        Raises BuildFailedError when the base isn't there or the push is refused.
        """
        task = run.task
        asked = run.argument(task.base_argument) if task.base_argument else None
        reference = task.behaviour.base or asked or task.base
        run.write(now, f"Launching container with name: acb_step_0, FROM {reference}")
        base = await self.fetch(reference)
        if base is None:
            run.write(now, f"ERROR: failed to solve: {reference}: not found")
            raise BuildFailedError("failed during run, err: exit status 1")
        task.dependency = dependency(reference, base.digest)
        built = self._on(base, reference, run, now)
        run.write(now, f"Successfully built {built.digest}")
        if not task.behaviour.push:
            return
        for name in self._names(run):
            await self._push(run, name, built, now)

    def _on(self, base: Image | Index, reference: str, run: Run, now: datetime) -> Image | Index:
        images = [self._image(base, platform, reference, run, now) for platform in run.task.platforms]
        return images[0] if len(images) == 1 else index(images)

    def _image(self, base: Image | Index, platform: str, reference: str, run: Run, now: datetime) -> Image:
        chosen = base.image(platform) if isinstance(base, Index) else base
        if chosen is None:
            run.write(now, f"ERROR: no match for platform in manifest {base.digest}: not found")
            raise BuildFailedError("failed during run, err: exit status 1")
        for number, step in enumerate(run.task.dockerfile, start=2):
            run.write(now, f"Step {number}/{len(run.task.dockerfile) + 1} : {step.line}")
        image = build_on(chosen, *run.task.dockerfile, created=now)
        if run.task.behaviour.squash:
            image = squash(image)
        if run.task.annotates_base:
            named = parse(reference)
            name = f"{named.host}/{named.repository}" + (f":{named.tag}" if named.tag else "")
            image = annotate(
                image,
                {
                    "org.opencontainers.image.base.name": name,
                    "org.opencontainers.image.base.digest": base.digest,
                },
            )
        return image

    def _names(self, run: Run) -> Iterator[tuple[str, str]]:
        """Repository and tag of everything that is pushed."""
        repository, _, tag = run.task.image.rpartition(":")
        yield repository, run.task.behaviour.tag or tag
        if run.task.unique_tag:
            yield repository, run.task.unique_tag.replace("{{.Run.ID}}", run.id)

    async def _push(self, run: Run, name: tuple[str, str], built: Image | Index, now: datetime) -> None:
        repository, tag = name
        host = run.task.registry.host
        run.write(now, f"Pushing image: {host}/{repository}:{tag}, attempt 1")
        try:
            digest = await self.push(f"{host}/{repository}:{tag}", built)
        except LockedError:
            run.write(now, f"unauthorized: The operation is disallowed on this registry, {repository}:{tag}")
            raise BuildFailedError("failed to push images successfully") from None
        run.write(now, f"Successfully pushed image: {host}/{repository}:{tag}")
        if not run.task.behaviour.hide_output:
            output = {"registry": host, "repository": repository, "tag": tag, "digest": digest}
            run.outputs.append(output)
