"""What ACR Tasks tell of tasks and runs, as values of the core.

Owns the mapping and what is done with what is missing or unknown: an entry that can't be read is left out, a status
that isn't known is one that may still be live. Pure; asks nobody. Used by `acr_tasks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from basetracker.adapters.builders.arm import readable
from basetracker.api.names import BuildState
from basetracker.core.observed import Run, TaskFacts, TaskRef
from basetracker.errors import InvalidError
from basetracker.oci.refs import Digest, ImageRef, parse_image

if TYPE_CHECKING:
    from azure.mgmt.containerregistrytasks import models

_MESSAGE_LIMIT: Final = 500
_HUB: Final = frozenset({"registry.hub.docker.com", "index.docker.io"})
"""Docker Hub, as ACR writes it."""
_STATES: Final = {
    "queued": BuildState.QUEUED,
    "started": BuildState.RUNNING,
    "running": BuildState.RUNNING,
    "succeeded": BuildState.SUCCEEDED,
    "failed": BuildState.FAILED,
    "error": BuildState.FAILED,
    "canceled": BuildState.CANCELED,
    "timeout": BuildState.TIMED_OUT,
}


def run_of(told: models.Run) -> Run:
    """The run; just started ones have no creation time, for which that of their last change stands.

    Raises:
        InvalidError: it has no id.
    """
    if not told.run_id:
        raise InvalidError("Azure tells of a run without an id")
    trigger = told.image_update_trigger
    return Run(
        run_id=str(told.run_id),
        state=_STATES.get(_text(told.status).lower(), BuildState.UNKNOWN),
        created=_utc(told.create_time or told.last_updated_time),
        finished=_utc(told.finish_time),
        outputs=_images(told.output_images),
        triggered_by=_images(trigger.images if trigger is not None else None),
        token=told.update_trigger_token or "",
        automatic=_text(told.run_type).lower() in {"autobuild", "autorun"},
        message=readable(told.run_error_message or "", _MESSAGE_LIMIT),
    )


def facts_of(ref: TaskRef, told: models.Task) -> TaskFacts:
    """What is known of the task."""
    trigger = told.trigger.base_image_trigger if told.trigger is not None else None
    return TaskFacts(
        ref=ref,
        enabled=_text(told.status).lower() != "disabled",
        base_trigger=trigger is not None and _text(trigger.status).lower() != "disabled",
        dependencies=_images(told.step.base_image_dependencies if told.step is not None else None),
    )


def _images(told: Iterable[Any] | None) -> tuple[ImageRef, ...]:
    """Those of the images that have all that makes a reference with a digest."""
    found = (_image(one) for one in told or ())
    return tuple(image for image in found if image is not None)


def _image(told: Any) -> ImageRef | None:
    host = str(told.registry or "").lower()
    tag = f":{told.tag}" if told.tag else ""
    try:
        digest = Digest(str(told.digest or ""))
        return parse_image(f"{'docker.io' if host in _HUB else host}/{told.repository}{tag}@{digest}") if host else None
    except InvalidError:
        return None


def _text(value: object) -> str:
    """A value of an SDK's enumeration, or the bare string that it leaves for one that it doesn't know."""
    return str(getattr(value, "value", value) or "")


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
