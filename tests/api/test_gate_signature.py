"""The signature gate as it is written: defaults, and what an identity names."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from basetracker.api.gate_signature import (
    NOT_A_PATTERN,
    NOT_AN_IDENTITY,
    KeylessIdentity,
    Notation,
    SignatureGate,
    subject_parts,
)
from basetracker.api.gates import Gate, GateKind

KEY: dict[str, Any] = {"cosign": {"publicKey": {"configMapRef": {"name": "keys", "key": "cosign.pub"}}}}

KEYLESS: dict[str, Any] = {
    "identities": [
        {"issuer": "https://login.contoso.com", "subject": "build@contoso.com"},
        {
            "issuer": "https://token.actions.githubusercontent.com",
            "subjectPattern": "https://github.com/contoso/*/.github/workflows/release.yml@refs/heads/main",
            "sourceRepository": "https://github.com/contoso/shop",
            "sourceRef": "refs/heads/main",
        },
    ],
    "trustedRoot": {"secretRef": {"name": "sigstore", "key": "trusted_root.json"}},
}


def identities(*given_: str) -> Notation:
    return Notation.model_validate({"trustStore": {"secretRef": {"name": "ca"}}, "identities": given_})


def test_a_gate_waits_half_an_hour_by_default() -> None:
    gate = Gate.model_validate({"signature": KEY})
    assert (gate.kind, gate.signature and gate.signature.timeout) == (GateKind.SIGNATURE, timedelta(minutes=30))


def test_a_gate_is_written_as_it_is_read() -> None:
    for document in (
        KEY | {"timeout": "1h"},
        {"cosign": {"keyless": KEYLESS}, "timeout": "30m"},
        {"notation": identities("CN=a").model_dump(by_alias=True, exclude_none=True), "timeout": "30m"},
    ):
        gate = SignatureGate.model_validate(document)
        assert SignatureGate.model_validate(gate.model_dump(by_alias=True, mode="json", exclude_none=True)) == gate


@pytest.mark.parametrize(
    ("identity", "parts"),
    [
        ("CN=build", {("CN", "build")}),
        ("x509.subject: C=US, O=Contoso , CN=a b ", {("C", "US"), ("O", "Contoso"), ("CN", "a b")}),
        ("x509.subject:CN=build", {("CN", "build")}),
        ("O=Contoso\\, Inc.,CN=x\\=y", {("O", "Contoso, Inc."), ("CN", "x=y")}),
        ("OU=a, OU=b", {("OU", "a"), ("OU", "b")}),
        ("CN=\\\\", {("CN", "\\")}),
        ("CN=x509.subject: y", {("CN", "x509.subject: y")}),
        ("CN=Müller", {("CN", "Müller")}),
    ],
)
def test_an_identity_names_attributes(identity: str, parts: set[tuple[str, str]]) -> None:
    assert identities(identity).identities == (identity,)
    assert subject_parts(identity) == parts


@given(st.text(st.sampled_from([*'CNOU=,+"\\<>; x509.subject:']), max_size=30))
@example("CN=,")
@example("CN= ")
def test_an_identity_that_is_taken_names_somebody(identity: str) -> None:
    try:
        identities(identity)
    except ValidationError:
        return
    assert subject_parts(identity)
    assert all(value for _, value in subject_parts(identity))


def test_an_identity_that_is_refused_is_told_how_it_looks() -> None:
    with pytest.raises(ValidationError, match=NOT_AN_IDENTITY[:40]):
        identities("build")


def test_a_gate_may_be_made_by_the_names_of_python() -> None:
    gate = SignatureGate.model_validate({"cosign": {"keyless": KEYLESS}})
    assert SignatureGate.model_validate(gate.model_dump(exclude_none=True)) == gate


@pytest.mark.parametrize(
    "pattern", ["*", "**@contoso.com", "build@*.contoso.com", "https://*.test/a", "https://a.test/a"]
)
def test_a_pattern_that_says_too_much_or_nothing_is_refused(pattern: str) -> None:
    identity = {"issuer": "https://login.contoso.com", "subjectPattern": pattern}
    with pytest.raises(ValidationError, match=re.escape(NOT_A_PATTERN)):
        KeylessIdentity.model_validate(identity)
