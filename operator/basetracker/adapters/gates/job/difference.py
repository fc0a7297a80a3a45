"""In what a stored Job does something else than the wanted one. Pure.

Owns what the API server adds to a Job by itself. All else counts: whoever may create Jobs can lay one ready under the gate's
name, and such a Job may say nothing that the template doesn't. Used by `template.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from basetracker.adapters.gates.walk import below
from basetracker.adapters.kube import Json

MOST_NAMED: Final = 5
_LISTS: Final = ("initContainers", "containers")
# How long it is kept, and whether a queue lets it wait, doesn't change what it finds; the selector follows from its uid.
_JOB_LEFT_OUT: Final = frozenset({"selector", "suspend", "template", "ttlSecondsAfterFinished"})
# The old name of serviceAccountName, which the API server writes beside it.
_POD_LEFT_OUT: Final = frozenset({*_LISTS, "serviceAccount"})
# What the API server fills in where a template is silent; anything else there is somebody's.
_DEFAULTS: Final[Mapping[str, tuple[object, ...]]] = {
    # of the Job
    "completionMode": ("NonIndexed",),
    "completions": (1,),
    "parallelism": (1,),
    "podReplacementPolicy": ("TerminatingOrFailed", "Failed"),
    "status": ("True",),
    # of its Pods
    "dnsPolicy": ("ClusterFirst",),
    "schedulerName": ("default-scheduler",),
    "terminationGracePeriodSeconds": (30,),
    # of containers
    "apiVersion": ("v1",),
    "failureThreshold": (3,),
    "imagePullPolicy": ("Always", "IfNotPresent"),
    "path": ("/",),
    "periodSeconds": (10,),
    "protocol": ("TCP",),
    "scheme": ("HTTP",),
    "successThreshold": (1,),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "timeoutSeconds": (1,),
    # of volumes
    "cachingMode": ("ReadWrite",),
    "defaultMode": (0o644,),
    "expirationSeconds": (3600,),
    "fsType": ("ext4", "xfs"),
    "iscsiInterface": ("default",),
    "keyring": ("/etc/ceph/keyring",),
    "kind": ("Shared",),
    "pool": ("rbd",),
    "pullPolicy": ("Always", "IfNotPresent"),
    "storageMode": ("ThinProvisioned",),
    "user": ("admin",),
    "volumeMode": ("Filesystem",),
}
# Where no and not a word are the same to the API server. Elsewhere they aren't: `automountServiceAccountToken: false` isn't.
_NO_BY_DEFAULT: Final = frozenset(
    {"hostIPC", "hostNetwork", "hostPID", "manualSelector", "optional", "readOnly", "stdin", "stdinOnce", "tty"}
    | {"hostPort", "initialDelaySeconds", "partition"}
)
# Quantities, which the API server writes in its own way; none of them makes a scanner succeed.
_QUANTITIES: Final = frozenset({"divisor", "resources", "sizeLimit"})
# Keys of these are the user's own, and say nothing of what their values are.
_MAPS: Final = frozenset({"annotations", "labels", "matchLabels", "nodeSelector", "options", "volumeAttributes"})
_SERVERS_LABELS: Final = frozenset(
    {"batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"}
)


def differences(stored: object, wanted: Json) -> list[str]:
    """The parts of a JobSpec that differ from the wanted one's, named without what they say; empty when it is the same.

    At most `MOST_NAMED`, and then how many more there are.
    """
    found = [
        *_of_pods(below(stored, "template"), wanted["template"]),
        *(f"spec.{field}" for field in _parts(stored, wanted, _JOB_LEFT_OUT)),
    ]
    more = len(found) - MOST_NAMED
    return found if more <= 0 else [*found[:MOST_NAMED], f"{more} more"]


def _of_pods(theirs: object, ours: Json) -> Iterator[str]:
    their_spec, our_spec = below(theirs, "spec"), ours["spec"]
    for field in _LISTS:
        yield from _of_containers(field, below(their_spec, field), our_spec.get(field) or [])
    for field in _parts(their_spec, our_spec, _POD_LEFT_OUT):
        yield f"the {field} of its Pods"
    for field in ("annotations", "labels"):
        mine, others = below(ours, "metadata", field) or {}, below(theirs, "metadata", field) or {}
        if not _has_same_entries(mine, others, _SERVERS_LABELS if field == "labels" else frozenset()):
            yield f"the {field} of its Pods"


def _of_containers(field: str, theirs: object, ours: list[Json]) -> Iterator[str]:
    listed = theirs if isinstance(theirs, list) else []
    if [below(one, "name") for one in listed] != [one.get("name") for one in ours]:
        yield f"the list of {field}"
        return
    for mine, other in zip(ours, listed, strict=True):
        for part in _parts(other, mine, frozenset()):
            yield f"the {part} of the container {mine.get('name')}"


def _parts(theirs: object, ours: Json, left_out: frozenset[str]) -> list[str]:
    """The fields of an object that aren't the same."""
    stored = theirs if isinstance(theirs, Mapping) else {}
    fields = sorted((stored.keys() | ours.keys()) - left_out - _QUANTITIES)
    return [field for field in fields if not _is_same_field(field, ours.get(field), stored.get(field))]


def _is_same_field(field: str, wanted: object, stored: object) -> bool:
    if field in _MAPS:
        return _has_same_entries(wanted or {}, stored or {}, frozenset())
    if field in _NO_BY_DEFAULT and not (wanted or stored):
        return True
    if field in _DEFAULTS and not wanted and wanted is not False and stored in _DEFAULTS[field]:
        return True
    return _is_same(wanted, stored)


def _is_same(wanted: object, stored: object) -> bool:
    """Whether both say the same; an empty text, list or object isn't told from none, as it isn't by the API server."""
    if isinstance(wanted, Mapping) and isinstance(stored, Mapping):
        fields = (wanted.keys() | stored.keys()) - _QUANTITIES
        return all(_is_same_field(field, wanted.get(field), stored.get(field)) for field in fields)
    if isinstance(wanted, list) and isinstance(stored, list):
        return len(wanted) == len(stored) and all(map(_is_same, wanted, stored))
    return (type(wanted) is type(stored) and wanted == stored) or (_is_empty(wanted) and _is_empty(stored))


def _has_same_entries(wanted: Any, stored: Any, left_out: frozenset[str]) -> bool:
    if not isinstance(wanted, Mapping) or not isinstance(stored, Mapping):
        return False
    return {**wanted, **dict.fromkeys(left_out)} == {**stored, **dict.fromkeys(left_out)}


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str | list | Mapping) and not value)
