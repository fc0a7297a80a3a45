"""Trivy put together from what an operator is set to: with a database here, or as the client of a server.

Owns the defaults that depend on the environment. Used by the wiring.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from basetracker.adapters.gates.trivy.bounds import Bounds
from basetracker.adapters.gates.trivy.database import Database, Secrets, no_secrets
from basetracker.adapters.gates.trivy.program import Program
from basetracker.adapters.gates.trivy.releases import Releases
from basetracker.adapters.gates.trivy.scanning import Logins, Trivy, environment_of
from basetracker.adapters.gates.trivy.server import Server
from basetracker.adapters.http import Http
from basetracker.errors import InvalidError
from basetracker.oci.refs import parse_image
from basetracker.ports import Clock, Registry


class Reader(Registry, Logins, Protocol):
    """The registry port that can also give others what to log in with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrivySettings:
    """What can be set; see the operator's settings of the same names."""

    executable: str = "trivy"
    server: str = ""
    cache: Path | None = None
    db_repository: str = ""
    java_db_repository: str = ""
    db_interval: timedelta = timedelta(hours=6)
    concurrency: int = 2
    ca_file: Path | None = None
    bounds: Bounds = field(default_factory=Bounds)


def make_trivy(
    settings: TrivySettings, environ: Mapping[str, str], http: Http, clock: Clock, registry: Reader
) -> Trivy:
    """Trivy as it is set; nothing is started before the first scan.

    Raises:
        InvalidError: the server's address is none.
    """
    cache = settings.cache or _cache_folder(environ)
    program = Program(settings.executable, cache, environ, ca_file=settings.ca_file, bounds=settings.bounds)
    source: Database | Server
    if settings.server:
        source = Server(settings.server, http, clock)
    else:
        source = Database(
            program,
            clock,
            interval=settings.db_interval,
            repository=settings.db_repository,
            java_repository=settings.java_db_repository,
            secrets=_login_for(settings.db_repository, registry),
            java_secrets=_login_for(settings.java_db_repository, registry),
        )
    token = environ.get("TRIVY_TOKEN", "") if settings.server else ""
    releases = Releases(program, clock)
    return Trivy(program, source, registry, registry, releases=releases, concurrency=settings.concurrency, token=token)


def _login_for(reference: str, logins: Logins) -> Secrets:
    """The login for a database of one's own; Trivy's own are for everybody."""
    if not reference:
        return no_secrets

    async def secrets() -> dict[str, str]:
        try:
            repository = parse_image(reference).repository
        except InvalidError as error:
            raise InvalidError(f"{reference[:60]!r} is not where a database of Trivy can be: {error}") from error
        return environment_of(repository, await logins.login(repository, None))

    return secrets


def _cache_folder(environ: Mapping[str, str]) -> Path:
    parent = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".cache")
    return Path(parent) / "basetracker" / "trivy"
