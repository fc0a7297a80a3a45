"""People who care for gates: what trackers name, what scanners find, what is signed, and what waits for a person."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final

from basetracker.api.gates import GateKind

from .gates import KINDS, WAYS_TO_BE_UNUSABLE, kind_of, questions_in
from .model import Model
from .shop import Json, Shop

Deed = Callable[[], Awaitable[str]]
_CHECK: Final = {"spec": {"containers": [{"name": "check", "image": "contoso.azurecr.io/tools/check:1"}]}}
_KEYS: Final = {"configMapRef": {"name": "keys", "key": "cosign.pub"}}
ENTRIES: Final[tuple[Json, ...]] = (
    {"signature": {"cosign": {"publicKey": _KEYS}}},
    {"signature": {"cosign": {"publicKey": _KEYS}, "timeout": "10m"}},
    {"reports": {"sources": ["trivy-operator"]}},
    {"defender": {"severity": ["CRITICAL"]}},
    {"trivy": {}},
    {"trivy": {}},
    {"trivy": {"severity": ["CRITICAL"]}},
    {"trivy": {"waivers": [{"id": "CVE-2026-1", "until": "2026-12-31", "reason": "not reachable"}]}},
    {"job": {"template": {"spec": {"template": _CHECK}}}},
)
"""The gates that trackers may name."""
INTERVALS: Final = ("24h", "24h", "24h", "30m", "10m")


class Inspectors:
    """Deeds about gates; every deed answers with what was done, for the log."""

    def __init__(
        self, shop: Shop, model: Model, rng: random.Random, respecify: Callable[[str, Json], Awaitable[None]]
    ) -> None:
        self._shop = shop
        self._respecify = respecify
        self._model = model
        self._rng = rng
        self.has_gates = rng.random() < 0.8
        """Whether trackers of this story name gates."""
        self._does_rebuild = self.has_gates and rng.random() < 0.4
        """Whether they all let Trivy's objections be mended by a rebuild; there are more of these then."""

    def asked_for(self) -> Json:
        """What a new tracker says of gates."""
        if not self.has_gates:
            return {}
        count = self._rng.choices((0, 1, 2, 3), (2, 4, 3, 2))[0]
        gates = self._rng.choices(ENTRIES, k=count)
        if self._does_rebuild:
            gates = [{"trivy": {}}, *gates[:1]]
        if gates and self._rng.random() < 0.3:
            gates = [{"lineage": {"accept": "Proven"}}, *gates]
        rescan: Json = {"interval": self._rng.choice(INTERVALS)}
        if self._does_rebuild:
            rescan["rebuild"] = True
        return {"gates": gates, "rescan": rescan} if gates else {}

    def deeds(self) -> list[tuple[int, Deed]]:
        """What may be done, and how often it is."""
        if not self.has_gates:
            return []
        return [
            (20 if self._does_rebuild else 5, self._find_something),
            (2, self._withdraw_a_finding),
            (4, self._edit_gates),
            (2, self._spoil_a_gate),
        ]

    async def _find_something(self) -> str:
        """What has passed fails by now, as after a new CVE; what is validated rather than another digest."""
        kinds = self._kinds_named() or list(KINDS)
        kind = GateKind.TRIVY if self._does_rebuild and self._rng.random() < 0.8 else self._rng.choice(kinds)
        passing = self._shop.gates.known(kind, passing=True)
        validated = [one for one in passing if one in self._model.validated_now()]
        choices = validated if validated and self._rng.random() < 0.8 else passing
        if not choices:
            return "nothing to find fault with"
        digest = self._rng.choice(choices)
        count = self._shop.gates.find(kind, digest, passes=False)
        return f"find fault with {digest[:19]} by {count} gates of kind {kind}"

    async def _withdraw_a_finding(self) -> str:
        kind = self._rng.choice(self._kinds_named() or list(KINDS))
        failing = self._shop.gates.known(kind, passing=False)
        if not failing:
            return "no finding to withdraw"
        digest = self._rng.choice(failing)
        count = self._shop.gates.find(kind, digest, passes=True)
        return f"withdraw what {count} gates of kind {kind} found in {digest[:19]}"

    async def _edit_gates(self) -> str:
        """Add one, take one away, or change one."""
        name, tracker = self._rng.choice(list(self._shop.trackers().items()))
        gates = [entry for entry in tracker["spec"].get("gates", ()) if "lineage" not in entry]
        way = self._rng.choice(("add", "remove", "change")) if gates else "add"
        if way != "add":
            gates.pop(self._rng.randrange(len(gates)))
        if way != "remove":
            gates.insert(self._rng.randint(0, len(gates)), self._rng.choice(ENTRIES))
        rebuild = any("trivy" in entry for entry in gates) and self._rng.random() < (0.9 if self._does_rebuild else 0.2)
        spec = {"gates": gates or [{"lineage": {"accept": "Proven"}}], "rescan": {"rebuild": rebuild}}
        await self._respecify(name, spec)
        return f"edit {name}: gates {[next(iter(entry)) for entry in gates]}"

    async def _spoil_a_gate(self) -> str:
        """Let a kind lack something until a person mends it; or mend it."""
        gates = self._shop.gates
        if gates.unusable:
            kind = self._rng.choice(list(gates.unusable))
            del gates.unusable[kind]
            return f"mend what {kind} needs"
        kind = self._rng.choice(self._kinds_named() or list(KINDS))
        error = self._rng.choice(WAYS_TO_BE_UNUSABLE)
        gates.unusable[kind] = error
        return f"take away what {kind} needs ({error.__name__})"

    def _kinds_named(self) -> list[GateKind]:
        found = [kind_of(one) for tracker in self._shop.trackers().values() for one in questions_in(tracker["spec"])]
        return list(dict.fromkeys(found))
