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
from basetracker.api.size import parse_size


def _words(value: object) -> object:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _bytes(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _path(value: object) -> object:
    return None if value == "" else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Duration = Annotated[timedelta, BeforeValidator(_seconds)]
Size = Annotated[int, BeforeValidator(_bytes), Field(json_schema_extra={"format": "size"})]
"""Bytes."""
OptionalPath = Annotated[Path | None, BeforeValidator(_path)]


class Settings(BaseSettings):
    """What can be set for a whole operator; lists are separated by commas, durations are written like 10s or 5m, sizes like 2Gi."""

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
        "",
        description="Address of a Trivy server, which then keeps the database; without it Trivy has one here. "
        "With http:// only this machine or a Service of the cluster; its database may be 7 days old at most.",
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
        timedelta(hours=6),
        description="How often Trivy's database is downloaded anew, once a gate has asked for it; "
        "one that was made or downloaded more than 7 days ago serves no longer.",
    )
    trivy_concurrency: int = Field(2, ge=1, le=64, description="How many images Trivy scans at once.")
    trivy_memory: Size = Field(
        1 << 30,
        ge=192 << 20,
        description="Memory that one run of Trivy may take; one for each scan at once has to fit into the container. "
        "Bounds it on Linux only.",
    )
    trivy_room: Size = Field(
        2 << 30, ge=1 << 20, description="Disk that one scan may fill in Trivy's folder, besides the databases there."
    )
    trivy_image_size: Size = Field(
        10 << 30,
        ge=1,
        description="The largest image that is scanned, by its layers together as the registry stores them.",
    )
    ca_file: OptionalPath = Field(None, description="PEM file of certificate authorities trusted besides the system's.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least that is logged.")
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines.")
