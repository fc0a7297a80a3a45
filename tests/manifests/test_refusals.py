"""Every bad spec of the table is refused with its words: by the emulated server's validator and by the types.

With BASETRACKER_TEST_KUBECONFIG the same table is asked of a real API server too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from basetracker.api.tracker import problems
from basetracker.emulators.cluster.schema import apply_defaults, prune
from basetracker.emulators.cluster.validation import violations

from .refusals import REFUSALS, Json, Refusal, tracker
from .schemas import CRD_FILE, object_schema

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
KUBECONFIG = os.environ.get("BASETRACKER_TEST_KUBECONFIG", "")
SCHEMA = object_schema()


def _id(refusal: Refusal) -> str:
    return refusal.name.replace(" ", "-")


ALL = pytest.mark.parametrize("refusal", REFUSALS, ids=_id)


def _stored(document: Json) -> Json:
    """The object as the server judges it: pruned, and with its defaults."""
    prune(SCHEMA, document)
    apply_defaults(SCHEMA, document)
    return document


def test_the_names_are_unique() -> None:
    assert len({refusal.name for refusal in REFUSALS}) == len(REFUSALS)


def test_the_good_tracker_passes() -> None:
    assert violations(SCHEMA, _stored(tracker())) == []
    assert problems(tracker()) == []


@ALL
def test_the_validator_refuses_it(refusal: Refusal) -> None:
    found = violations(SCHEMA, _stored(refusal.tracker))
    assert [item for item in found if item.path == refusal.field and refusal.says in item.message], found


@ALL
def test_the_types_refuse_it(refusal: Refusal) -> None:
    assert problems(refusal.tracker) != []


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """kubectl against the given real server, which has the CRD."""
    cache = tmp_path_factory.mktemp("kubectl")
    command = [KUBECTL, f"--kubeconfig={KUBECONFIG}", f"--cache-dir={cache}"]
    subprocess.run([*command, "apply", "--server-side", "-f", str(CRD_FILE)], check=True, timeout=60)
    condition = "--for=condition=Established"
    subprocess.run([*command, "wait", condition, "--timeout=30s", "-f", str(CRD_FILE)], check=True, timeout=60)
    return command


def _asked(kubectl: list[str], document: Json) -> subprocess.CompletedProcess[str]:
    # Without kubectl's own validation: the server is asked, and what it would drop is dropped.
    command = [*kubectl, "create", "--dry-run=server", "--validate=false", "-f", "-"]
    return subprocess.run(command, input=json.dumps(document), capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.real_server
def test_a_real_server_takes_the_good_tracker(kubectl: list[str]) -> None:
    answer = _asked(kubectl, tracker())
    assert answer.returncode == 0, answer.stderr


@pytest.mark.real_server
@ALL
def test_a_real_server_refuses_it(kubectl: list[str], refusal: Refusal) -> None:
    answer = _asked(kubectl, refusal.tracker)
    assert answer.returncode == 1
    assert refusal.field in answer.stderr
    assert refusal.says in answer.stderr
