"""The gate that reads Microsoft Defender for Cloud, as a user declares it. `gates.py` puts it beside the others."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from basetracker.api.document import Document
from basetracker.api.duration import parse_duration
from basetracker.api.fields import Wait
from basetracker.api.severity import Severity


class OnUnknown(StrEnum):
    """What becomes of an image about which Defender says nothing."""

    HOLD = "Hold"
    PASS = "Pass"


class DefenderGate(Document):
    """Defender's findings about the digest: nothing passes before `wait_at_least`; without any, `on_unknown` decides then."""

    severity: Annotated[tuple[Severity, ...], Field(min_length=1, max_length=5)] = (Severity.CRITICAL, Severity.HIGH)
    wait_at_least: Wait = parse_duration("6h")
    on_unknown: OnUnknown = OnUnknown.HOLD
