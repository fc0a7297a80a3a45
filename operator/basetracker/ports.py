"""What the engine needs of the world: one Protocol for each part, with its contract in the docstrings.

Every method raises only the errors of `errors.py`. A 404 on a read is `None`. Implementations live in `adapters/` (and,
for tests, in memory); `wiring.py` alone knows which is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from basetracker.api.gates import Gate
from basetracker.api.names import GateVerdict
from basetracker.api.status import Status
from basetracker.api.tracker import AcrTask, Key, Tracker
from basetracker.core.actions import Deliver
from basetracker.core.observed import Run, TaskFacts, TaskRef, Workload
from basetracker.oci.lineage import Image
from basetracker.oci.refs import Digest, ImageRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user name and password for one registry host; never shown, not even by `repr`."""

    username: str = field(repr=False)
    password: str = field(repr=False)


class Clock(Protocol):
    """Time, so that tests can set it."""

    def now(self) -> datetime:
        """The time by the wall clock, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class Registry(Protocol):
    """Any OCI registry; which protocol and credentials a host needs is the adapter's matter."""

    async def digest(self, image: ImageRef, credential: Credential | None) -> Digest | None:
        """What the tag points to, by one HEAD request; None when the registry says that there is no such tag.

        Raises:
            DeniedError: refused although a token was obtained, or no token is granted.
            UnavailableError: no answer, a 5xx or 429 one, or held back by an earlier Retry-After.
            InvalidError: an answer that can't be used, such as one without a digest.
        """

    async def image(self, image: ImageRef, credential: Credential | None) -> Image | None:
        """The content that `image.digest` (which must be set) names, with every platform; cached by digest.

        Raises: as `digest`, and InvalidError for what isn't an image, is too large, or doesn't match its digest.
        """


class Credentials(Protocol):
    """Registry credentials from the cluster."""

    async def find(self, namespace: str, secret: str, host: str) -> Credential:
        """The credential for `host` in the kubernetes.io/dockerconfigjson Secret `namespace/secret`.

        Raises:
            MissingError: no such Secret, or nothing in it for this host.
            InvalidError: it is of another type or can't be read.
            DeniedError: the operator may not read it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One run of a task: `key` names it for ever, so that it can be found again."""

    task: TaskRef
    key: str
    arguments: tuple[tuple[str, str], ...] = ()
    values: tuple[tuple[str, str], ...] = ()


class Locks(Protocol):
    """Locks against deletion, in registries that have such a thing."""

    async def is_locked(self, image: ImageRef) -> bool:
        """Whether the digest that `image` names can't be deleted.

        Raises:
            MissingError: the registry doesn't have it.
            InvalidError: the registry has no locks.
            DeniedError, UnavailableError: as named.
        """

    async def lock(self, image: ImageRef) -> None:
        """Keep the digest from being deleted; what is locked stays locked. Raises: as `is_locked`."""

    async def unlock(self, image: ImageRef) -> None:
        """Let the digest be deleted again; one that is gone is no error. Raises: as `is_locked` otherwise."""


class Builder(Protocol):
    """Who builds images: ACR Tasks."""

    async def resolve(self, task: AcrTask, image: ImageRef) -> TaskRef:
        """The task by ARM id; the registry is looked up by the image's login server when the tracker doesn't give it.

        Raises:
            MissingError: no registry with this login server can be seen.
            InvalidError: the registry given isn't the one that the image is in.
        """

    async def facts(self, task: TaskRef, *, max_age: float = 0) -> TaskFacts | None:
        """What is known of the task, read at most `max_age` seconds ago; None when it doesn't exist."""

    async def start(self, request: BuildRequest) -> Run:
        """Start a run, once: never tried again inside.

        Raises:
            UnknownOutcomeError: a run may have been started.
            InvalidError, MissingError, DeniedError, UnavailableError: none was (a 4xx answer).
        """

    async def run(self, task: TaskRef, run_id: str) -> Run | None:
        """The run as it is now."""

    async def recent(self, task: TaskRef, since: datetime) -> Sequence[Run]:
        """The task's runs created at or after `since`, newest first."""

    async def cancel(self, task: TaskRef, run_id: str) -> None:
        """Ask for the run to be ended; one that has ended already stays as it is."""

    def log(self, task: TaskRef, run_id: str, *, follow: bool = False) -> AsyncIterator[bytes]:
        """The run's log in pieces; with `follow` until the run has ended."""


class Trackers(Protocol):
    """The trackers as the watch last saw them, and the one way to write to them."""

    def get(self, key: Key) -> Tracker | None:
        """The tracker as it was last seen or written."""

    def in_namespace(self, namespace: str) -> Sequence[Tracker]:
        """All trackers of a namespace."""

    def everywhere(self) -> Iterator[Tracker]:
        """All trackers of all namespaces that are served."""

    async def write_status(self, tracker: Tracker, status: Status, *, guarded: bool) -> Tracker:
        """Replace the status; the answer is the tracker as stored.

        With `guarded` only if the tracker is still at its resourceVersion.

        Raises:
            ConflictError: it has moved (guarded), or is another object by now (always); nothing was written.
            MissingError: it is gone.
        """


class Workloads(Protocol):
    """Workloads of the cluster, read from a cache that a watch fills."""

    async def find(self, namespace: str, kind: str, name: str) -> Workload | None:
        """The workload as it was last seen."""

    async def deliver(self, delivery: Deliver) -> Workload:
        """Change the images of the named containers and the marks, and nothing else.

        Raises:
            ConflictError: a container, its old image or the marks aren't what was seen; nothing was changed.
            InvalidError: the cluster refuses the change (admission, quota).
            MissingError, DeniedError, UnavailableError: as named.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a gate is asked: one digest of one downstream image."""

    tracker: Key
    uid: str
    """The tracker's, for objects that it is to own."""
    downstream: str
    name: str
    """The gate's name in the status."""
    gate: Gate
    fingerprint: str = ""
    """A hash of the image and of the gate's fields; goes into the status with the answer."""
    image: ImageRef
    """With the tag that is tracked and the digest that is asked about."""
    pull_secret: str | None = None
    """The Secret that the tracker names for the image's registry."""
    running: tuple[ImageRef, ...] = ()
    """What the chosen containers run now, with digests, without this one; empty when that isn't known."""
    workloads: tuple[tuple[str, str], ...] = ()
    """Kind and name of the workloads that the digest is for."""
    base: ImageRef | None = None
    """The current base with its digest, where it is asked as well whether a rebuild on it would mend a failure."""
    base_pull_secret: str | None = None
    """The Secret that the tracker names for the base's registry."""
    since: datetime
    """When the gate was first asked about this digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A gate's verdict about `digest`; one about another digest than was asked for counts for nothing."""

    digest: Digest
    verdict: GateVerdict
    reason: str
    """CamelCase."""
    message: str
    """One sentence, the same for the same evidence: no times, no durations."""
    again: timedelta | None = None
    """When it is to be asked again: None leaves a Pending to the desk, which waits longer each time, and a clear answer to
    its rescan."""
    mendable: bool | None = None
    """Of a Fail: whether a rebuild on `question.base` may mend it; None where that wasn't asked or can't be told now."""


class JudgesImages(Protocol):
    """One kind of gate."""

    async def judge(self, question: Question, credential: Credential | None) -> Answer:
        """The verdict about `question.image.digest`; it may take long, and is asked once at a time for one question.

        `credential` is the one that the tracker names for the image's registry. Whatever isn't a clear answer about this
        digest is no Pass: an answer that can't be had yet is Pending or UnavailableError.

        Raises:
            UnavailableError: it can't be had now, and comes by itself; asked again.
            InvalidError, MissingError, DeniedError: a person has to act first (the message says what); asked again.
        """

    def edition(self) -> str:
        """What answers depend on besides the digest and the gate's own fields, such as the version of a database.

        When it changes, what runs is asked about again. Empty when there is no such thing, or it isn't known yet; being
        asked is a reason to find it out, since it is asked of kinds alone that a tracker names.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """What an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class Events(Protocol):
    """Kubernetes Events."""

    async def tell(self, about: ObjectRef, *, reason: str, message: str, warning: bool = False) -> None:
        """Write an Event; never raises, since telling must not stop the work."""


class AllowList(Protocol):
    """Which namespaces may have which tasks started."""

    async def allows(self, namespace: str, registry: str, task: str) -> bool:
        """Whether trackers of `namespace` may start `task` of the registry with this ARM id."""


class Lead(Protocol):
    """Leadership."""

    def is_held(self) -> bool:
        """Whether this process still leads; asked before each effect."""
