"""The shop: one base, three images, one of them built on another, four Deployments and two trackers. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

NAMESPACE = "shop"
REGISTRY = "contoso"
HOST = f"{REGISTRY}.azurecr.io"
BASE = f"{HOST}/base/python:3.12"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """An image of the shop: what it is built on, by which task, and which Deployments run it."""

    name: str
    base: str
    deployments: tuple[str, ...]

    @property
    def image(self) -> str:
        return f"{HOST}/{self.path}"

    @property
    def path(self) -> str:
        return f"shop/{self.name}:main"

    @property
    def task(self) -> str:
        return f"build-{self.name}"


CHECKOUT = Product(name="checkout", base=BASE, deployments=("checkout", "checkout-worker"))
PLATFORM = Product(name="platform", base=BASE, deployments=("gateway",))
STOREFRONT = Product(name="storefront", base=PLATFORM.image, deployments=("storefront",))
PRODUCTS = (CHECKOUT, PLATFORM, STOREFRONT)

TRACKERS = f"""\
apiVersion: basetracker.dev/v1alpha1
kind: BaseImageTracker
metadata: {{name: python-3-12, namespace: {NAMESPACE}}}
spec:
  base: {{image: {BASE}, interval: 10s}}
  downstream:
    - name: checkout
      image: {CHECKOUT.image}
      build: {{acrTask: {{name: {CHECKOUT.task}, baseArgument: BASE_IMAGE}}}}
      deploy:
        - {{kind: Deployment, name: checkout}}
        - {{kind: Deployment, name: checkout-worker}}
    - name: platform
      image: {PLATFORM.image}
      build: {{acrTask: {{name: {PLATFORM.task}, baseArgument: BASE_IMAGE}}}}
      deploy:
        - {{kind: Deployment, name: gateway}}
  rollout: {{maxConcurrent: 2, progressDeadline: 10s}}
---
apiVersion: basetracker.dev/v1alpha1
kind: BaseImageTracker
metadata: {{name: platform, namespace: {NAMESPACE}}}
spec:
  base: {{image: {PLATFORM.image}, interval: 10s}}
  downstream:
    - name: storefront
      image: {STOREFRONT.image}
      build: {{acrTask: {{name: {STOREFRONT.task}, baseArgument: BASE_IMAGE}}}}
      deploy:
        - {{kind: Deployment, name: storefront}}
  rollout: {{maxConcurrent: 2, progressDeadline: 10s}}
"""

ALLOWED = f"""\
- namespaces: [{NAMESPACE}]
  registries: [{REGISTRY}]
  tasks: ["build-*"]
"""


def trackers() -> list[Document]:
    """The two trackers as objects."""
    return list(yaml.safe_load_all(TRACKERS))


def deployments() -> list[Document]:
    """The four Deployments, each as its team wrote it: the tag, no digest."""
    return [_deployment(name, product.image) for product in PRODUCTS for name in product.deployments]


def _deployment(name: str, image: str) -> Document:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
    }
