"""Errors as values: what the core reads instead of exceptions."""

from __future__ import annotations

from basetracker.core.observed import Problem, ProblemKind
from basetracker.errors import BasetrackerError, DeniedError, InvalidError, MissingError


def problem_of(error: BasetrackerError) -> Problem:
    """The error as a problem; whatever isn't for a person to mend heals by itself."""
    match error:
        case InvalidError():
            kind = ProblemKind.INVALID
        case MissingError():
            kind = ProblemKind.MISSING
        case DeniedError():
            kind = ProblemKind.DENIED
        case _:
            kind = ProblemKind.UNAVAILABLE
    return Problem(kind=kind, message=str(error))
