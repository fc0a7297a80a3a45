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
"""On a tracker: any new value lets the validated digest be delivered where somebody has overridden it."""
DELIVERED: Final = f"{GROUP}/delivered"
"""On a workload: what was delivered to which container, as compact JSON."""
CHANGE_CAUSE: Final = "kubernetes.io/change-cause"
"""On a workload: why it was changed last, for `kubectl rollout history`."""


class State(StrEnum):
    """The state of one downstream image, or of a tracker: its most urgent one. Declared most urgent first."""

    FAILED = "Failed"
    """The build has failed as often as it is tried."""
    BLOCKED = "Blocked"
    """Something is in the way that a person has to clear."""
    ROLLED_BACK = "RolledBack"
    """A delivery was taken back."""
    ROLLING_OUT = "RollingOut"
    """A validated digest is on its way to the workloads."""
    SOAKING = "Soaking"
    """A delivered digest is watched before the next workload gets it."""
    VALIDATING = "Validating"
    """A digest is there, and a gate has no answer about it yet."""
    BUILDING = "Building"
    """A run of the task has been asked for, is queued or goes on."""
    AWAITING_APPROVAL = "AwaitingApproval"
    """A validated digest waits for a person's word."""
    AWAITING_WINDOW = "AwaitingWindow"
    """A validated digest waits for a time in which it may be delivered."""
    STALE = "Stale"
    """The image lacks the base's digest, and nothing goes on for it right now."""
    UNKNOWN = "Unknown"
    """Something that is needed can't be read at the moment."""
    SUSPENDED = "Suspended"
    """A person has said that nothing is to be done."""
    CURRENT = "Current"
    """The image contains the base's digest, and every workload named for it runs it."""

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
    """A digest is validated for the current base, and every workload that is named runs one that contains it."""
    # Suspended
    SUSPENDED = "Suspended"
    """`spec.suspend` is true: nothing is polled, built or delivered. Freed by setting it to false."""
    # Unknown
    BASE_UNKNOWN = "BaseUnknown"
    """The base's tag has not been read yet. Freed by the first look."""
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    """A registry can't answer now and no earlier answer is known. Heals by itself; it is asked again after a growing
    wait."""
    CLUSTER_UNAVAILABLE = "ClusterUnavailable"
    """A workload can't be read from the API server now. Heals by itself."""
    PARENT_NOT_VALIDATED = "ParentNotValidated"
    """The base is the output of another tracker, which has validated no digest yet. Freed when that tracker validates
    one."""
    # Stale
    BASE_MOVED = "BaseMoved"
    """The image lacks the current base, and no run could be asked for just now. It is tried again by itself."""
    NO_BUILD = "NoBuild"
    """The image lacks the current base, and the tracker names no build for it. Freed when somebody pushes an image that
    contains the base."""
    RETRY_WAITING = "RetryWaiting"
    """The last attempt to build failed, or the builder asked for a pause. The next attempt comes after a growing wait,
    or at once with `basetracker.dev/requested-at`."""
    FOREIGN_RUN = "ForeignRun"
    """A run of the same task that somebody else started still goes on. Freed when it ends."""
    PLANNED = "Planned"
    """Mode Plan: the message says what would be built or delivered. Freed by `rollout.mode: Apply`."""
    # Building
    BUILD_REQUESTED = "BuildRequested"
    """A run is about to be asked for, or was asked for and is looked for among the task's runs."""
    BUILD_QUEUED = "BuildQueued"
    """The run waits in ACR's queue."""
    BUILD_RUNNING = "BuildRunning"
    """The run goes on."""
    BUILD_UNKNOWN = "BuildOutcomeUnknown"
    """The answer to a request was lost, or the run's state is one that isn't known. It is looked up, never simply
    repeated."""
    BUILD_CANCELING = "BuildCanceling"
    """The run takes longer than `build.timeout` and is being ended."""
    # Validating
    RESULT_AWAITED = "ResultAwaited"
    """The run has succeeded, and a gate has no answer about its result yet, mostly since the registry can't be read
    now."""
    GATE_PENDING = "GatePending"
    """A digest contains the base, and a gate has no answer about it yet. Freed by that answer; the message says what it
    waits for."""
    # RollingOut
    DELIVERY_WAITING = "DeliveryWaiting"
    """The digest is validated, and `rollout.maxConcurrent` workloads are rolling out, or one is stuck. Freed when they
    are healthy."""
    DELIVERING = "Delivering"
    """A workload is being given the validated digest."""
    ROLLOUT_PROGRESSING = "RolloutProgressing"
    """A workload has got the validated digest, and its Pods are being replaced."""
    # Blocked
    LINEAGE_NOT_PROVEN = "LineageNotProven"
    """The run has succeeded, and its image isn't proven to contain the base. It isn't delivered and isn't built again.
    Freed by an image that passes."""
    GATE_FAILED = "GateFailed"
    """A digest contains the base and fails a gate. It isn't delivered, or not any further. Freed by an image that
    passes, or by what the gate lets pass."""
    PARENT_FAILS = "ParentFails"
    """The base is the output of another tracker, whose newest validated digest fails a gate by now. The image doesn't
    move to it. Freed when that tracker validates one that passes, or by what the gate lets pass."""
    GATE_UNUSABLE = "GateUnusable"
    """A gate can't answer before somebody mends what it needs; the message says what that is."""
    NO_OUTPUT = "NoOutputImage"
    """The run has succeeded and reports no image of this name, and the tag holds none that is proven. Freed by a task
    that pushes the tag, or by the right `downstream.image`."""
    TASK_NOT_ALLOWED = "TaskNotAllowed"
    """The operator's allow-list doesn't name this task for this namespace. Freed by an entry in the allow-list."""
    TASK_NOT_FOUND = "TaskNotFound"
    """There is no such task or registry, or the operator can't see it. Freed by the task, by the right name, or by the
    right to read it."""
    TASK_DISABLED = "TaskDisabled"
    """The task is switched off in ACR. Freed by `az acr task update --status Enabled`."""
    INVALID_SPEC = "InvalidSpec"
    """The spec can't be read, or contradicts what is there. Freed by mending it."""
    INVALID_IMAGE = "InvalidImage"
    """What the tag points to is no image that can be read, or the registry's answer can't be used. Freed by pushing the
    image again, or by the right name."""
    IMAGE_NOT_FOUND = "ImageNotFound"
    """The registry has no such tag of the downstream image, or its content is gone. Freed by pushing it once."""
    BASE_NOT_FOUND = "BaseNotFound"
    """The registry has no such tag of the base. Freed by the right name, or by pushing it."""
    ACCESS_DENIED = "AccessDenied"
    """A registry, ARM or the cluster refuses the operator. Freed by the right that the message names."""
    CIRCLE = "Circle"
    """Trackers feed each other in a circle. Freed by changing the base of one of them."""
    CONTAINER_CLAIMED = "ContainerClaimed"
    """An older tracker delivers to this container already. Freed by leaving it to one of them."""
    WORKLOAD_NOT_FOUND = "WorkloadNotFound"
    """There is no such workload in the tracker's namespace. Freed by creating it, or by the right name."""
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    """The workload has no such container, or none that runs this repository. Freed by the right name."""
    TAG_DIFFERS = "TagDiffers"
    """The container runs another tag or another repository than the tracker's. It isn't switched. Freed by setting it
    to the tracker's tag, or by tracking that tag."""
    OVERRIDDEN = "Overridden"
    """Somebody else has changed the image after it was delivered. Freed by a newer validated digest, or by
    `basetracker.dev/resume`."""
    ROLLOUT_STUCK = "RolloutStuck"
    """A workload didn't become healthy on the delivered digest within `rollout.progressDeadline`. Freed when it becomes
    healthy, or by a newer digest."""
    DELIVERY_REFUSED = "DeliveryRefused"
    """The cluster refuses the change, by admission or quota. Freed by what the message says."""
    # Failed
    BUILD_FAILED = "BuildFailed"
    """All attempts to build for this base have failed. Freed by another base, a changed spec, or
    `basetracker.dev/requested-at`."""


class ConditionType(StrEnum):
    """The kstatus conditions, and one of our own."""

    READY = "Ready"
    """True when every image is current or suspended, and always in mode Plan."""
    RECONCILING = "Reconciling"
    """Abnormal-true: the operator works on it, or waits for something that comes by itself."""
    STALLED = "Stalled"
    """Abnormal-true: a person has to act."""
    RUNNING_FAILS = "RunningImageFails"
    """Abnormal-true: an image that was validated and delivered fails one of its gates by now."""
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


class ProtectionState(StrEnum):
    """How far the lock of a digest is."""

    UNREAD = "Unread"
    """It couldn't be read whether somebody has locked it already, so nothing is done yet."""
    REQUESTED = "Requested"
    """Nobody had locked it; we are about to."""
    LOCKED = "Locked"
    """We have locked it."""
    FOREIGN = "Foreign"
    """Somebody else had locked it before; it is left as it is."""


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
    """The base's tag points to another digest."""
    BUILD_STARTED = "BuildStarted"
    """A run of the task was started."""
    BUILD_ADOPTED = "BuildAdopted"
    """A run that was there already is taken as the one for this base."""
    BUILD_SUCCEEDED = "BuildSucceeded"
    """A run has succeeded; what it made is judged next."""
    BUILD_FAILED = "BuildFailed"
    """A run has failed, or none could be started."""
    VALIDATED = "Validated"
    """A digest passed every gate for a base."""
    REJECTED = "Rejected"
    """What a run made did not pass; it is not delivered."""
    FAILS_SINCE = "RunningImageFails"
    """A digest that was validated fails one of its gates by now."""
    DELIVERED = "Delivered"
    """A workload was given the validated digest."""
    HEALTHY = "Healthy"
    """A workload is healthy on the digest."""
    STUCK = "RolloutStuck"
    """A workload did not become healthy in time."""
    OVERRIDDEN = "Overridden"
    """Somebody else has changed an image that was delivered."""
    TAG_MOVED = "TagMoved"
    """The tag got a digest that isn't delivered, since one is validated for this base already."""
