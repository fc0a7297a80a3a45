"""The project's own error tree: adapters raise these and nothing else, chained to what they caught.

Four kinds, because four things can be done about an error. kopf's error classes appear only in `handlers/`.
A 404 on a read isn't an error: it is `None`.
"""

from __future__ import annotations


class BasetrackerError(Exception):
    """Root of all errors that adapters raise; the text is one sentence fit for a status, with no secret in it."""


class InvalidError(BasetrackerError):
    """Something that a person must change in the spec or in what it names; waiting doesn't mend it."""


class MissingError(BasetrackerError):
    """Something that was named doesn't exist; it is looked for again, slowly."""


class DeniedError(BasetrackerError):
    """The credentials are missing, wrong or too weak; tried again slowly, since a person must act."""


class UnavailableError(BasetrackerError):
    """The other side can't answer now; heals by itself. `retry_after` is in seconds, when the other side named it."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConflictError(BasetrackerError):
    """What was to be changed has moved since it was read; nothing was changed. The next turn sees the new state."""


class UnknownOutcomeError(BasetrackerError):
    """A request with a side effect was sent and its outcome isn't known: look before trying again."""
