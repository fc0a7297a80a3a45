"""An oracle under faults: stories by chance, compared with a model that is told of the world alone."""

from __future__ import annotations

from .story import told


def test_every_promise_is_kept(seed: int) -> None:
    """Repeat one with `pytest tests/oracle --seed N`; what happens is the same, when exactly may differ a little."""
    account = told(seed)
    assert not account.violations, str(account)
    assert account.figures["writes: status"] > 0
