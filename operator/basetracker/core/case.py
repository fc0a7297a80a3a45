"""The case: what a rule reads, and what a rule is. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from basetracker.api.tracker import Spec
from basetracker.core.actions import Step
from basetracker.core.observed import Observed
from basetracker.core.situation import Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a rule reads: the image's situation in the world of its tracker."""

    situation: Situation
    observed: Observed
    spec: Spec


Rule = Callable[[Case], Step | None]
