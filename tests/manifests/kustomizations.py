"""What `kubectl kustomize` makes of a directory, as objects. Owns the call of the real kubectl; needs no cluster."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
KUBECTL = str(Path(sys.executable).with_name("kubectl"))


@cache
def _built(directory: str) -> str:
    done = subprocess.run(
        [KUBECTL, "kustomize", str(ROOT / directory)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns of something"
    return done.stdout


def built(directory: str) -> list[Json]:
    """Every object of the kustomization."""
    return [document for document in yaml.safe_load_all(_built(directory)) if document]


def only(objects: list[Json], kind: str, name: str | None = None) -> Json:
    """The one object of this kind, and of this name where one is given."""
    found = [item for item in objects if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
    return found[0]


def names(objects: list[Json]) -> set[tuple[str, str, str]]:
    """Kind, namespace (empty for a cluster-wide object) and name of each."""
    return {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects}
