"""The Defender gate: what its findings mean for a digest.

Owns the verdict. Silence is never a pass by itself: Defender writes nothing of an image that it has found clean, and
nothing of one that it hasn't looked at. It writes package by package, so a first harmless row is no pass either: what is
severe may come after it. Made by the wiring.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from basetracker.adapters.gates.defender.asking import Findings, Known
from basetracker.adapters.gates.defender.columns import Code, Finding, is_asked_about
from basetracker.api.gate_defender import DefenderGate, OnUnknown
from basetracker.api.names import GateVerdict
from basetracker.api.severity import Severity
from basetracker.errors import InvalidError, MissingError
from basetracker.oci.refs import ImageRef
from basetracker.ports import Answer, Clock, Credential, Question, Registry

VULNERABLE: Final = "Vulnerable"
BELOW: Final = "NothingSoSevere"
AWAITED: Final = "AwaitingDefender"
UNKNOWN: Final = "UnknownToDefender"
UNREADABLE: Final = "FindingsUnreadable"
_SHOWN: Final = 5
_SOON: Final = timedelta(minutes=10)
_LATER: Final = timedelta(minutes=30)
_LEAST: Final = timedelta(seconds=30)
_SCANNED: Final = frozenset({Code.UNHEALTHY, Code.HEALTHY, Code.EXEMPT})


class Defender:
    """See `ports.JudgesImages`."""

    def __init__(self, findings: Findings, registry: Registry, clock: Clock) -> None:
        """`registry` tells which platforms an image has: Defender may know each by the digest of its own."""
        self._findings = findings
        self._registry = registry
        self._clock = clock

    async def judge(self, question: Question, credential: Credential | None) -> Answer:
        """See `ports.JudgesImages`; Azure is asked as the operator's identity, the registry with the credential."""
        gate, digest = question.gate.defender, question.image.digest
        if gate is None or digest is None:
            raise InvalidError("Defender for Cloud can only be asked about an image with a digest")
        image = await self._registry.image(question.image, credential)
        if image is None:
            raise MissingError(f"{question.image.repository} has no image {digest.short}")
        platforms = sorted({one.digest for one in image.platforms} - {digest}, key=str)
        if not all(is_asked_about(one) for one in (digest, *platforms)):
            raise InvalidError("Defender for Cloud can only be asked about images with sha256 digests")
        known = await asyncio.gather(*(self._findings.about(one) for one in (digest, *platforms)))
        left = gate.wait_at_least - (self._clock.now() - question.since)
        return verdict(gate, question.image.pinned(digest), known, left)

    def edition(self) -> str:
        """None is known: Defender scans again daily, and tells no version."""
        return ""


def verdict(gate: DefenderGate, image: ImageRef, known: Sequence[Known], left: timedelta) -> Answer:
    """The answer about `image`, which has a digest.

    `known` is what Defender says of it, and then of each platform where it has several; `left` is what is left of the wait.
    """
    digest = image.digest
    if digest is None:
        raise InvalidError(f"{image} names no digest")

    def answer(word: GateVerdict, reason: str, message: str, again: timedelta | None = None) -> Answer:
        return Answer(digest=digest, verdict=word, reason=reason, message=message, again=again)

    findings = _distinct(one for part in known for row in part.rows for one in row.findings)
    severe = [one for one in findings if one.severity in gate.severity]
    if severe:
        # A finding is about these bytes, so it counts in whichever registry it was made.
        return answer(GateVerdict.FAIL, VULNERABLE, _named(severe))
    if not all(part.whole for part in known):
        return answer(
            GateVerdict.PENDING,
            UNREADABLE,
            "Defender for Cloud has findings about this digest that can't be read, so they may be of any severity; "
            "see the operator's log",
        )
    wanted = _listed(gate.severity)
    if _is_scanned(image, known[0]) or (known[1:] and all(_is_scanned(image, part) for part in known[1:])):
        nothing = f"Defender for Cloud has found nothing of {wanted} in this digest"
        less = f"; besides {_counted(findings)}" if findings else ""
        if left > timedelta(0):
            message = f"{nothing} so far{less}; it writes package by package, and is given waitAtLeast for all of them"
            return answer(GateVerdict.PENDING, AWAITED, message, _until(left))
        return answer(GateVerdict.PASS, BELOW, f"{nothing}{less}")
    parts = " or some of its platforms" if known[1:] else ""
    silence = f"Defender for Cloud says nothing about this digest{parts} in its repository"
    if left > timedelta(0):
        message = f"{silence} yet; it is given waitAtLeast from when it was first asked"
        return answer(GateVerdict.PENDING, AWAITED, message, _until(left))
    if gate.on_unknown is OnUnknown.PASS:
        message = f"{silence} after waitAtLeast, and onUnknown is Pass; whether it was scanned isn't known"
        return answer(GateVerdict.PASS, UNKNOWN, message)
    return answer(
        GateVerdict.PENDING,
        UNKNOWN,
        f"{silence} after waitAtLeast, so it is clean or was never scanned; see whether Defender for Containers is on for "
        "the registry and the operator's identity has the role Security Reader, or set onUnknown: Pass",
        _LATER,
    )


def _until(left: timedelta) -> timedelta:
    """When to ask again while the wait lasts: at its end, and now and then before, as a failure needs no wait."""
    return min(max(left, _LEAST), _SOON)


def _is_scanned(image: ImageRef, known: Known) -> bool:
    """Whether what is known shows that it was looked at in just this place."""
    return any(row.code in _SCANNED and row.is_about(image) for row in known.rows)


def _distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Each vulnerability of a package once, with the worst severity that is told of it; worst first."""
    worst: dict[tuple[str, str], Finding] = {}
    for one in sorted(findings, key=_order):
        worst.setdefault((one.id, one.package), one)
    return sorted(worst.values(), key=_order)


def _order(one: Finding) -> tuple[int, str, str, str]:
    return (one.severity.rank, one.id, one.package, one.fixed)


def _counted(findings: Iterable[Finding]) -> str:
    counts = Counter(one.severity for one in findings)
    return ", ".join(f"{counts[one]} {one}" for one in Severity if counts[one])


def _listed(severities: Sequence[Severity]) -> str:
    return " or ".join(sorted({str(one) for one in severities}, key=lambda one: Severity(one).rank))


def _named(severe: Sequence[Finding]) -> str:
    shown = ", ".join(
        f"{one.id} in {one.package}" + (f" (fixed in {one.fixed})" if one.fixed else "") for one in severe[:_SHOWN]
    )
    more = f" and {len(severe) - _SHOWN} more" if len(severe) > _SHOWN else ""
    return f"Defender for Cloud has found {_counted(severe)}: {shown}{more}"[:1000]
