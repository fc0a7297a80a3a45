"""In what a stored Job does something else than the wanted one. Pure.

Owns which parts of a Job decide what runs in its Pods, and which fields the API server adds to them by itself. Whoever may
create Jobs can lay one ready under the gate's name; such a Job may say nothing that the template doesn't. Used by `template.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from basetracker.adapters.kube import Json

_LISTS: Final = ("initContainers", "containers")
_POD: Final = ("volumes", "hostAliases")
_CONTAINER: Final = (
    "image",
    "command",
    "args",
    "workingDir",
    "env",
    "envFrom",
    "volumeMounts",
    "volumeDevices",
    "lifecycle",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
)
# With these the Pods, or the verdict on them, could be somebody else's.
_JOB: Final = ("manualSelector", "managedBy")
# What the API server fills in where a template is silent: in volumes, references and probes.
_DEFAULTED: Final = frozenset(
    {
        "apiVersion",
        "cachingMode",
        "defaultMode",
        "expirationSeconds",
        "failureThreshold",
        "fsType",
        "iscsiInterface",
        "keyring",
        "kind",
        "path",
        "periodSeconds",
        "pool",
        "pullPolicy",
        "scheme",
        "storageMode",
        "successThreshold",
        "timeoutSeconds",
        "user",
        "volumeMode",
    }
)
# Quantities, which the API server writes in its own way; none of them makes a scanner succeed.
_QUANTITIES: Final = frozenset({"divisor", "resources", "sizeLimit"})


def differences(stored: object, wanted: Json) -> list[str]:
    """The parts of a JobSpec that differ from the wanted one's, named without what they say; empty when it runs the same."""
    found = [field for field in _JOB if not _is_same(None, _below(stored, field))]
    theirs, ours = _below(stored, "template", "spec"), wanted["template"]["spec"]
    found += [field for field in _POD if not _is_same(ours.get(field), _below(theirs, field))]
    for field in _LISTS:
        found += _of_containers(field, _below(theirs, field), ours.get(field) or [])
    return found


def _of_containers(field: str, theirs: object, ours: list[Json]) -> Iterator[str]:
    listed = theirs if isinstance(theirs, list) else []
    if [_below(one, "name") for one in listed] != [one.get("name") for one in ours]:
        yield f"the list of {field}"
        return
    for mine, other in zip(ours, listed, strict=True):
        for part in _CONTAINER:
            if not _is_same(mine.get(part), _below(other, part)):
                yield f"the {part} of the container {mine.get('name')}"


def _is_same(wanted: object, stored: object) -> bool:
    """Whether both say the same; what is empty isn't told from what isn't there, as it isn't by the API server."""
    if isinstance(wanted, Mapping) and isinstance(stored, Mapping):
        return all(
            _is_same(wanted.get(key), stored.get(key)) or (key in _DEFAULTED and wanted.get(key) is None)
            for key in (wanted.keys() | stored.keys()) - _QUANTITIES
        )
    if isinstance(wanted, list) and isinstance(stored, list):
        return len(wanted) == len(stored) and all(map(_is_same, wanted, stored))
    return wanted == stored or not (wanted or stored)


def _below(document: Any, *path: str) -> Any:
    for step in path:
        document = document.get(step) if isinstance(document, Mapping) else None
    return document
