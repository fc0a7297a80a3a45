"""What the containers of emulated Pods have written: the Pod's own annotation, since no process runs.

Owns the answer to `pods/NAME/log`. Used by `operations.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from basetracker.emulators.cluster.document import Json, dig
from basetracker.emulators.cluster.refusals import bad_request

LOG = "emulator.basetracker.dev/log"


def log_of(pod: Json, query: Mapping[str, str]) -> bytes:
    """The log of one container, from its `tailLines`-last line on, at most `limitBytes` long.

    Raises:
        Refusal: 400, there is no such container, or it hasn't started.
    """
    name = pod["metadata"]["name"]
    statuses = [
        *dig(pod, "status", "initContainerStatuses", default=[]),
        *dig(pod, "status", "containerStatuses", default=[]),
    ]
    containers = [status["name"] for status in statuses]
    wanted = query.get("container") or (containers[0] if len(containers) == 1 else "")
    status = next((status for status in statuses if status["name"] == wanted), None)
    if status is None:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    if reason := dig(status, "state", "waiting", "reason"):
        raise bad_request(f'container "{wanted}" in pod "{name}" is waiting to start: {reason}')
    text: str = dig(pod, "metadata", "annotations", LOG, default="")
    lines = text.splitlines(keepends=True)
    if "tailLines" in query:
        lines = lines[-int(query["tailLines"]) :] if int(query["tailLines"]) else []
    found = "".join(lines).encode()
    return found[: int(query["limitBytes"])] if "limitBytes" in query else found
