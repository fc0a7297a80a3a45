"""The project's public files (CRD, manifests) as the demo applies them: from the wheel, or from the checkout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

SYSTEM = "basetracker-system"
_PACKAGE = Path(__file__).resolve().parent.parent
_NAMESPACED = frozenset({"ServiceAccount", "Role", "RoleBinding", "ConfigMap"})
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader of libyaml where the package has it: the CRD is long, and the other one takes ten times as long."""


def public_file(path: str) -> Path:
    """A file of `crds/` or `manifests/`."""
    for root in (_PACKAGE, _PACKAGE.parent.parent):
        if (root / path).is_file():
            return root / path
    raise FileNotFoundError(path)


def documents(path: str) -> list[dict[str, Any]]:
    """The objects in one of the public files."""
    return [item for item in yaml.load_all(public_file(path).read_text(), Loader=_LOADER) if item]


def installation() -> Iterator[dict[str, Any]]:
    """What `kubectl apply -k manifests/base` installs, but for the operator's own Deployment."""
    yield from documents("crds/baseimagetrackers.basetracker.dev.yaml")
    yield from documents("manifests/base/namespace.yaml")
    for name in ("cluster-role", "operator/service-account", "operator/lease-role", "operator/tasks"):
        for item in documents(f"manifests/base/{name}.yaml"):
            yield _in_system(item) if item["kind"] in _NAMESPACED else item


def _in_system(item: dict[str, Any]) -> dict[str, Any]:
    """The object in the operator's namespace, as kustomize puts it there."""
    item["metadata"]["namespace"] = SYSTEM
    for subject in item.get("subjects") or ():
        subject["namespace"] = SYSTEM
    return item
