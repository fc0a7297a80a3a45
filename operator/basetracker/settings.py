"""Settings of the operator: flags and `BASETRACKER_*` variables. Azure's own come from the usual `AZURE_*` variables.

Owns names, defaults and their meaning; docs/reference/settings.md is made from it. Read by the doors and by `wiring.py`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from basetracker.api.duration import parse_duration


def _words(value: object) -> object:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _path(value: object) -> object:
    return None if value == "" else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Duration = Annotated[timedelta, BeforeValidator(_seconds)]
OptionalPath = Annotated[Path | None, BeforeValidator(_path)]


class Settings(BaseSettings):
    """What can be set for a whole operator; lists are separated by commas, durations are written like 10s or 5m."""

    model_config = SettingsConfigDict(env_prefix="BASETRACKER_", extra="ignore", frozen=True)

    namespaces: Words = Field((), description="Namespaces whose trackers are served; all of the cluster when empty.")
    allow_list: OptionalPath = Field(
        None, description="File that names which namespaces may have which ACR Tasks started; without it none."
    )
    listen: str = Field("0.0.0.0:8080", description="Address of /healthz, /readyz and /metrics.")
    lease_namespace: str = Field("", description="Namespace of the Lease; the Pod's own when empty.")
    lease_name: str = Field("basetracker", description="Name of the Lease that one replica holds.")
    pod_name: str = Field("", description="Name of this replica in the Lease and in Events; the host name when empty.")
    workers: int = Field(32, ge=1, le=1000, description="How many trackers take their turn at once.")
    run_interval: Duration = Field(timedelta(seconds=10), description="How often a live run is looked at.")
    resync_interval: Duration = Field(
        timedelta(minutes=10), description="How often the trackers are compared with the cluster by name."
    )
    registry_rate: float = Field(10.0, gt=0, description="Requests a second to one registry host at most.")
    registry_concurrency: int = Field(8, ge=1, description="Requests at once to one registry host at most.")
    azure_hosts: Words = Field(
        (), description="Further hosts that are Azure registries; one that begins with a dot is a suffix."
    )
    subscriptions: Words = Field(
        (), description="Ids of the subscriptions in which registries are looked for; all that can be seen when empty."
    )
    arm_endpoint: str = Field("https://management.azure.com", description="Azure Resource Manager of the cloud.")
    arm_api_version: str = Field("", description="API version for tasks and runs; the SDK's own when empty.")
    trivy: str = Field("trivy", description="The Trivy program of the gates that ask it, by path or by name.")
    trivy_server: str = Field(
        "", description="Address of a Trivy server, which then keeps the database; without it Trivy has one here."
    )
    trivy_cache: OptionalPath = Field(
        None,
        description="Folder of our own for Trivy's database and work; basetracker/trivy in the user's cache folder.",
    )
    trivy_db_repository: str = Field(
        "", description="Where Trivy's database comes from, like contoso.azurecr.io/trivy-db:2; Trivy's own when empty."
    )
    trivy_java_db_repository: str = Field(
        "", description="Where Trivy's Java database comes from; without it images with Java archives can't be scanned."
    )
    trivy_db_interval: Duration = Field(
        timedelta(hours=6), description="How often Trivy's database is downloaded anew, once a gate has asked for it."
    )
    trivy_concurrency: int = Field(2, ge=1, le=64, description="How many images Trivy scans at once.")
    ca_file: OptionalPath = Field(None, description="PEM file of certificate authorities trusted besides the system's.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least that is logged.")
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines.")
