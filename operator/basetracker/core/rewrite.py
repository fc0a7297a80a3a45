"""Rewriting a workload: the new image text, the `delivered` mark and the change cause. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from basetracker.core.actions import ContainerChange
from basetracker.core.observed import Container, Delivered
from basetracker.oci.refs import Digest, ImageRef


def container_change(container: Container, image: ImageRef, digest: Digest) -> ContainerChange:
    """The container's change to `<repository>:<the tracker's tag>@<digest>`."""
    return ContainerChange(
        container=container.name,
        init=container.init,
        index=container.index,
        old=container.image,
        new=str(image.pinned(digest)),
    )


def delivered_mark(
    before: Mapping[str, Delivered], changes: Iterable[ContainerChange], *, tracker: str, base: Digest
) -> str:
    """The mark after `changes`, keeping what other deliveries have left for other containers."""
    marks = dict(before)
    for change in changes:
        marks[change.container] = Delivered(tracker=tracker, base=str(base), image=change.new, previous=change.old)
    return json.dumps(
        {
            name: {"tracker": mark.tracker, "base": mark.base, "image": mark.image, "previous": mark.previous}
            for name, mark in sorted(marks.items())
        },
        separators=(",", ":"),
    )


def change_cause(tracker: str, image: ImageRef, digest: Digest, base: ImageRef) -> str:
    """Why the workload changed, for `kubectl rollout history`."""
    based = f"{base.tagged}@{base.digest.short}" if base.digest else str(base)
    return f"basetracker {tracker}: {image.tagged}@{digest.short} on {based}"
