"""The CRD's rule for a signer's identity is that of the types."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from basetracker.api.gate_signature import Identity
from basetracker.emulators.cluster.rules import judge

from .schemas import part

SIGNATURE = part("spec")["properties"]["gates"]["items"]["properties"]["signature"]["properties"]
SCHEMA = SIGNATURE["notation"]["properties"]["identities"]["items"]
TYPE = TypeAdapter(Identity)


def _is_taken(text: str) -> bool:
    try:
        TYPE.validate_python(text)
    except ValidationError:
        return False
    return True


PIECES = st.sampled_from(
    [*'=,+"\\<>;# \n', "CN", "O", "SERIALNUMBER", "cn", "x509.subject:", "x509xsubject:", "é", "\\,"]
)


@given(st.lists(PIECES, max_size=12).map("".join))
@settings(max_examples=300, deadline=None)
@example("x509.subject: C=US, ST=WA, O=Contoso\\, Inc., CN=build")
@example("CN=a\n")
@example("CN= ")
@example("")
def test_they_take_the_same_identities(text: str) -> None:
    rule = SCHEMA["x-kubernetes-validations"][0]["rule"]
    assert judge(rule, {"self": text}).holds is _is_taken(text)
