"""What a run of Trivy that failed means, by how it ended and what it logged.

Owns the words; they stay the same from one try to the next. Used by `scanning`.
"""

from __future__ import annotations

import re
from typing import Final

from basetracker.adapters.gates.trivy.database import last_words
from basetracker.adapters.gates.trivy.program import Finished, FullDiskError, TooMuchRoomError
from basetracker.errors import BasetrackerError, DeniedError, InvalidError, UnavailableError
from basetracker.oci.refs import Repository

_KILLED: Final = -9


def failure(done: Finished, repository: Repository) -> BasetrackerError:
    """Why there is no report."""
    said = done.complaint.lower()
    return _of_bounds(done.code, said) or _of_place(said) or _of_others(done.code, said, repository)


def safe(done: Finished, secrets: dict[str, str]) -> str:
    """Its last words, without the secrets that it was given."""
    text = done.complaint
    for name in ("TRIVY_PASSWORD", "TRIVY_TOKEN"):
        if secrets.get(name):
            text = text.replace(secrets[name], "***")
    return last_words(text)


def _of_bounds(code: int, said: str) -> BasetrackerError | None:
    """It has met one of the bounds that we have put on it."""
    if code == _KILLED:
        return UnavailableError(
            "Trivy was killed while it scanned, most often since the container's memory ran out; "
            "see its limit and BASETRACKER_TRIVY_MEMORY"
        )
    if "out of memory" in said or "cannot allocate memory" in said:
        return InvalidError(
            "Trivy needs more memory for the image than it may have; if the image is as it should be, raise "
            "BASETRACKER_TRIVY_MEMORY, and the container's limit with it"
        )
    if "file size limit exceeded" in said or "file too large" in said:
        return TooMuchRoomError()
    if "context deadline exceeded" in said:
        return UnavailableError("Trivy took longer than it may; see the gate's timeout")
    return None


def _of_place(said: str) -> BasetrackerError | None:
    """Something lacks where it runs."""
    if "java db" in said:
        return InvalidError(
            "the image holds Java archives, which Trivy can't tell without its Java database; "
            "name one in BASETRACKER_TRIVY_JAVA_DB_REPOSITORY"
        )
    if "no space left on device" in said:
        return FullDiskError()
    return None


def _of_others(code: int, said: str, repository: Repository) -> BasetrackerError:
    """The registry or the server doesn't give what it is asked for."""
    host = repository.host
    if "x509:" in said:
        return UnavailableError(
            f"Trivy doesn't trust the TLS certificate of {host}; name a file with its CA in BASETRACKER_CA_FILE"
        )
    if "twirp error" in said:
        return UnavailableError(
            "the Trivy server doesn't answer as it should; see BASETRACKER_TRIVY_SERVER and TRIVY_TOKEN"
        )
    if "manifest_unknown" in said or "blob_unknown" in said:
        return UnavailableError(f"{host} has not all of the image in {repository.path} that Trivy needs")
    if re.search(r"\b(unauthorized|denied): |forbidden", said):
        return DeniedError(f"{host} doesn't let Trivy read {repository.path}; it needs the same rights as the operator")
    return UnavailableError(f"Trivy ended with exit code {code}; the operator's log has its last words")
