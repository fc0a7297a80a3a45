"""The signature gate: where it looks, what it says, and that nothing but a signature that counts ever passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basetracker.api.names import GateVerdict
from basetracker.emulators.faults import Fault
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import Digest
from basetracker.ports import Answer

from .authorities import DAY, TimeAuthority, ec_key, root
from .conftest import BUNDLE, INDEX, MANIFEST, NOTATION, REPOSITORY, Desk
from .signers import JWS, bundle, cosign_signature, jws, public_pem, simple_payload, statement, target

COSIGN = {"cosign": {"publicKey": {"configMapRef": {"name": "keys", "key": "cosign.pub"}}}, "timeout": "30m"}
NOTATION_GATE = {"notation": {"trustStore": {"secretRef": {"name": "ca"}}, "identities": ["CN=build"]}}
KEY, STRANGER = ec_key(), ec_key(256, 1)
ROOT = root()
OTHER = Digest.of(b"another image")


@pytest.fixture(autouse=True)
def trusted(desk: Desk) -> None:
    desk.data.objects["ConfigMap", "keys"] = {"cosign.pub": public_pem(KEY), "note": b"hello"}
    desk.data.objects["Secret", "ca"] = {"root.crt": ROOT.pem}


def signed_old(desk: Desk, digest: Digest | None = None, key: Any = KEY) -> None:
    payload = simple_payload(str(digest or desk.shelf.digest))
    desk.shelf.put_old((payload, cosign_signature(key, payload)))


def bundled(desk: Desk, digest: Digest | None = None, key: Any = KEY) -> dict[str, Any]:
    content = bundle(key, statement(str(digest or desk.shelf.digest)))
    return desk.shelf.refer(BUNDLE, BUNDLE, content)


def enveloped(desk: Desk, digest: Digest | None = None, holder: Any = None, **options: Any) -> dict[str, Any]:
    now = desk.world.time.now()
    holder = holder or ROOT.signer(begins=now - DAY, ends=now + DAY)
    content = jws(holder, target(str(digest or desk.shelf.digest)), **options)
    return desk.shelf.refer(NOTATION, JWS, content, by_config=True)


def by_tag(sign: Callable[[Desk], dict[str, Any]]) -> Callable[[Desk], None]:
    """As in a registry without the API: the index under the tag is all that tells."""

    def place(desk: Desk) -> None:
        entry = sign(desk)
        desk.registry.api.referrers_enabled = False
        desk.shelf.list_by_tag(entry)

    return place


PLACES: dict[str, tuple[Any, Callable[[Desk], object]]] = {
    "cosign's own tag": (COSIGN, signed_old),
    "cosign by the API": (COSIGN, bundled),
    "cosign by the tag": (COSIGN, by_tag(bundled)),
    "cosign 3 by the tag": (
        COSIGN,
        by_tag(lambda desk: bundled(desk) | {"artifactType": "application/vnd.oci.empty.v1+json"}),
    ),
    "Notation by the API": (NOTATION_GATE, enveloped),
    "Notation by the tag": (NOTATION_GATE, by_tag(enveloped)),
    "Notation by the tag, of an old tool": (
        NOTATION_GATE,
        by_tag(lambda desk: {key: value for key, value in enveloped(desk).items() if key != "artifactType"}),
    ),
}
ALL = pytest.mark.parametrize(("gate", "place"), PLACES.values(), ids=PLACES)


@ALL
async def test_a_signature_is_found_wherever_it_lies(desk: Desk, gate: Any, place: Callable[[Desk], object]) -> None:
    place(desk)
    answer = await desk.ask(gate)
    assert (answer.verdict, answer.reason, answer.digest) == (GateVerdict.PASS, "Signed", desk.shelf.digest)
    assert answer == await desk.ask(gate), "the same evidence, the same words"


@ALL
async def test_a_signature_that_was_removed_counts_no_more(
    desk: Desk, gate: Any, place: Callable[[Desk], object]
) -> None:
    place(desk)
    home = desk.registry.storage.repositories[REPOSITORY]
    for digest in [found.digest for found in home.manifests.values() if found.subject]:
        desk.registry.storage.delete_manifest(REPOSITORY, digest)
    for tag in [tag for tag in home.tags if tag.startswith("sha256-")]:
        desk.registry.storage.delete_tag(REPOSITORY, tag)
    assert (await desk.ask(gate)).verdict is GateVerdict.PENDING


async def test_the_words_of_a_pass(desk: Desk) -> None:
    signed_old(desk)
    enveloped(desk)
    by_key, by_name = await desk.ask(COSIGN), await desk.ask(NOTATION_GATE)
    assert by_key.message == "signed by cosign with the key in the entry cosign.pub of the ConfigMap shop/keys"
    assert by_name.message == "signed by Notation with a certificate of CN=build"


@pytest.mark.parametrize("gate", [COSIGN, NOTATION_GATE], ids=["cosign", "notation"])
async def test_a_signature_may_come_late_but_not_too_late(desk: Desk, gate: Any) -> None:
    answer = await desk.ask(gate)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "SignatureAwaited")
    assert answer.again == timedelta(seconds=15)
    first = answer.message
    desk.later(minutes=29, seconds=50)
    answer = await desk.ask(gate)
    assert (answer.verdict, answer.message, answer.again) == (GateVerdict.PENDING, first, timedelta(seconds=10))
    desk.later(seconds=10)
    answer = await desk.ask(gate)
    assert (answer.verdict, answer.reason, answer.message) == (GateVerdict.FAIL, "NotSigned", first)
    assert f"sign {desk.image.repository}@{desk.shelf.digest}" in first


@pytest.mark.parametrize(
    ("gate", "place", "words"),
    [
        (COSIGN, lambda desk: signed_old(desk, key=STRANGER), "one isn't made with this key"),
        (COSIGN, lambda desk: bundled(desk, key=STRANGER), "one isn't made with this key"),
        (COSIGN, lambda desk: signed_old(desk, OTHER), "one is about another digest"),
        (COSIGN, lambda desk: bundled(desk, OTHER), "one is about another digest"),
        (COSIGN, lambda desk: desk.shelf.put_old((b"{}", None)), "one has a value that isn't base64"),
        (NOTATION_GATE, lambda desk: enveloped(desk, OTHER), "one is about another digest"),
        (NOTATION_GATE, lambda desk: enveloped(desk, holder=root(11).signer()), "leads to none in the trust store"),
        (
            NOTATION_GATE,
            lambda desk: enveloped(desk, expiry=desk.world.time.now() - timedelta(minutes=1)),
            "one has expired",
        ),
        (
            NOTATION_GATE,
            lambda desk: desk.shelf.refer(NOTATION, "text/plain", b"x"),
            "one has an envelope that is neither JWS nor COSE",
        ),
    ],
)
async def test_a_signature_that_does_not_count_never_passes(
    desk: Desk, gate: Any, place: Callable[[Desk], object], words: str
) -> None:
    place(desk)
    for after, verdict in ((0, GateVerdict.PENDING), (31, GateVerdict.FAIL)):
        desk.later(minutes=after)
        answer = await desk.ask(gate)
        assert (answer.verdict, answer.reason) == (verdict, "SignatureRefused")
        assert words in answer.message


async def test_a_good_signature_counts_among_bad_ones(desk: Desk) -> None:
    good, bad = simple_payload(str(desk.shelf.digest)), simple_payload(str(OTHER))
    desk.shelf.put_old((bad, cosign_signature(KEY, bad)), (good, "AAAA"), (good, cosign_signature(KEY, good)))
    bundled(desk, key=STRANGER)
    assert (await desk.ask(COSIGN)).verdict is GateVerdict.PASS


async def test_the_signature_of_one_platform_is_not_that_of_the_index(desk: Desk) -> None:
    index = desk.registry.storage.find(REPOSITORY, str(desk.shelf.digest))
    assert index is not None
    child = Digest(index.document["manifests"][0]["digest"])
    payload = simple_payload(str(child))
    desk.shelf.put_old((payload, cosign_signature(KEY, payload)))
    assert (await desk.ask(COSIGN)).verdict is GateVerdict.PENDING
    assert (await desk.ask(NOTATION_GATE)).verdict is GateVerdict.PENDING


async def test_the_signature_of_another_tool_is_passed_over(desk: Desk) -> None:
    bundled(desk)
    assert (await desk.ask(NOTATION_GATE)).reason == "SignatureAwaited"
    desk.shelf.refer("application/spdx+json", "application/spdx+json", b"{}")
    enveloped(desk)
    assert (await desk.ask(NOTATION_GATE)).verdict is GateVerdict.PASS


async def test_a_time_stamp_keeps_a_short_lived_certificate(desk: Desk) -> None:
    time = TimeAuthority()
    desk.data.objects["ConfigMap", "tsa"] = {"time.crt": time.root.pem}
    now = desk.world.time.now()
    enveloped(
        desk,
        holder=ROOT.signer(begins=now - 9 * DAY, ends=now - 6 * DAY),
        stamp=lambda signature: time.token(signature, now - 7 * DAY),
    )
    stamped = NOTATION_GATE["notation"] | {"timestampTrustStore": {"configMapRef": {"name": "tsa"}}}
    assert (await desk.ask({"notation": stamped})).verdict is GateVerdict.PASS
    assert "isn't valid now" in (await desk.ask(NOTATION_GATE)).message


@pytest.mark.parametrize("gate", [COSIGN, NOTATION_GATE], ids=["cosign", "notation"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(match="/v2/", n=None, status=503), UnavailableError),
        (Fault(match="/v2/", n=None, drop=True), UnavailableError),
        (Fault(match="/v2/", n=None, status=429), UnavailableError),
        (Fault(match="/v2/", n=None, status=403), DeniedError),
        (Fault(match="/manifests/sha256-", n=None, status=405), DeniedError),
        (Fault(match="/blobs/", n=None, status=500), UnavailableError),
    ],
    ids=["503", "cut", "429", "403", "quarantine", "blobs"],
)
async def test_what_can_not_be_seen_is_no_verdict(desk: Desk, gate: Any, fault: Fault, error: type[Exception]) -> None:
    signed_old(desk, OTHER)
    enveloped(desk, OTHER)
    bundled(desk, OTHER)
    desk.later(minutes=31)
    desk.world.cloud.faults.add(fault)
    with pytest.raises(error):
        await desk.ask(gate)


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_registry_without_the_api_is_read_by_the_tag(desk: Desk, status: int) -> None:
    by_tag(bundled)(desk)
    desk.registry.api.referrers_enabled = True
    desk.world.cloud.faults.add(Fault(match="/referrers/", n=None, status=status))
    assert (await desk.ask(COSIGN)).verdict is GateVerdict.PASS


async def test_an_api_that_fails_does_not_hide_a_good_signature(desk: Desk) -> None:
    signed_old(desk)
    desk.world.cloud.faults.add(Fault(match="/referrers/", n=None, status=500))
    assert (await desk.ask(COSIGN)).verdict is GateVerdict.PASS


async def test_content_that_is_not_its_digests_is_refused(desk: Desk) -> None:
    bundled(desk)
    desk.world.cloud.faults.add(Fault(match="/blobs/", n=None, pad=1))
    answer = await desk.ask(COSIGN)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "SignatureRefused")
    assert "one can't be read" in answer.message


async def test_too_many_and_too_large_are_bounded(desk: Desk) -> None:
    for number in range(120):
        desk.shelf.refer(NOTATION, JWS, b"%d" % number, by_config=True)
    desk.shelf.refer(NOTATION, JWS, b" " * (256 * 1024 + 1), by_config=True)
    before = len(desk.world.asked("/blobs/"))
    answer = await desk.ask(NOTATION_GATE)
    assert (answer.verdict, answer.reason) == (GateVerdict.PENDING, "SignatureRefused")
    assert "only the first 50 were looked at" in answer.message
    assert len(desk.world.asked("/blobs/")) - before == 50
    assert len(desk.world.asked("/manifests/")) <= 101


async def test_a_signature_that_is_too_large_is_not_read_on(desk: Desk) -> None:
    desk.shelf.refer(BUNDLE, BUNDLE, b" " * (256 * 1024 + 1))
    assert "one can't be read" in (await desk.ask(COSIGN)).message


@pytest.mark.parametrize(
    ("objects", "gate", "error", "words"),
    [
        ({}, COSIGN, MissingError, "no ConfigMap shop/keys"),
        ({}, NOTATION_GATE, MissingError, "no Secret shop/ca"),
        ({("ConfigMap", "keys"): {"other": b""}}, COSIGN, MissingError, "shop/keys has no entry cosign.pub"),
        ({("ConfigMap", "keys"): {"cosign.pub": b"hunter2"}}, COSIGN, InvalidError, "no public key in PEM"),
        (
            {("Secret", "ca"): {"ca.crt": b"hunter2"}},
            NOTATION_GATE,
            InvalidError,
            "no certificate in PEM or DER in ca.crt",
        ),
    ],
)
async def test_keys_that_can_not_be_had_are_a_matter_for_a_person(
    desk: Desk, objects: Any, gate: Any, error: type[Exception], words: str
) -> None:
    signed_old(desk)
    enveloped(desk)
    desk.data.objects = objects
    with pytest.raises(error, match=words) as caught:
        await desk.ask(gate)
    assert "hunter2" not in str(caught.value)


async def test_a_question_without_a_digest_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidError):
        await desk.ask(COSIGN, image=desk.image.tagged)


async def test_a_message_has_an_end(desk: Desk) -> None:
    identities = [f"CN={'a' * 500}{number:02d}" for number in range(16)]
    gate = {"notation": {"trustStore": {"secretRef": {"name": "ca"}}, "identities": identities}}
    message = (await desk.ask(gate)).message
    assert len(message) <= 1000
    assert message.endswith(str(desk.shelf.digest))


BODIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"{}",
            b"[]",
            b'{"manifests": 5}',
            b'{"manifests": [5, {}, {"digest": 5}, {"digest": "sha256:00"}]}',
            json.dumps({"manifests": [{"digest": str(OTHER), "mediaType": MANIFEST}]}).encode(),
            json.dumps({"layers": [{"digest": str(OTHER), "mediaType": BUNDLE}, {"digest": 7}, 7]}).encode(),
        ]
    ),
)


async def test_whatever_lies_where_signatures_lie_never_passes(desk: Desk) -> None:
    answers: list[Answer] = []
    bodies: list[bytes] = []

    @given(BODIES)
    @settings(
        max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    def collect(body: bytes) -> None:
        bodies.append(body)

    collect()
    for body in bodies:
        desk.world.cloud.faults.pending.clear()
        for place in ("/referrers/", "/manifests/sha256-"):
            desk.world.cloud.faults.add(
                Fault(match=place, n=None, status=200, body=body, headers={"Content-Type": INDEX})
            )
        answers += [await desk.ask(COSIGN), await desk.ask(NOTATION_GATE)]
        assert answers[-1].verdict is GateVerdict.PENDING, body
    assert {answer.verdict for answer in answers} == {GateVerdict.PENDING}
