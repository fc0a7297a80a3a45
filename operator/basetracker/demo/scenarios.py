"""The scenarios: what is different on the stage, what a person does, and how it must end. Data and small hooks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from basetracker.api.names import REQUESTED_AT, State
from basetracker.demo.shop import BASE, NAMESPACE
from basetracker.demo.stage import Stage
from basetracker.demo.story import Standing
from basetracker.emulators.tasks.definition import Behaviour

Hook = Callable[[Stage], Awaitable[str]]
"""Does something on the stage; the answer says what, empty for nothing."""


async def nothing(stage: Stage) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way the story goes.

    `prepare` runs before the base is pushed, `help_out` once the story stands at `helped_at` for `image`. It has ended well
    when each image is in its state of `ends`.
    """

    name: str
    title: str
    ends: dict[str, State]
    prepare: Hook = nothing
    help_out: Hook = nothing
    helped_at: tuple[str, State] | None = None

    def is_over(self, standings: list[Standing]) -> bool:
        """Whether every image is where the story has to end."""
        return {item.image: item.state for item in standings} == self.ends


ALL_CURRENT = {"checkout": State.CURRENT, "platform": State.CURRENT, "storefront": State.CURRENT}


async def _ignore_the_base(stage: Stage) -> str:
    old = stage.cloud.registry("contoso").storage.find("base/python", "3.12")
    digest = old.digest if old is not None else ""
    stage.tasks["checkout"].behaviour = Behaviour(base=f"{BASE.partition(':')[0]}@{digest}")
    return "task build-checkout has a Dockerfile that is pinned to the old base"


async def _fail_once(stage: Stage) -> str:
    task = stage.tasks["checkout"]
    task.behaviour = Behaviour(fail_first=task.runs_ended + 1)
    return "the next run of task build-checkout will fail"


async def _ask_again(stage: Stage) -> str:
    value = datetime.now(UTC).isoformat(timespec="seconds")
    patch = {"metadata": {"annotations": {REQUESTED_AT: value}}}
    await stage.cluster.patch("BaseImageTracker", NAMESPACE, "python-3-12", patch)
    return f"kubectl annotate basetracker python-3-12 {REQUESTED_AT}={value}"


async def _crash_new_gateway(stage: Stage) -> str:
    old = {digest for pod in stage.pods() for digest in _digests(pod)}

    async def crashes(image: str) -> bool:
        return "/platform" in image and not any(digest in image for digest in old)

    stage.cluster.crashes = crashes
    return "the next image of the gateway will crash at its start"


def _digests(pod: dict[str, object]) -> set[str]:
    status = pod.get("status")
    rows = status.get("containerStatuses", []) if isinstance(status, dict) else []
    return {row["imageID"].partition("@")[2] for row in rows if row.get("imageID")}


async def _switch_trigger_on(stage: Stage) -> str:
    for name in ("checkout", "platform"):
        stage.tasks[name].trigger = True
        stage.tasks[name].behaviour = Behaviour(run_seconds=15)  # still going on when the next poll is due
    return "tasks build-checkout and build-platform have ACR's own base image trigger switched on"


SCENARIOS = (
    Scenario(name="patched-base", title="A base image gets its security fixes", ends=ALL_CURRENT),
    Scenario(
        name="lacks-base",
        title="A rebuild that lacks the new base is never delivered",
        ends=ALL_CURRENT | {"checkout": State.BLOCKED},
        prepare=_ignore_the_base,
    ),
    Scenario(
        name="failing-build",
        title="A build fails, and a person asks for another one",
        ends=ALL_CURRENT,
        prepare=_fail_once,
        help_out=_ask_again,
        helped_at=("checkout", State.STALE),
    ),
    Scenario(
        name="stuck-rollout",
        title="A rollout gets stuck, and nothing more is delivered by its tracker",
        ends=ALL_CURRENT | {"platform": State.BLOCKED},
        prepare=_crash_new_gateway,
    ),
    Scenario(
        name="acr-trigger-first",
        title="ACR's own trigger has started the rebuild already: it is adopted, not repeated",
        ends=ALL_CURRENT,
        prepare=_switch_trigger_on,
    ),
)


def scenario(name: str) -> Scenario:
    """The scenario with this name. Raises KeyError."""
    return {item.name: item for item in SCENARIOS}[name]
