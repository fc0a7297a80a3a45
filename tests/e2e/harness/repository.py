"""Where this repository lies: what is built, applied and tested from it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]
