"""Gates: what the core makes of their answers. No answer is never a pass. Pure.

Lineage is decided from what was seen, so its verdict needs no call; all other gates are asked by the engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from basetracker.api.gates import Accept, GateKind, NamedGate
from basetracker.api.names import GateVerdict
from basetracker.api.status import GateStatus
from basetracker.core.observed import Problem, ProblemKind
from basetracker.oci.lineage import Lineage, Verdict
from basetracker.oci.refs import Digest, ImageRef

LINEAGE = str(GateKind.LINEAGE)
NOT_ASKED: Final = "NotAsked"
ASKED: Final = "Asked"
"""The reason of a gate that is being asked for the first time."""
_UNUSABLE: Final = frozenset({str(ProblemKind.INVALID), str(ProblemKind.MISSING), str(ProblemKind.DENIED)})


def lineage_gate(found: Lineage | Problem | None, accept: Accept) -> GateStatus:
    """The lineage gate's answer about one digest."""
    if found is None:
        return GateStatus(name=LINEAGE, verdict=GateVerdict.PENDING, reason="NotRead", message="not read yet")
    if isinstance(found, Problem):
        verdict = GateVerdict.PENDING if is_down(found) else GateVerdict.FAIL
        return GateStatus(name=LINEAGE, verdict=verdict, reason=str(found.kind), message=found.message)
    verdict = GateVerdict.PASS if is_accepted(found, accept) else GateVerdict.FAIL
    return GateStatus(name=LINEAGE, verdict=verdict, reason=str(found.verdict), message=found.message)


def is_accepted(found: Lineage | Problem | None, accept: Accept) -> bool:
    """Whether the lineage counts as current."""
    if not isinstance(found, Lineage):
        return False
    if accept is Accept.CLAIMED:
        return found.verdict in {Verdict.PROVEN, Verdict.CLAIMED}
    return found.verdict is Verdict.PROVEN


def is_down(found: Lineage | Problem | None) -> bool:
    """Whether the registry couldn't be asked, which says nothing about the image."""
    return isinstance(found, Problem) and found.kind is ProblemKind.UNAVAILABLE


def passes(gates: tuple[GateStatus, ...]) -> bool:
    """Whether every gate has passed; none at all is no pass."""
    return bool(gates) and all(gate.verdict is GateVerdict.PASS for gate in gates)


def fails(gates: tuple[GateStatus, ...]) -> bool:
    """Whether a gate has failed."""
    return any(gate.verdict is GateVerdict.FAIL for gate in gates)


def question_of(named: NamedGate, image: ImageRef) -> str:
    """What names a question besides the digest: a hash of the image and of the gate's fields."""
    return hashlib.sha256(f"{image} {named.gate.model_dump_json()}".encode()).hexdigest()[:16]


def questions_of(gates: Iterable[NamedGate], image: ImageRef) -> dict[str, str]:
    """The question of each gate, by its name."""
    return {named.name: question_of(named, image) for named in gates}


def not_asked(name: str, digest: Digest, why: str) -> GateStatus:
    """The answer of a gate that has not been asked about the digest."""
    return GateStatus(name=name, verdict=GateVerdict.PENDING, reason=NOT_ASKED, message=why, digest=digest)


def waits_for_person(gate: GateStatus) -> bool:
    """Whether the gate can't answer before somebody mends what it needs."""
    return gate.verdict is GateVerdict.PENDING and gate.reason in _UNUSABLE


def pends(gates: tuple[GateStatus, ...]) -> bool:
    """Whether no gate has failed and one has no answer yet."""
    verdicts = {gate.verdict for gate in gates}
    return GateVerdict.FAIL not in verdicts and GateVerdict.PENDING in verdicts
