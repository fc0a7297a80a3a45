"""What happens when a machine lacks a part that a test needs.

Used by the fixtures and by tests that need a program of their own.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test for this reason; in CI, where everything has to be there, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
