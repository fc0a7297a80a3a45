"""People: what they do to the shop in a story, by chance, and how they put all in order at its end."""

from __future__ import annotations

import random

from basetracker.api.names import KIND, REQUESTED_AT, RESUME
from basetracker.emulators.cluster.patching import JSON_PATCH
from basetracker.emulators.tasks.definition import Behaviour

from .inspectors import Deed, Inspectors
from .model import Model
from .shop import HOST, NAMESPACE, PUBLIC, Json, Product, Shop

PYTHON = f"{HOST}/base/python:3.12"
NODE = f"{PUBLIC}/base/node:22"


class People:
    """Furnishes the shop, changes it, mends it; every deed answers with what was done, for the log."""

    def __init__(self, shop: Shop, model: Model, rng: random.Random) -> None:
        self._shop = shop
        self._model = model
        self._rng = rng
        self._count = 0
        self._gone: dict[str, Json] = {}
        self._inspectors = Inspectors(shop, model, random.Random(rng.random()), self._respecify)
        self._deeds: list[tuple[int, Deed]] = [
            (10, self._move_base),
            (3, self._move_base_twice),
            (3, self._move_base_back),
            (4, self._push_product),
            (3, self._run_task),
            (3, self._edit_image),
            (2, self._edit_tracker),
            (1, self._suspend_or_not),
            (2, self._recreate_tracker),
            (2, self._recreate_deployment),
            (1, self._delete_deployment),
            (2, self._ask_for_a_look),
            (2, self._resume),
            (5, self._change_task),
            *self._inspectors.deeds(),
        ]

    # -- the beginning --------------------------------------------------------------------------------

    async def furnish(self) -> None:
        """Bases, products, Deployments and trackers."""
        rng, shop = self._rng, self._shop
        bases = [PYTHON, NODE][: rng.choice((1, 1, 2))]
        for base in bases:
            shop.push_base(base)
        for number in range(rng.randint(1, 3)):
            self._add_product(f"app{number}", rng.choice(bases))
        trackers: dict[str, Json] = {}
        for base in bases:
            mine = [one for one in shop.products.values() if one.base == base]
            await self._track(trackers, base, mine)
        if rng.random() < 0.4:
            parent = rng.choice(list(shop.products.values()))
            children = [self._add_product(f"leaf{number}", parent.image) for number in range(rng.randint(1, 2))]
            await self._track(trackers, parent.image, children)
        for base in bases:
            if rng.random() < 0.3:
                shop.push_base(base)  # the images are stale from the beginning
        for name, spec in trackers.items():
            await shop.apply_tracker(name, spec)
            self._model.respecified(name)

    def _add_product(self, name: str, base: str) -> Product:
        rng = self._rng
        task_settings = {}
        if rng.random() < 0.25:
            delay = rng.choice((0.0, 5.0, 40.0))
            task_settings = {"trigger": True, "trigger_delay": delay, "trigger_runs": rng.choice((1, 1, 2))}
        product = self._shop.add_product(name, base, **task_settings)
        if rng.random() < 0.2:
            product.task.behaviour = Behaviour(fail_first=rng.randint(1, 2))
        return product

    async def _track(self, trackers: dict[str, Json], base: str, products: list[Product]) -> None:
        """One or two trackers of a base; the second may name images of the first, for Deployments of its own or the same."""
        if not products:
            return
        groups = [products]
        if self._rng.random() < 0.5:
            groups.append(self._rng.sample(products, self._rng.randint(1, len(products))))
        for number, group in enumerate(groups):
            name = f"{base.rpartition('/')[2].partition(':')[0]}-{number}"
            shares = number > 0 and self._rng.random() < 0.3
            rows = [await self._row(name if not shares else f"{name[:-1]}0", one) for one in group]
            rollout = {"maxConcurrent": self._rng.choice((1, 1, 2, 5))}
            trackers[name] = {"base": {"image": base, "interval": "1m"}, "downstream": rows, "rollout": rollout}
            trackers[name] |= self._inspectors.asked_for()

    async def _row(self, tracker: str, product: Product) -> Json:
        deployments = [f"{tracker}-{product.name}-{number}" for number in range(self._rng.choice((0, 1, 1, 2)))]
        for name in deployments:
            if name not in self._shop.deployments():
                containers = {"app": product.image} | ({"twin": product.image} if self._rng.random() < 0.1 else {})
                await self._shop.deploy(name, containers)
        row: Json = {"name": product.name, "image": product.image}
        row["deploy"] = [{"kind": "Deployment", "name": name} for name in deployments]
        if self._rng.random() < 0.9:
            task = {"name": product.task.name, "baseArgument": "BASE_IMAGE"}
            row["build"] = {"acrTask": task, "timeout": "4m"}
        return row

    # -- deeds ----------------------------------------------------------------------------------------

    async def act(self) -> str:
        """Do something."""
        weights, deeds = zip(*self._deeds, strict=True)
        return str(await self._rng.choices(deeds, weights)[0]())

    async def _move_base(self) -> str:
        base = self._rng.choice(list(self._shop.bases))
        return f"push {base}: {self._shop.push_base(base)[:19]}"

    async def _move_base_twice(self) -> str:
        base = self._rng.choice(list(self._shop.bases))
        first, second = self._shop.push_base(base), self._shop.push_base(base)
        return f"push {base} twice: {first[:19]}, {second[:19]}"

    async def _move_base_back(self) -> str:
        base = self._rng.choice(list(self._shop.bases))
        version = self._rng.randint(1, self._shop.bases[base])
        return f"move {base} to version {version}: {self._shop.push_base(base, version)[:19]}"

    async def _push_product(self) -> str:
        product = self._rng.choice(list(self._shop.products.values()))
        digest = self._push(product, self._shop.tag(product.base), is_old=self._rng.random() < 0.4)
        if self._rng.random() < 0.4:
            self._shop.gates.approve(digest)
        return f"push {product.image} by hand: {digest[:19]}"

    def _push(self, product: Product, base: str, *, is_old: bool = False) -> str:
        repository = product.base.rpartition(":")[0]
        host, _, path = repository.partition("/")
        if is_old:
            base = self._rng.choice(list(self._shop.cloud.registries[host].storage.repositories[path].manifests))
        self._count += 1
        return self._shop.push_by_hand(product, f"{repository}@{base}", f"1.0.{self._count}")

    async def _run_task(self) -> str:
        product = self._rng.choice(list(self._shop.products.values()))
        return f"run {product.task.name} by hand: {self._shop.cloud.tasks.schedule(product.task, {}).id}"

    async def _edit_image(self) -> str:
        name = self._some_deployment()
        if name is None:
            return "no Deployment to edit"
        containers = self._shop.deployments()[name]["spec"]["template"]["spec"]["containers"]
        index = self._rng.randrange(len(containers))
        tag = containers[index]["image"].partition("@")[0]
        path = tag.partition("/")[2].partition(":")[0]
        digests = [f"{tag}@{one}" for one in self._shop.registry.storage.repositories[path].manifests]
        image = self._rng.choice([tag, *digests])
        pointer = f"/spec/template/spec/containers/{index}/image"
        body = [{"op": "replace", "path": pointer, "value": image}]
        await self._shop.cluster.patch("Deployment", NAMESPACE, name, body, media_type=JSON_PATCH)
        self._model.edited(name, containers[index]["name"])
        return f"edit {name}/{containers[index]['name']}: {image}"

    def _some_deployment(self) -> str | None:
        names = list(self._shop.deployments())
        return self._rng.choice(names) if names else None

    async def _edit_tracker(self) -> str:
        name, tracker = self._rng.choice(list(self._shop.trackers().items()))
        most = self._rng.choice((1, 2, 3))
        await self._respecify(name, {"rollout": {**tracker["spec"]["rollout"], "maxConcurrent": most}})
        return f"edit {name}: maxConcurrent {most}"

    async def _suspend_or_not(self) -> str:
        name, tracker = self._rng.choice(list(self._shop.trackers().items()))
        suspend = not tracker["spec"].get("suspend", False)
        await self._respecify(name, {"suspend": suspend})
        return f"edit {name}: suspend {suspend}"

    async def _respecify(self, tracker: str, spec: Json) -> None:
        await self._shop.cluster.patch(KIND, NAMESPACE, tracker, {"spec": spec})
        self._model.respecified(tracker)

    async def _recreate_tracker(self) -> str:
        """The status is lost with it."""
        name, tracker = self._rng.choice(list(self._shop.trackers().items()))
        await self._shop.cluster.delete(KIND, NAMESPACE, name)
        await self._shop.apply_tracker(name, tracker["spec"])
        self._model.respecified(name)
        return f"delete {name} and apply it again"

    async def _delete_deployment(self) -> str:
        name = self._some_deployment()
        if name is None:
            return "no Deployment to delete"
        document = self._shop.deployments()[name]
        containers = document["spec"]["template"]["spec"]["containers"]
        self._gone[name] = {one["name"]: one["image"].partition("@")[0] for one in containers}
        await self._shop.cluster.delete("Deployment", NAMESPACE, name)
        return f"delete Deployment {name}"

    async def _recreate_deployment(self) -> str:
        if not self._gone:
            await self._delete_deployment()
        if not self._gone:
            return "no Deployment to create"
        name = self._rng.choice(list(self._gone))
        await self._shop.deploy(name, self._gone.pop(name))
        self._model.look_at_images()
        return f"create Deployment {name} anew"

    async def _ask_for_a_look(self) -> str:
        name = self._rng.choice(list(self._shop.trackers()))
        return await self._ask(name, REQUESTED_AT)

    async def _resume(self) -> str:
        name = self._rng.choice(list(self._shop.trackers()))
        return await self._ask(name, RESUME)

    async def _ask(self, tracker: str, annotation: str) -> str:
        self._count += 1
        if annotation == RESUME:
            self._model.resumed[tracker] = self._shop.loop.time()
        await self._shop.annotate(tracker, annotation, f"no-{self._count}")
        return f"annotate {tracker}: {annotation}"

    async def _change_task(self) -> str:
        product = self._rng.choice(list(self._shop.products.values()))
        task = product.task
        if task.behaviour != Behaviour() or not task.enabled:
            task.behaviour, task.enabled = Behaviour(), True
            return f"mend {task.name}"
        old = f"{product.base.rpartition(':')[0]}@{self._shop.tag(product.base)}"
        task.behaviour, text = self._rng.choice(
            [
                (Behaviour(fail="a header is missing"), "fails"),
                (Behaviour(base=old), "builds on one base for ever"),
                (Behaviour(squash=True), "squashes"),
                (Behaviour(push=False), "pushes nothing"),
                (Behaviour(hide_output=True), "hides what it pushed"),
                (Behaviour(stuck="Running"), "never ends"),
                (Behaviour(run_seconds=150), "is slow"),
                (Behaviour(outcome="Canceled"), "is cancelled"),
            ]
        )
        if self._rng.random() < 0.1:
            task.enabled = False
            text += ", and is switched off"
        return f"spoil {task.name}: {text}"

    # -- the end --------------------------------------------------------------------------------------

    async def mend(self) -> None:
        """Put everything in order as far as it waits for a person."""
        self._shop.gates.mend()
        for product in self._shop.products.values():
            product.task.behaviour, product.task.enabled = Behaviour(), True
        for name, tracker in self._shop.trackers().items():
            if tracker["spec"].get("suspend"):
                await self._respecify(name, {"suspend": False})
        for name in list(self._gone):
            await self._shop.deploy(name, self._gone.pop(name))
        self._model.look_at_images()
        for run in self._shop.cloud.tasks.runs:
            self._shop.cloud.tasks.cancel(run)
        for name in self._shop.trackers():
            await self._ask(name, REQUESTED_AT)
            await self._ask(name, RESUME)

    async def push_what_waits(self) -> list[str]:
        """Push by hand what the operator won't build: images without a build, and those whose run made another thing.

        What fails a gate is pushed as an image that passes all of them.
        """
        pushed = []
        for tracker in self._shop.trackers().values():
            for item in tracker["spec"]["downstream"]:
                reason = self._model.row(tracker, item["name"]).get("reason")
                if reason in {"NoBuild", "LineageNotProven", "NoOutputImage", "GateFailed"}:
                    product = self._shop.products[item["name"]]
                    digest = self._push(product, self._model.base_of(tracker))
                    self._shop.gates.approve(digest)
                    pushed.append(f"push {product.image}: {digest[:19]}")
                elif reason == "ParentFails":
                    pushed.append(self._push_parent(tracker))
                elif reason == "Overridden":  # what they have set has failed only after they let the operator go on
                    pushed.append(await self._ask(tracker["metadata"]["name"], RESUME))
        return pushed

    def _push_parent(self, tracker: Json) -> str:
        """Push a base that passes all gates."""
        found = self._model.parent(tracker)
        assert found is not None, tracker["metadata"]["name"]
        product = self._shop.products[found[1]]
        digest = self._push(product, self._model.base_of(self._shop.trackers()[found[0]]))
        self._shop.gates.approve(digest)
        return f"push {product.image}, a base: {digest[:19]}"
