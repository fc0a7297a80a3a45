"""An emulated cluster as one thing: store, machinery, controllers and HTTPS server, wired together.

Owns the life of a cluster and what tests and the demo may do to it. The only file of the package that knows all the
others.
"""

from __future__ import annotations

import base64
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from basetracker.emulators.authority import Authority
from basetracker.emulators.cluster import extensions
from basetracker.emulators.cluster.access import Authorizer, Denial
from basetracker.emulators.cluster.bootstrap import bootstrap
from basetracker.emulators.cluster.builtin import builtin_resources
from basetracker.emulators.cluster.client import Client
from basetracker.emulators.cluster.controllers.deployments import Deployments
from basetracker.emulators.cluster.controllers.garbage import Garbage
from basetracker.emulators.cluster.controllers.jobs import Jobs
from basetracker.emulators.cluster.controllers.kubelet import Crashes, Kubelet, ResolveImage, any_image
from basetracker.emulators.cluster.controllers.loop import Controller, Loop
from basetracker.emulators.cluster.controllers.namespaces import Namespaces
from basetracker.emulators.cluster.controllers.recorder import Recorder
from basetracker.emulators.cluster.controllers.replicasets import ReplicaSets
from basetracker.emulators.cluster.document import Json
from basetracker.emulators.cluster.identity import Tokens, User
from basetracker.emulators.cluster.instruments import Fault, Instruments, RequestRecord
from basetracker.emulators.cluster.objects import Objects
from basetracker.emulators.cluster.operations import Operations
from basetracker.emulators.cluster.patching import MERGE_PATCH
from basetracker.emulators.cluster.resources import Catalogue
from basetracker.emulators.cluster.reviews import Reviews
from basetracker.emulators.cluster.server import Server
from basetracker.emulators.cluster.store import Change, Store

Faults = list[Fault]
Listeners = list[Callable[[RequestRecord], None]]
ObjectList = list[Json]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Cluster:
    """A Kubernetes cluster in this process.

    `clock` tells the time of everything that is written down: ages, tokens, deadlines. `pod_start_seconds` and
    `bookmark_seconds` are real seconds. `history` is how many changes of a kind a watch can go back.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        resolve_image: ResolveImage = any_image,
        clock: Callable[[], datetime] = _utc_now,
        pod_start_seconds: float = 0.2,
        bookmark_seconds: float = 60.0,
        history: int = 5000,
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._store = Store(window=history)
        self._catalogue = Catalogue(builtin_resources())
        self._store.listen(self._define)
        self._objects = Objects(self._store, self._catalogue, clock)
        self._client = Client(self._objects, "basetracker-emulator")
        self._instruments = Instruments()
        self._authorizer = Authorizer(self._store)
        self._tokens = Tokens(clock, self._account_exists)
        system = Client(self._objects, "kube-controller-manager")
        recorder = Recorder(system, clock)
        controllers: list[Controller] = [
            Namespaces(system),
            Garbage(system),
            Deployments(system, recorder, clock),
            ReplicaSets(system, clock),
            Jobs(system, clock),
        ]
        self._loop = Loop(self._store, controllers)
        self._kubelet = Kubelet(
            Client(self._objects, "kubelet"),
            recorder,
            clock,
            resolve_image=resolve_image,
            start_seconds=pod_start_seconds,
        )
        reviews = Reviews(self._objects, self._authorizer, self._tokens)
        operations = Operations(self._objects, reviews, self._instruments, bookmark_seconds=bookmark_seconds)
        context = authority.server_context("127.0.0.1", "localhost")
        self._server = Server(operations.answer, self._tokens, self._authorizer, self._instruments, context)
        bootstrap(self._client)

    # ------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Listen on a free port of the loopback and set the controllers going."""
        await self._server.start()
        self._loop.start()
        self._kubelet.start()

    async def stop(self) -> None:
        """Cut all connections and stop; the objects stay readable in-process."""
        await self._server.stop()
        await self._kubelet.stop()
        await self._loop.stop()

    async def restart(self) -> None:
        """The API server goes away and comes back on the same port with the same objects; all connections are cut."""
        await self._server.stop()
        await self._server.start()

    async def __aenter__(self) -> Cluster:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ------------------------------------------------------------------------------------------ access

    @property
    def url(self) -> str:
        """The URL of the API server; known once it was started."""
        return f"https://127.0.0.1:{self._server.port}"

    @property
    def admin_token(self) -> str:
        """A token that may do everything and doesn't expire."""
        return self._tokens.admin

    def token(
        self, namespace: str, service_account: str, seconds: int = 3600, *, audiences: tuple[str, ...] = ()
    ) -> str:
        """A token of a ServiceAccount that is there, valid for so many seconds by the cluster's clock.

        Raises:
            Refusal: 404.
        """
        account = self._objects.get(self._catalogue.named("ServiceAccount"), namespace, service_account)
        return self._tokens.issue(account, seconds=seconds, audiences=audiences)

    def user_token(self, name: str, *groups: str) -> str:
        """A token of a person, who may do what RBAC allows."""
        return self._tokens.user_token(User(name, (*groups, "system:authenticated")))

    def kubeconfig(self, user: str = "admin", namespace: str = "default", *, token: str | None = None) -> Json:
        """A kubeconfig with the CA inlined; the admin's, or of whoever `token` belongs to."""
        authority = base64.b64encode(self._authority.pem).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "emulated", "cluster": {"server": self.url, "certificate-authority-data": authority}}
            ],
            "users": [{"name": user, "user": {"token": token or self.admin_token}}],
            "contexts": [
                {"name": "emulated", "context": {"cluster": "emulated", "user": user, "namespace": namespace}}
            ],
            "current-context": "emulated",
        }

    # ------------------------------------------------------------------------------------------ objects

    async def apply(self, *objects: Json) -> list[Json]:
        """Create or change objects, in their order; a `status` in one of them is written too.

        Raises:
            Refusal: as the API server refuses.
        """
        return [self._client.apply(document) for document in objects]

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        body: Any,
        *,
        status: bool = False,
        media_type: str = MERGE_PATCH,
    ) -> Json:
        """Patch an object, or its status.

        Raises:
            Refusal: as the API server refuses.
        """
        return self._client.patch(kind, namespace, name, body, status=status, media_type=media_type)

    async def delete(self, kind: str, namespace: str, name: str) -> bool:
        """Delete an object; False where there is none."""
        return self._client.delete(kind, namespace, name)

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """The object or None; namespace is empty for kinds of cluster scope. Not to be changed."""
        return self._client.get(kind, namespace, name)

    def list(self, kind: str, namespace: str = "") -> ObjectList:
        """The objects of a namespace, or of all. Not to be changed."""
        return self._client.list(kind, namespace)

    @property
    def resource_version(self) -> int:
        """The resourceVersion of the last write of any kind."""
        return self._store.revision

    # ------------------------------------------------------------------------------------------ instruments

    @property
    def denied(self) -> deque[Denial]:
        """What the authorizer denied, newest last."""
        return self._authorizer.denied

    @property
    def requests(self) -> deque[RequestRecord]:
        """The last answered requests, newest last."""
        return self._instruments.requests

    @property
    def writes(self) -> Counter[str]:
        """Carried out writes over HTTP, as `patch deployments` or `patch baseimagetrackers/status`."""
        return self._instruments.writes

    @property
    def faults(self) -> Faults:
        """The planned faults; append to it, or clear it."""
        return self._instruments.faults

    @property
    def listeners(self) -> Listeners:
        """Who is told of each request when it has had its effect, before its answer leaves."""
        return self._instruments.listeners

    def drop_watches(self) -> int:
        """Cut the connection of every running watch; answers how many."""
        return self._server.cut(watches_only=True)

    def compact(self) -> None:
        """Make every resourceVersion up to now too old to start a watch from."""
        self._store.compact()

    # ------------------------------------------------------------------------------------------ Pods

    @property
    def crashes(self) -> Crashes:
        """Tells whether containers of an image crash; may be replaced at any time."""
        return self._kubelet.crashes

    @crashes.setter
    def crashes(self, crashes: Crashes) -> None:
        self._kubelet.crashes = crashes

    @property
    def pod_start_seconds(self) -> float:
        """How long a container takes to start; may be changed at any time."""
        return self._kubelet.start_seconds

    @pod_start_seconds.setter
    def pod_start_seconds(self, seconds: float) -> None:
        self._kubelet.start_seconds = seconds

    def look_at_pods(self) -> None:
        """Let the kubelet ask again whether running Pods crash."""
        self._kubelet.look_again()

    # ------------------------------------------------------------------------------------------ inside

    def _account_exists(self, namespace: str, name: str, uid: str) -> bool:
        stored = self._store.get("serviceaccounts", (namespace, name))
        return stored is not None and stored.document["metadata"]["uid"] == uid

    def _define(self, change: Change) -> None:
        if change.key != "customresourcedefinitions.apiextensions.k8s.io":
            return
        if change.type == "DELETED":
            extensions.withdraw(self._catalogue, change.new.document)
        else:
            extensions.serve(self._catalogue, change.new.document)
