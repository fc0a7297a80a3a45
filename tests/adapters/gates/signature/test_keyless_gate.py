"""The signature gate with keyless identities: what it finds, what it says, and what it needs for that."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from basetracker.api.names import GateVerdict
from basetracker.errors import InvalidError, MissingError
from basetracker.oci.refs import Digest

from .authorities import ec_key
from .conftest import BUNDLE, Desk
from .signers import bundle, cosign_signature, simple_payload, statement
from .sigstores import ACTIONS, PERSON, WORKFLOW, Sigstore

OURS = Sigstore()
WRONG = statement(str(Digest.of(b"cart")))
EXACT: dict[str, Any] = {"issuer": ACTIONS, "subject": WORKFLOW}
GATE = {
    "cosign": {
        "keyless": {
            "identities": [EXACT],
            "trustedRoot": {"configMapRef": {"name": "sigstore", "key": "trusted_root.json"}},
        }
    }
}


@pytest.fixture
def trusted(desk: Desk) -> Desk:
    desk.data.objects["ConfigMap", "sigstore"] = {"trusted_root.json": OURS.trusted_root()}
    return desk


async def test_the_gate_finds_what_a_workflow_has_signed(trusted: Desk) -> None:
    answer = await trusted.ask(GATE)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "SignatureAwaited")
    assert f"it needs a signature of cosign as {WORKFLOW} of {ACTIONS}" in answer.message
    trusted.shelf.refer(BUNDLE, BUNDLE, bundle(ec_key(), statement(str(trusted.shelf.digest))))
    trusted.shelf.refer(BUNDLE, BUNDLE, OURS.bundle(statement(str(trusted.shelf.digest)), PERSON))
    answer = await trusted.ask(GATE)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "SignatureRefused")
    assert "one is by build@contoso.com of https://login.contoso.com, which is none of the identities" in answer.message
    assert "one is made with a key" in answer.message
    trusted.shelf.refer(BUNDLE, BUNDLE, OURS.bundle(statement(str(trusted.shelf.digest))))
    answer = await trusted.ask(GATE)
    assert (answer.verdict, answer.reason, answer.digest) == (GateVerdict.PASS, "Signed", trusted.shelf.digest)
    assert answer.message == f"signed by cosign as {WORKFLOW} of {ACTIONS}"


async def test_the_signature_of_another_image_never_passes(trusted: Desk) -> None:
    trusted.shelf.refer(BUNDLE, BUNDLE, OURS.bundle(WRONG))
    for minutes, verdict in ((0, GateVerdict.PENDING), (31, GateVerdict.FAIL)):
        trusted.later(minutes=minutes)
        answer = await trusted.ask(GATE)
        assert (answer.verdict, answer.reason) == (verdict, "SignatureRefused")
        assert "one is about another digest" in answer.message


async def test_the_old_layout_is_refused_with_the_reason(trusted: Desk) -> None:
    payload = simple_payload(str(trusted.shelf.digest))
    trusted.shelf.put_old((payload, cosign_signature(ec_key(), payload)))
    assert "one is in cosign's old layout, where only those with a key count" in (await trusted.ask(GATE)).message


async def test_without_its_root_nothing_is_asked(trusted: Desk) -> None:
    trusted.shelf.refer(BUNDLE, BUNDLE, OURS.bundle(statement(str(trusted.shelf.digest))))
    trusted.data.objects["ConfigMap", "sigstore"] = {"trusted_root.json": b"{}"}
    with pytest.raises(InvalidError, match=r"the entry trusted_root\.json of the ConfigMap shop/sigstore holds no"):
        await trusted.ask(GATE)
    trusted.data.objects["ConfigMap", "sigstore"] = {"another": b"{}"}
    with pytest.raises(MissingError, match=r"has no entry trusted_root\.json"):
        await trusted.ask(GATE)
    trusted.data.objects.clear()
    with pytest.raises(MissingError):
        await trusted.ask(GATE)


def test_nobody_pays_for_keyless_who_does_not_use_it() -> None:
    """The library and what it needs take memory, and half a second."""
    script = "import sys, basetracker.wiring; print([name for name in ('sigstore', 'tuf') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
