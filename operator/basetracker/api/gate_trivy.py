"""The Trivy gate as a user declares it: what is looked for, what counts, and what is waived until when.

Knows nothing of Trivy itself: `adapters/gates/trivy` runs it, `core/findings.py` weighs what it found. `gates.py` puts the
kind beside the others.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictBool,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from basetracker.api.document import Document
from basetracker.api.duration import parse_duration
from basetracker.api.fields import Timeout
from basetracker.api.severity import Severity

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WORD: Final = re.compile(r"[^\t\n\f\r ]")
_LONGEST_REASON: Final = 500
NOT_AN_ID: Final = "not the id of a finding; write it as Trivy shows it, like CVE-2026-12345"
NOT_A_DAY: Final = "not a day; write the last day on which the waiver holds like 2026-12-31, in quotes"
NO_REASON: Final = "say why the finding is waived, in at most 500 characters"
ONE_WAIVER: Final = "a finding is waived twice; keep one waiver for each id"
LONGEST_SCAN: Final = timedelta(hours=1)
"""A scan holds one of the few turns that all trackers share."""
NOT_A_SCANS_TIME: Final = (
    "the timeout of a scan is a duration of at least 1s and at most 1h; write it like 10m, 1h or 90s"
)
SCANNER_TWICE: Final = "a scanner is listed twice; keep one entry for each"


class Scanner(StrEnum):
    """What Trivy looks for."""

    VULN = "vuln"
    """Known vulnerabilities of OS packages and of application dependencies."""
    SECRET = "secret"
    MISCONFIG = "misconfig"
    """What the image's own history and configuration tell, such as that it runs as root."""
    LICENSE = "license"


class Compare(StrEnum):
    """With what findings are compared."""

    NO_WORSE = "NoWorse"
    """Only those count that the image which runs now doesn't have."""


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError(NOT_AN_ID)
    return text


def _day(value: object) -> date:
    """YAML reads an unquoted day as a date; the API server sends text."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError(NOT_A_DAY)
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(NOT_A_DAY) from None


def _reason(text: str) -> str:
    if not _WORD.search(text) or len(text) > _LONGEST_REASON:
        raise ValueError(NO_REASON)
    return text


class Waiver(Document):
    """A finding that doesn't count up to and including the day `until`, UTC."""

    id: Annotated[str, AfterValidator(_id)]
    until: Annotated[date, BeforeValidator(_day), PlainSerializer(date.isoformat, return_type=str)]
    reason: Annotated[str, AfterValidator(_reason)]


def _ids_once(waivers: tuple[Waiver, ...]) -> tuple[Waiver, ...]:
    if len({waiver.id for waiver in waivers}) != len(waivers):
        raise ValueError(ONE_WAIVER)
    return waivers


def _scanners_once(scanners: tuple[Scanner, ...]) -> tuple[Scanner, ...]:
    if len(set(scanners)) != len(scanners):
        raise ValueError(SCANNER_TWICE)
    return scanners


def _time_of_a_scan(value: object, read: ValidatorFunctionWrapHandler) -> timedelta:
    try:
        found = read(value)
    except ValidationError:
        raise ValueError(NOT_A_SCANS_TIME) from None
    if not isinstance(found, timedelta) or found > LONGEST_SCAN:
        raise ValueError(NOT_A_SCANS_TIME)
    return found


class TrivyGate(Document):
    """Trivy's findings in the digest; `timeout` bounds the scan of one platform's image."""

    severity: Annotated[tuple[Severity, ...], Field(min_length=1, max_length=5)] = (Severity.CRITICAL, Severity.HIGH)
    ignore_unfixed: StrictBool = False
    compare: Compare | None = None
    waivers: Annotated[tuple[Waiver, ...], Field(max_length=64), AfterValidator(_ids_once)] = ()
    scanners: Annotated[tuple[Scanner, ...], Field(min_length=1, max_length=4), AfterValidator(_scanners_once)] = (
        Scanner.VULN,
    )
    timeout: Annotated[Timeout, WrapValidator(_time_of_a_scan)] = parse_duration("10m")
