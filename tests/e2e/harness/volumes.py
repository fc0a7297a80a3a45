"""The volumes of a Pod on this machine: directories with what the API server gives, as a kubelet fills them.

Owns the way in which files change: all of a volume at once, by a symbolic link that is swapped. A volume that lives in
memory (`emptyDir`) has no directory here; the container makes it.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .cluster import RealCluster

Object = dict[str, Any]
DATA = "..data"
SECONDS = 3600


class Volume:
    """One directory: `name` leads to `..data/name`, and `..data` to the directory of the newest files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self._numbers = itertools.count(1)

    def put(self, files: Mapping[str, str]) -> None:
        """Replace all files; a reader sees the old ones or the new ones, never both."""
        old = self.directory / os.readlink(self.directory / DATA) if (self.directory / DATA).is_symlink() else None
        fresh = self.directory / f"..{next(self._numbers)}"
        fresh.mkdir()
        for name, text in files.items():
            (fresh / name).write_text(text)
        swap = self.directory / f"{DATA}_tmp"
        swap.symlink_to(fresh.name)
        swap.rename(self.directory / DATA)
        for name in files:
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"{DATA}/{name}")
        if old is not None:
            shutil.rmtree(old)

    def read(self, name: str) -> str:
        """A file's text."""
        return (self.directory / name).read_text()

    def replace(self, name: str, text: str) -> None:
        """Change one file, as the others stay."""
        present = {path.name: path.read_text() for path in (self.directory / DATA).iterdir()}
        self.put({**present, name: text})


class Volumes:
    """The volumes of a Pod that lie on a disk, by name."""

    def __init__(
        self,
        cluster: RealCluster,
        pod: Object,
        directory: Path,
        *,
        noted: Callable[[str], object],
        bound_to: str | None,
    ) -> None:
        """`noted` is told of each token that isn't for the API server; the tokens end with the Secret `bound_to`."""
        self._cluster = cluster
        self._pod = pod
        self._noted = noted
        self._sources: dict[str, Object] = {
            volume["name"]: volume for volume in pod["spec"]["volumes"] if "emptyDir" not in volume
        }
        self._volumes = {name: Volume(directory / name) for name in self._sources}
        for name in self._sources:
            self.fill(name, bound_to=bound_to)

    def __getitem__(self, name: str) -> Volume:
        return self._volumes[name]

    def __contains__(self, name: str) -> bool:
        return name in self._volumes

    def fill(self, name: str, *, bound_to: str | None = None) -> None:
        """Fetch anew what is in one."""
        volume = self._sources[name]
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        files: dict[str, str] = {}
        for source in sources:
            files.update(self._files(source, bound_to))
        self._volumes[name].put(files)

    def _files(self, source: Object, bound_to: str | None) -> dict[str, str]:
        namespace = self._pod["metadata"]["namespace"]
        if asked := source.get("serviceAccountToken"):
            audience = asked.get("audience")
            token = self._cluster.token(
                namespace,
                self._pod["spec"]["serviceAccountName"],
                seconds=asked.get("expirationSeconds", SECONDS),
                bound_to=bound_to,
                audience=audience,
            )
            if audience:
                self._noted(token)
            return {asked["path"]: token}
        if asked := source.get("configMap"):
            data = self._cluster.admin.get("configmap", asked["name"], "-n", namespace)["data"]
            return {item["path"]: data[item["key"]] for item in asked["items"]} if asked.get("items") else data
        if asked := source.get("downwardAPI"):
            return {item["path"]: field(self._pod, item["fieldRef"]["fieldPath"]) for item in asked["items"]}
        raise ValueError(f"no volume of this kind is known here: {source}")


def field(pod: Object, path: str) -> str:
    """What the downward API tells; of the metadata alone."""
    group, _, name = path.partition(".")
    if group != "metadata" or name not in {"name", "namespace", "uid"}:
        raise ValueError(f"the field {path} isn't known here")
    return str(pod["metadata"][name])
