"""The adapters need no more rights than these; every one of them is used."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from basetracker.adapters.events import ClusterEvents
from basetracker.adapters.kube import Kube, path_of
from basetracker.adapters.kube_login import Login
from basetracker.adapters.lease import Lease
from basetracker.adapters.secrets import SecretCredentials
from basetracker.adapters.trackers import TrackerStore
from basetracker.adapters.workloads import ClusterWorkloads
from basetracker.api.status import Status
from basetracker.core.actions import ContainerChange, Deliver
from basetracker.errors import DeniedError
from basetracker.oci.refs import Digest
from basetracker.ports import ObjectRef

RBAC = "rbac.authorization.k8s.io/v1"
Make = Callable[..., dict[str, Any]]


def rule(group: str, resource: str, *verbs: str, names: tuple[str, ...] = ()) -> dict[str, Any]:
    named = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), **named}


RULES = [
    rule("basetracker.dev", "baseimagetrackers", "get", "list", "watch"),
    rule("basetracker.dev", "baseimagetrackers/status", "patch"),
    rule("apps", "deployments", "list", "watch", "patch"),
    rule("", "events", "create", "patch"),
    rule("coordination.k8s.io", "leases", "get", "create", "update"),
    rule("", "secrets", "get", names=("hub",)),
]


@pytest.fixture
async def operator(world: Any, tmp_path: Path) -> AsyncIterator[Callable[[list[dict[str, Any]]], Awaitable[Kube]]]:
    """Log in as a ServiceAccount that has these rules in the namespace and nothing else."""
    clients: list[Kube] = []

    async def log_in(rules: list[dict[str, Any]]) -> Kube:
        name = f"operator-{len(clients)}"
        await world.create(
            "serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        )
        await world.create("roles", {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": name}, "rules": rules})
        binding = {
            "apiVersion": RBAC,
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": world.namespace}],
        }
        await world.create("rolebindings", binding)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = await world.admin.post(path_of("v1", "serviceaccounts", world.namespace, name, "token"), request)
        config = yaml.safe_load(world.kubeconfig.read_text())
        config["users"] = [
            {"name": user["name"], "user": {"token": answer["status"]["token"]}} for user in config["users"]
        ]
        path = tmp_path / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        clients.append(Kube(Login(kubeconfig=path)))
        await asyncio.sleep(0.3)  # a real server learns of new rules by a watch
        return clients[-1]

    yield log_in
    for client in clients:
        await client.close()


async def everything(world: Any, kube: Kube, clock: Any, make_tracker: Make, make_deployment: Make) -> Counter[str]:
    """Do all that the adapters do; which resources were denied."""
    denied: Counter[str] = Counter()
    if await world.get("apps/v1", "deployments", "checkout") is None:
        await world.create("deployments", make_deployment())
        await world.create("baseimagetrackers", make_tracker())
        await world.create(
            "secrets",
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "hub"},
                "type": "kubernetes.io/dockerconfigjson",
                "stringData": {".dockerconfigjson": '{"auths": {"a.io": {"username": "u", "password": "p"}}}'},
            },
        )

    async def attempt(resource: str, work: Awaitable[Any]) -> Any:
        try:
            return await work
        except DeniedError:
            denied[resource] += 1

    store = TrackerStore(kube)
    await attempt("baseimagetrackers", store.resync([world.namespace]))
    store.seen(await world.get("basetracker.dev/v1alpha1", "baseimagetrackers", "python"))
    (tracker,) = store.in_namespace(world.namespace)
    await attempt("baseimagetrackers/status", store.write_status(tracker, Status(), guarded=False))
    workloads = ClusterWorkloads(kube, clock=clock, changed=lambda *_: None, cluster_wide=False)
    workload = await attempt("deployments", workloads.find(world.namespace, "Deployment", "checkout"))
    if workload is not None:
        one = workload.containers[0]
        change = ContainerChange(container=one.name, init=False, index=0, old=one.image, new=one.image + "x")
        delivery = Deliver(
            downstream="checkout",
            workload=workload,
            digest=Digest.of(b""),
            containers=(change,),
            delivered=workload.delivered_raw or "{}",
            cause="test",
        )
        await attempt("deployments", workloads.deliver(delivery))
    await workloads.stop()
    about = ObjectRef(
        api_version="basetracker.dev/v1alpha1",
        kind="BaseImageTracker",
        namespace=world.namespace,
        name="python",
        uid=tracker.uid,
    )
    for _ in range(2):
        await ClusterEvents(kube, clock=clock, instance="pod").tell(about, reason="A", message="x")
    events = (await world.admin.get(world.path("v1", "events")))["items"]
    if [event["count"] for event in events if event["reason"] == "A"] != [2]:
        denied["events"] += 1
    leading = asyncio.create_task(
        Lease(kube, namespace=world.namespace, name="l", pod="p", clock=clock).run(lambda: asyncio.sleep(0))
    )
    done, _ = await asyncio.wait({leading}, timeout=3)
    if not done:
        leading.cancel()
        await asyncio.wait({leading})
        denied["leases"] += 1
    await attempt("secrets", SecretCredentials(kube, clock=clock).find(world.namespace, "hub", "a.io"))
    return denied


async def test_these_rights_are_enough(
    world: Any, operator: Any, fast_clock: Any, make_tracker: Make, make_deployment: Make
) -> None:
    assert await everything(world, await operator(RULES), fast_clock, make_tracker, make_deployment) == {}


@pytest.mark.parametrize("missing", RULES, ids=lambda rule: rule["resources"][0])
async def test_none_of_them_can_be_spared(
    world: Any,
    operator: Any,
    fast_clock: Any,
    make_tracker: Make,
    make_deployment: Make,
    missing: dict[str, Any],
) -> None:
    kube = await operator([one for one in RULES if one is not missing])
    denied = await everything(world, kube, fast_clock, make_tracker, make_deployment)
    assert set(denied) == set(missing["resources"])
