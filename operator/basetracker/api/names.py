"""The names of the public contract: group, kind, annotations, states and reasons.

One place, so that the same word stands in the condition, the event, the log, the metric, the test and the docs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

GROUP: Final = "basetracker.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "BaseImageTracker"
PLURAL: Final = "baseimagetrackers"
FIELD_MANAGER: Final = "basetracker"

REQUESTED_AT: Final = f"{GROUP}/requested-at"
"""On a tracker: any new value asks for a look now and for a fresh round of build attempts."""
RESUME: Final = f"{GROUP}/resume"
"""On a tracker: any new value ends the holds that wait for a person."""
DELIVERED: Final = f"{GROUP}/delivered"
"""On a workload: what was delivered to which container, as compact JSON."""
CHANGE_CAUSE: Final = "kubernetes.io/change-cause"


class State(StrEnum):
    """The state of one downstream image, or of a tracker: its most urgent one. Declared most urgent first."""

    FAILED = "Failed"
    BLOCKED = "Blocked"
    ROLLED_BACK = "RolledBack"
    ROLLING_OUT = "RollingOut"
    SOAKING = "Soaking"
    VALIDATING = "Validating"
    BUILDING = "Building"
    AWAITING_APPROVAL = "AwaitingApproval"
    AWAITING_WINDOW = "AwaitingWindow"
    STALE = "Stale"
    UNKNOWN = "Unknown"
    SUSPENDED = "Suspended"
    CURRENT = "Current"

    @property
    def urgency(self) -> int:
        """0 is the most urgent."""
        return list(State).index(self)

    @property
    def needs_person(self) -> bool:
        """Whether nothing moves until somebody acts."""
        return self in {State.FAILED, State.BLOCKED, State.ROLLED_BACK}


class Reason(StrEnum):
    """Why a downstream image is in its state."""

    # Current
    CURRENT = "Current"
    # Suspended
    SUSPENDED = "Suspended"
    # Unknown
    BASE_UNKNOWN = "BaseUnknown"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    CLUSTER_UNAVAILABLE = "ClusterUnavailable"
    PARENT_NOT_VALIDATED = "ParentNotValidated"
    # Stale
    BASE_MOVED = "BaseMoved"
    NO_BUILD = "NoBuild"
    RETRY_WAITING = "RetryWaiting"
    FOREIGN_RUN = "ForeignRun"
    PLANNED = "Planned"
    # Building
    BUILD_REQUESTED = "BuildRequested"
    BUILD_QUEUED = "BuildQueued"
    BUILD_RUNNING = "BuildRunning"
    BUILD_UNKNOWN = "BuildOutcomeUnknown"
    BUILD_CANCELING = "BuildCanceling"
    # Validating
    RESULT_AWAITED = "ResultAwaited"
    # RollingOut
    DELIVERY_WAITING = "DeliveryWaiting"
    DELIVERING = "Delivering"
    ROLLOUT_PROGRESSING = "RolloutProgressing"
    # Blocked
    LINEAGE_NOT_PROVEN = "LineageNotProven"
    NO_OUTPUT = "NoOutputImage"
    TASK_NOT_ALLOWED = "TaskNotAllowed"
    TASK_NOT_FOUND = "TaskNotFound"
    TASK_DISABLED = "TaskDisabled"
    INVALID_SPEC = "InvalidSpec"
    INVALID_IMAGE = "InvalidImage"
    IMAGE_NOT_FOUND = "ImageNotFound"
    BASE_NOT_FOUND = "BaseNotFound"
    ACCESS_DENIED = "AccessDenied"
    CIRCLE = "Circle"
    CONTAINER_CLAIMED = "ContainerClaimed"
    WORKLOAD_NOT_FOUND = "WorkloadNotFound"
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    TAG_DIFFERS = "TagDiffers"
    OVERRIDDEN = "Overridden"
    ROLLOUT_STUCK = "RolloutStuck"
    DELIVERY_REFUSED = "DeliveryRefused"
    # Failed
    BUILD_FAILED = "BuildFailed"


class ConditionType(StrEnum):
    """The kstatus conditions, and one of our own."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    TRIGGER_ENABLED = "TaskTriggerEnabled"
    """Abnormal-true: a task that this tracker drives has ACR's own base image trigger switched on."""


class BuildState(StrEnum):
    """How far a build is."""

    REQUESTED = "Requested"
    QUEUED = "Queued"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    TIMED_OUT = "TimedOut"
    UNKNOWN = "Unknown"

    @property
    def is_live(self) -> bool:
        """Whether a run may still be going on."""
        return self in {BuildState.REQUESTED, BuildState.QUEUED, BuildState.RUNNING, BuildState.UNKNOWN}

    @property
    def is_failure(self) -> bool:
        return self in {BuildState.FAILED, BuildState.CANCELED, BuildState.TIMED_OUT}


class WorkloadState(StrEnum):
    """How far a delivery to one container is."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    STUCK = "Stuck"
    ROLLED_BACK = "RolledBack"
    NOT_FOUND = "NotFound"


class GateVerdict(StrEnum):
    """A gate's answer about one digest; no answer is never a pass."""

    PASS = "Pass"
    FAIL = "Fail"
    PENDING = "Pending"


class HistoryEvent(StrEnum):
    """What has happened; also the reason of the Kubernetes Event that tells it."""

    BASE_MOVED = "BaseMoved"
    BUILD_STARTED = "BuildStarted"
    BUILD_ADOPTED = "BuildAdopted"
    BUILD_SUCCEEDED = "BuildSucceeded"
    BUILD_FAILED = "BuildFailed"
    VALIDATED = "Validated"
    REJECTED = "Rejected"
    DELIVERED = "Delivered"
    HEALTHY = "Healthy"
    STUCK = "RolloutStuck"
    OVERRIDDEN = "Overridden"
    TAG_MOVED = "TagMoved"
    """The tag got a digest that isn't delivered, since one is validated for this base already."""
