"""Gates as a user declares them: what a digest has to pass before it is delivered.

One class for each kind, and the entry of `spec.gates` that holds exactly one of them. Knows nothing of how a gate is asked.
The CRD says the same in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import model_validator

from basetracker.api.document import Document
from basetracker.api.gate_defender import DefenderGate
from basetracker.api.gate_job import JobGate
from basetracker.api.gate_reports import ReportsGate
from basetracker.api.gate_signature import SignatureGate
from basetracker.api.gate_trivy import TrivyGate


class GateKind(StrEnum):
    """The kinds of gates, declared cheapest first: in this order they are asked, and the first failure ends it."""

    LINEAGE = "lineage"
    """Whether the image contains the base; decided from what is seen anyway."""
    SIGNATURE = "signature"
    """Whether somebody who is trusted has signed the digest; a few requests to the registry."""
    REPORTS = "reports"
    """What scanners that run in the cluster have reported; a few requests to the API server."""
    DEFENDER = "defender"
    """What Microsoft Defender for Cloud has found in the image."""
    TRIVY = "trivy"
    """What Trivy finds in the image; it downloads and reads all of it."""
    JOB = "job"
    """What a Job of the user's own says; it runs as long as it likes."""

    @property
    def cost(self) -> int:
        """0 is the cheapest."""
        return list(GateKind).index(self)

    @property
    def acts(self) -> bool:
        """Whether asking changes something in the cluster, which mode Plan must not."""
        return self is GateKind.JOB

    @property
    def weighs_base(self) -> bool:
        """Whether it can tell if a rebuild on the current base may mend what it objects to."""
        return self is GateKind.TRIVY


class Accept(StrEnum):
    """The weakest lineage that counts as current."""

    PROVEN = "Proven"
    CLAIMED = "Claimed"


class LineageGate(Document):
    """The gate that is always there and always first."""

    accept: Accept = Accept.PROVEN


class Gate(Document):
    """One entry of `spec.gates`: exactly one kind, whose name is its field's."""

    lineage: LineageGate | None = None
    signature: SignatureGate | None = None
    reports: ReportsGate | None = None
    defender: DefenderGate | None = None
    trivy: TrivyGate | None = None
    job: JobGate | None = None

    @property
    def kind(self) -> GateKind:
        return next(kind for kind in GateKind if getattr(self, kind) is not None)

    @model_validator(mode="before")
    @classmethod
    def _names_one_kind(cls, value: object) -> object:
        if isinstance(value, Mapping) and sum(value.get(kind) is not None for kind in GateKind) != 1:
            raise ValueError(ONE_KIND)
        return value


ONE_KIND: Final = f"a gate names exactly one kind; the kinds known here are {', '.join(GateKind)}"
NO_MENDER: Final = (
    "only the Trivy gate can tell what a rebuild mends; list one in spec.gates, or set rescan.rebuild to false"
)
ONE_LINEAGE: Final = "lineage is always asked first and once; keep one entry of it, as the first, or none"


class NamedGate(Document):
    """A gate that has to be asked, by the name that it has in the status."""

    name: str
    gate: Gate

    @property
    def kind(self) -> GateKind:
        return self.gate.kind


def lineage_of(gates: tuple[Gate, ...]) -> LineageGate:
    """What the list says of lineage, or the default."""
    return next((gate.lineage for gate in gates if gate.lineage is not None), LineageGate())


def asked_gates(gates: tuple[Gate, ...]) -> tuple[NamedGate, ...]:
    """All but lineage, cheapest first and as listed among equals; the second of a kind is named `kind-2`."""
    counts: dict[GateKind, int] = {}
    named: list[NamedGate] = []
    for gate in gates:
        if gate.kind is GateKind.LINEAGE:
            continue
        number = counts[gate.kind] = counts.get(gate.kind, 0) + 1
        named.append(NamedGate(name=str(gate.kind) if number == 1 else f"{gate.kind}-{number}", gate=gate))
    return tuple(sorted(named, key=lambda one: one.kind.cost))
