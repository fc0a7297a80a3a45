"""What the fast tests rest on holds on the real API server too: the contract tests, run against it.

They are the ones that run on the emulated cluster otherwise. Where the two differ, the emulator is wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .harness.cluster import RealCluster
from .harness.repository import ROOT

pytestmark = pytest.mark.e2e

SECONDS = 420
# The suites, and what each has at the least against the real server: a run that finds nothing is no success.
SUITES = {
    "tests/manifests/test_refusals.py": 100,
    "tests/adapters/kube": 100,
    "tests/emulators/cluster": 100,
}


@pytest.mark.timeout(SECONDS + 30, func_only=True)
@pytest.mark.parametrize("suite", SUITES)
def test_the_contract_holds_on_a_real_server(real_cluster: RealCluster, tmp_path: Path, suite: str) -> None:
    report = tmp_path / "report.xml"
    told = {"BASETRACKER_TEST_KUBECONFIG": str(real_cluster.kubeconfig)}
    command = [sys.executable, "-m", "pytest", suite, "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    (counts,) = ElementTree.parse(report).iter("testsuite")
    assert counts.attrib["skipped"] == "0", done.stdout[-8000:]
    assert int(counts.attrib["tests"]) >= SUITES[suite]
