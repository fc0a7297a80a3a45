"""A gate that says what a test wants it to say, and the shop with such gates. Used by the tests of desk and mending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from basetracker.api.gates import GateKind
from basetracker.api.names import GateVerdict
from basetracker.api.status import DownstreamStatus, GateStatus
from basetracker.api.tracker import Key
from basetracker.ports import Answer, Credential, Question

from .ports_in_memory import House
from .shop import KEY, open_shop

Mind = Callable[[Question], Answer]


def says(verdict: GateVerdict, message: str = "so it is", **fields: Any) -> Mind:
    """A gate's mind: the same verdict about whatever it is asked."""

    def answer(question: Question) -> Answer:
        assert question.image.digest is not None
        return Answer(digest=question.image.digest, verdict=verdict, reason="Because", message=message, **fields)

    return answer


def breaks(error: Exception) -> Mind:
    """A mind that has no answer but the error."""

    def answer(question: Question) -> Answer:
        raise error

    return answer


@dataclass
class GateInMemory:
    """A gate that answers by its mind; `asked` is all that it was asked about."""

    mind: Mind
    asked: list[Question] = field(default_factory=list)
    credentials: list[Credential | None] = field(default_factory=list)
    known: str = ""

    async def judge(self, question: Question, credential: Credential | None) -> Answer:
        self.asked.append(question)
        self.credentials.append(credential)
        return self.mind(question)

    def edition(self) -> str:
        return self.known


def a_shop(house: House, *gates: dict[str, Any], kinds: dict[GateKind, GateInMemory], **fields: Any) -> Key:
    """The usual shop, with these gates."""
    house.gates.update(kinds)
    house.restart()
    return open_shop(house, gates=gates, **fields)


def item_of(house: House) -> DownstreamStatus:
    """What the status says of the shop's image."""
    item = house.trackers.stored[KEY].status.of("checkout")
    assert item is not None
    return item


def gate_of(house: House, name: str = "signature") -> GateStatus:
    """What the status says of a gate."""
    return next(gate for gate in item_of(house).gates if gate.name == name)
