"""Looks: when this process looked last at what changes rarely and isn't ours to write down.

A new process takes what it meets for looked at, so that nothing is asked all at once when it starts. Used by `engine/observe`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime
from typing import Final

_MOST: Final = 10_000


class Looks:
    """The last look at each subject; those that nobody has asked about for longest are forgotten first."""

    def __init__(self) -> None:
        self._at: OrderedDict[Hashable, datetime] = OrderedDict()

    def is_due(self, subject: Hashable, since: datetime, now: datetime) -> bool:
        """Whether the last look was before `since`; the answer counts as a look, and so does the first question."""
        last = self._at.pop(subject, now)
        self._at[subject] = now if last < since else last
        if len(self._at) > _MOST:
            self._at.popitem(last=False)
        return last < since
