"""The proof: on which base each Deployment's running Pods really are, found without the operator.

Reads what the nodes report (imageID) and what the registry stores (layers). The demo's table and its exit code rest on this,
not on what the operator says of itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from basetracker.demo.shop import PRODUCTS
from basetracker.demo.stage import Stage
from basetracker.emulators.images import Image, Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What one Deployment runs: the digest of its Pods' image, and the name of the base whose layers it begins with."""

    deployment: str
    image: str
    digest: str
    base: str
    pods: str


async def running(stage: Stage, bases: dict[str, Index]) -> list[Running]:
    """A line for each Deployment; `bases` are the known bases by the name to show, the newest last."""
    found = []
    for product in PRODUCTS:
        for name in product.deployments:
            pods = [pod for pod in stage.pods() if pod["metadata"]["labels"].get("app") == name]
            statuses = [status for pod in pods for status in pod.get("status", {}).get("containerStatuses", [])]
            ready = [status for status in statuses if status.get("ready")]
            digests = sorted({status["imageID"] for status in ready if status.get("imageID")})
            names = {await _base_of(stage, digest, bases) for digest in digests}
            found.append(
                Running(
                    deployment=name,
                    image=product.name,
                    digest=", ".join(digest.partition("sha256:")[2][:12] for digest in digests) or "-",
                    base=", ".join(sorted(names)) or "-",
                    pods=f"{len(ready)}/{len(pods)}",
                )
            )
    return found


async def _base_of(stage: Stage, reference: str, bases: dict[str, Index]) -> str:
    image = await stage.cloud.fetch(reference)
    if not isinstance(image, Image):
        return "unknown"
    for name, base in reversed(bases.items()):
        one = base.image(image.platform)
        if one is not None and image.diff_ids[: len(one.diff_ids)] == one.diff_ids:
            return name
    return "unknown"
