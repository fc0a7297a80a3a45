"""Rules for the whole suite: what a run leaves out, and that in CI nothing is skipped.

Tests marked `real_server` need an API server, the one of BASETRACKER_TEST_KUBECONFIG; with it, those that are about the
emulated cluster alone (the fixtures `emulated` and `cluster`) are left out. Whatever else a machine lacks is a reason to skip, and in CI
(`CI=true`), where everything has to be there, a failure.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

REAL = bool(os.environ.get("BASETRACKER_TEST_KUBECONFIG"))
EMULATED = frozenset({"emulated", "cluster"})
IN_CI = os.environ.get("CI") == "true"


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: many tests wait for a server, a child process or the time."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this run can't mean."""
    left_out = [item for item in items if _is_left_out(item)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def _is_left_out(item: pytest.Item) -> bool:
    if REAL:
        return not EMULATED.isdisjoint(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("real_server") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be missing: {report.longrepr}"
    return report
