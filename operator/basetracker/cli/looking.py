"""A world for those who only look: the operator's own parts, read with the user's kubeconfig and credentials, without effects.

Owns what differs from an operator: no lead, nothing written, workloads read one by one, and what isn't at hand on a
person's machine (the allow-list, Azure credentials) said rather than taken for a finding. Used by `check`, `explain`
and `logs`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import ValidationError

from basetracker.adapters.azure_identity import NO_IDENTITY, AzureSettings
from basetracker.adapters.kube import Kube
from basetracker.adapters.projection import kind_of, project
from basetracker.api.tracker import describe
from basetracker.cli.connection import login
from basetracker.core.actions import Deliver
from basetracker.core.observed import Workload
from basetracker.errors import InvalidError
from basetracker.settings import Settings
from basetracker.wiring import NeverLeading, Parts, SystemClock, wired

PATIENCE: Final = 2.0
"""Seconds after which a person is told what takes so long."""
REMINDER: Final = 15.0
NO_CREDENTIALS: Final = (
    "no Azure credentials are at hand here: set AZURE_TENANT_ID and AZURE_CLIENT_ID with AZURE_FEDERATED_TOKEN_FILE or "
    "AZURE_CLIENT_SECRET"
)
T = TypeVar("T")


class ReadWorkloads:
    """Workloads read when they are asked for, each by one GET; delivers nothing."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def find(self, namespace: str, kind: str, name: str) -> Workload | None:
        """See `ports.Workloads`."""
        found = kind_of(kind)
        document = await self._kube.get(found.path(namespace, name))
        return project(found, document) if document is not None else None

    async def deliver(self, delivery: Deliver) -> Workload:
        """Never done here. Raises InvalidError."""
        raise InvalidError(f"{delivery.workload.name} isn't changed by a command that only looks")


class AssumedAllowList:
    """Stands for an allow-list that isn't at hand: allows, and remembers that it was asked."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    async def allows(self, namespace: str, registry: str, task: str) -> bool:
        """See `ports.AllowList`."""
        self.asked.add(f"{registry.rpartition('/')[2]}/{task}")
        return True


def read_settings() -> Settings:
    """The settings of the environment. Raises click.UsageError."""
    nothing: dict[str, Any] = {}
    try:
        return Settings(**nothing)  # from the environment alone
    except ValidationError as error:
        raise click.UsageError("; ".join(describe(error, root="settings"))) from error


def has_azure() -> bool:
    """Whether the environment holds Azure credentials."""
    return AzureSettings.from_environment(os.environ).is_complete


def for_a_person(message: str) -> str:
    """The message of an adapter, where it advises the operator's installer, with advice for whoever runs a command."""
    return message.replace(NO_IDENTITY, NO_CREDENTIALS)


@asynccontextmanager
async def looking(settings: Settings, kubeconfig: Path | None, context: str | None) -> AsyncIterator[Parts]:
    """The parts of a world that is only looked at; without an allow-list's file its list is an `AssumedAllowList`."""
    kube = Kube(login(kubeconfig, context))
    async with wired(settings, kube, os.environ, clock=SystemClock(), lead=NeverLeading()) as parts:
        world = replace(parts.world, workloads=ReadWorkloads(kube))
        if settings.allow_list is None:
            world = replace(world, allow_list=AssumedAllowList())
        yield replace(parts, world=world)


@asynccontextmanager
async def announced(what: str) -> AsyncIterator[None]:
    """Tell on standard error that `what` goes on, if it takes longer than a person waits without wondering."""
    task = asyncio.create_task(_remind(what))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _remind(what: str) -> None:
    await asyncio.sleep(PATIENCE)
    while True:
        click.echo(f"{what} ...", err=True)
        await asyncio.sleep(REMINDER)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; libraries' log lines are kept from its output."""
    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(work)
