"""Clusters for the tests: an emulated one, or for the contract tests whichever a kubeconfig names.

`BASETRACKER_TEST_KUBECONFIG` runs the contract tests against a real API server. What they claim must hold there too.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import pytest
import yaml

from basetracker.emulators.authority import Authority
from basetracker.emulators.cluster import Cluster

from .api import Api, Json

HERE = Path(__file__).parent
KUBECONFIG = os.environ.get("BASETRACKER_TEST_KUBECONFIG")
WIDGETS = "/apis/test.basetracker.dev/v1alpha1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def cluster(authority: Authority) -> AsyncIterator[Cluster]:
    """An emulated cluster whose Pods start at once; a test that asks for it is about this one alone."""
    async with Cluster(authority, pod_start_seconds=0.02, bookmark_seconds=0.3) as running:
        yield running


@pytest.fixture
def kubeconfig(request: pytest.FixtureRequest) -> Json:
    """The way to the API under contract, as its admin."""
    if KUBECONFIG:
        found: Json = yaml.safe_load(Path(KUBECONFIG).read_text())
        return found
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.kubeconfig()


@pytest.fixture
async def api(kubeconfig: Json) -> AsyncIterator[Api]:
    async with Api(kubeconfig) as client:
        yield client


@dataclass(frozen=True)
class Place:
    """A namespace of its own, with the URLs that tests need."""

    name: str

    @property
    def widgets(self) -> str:
        return f"{WIDGETS}/namespaces/{self.name}/widgets"

    def core(self, plural: str) -> str:
        return f"/api/v1/namespaces/{self.name}/{plural}"

    def apps(self, plural: str) -> str:
        return f"/apis/apps/v1/namespaces/{self.name}/{plural}"


@pytest.fixture
async def place(api: Api) -> AsyncIterator[Place]:
    name = f"t-{token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    (await api.post("/api/v1/namespaces", body)).expect(201)
    yield Place(name)
    await api.delete(f"/api/v1/namespaces/{name}")


def widget_definition() -> Json:
    document: Json = yaml.safe_load((HERE / "widgets.yaml").read_text())
    return document


@pytest.fixture
async def widgets(api: Api, place: Place) -> Place:
    """A namespace in which Widgets can be made."""
    definition = widget_definition()
    if (await api.post(CRDS, definition)).status != 409:
        await api.until(f"{WIDGETS}/namespaces/{place.name}/widgets", lambda body, status: status == 200)
    return place


def widget(name: str = "one", **spec: object) -> Json:
    return {
        "apiVersion": "test.basetracker.dev/v1alpha1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"image": "team/app:1", **spec},
    }


def deployment(name: str = "web", image: str = "registry.example.com/web:1", replicas: int = 2) -> Json:
    labels = {"app": name}
    container = {"name": "app", "image": image}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def config_map(name: str = "plain", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
