"""The signature gate: whether somebody who is trusted has signed a digest. `ports.JudgesImages`.

Owns what a search and its verdicts mean: one signature that counts passes, whatever else lies beside it; without one the gate
waits for the time that the tracker gives, then fails. Made by the wiring; the desk asks it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

from cryptography.x509 import Certificate

from basetracker.adapters.cluster_data import Entries, Kind
from basetracker.adapters.gates.signature.certificates import read_store
from basetracker.adapters.gates.signature.cosign import BUNDLE, PublicKey, read_key, verify_bundle, verify_payload
from basetracker.adapters.gates.signature.documents import RefusedError
from basetracker.adapters.gates.signature.finding import MOST_SIGNATURES, Candidate, ReadsArtifacts, Search
from basetracker.adapters.gates.signature.notation import Trust, verify_envelope
from basetracker.api import gate_signature as api
from basetracker.api.names import GateVerdict
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import Digest
from basetracker.ports import Answer, Clock, Credential, Question

_SHORTEST_WAIT: Final = timedelta(seconds=15)
_LONGEST_WAIT: Final = timedelta(minutes=5)
_AFTER_FAILURE: Final = timedelta(hours=1)
"""A signature that comes too late frees the image all the same."""
_LONGEST_MESSAGE: Final = 500
_UNREADABLE: Final = "can't be read"


class SignatureReason(StrEnum):
    """Why the gate says what it says."""

    SIGNED = "Signed"
    """A signature of the digest counts."""
    SIGNATURE_AWAITED = "SignatureAwaited"
    """Nobody has signed the digest yet, and the time to do so isn't over."""
    SIGNATURE_REFUSED = "SignatureRefused"
    """The digest has signatures, and none counts; one that does may still come while the gate is Pending."""
    NOT_SIGNED = "NotSigned"
    """Nobody has signed the digest in time."""


class ReadsData(Protocol):
    """The cluster's ConfigMaps and Secrets by name; `ClusterData` is one."""

    async def read(self, kind: Kind, namespace: str, name: str) -> Entries: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Whose signatures count: how they are found, and how one is verified; `verify` answers by whom it is."""

    wanted: str
    """Completes "a signature …"."""
    candidates: Callable[[Search], AsyncIterator[Candidate]]
    verify: Callable[[Candidate, Digest], str]


class SignatureGate:
    """Asks a registry for signatures and verifies them in this process."""

    def __init__(self, registry: ReadsArtifacts, data: ReadsData, clock: Clock) -> None:
        self._registry = registry
        self._data = data
        self._clock = clock

    def edition(self) -> str:
        """See `ports.JudgesImages`: nothing but what the gate's own fields name."""
        return ""

    async def judge(self, question: Question, credential: Credential | None) -> Answer:
        """See `ports.JudgesImages`."""
        gate, digest = question.gate.signature, question.image.digest
        if gate is None or digest is None:
            raise InvalidError("the signature gate is asked about something that has no digest or names no signer")
        signer = await self._signer(gate, question.tracker.namespace)
        search = Search(
            registry=self._registry,
            repository=question.image.repository,
            digest=digest,
            credential=credential,
        )
        refused: list[str] = []
        async for candidate in signer.candidates(search):
            try:
                who = await asyncio.to_thread(signer.verify, candidate, digest)
            except RefusedError as error:
                refused.append(str(error))
                continue
            message = f"signed by {who}"[:_LONGEST_MESSAGE]
            return Answer(digest=digest, verdict=GateVerdict.PASS, reason=SignatureReason.SIGNED, message=message)
        _expect_complete(search)
        return self._without_signature(question, digest, gate.timeout, _lack(signer, refused, search))

    async def _signer(self, gate: api.SignatureGate, namespace: str) -> Signer:
        if gate.cosign is not None and gate.cosign.keyless is not None:
            return await self._by_keyless(gate.cosign.keyless, namespace)
        if gate.cosign is not None and gate.cosign.public_key is not None:
            return await self._by_key(gate.cosign.public_key, namespace)
        if gate.notation is not None:
            return await self._by_notation(gate.notation, namespace)
        raise InvalidError(api.ONE_SIGNER)

    async def _by_key(self, source: api.PublicKey, namespace: str) -> Signer:
        content, place = await self._entry(source, namespace)
        key = read_key(content, place)

        def verify(candidate: Candidate, digest: Digest) -> str:
            _verify_cosign(candidate, key, digest)
            return f"cosign with the key in {place}"

        wanted = f"of cosign with the key in {place}"
        return Signer(wanted=wanted, candidates=Search.of_cosign, verify=verify)

    async def _by_keyless(self, keyless: api.Keyless, namespace: str) -> Signer:
        content, place = await self._entry(keyless.trusted_root, namespace)
        check = await asyncio.to_thread(_keyless_check, keyless, content, place)

        def verify(candidate: Candidate, digest: Digest) -> str:
            return f"cosign as {check(candidate, digest)}"

        wanted = f"of cosign as {' or '.join(_words_of(one) for one in keyless.identities)}"
        return Signer(wanted=wanted, candidates=Search.of_cosign, verify=verify)

    async def _entry(self, source: api.PublicKey | api.TrustedRoot, namespace: str) -> tuple[bytes, str]:
        """The content of one entry, and where it lies."""
        reference = source.config_map_ref or source.secret_ref
        if reference is None:
            raise InvalidError(api.ONE_SOURCE)
        kind: Kind = "ConfigMap" if source.config_map_ref else "Secret"
        where = f"the {kind} {namespace}/{reference.name}"
        entries = await self._data.read(kind, namespace, reference.name)
        if reference.key not in entries:
            raise MissingError(f"{where} has no entry {reference.key}")
        return entries[reference.key], f"the entry {reference.key} of {where}"

    async def _by_notation(self, notation: api.Notation, namespace: str) -> Signer:
        anchors = await self._store(notation.trust_store, namespace)
        times = notation.timestamp_trust_store
        trust = Trust(
            anchors=anchors,
            identities=notation.identities,
            time_anchors=() if times is None else await self._store(times, namespace),
        )

        def verify(candidate: Candidate, digest: Digest) -> str:
            who = verify_envelope(candidate.content, candidate.media_type, trust, digest, self._clock.now())
            return f"Notation with a certificate of {who}"

        wanted = f"of Notation with a certificate of {' or '.join(notation.identities)}"
        return Signer(wanted=wanted, candidates=Search.of_notation, verify=verify)

    async def _store(self, store: api.TrustStore, namespace: str) -> tuple[Certificate, ...]:
        reference = store.config_map_ref or store.secret_ref
        if reference is None:
            raise InvalidError(api.ONE_SOURCE)
        kind: Kind = "ConfigMap" if store.config_map_ref else "Secret"
        entries = await self._data.read(kind, namespace, reference.name)
        return read_store(entries, f"the {kind} {namespace}/{reference.name}")

    def _without_signature(self, question: Question, digest: Digest, timeout: timedelta, lack: Lack) -> Answer:
        """Pending while a signature may still come, then Fail; the words are the same for the same signatures."""
        waited = self._clock.now() - question.since
        message = f"{lack.message}; sign {question.image.repository}@{digest}"
        if waited >= timeout:
            return Answer(
                digest=digest, verdict=GateVerdict.FAIL, reason=lack.after, message=message, again=_AFTER_FAILURE
            )
        again = min(max(waited / 4, _SHORTEST_WAIT), _LONGEST_WAIT, timeout - waited)
        return Answer(digest=digest, verdict=GateVerdict.PENDING, reason=lack.before, message=message, again=again)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """That no signature counts: the reason while one may still come, the reason after that, and the words."""

    before: SignatureReason
    after: SignatureReason
    message: str


def _lack(signer: Signer, refused: list[str], search: Search) -> Lack:
    refused += [_UNREADABLE for problem in search.problems]
    if not refused:
        message = f"nobody has signed the digest; it needs a signature {signer.wanted}"
        return Lack(
            before=SignatureReason.SIGNATURE_AWAITED, after=SignatureReason.NOT_SIGNED, message=_bounded(message)
        )
    causes = "; ".join(f"one {cause}" for cause in sorted(set(refused)))
    more = f"; only the first {MOST_SIGNATURES} were looked at" if search.left_off else ""
    message = f"no signature of the digest counts: {causes}{more}; it needs one {signer.wanted}"
    return Lack(
        before=SignatureReason.SIGNATURE_REFUSED, after=SignatureReason.SIGNATURE_REFUSED, message=_bounded(message)
    )


def _bounded(message: str) -> str:
    """The message with room for an image behind it; identities can be long."""
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"


def _expect_complete(search: Search) -> None:
    """Raise what kept signatures from being seen; what was seen and can't be read is no such thing."""
    for kind in (DeniedError, UnavailableError):
        for problem in search.problems:
            if isinstance(problem, kind):
                raise problem


def _verify_cosign(candidate: Candidate, key: PublicKey, digest: Digest) -> None:
    if candidate.media_type == BUNDLE:
        verify_bundle(candidate.content, key, digest)
    else:
        verify_payload(candidate.content, candidate.value, key, digest)


def _keyless_check(keyless: api.Keyless, content: bytes, place: str) -> Callable[[Candidate, Digest], str]:
    """The check of keyless signatures by this trusted root. For a thread: what it needs takes long to import."""
    from basetracker.adapters.gates.signature.keyless import KeylessTrust, read_root, verify_keyless

    trust = KeylessTrust(root=read_root(content, place), identities=keyless.identities)

    def check(candidate: Candidate, digest: Digest) -> str:
        if candidate.media_type != BUNDLE:
            raise RefusedError("is in cosign's old layout, where only those with a key count")
        return verify_keyless(candidate.content, trust, digest)

    return check


def _words_of(identity: api.KeylessIdentity) -> str:
    where = f" in {identity.source_repository}" if identity.source_repository else ""
    at = f" at {identity.source_ref}" if identity.source_ref else ""
    return f"{identity.subject or identity.subject_pattern} of {identity.issuer}{where}{at}"
