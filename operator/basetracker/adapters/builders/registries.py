"""Which ARM resource a registry host is.

Owns the look-up between login servers and ARM ids and how long its answers are kept. Used by `acr_tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from basetracker.adapters.builders.arm import PROVIDER, Arm, describe
from basetracker.adapters.builders.arm_ids import RegistryId
from basetracker.adapters.flights import Flights
from basetracker.errors import InvalidError, MissingError
from basetracker.ports import Clock

_KEPT: Final = 6 * 3600.0
_MISSED: Final = 60.0
"""Seconds for which a list that lacks a host is believed, so that a turn a second doesn't list a subscription."""


class Registries:
    """Registries by login server, as far as the operator's identity can see them."""

    def __init__(self, arm: Arm, clock: Clock, subscriptions: Sequence[str]) -> None:
        """Only `subscriptions` (ids) are searched; with none given, all that the identity can see."""
        self._arm = arm
        self._clock = clock
        self._subscriptions = tuple(one.lower() for one in subscriptions)
        self._ids: dict[str, tuple[RegistryId, float]] = {}
        self._hosts: dict[RegistryId, tuple[str, float]] = {}
        self._listed_at: float | None = None
        self._flights: Flights[None] = Flights()

    async def find(self, host: str) -> RegistryId:
        """The registry with the login server `host`.

        Raises:
            MissingError: none with it can be seen.
        """
        kept = self._ids.get(host)
        if kept is not None and self._is_fresh(kept[1], _KEPT):
            return kept[0]
        if self._listed_at is None or not self._is_fresh(self._listed_at, _MISSED) or kept is not None:
            await self._flights.join("list", self._list)
        kept = self._ids.get(host)
        if kept is None:
            raise MissingError(
                f"no registry with the login server {host} can be seen; grant the operator's identity {PROVIDER}/read "
                "on it, or name it by its ARM id in acrTask.registry"
            )
        return kept[0]

    async def expect(self, registry: RegistryId, host: str) -> None:
        """Make sure that `registry` is the one at `host`.

        Raises:
            InvalidError: it is another one.
            MissingError: it can't be seen.
        """
        kept = self._hosts.get(registry)
        if kept is None or not self._is_fresh(kept[1], _KEPT):
            asked_at = self._clock.monotonic()
            with self._arm.told(f"{PROVIDER}/read", describe(registry)):
                client = self._arm.registries(registry.subscription)
                found = await client.registries.get(registry.group, registry.name)
                kept = (str(found.login_server or "").lower(), asked_at)
            self._hosts[registry] = kept
        if kept[0] != host:
            raise InvalidError(
                f"the registry given by its ARM id is {kept[0]}, but the image is in {host}; "
                "correct acrTask.registry or leave it out"
            )

    async def _list(self) -> None:
        asked_at = self._clock.monotonic()
        found: dict[str, tuple[RegistryId, float]] = {}
        subscriptions = self._subscriptions or [one async for one in self._arm.subscriptions()]
        for subscription in subscriptions:
            with self._arm.told(f"{PROVIDER}/read", f"registries of subscription {subscription}"):
                async for one in self._arm.registries(subscription).registries.list():
                    if one.login_server and one.id:
                        found[str(one.login_server).lower()] = (RegistryId.parse(str(one.id)), asked_at)
        self._ids = found
        self._listed_at = asked_at

    def _is_fresh(self, since: float, seconds: float) -> bool:
        return self._clock.monotonic() - since < seconds
