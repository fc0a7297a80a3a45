"""`basetracker run` as a process: how it ends when it can't work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("form", ["json", "text"])
def test_why_it_ends_is_a_line_of_its_log(tmp_path: Path, form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "basetracker", "run", "--log-format", form, "--listen", "127.0.0.1:0"],
        env={"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    told = json.loads(line) if form == "json" else {"level": line.split()[2], "message": line}
    assert told["level"] == "ERROR"
    assert "ending: the cluster's credentials can't be read: there is no kubeconfig at" in told["message"]
