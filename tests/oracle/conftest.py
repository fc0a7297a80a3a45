"""Which stories are told: `--seeds 50` the first fifty, `--seed 7` that one alone."""

from __future__ import annotations

import pytest

USUAL = 3
"""A few show in the run of all tests that stories can be told; CI tells fifty, `make soak` a thousand."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options; they are known when this folder is named on the command line."""
    parser.addoption("--seeds", type=int, default=USUAL, help="how many stories the oracle is told")
    parser.addoption("--seed", type=int, default=None, help="the one story that the oracle is told")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each story."""
    if "seed" in metafunc.fixturenames:
        config = metafunc.config
        one, many = config.getoption("seed", None), config.getoption("seeds", USUAL)
        metafunc.parametrize("seed", [one] if one is not None else range(1, int(many) + 1))
