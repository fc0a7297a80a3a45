"""The kinds of reports, and a world with reports in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from basetracker.adapters.gates.reports.gate import ReportsJudge
from basetracker.adapters.kube import Json, _Request, path_of
from basetracker.errors import BasetrackerError, ConflictError

from .reporting import CRDS, DIGEST, KINDS, REPOSITORY, SECONDS, Reports, definition


@pytest.fixture
async def kinds(world: Any) -> AsyncIterator[None]:
    """The CRDs; on a real cluster those that weren't there before go again."""
    made = []
    for kind in KINDS:
        document = definition(*kind)
        try:
            await world.admin.post(path_of(*CRDS), document)
            made.append(document["metadata"]["name"])
        except ConflictError:
            continue
    for group, version, plural, _, _ in KINDS:
        async with asyncio.timeout(SECONDS):
            while await _is_absent(world, path_of(f"{group}/{version}", plural)):  # noqa: ASYNC110  # a server's state
                await asyncio.sleep(0.05)
    yield
    if world.emulated is None:
        for name in made:
            response = await world.admin._send(_Request("DELETE", path_of(*CRDS, name=name)))
            response.close()
        for name in made:  # one that is still going would be taken for one that is there
            async with asyncio.timeout(SECONDS):
                while await world.admin.get(path_of(*CRDS, name=name)) is not None:  # noqa: ASYNC110  # a server's state
                    await asyncio.sleep(0.05)


async def _is_absent(world: Any, path: str) -> bool:
    try:
        return await world.admin.get(path) is None
    except BasetrackerError:
        return True


@pytest.fixture
async def bare(world: Any, make_deployment: Callable[..., Json]) -> Reports:
    """A Deployment that runs the digest, and no kinds of reports."""
    await world.create("deployments", make_deployment(app=f"{REPOSITORY}:main@{DIGEST}"))
    return Reports(world, ReportsJudge(world.kube))


@pytest.fixture
async def reports(bare: Reports, kinds: None) -> Reports:
    """The same with the kinds of reports."""
    return bare
