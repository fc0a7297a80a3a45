"""The show: set the stage, push a patched base, follow the story to its end, and prove what runs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from basetracker.api.names import State
from basetracker.demo.proof import Running, running
from basetracker.demo.scenarios import ALL_CURRENT, Scenario
from basetracker.demo.screen import Screen
from basetracker.demo.shop import BASE
from basetracker.demo.stage import Stage, StageError, apply_trackers, staged
from basetracker.demo.story import Standing, Teller, standings
from basetracker.emulators import samples

SETTLE_SECONDS = 60.0
STORY_SECONDS = 120.0
LOOK_SECONDS = 0.1
OLD, NEW = "python 3.12.11 (Debian 12.11)", "python 3.12.12 (Debian 12.12)"


async def show(scenario: Scenario, *, speed: float, keep: bool, screen: Screen) -> int:
    """Play `scenario`; 0 when it ended as it has to, else 1."""
    directory = Path(tempfile.mkdtemp(prefix="basetracker-demo-"))
    try:
        screen.title(f"basetracker demo: {scenario.title}")
        async with staged(directory, speed, lambda text: screen.note(f"starting {text}")) as stage:
            code = await _play(stage, scenario, speed, screen)
            if keep:
                await _stay(stage, screen)
            return code
    except (StageError, TimeoutError) as error:
        screen.line(f"The demo could not go on: {str(error) or 'it took too long'}", "red")
        _show_log(directory / "operator.log", screen)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _play(stage: Stage, scenario: Scenario, speed: float, screen: Screen) -> int:
    bases = {OLD: samples.python_index("3.12.11", point="12.11"), NEW: samples.python_index("3.12.12", point="12.12")}
    teller = Teller()
    screen.line(
        f"\n  In another shell:  export KUBECONFIG={stage.kubeconfig}\n"
        "                     kubectl get basetrackers -w\n"
        f"  or, for both:      . {stage.profile}; basetracker explain python-3-12\n",
        "cyan",
    )
    screen.deed("kubectl apply -f trackers.yaml   (one base, three images, one built on another, four Deployments)")
    await apply_trackers(stage)
    await _follow(
        stage, screen, teller, lambda items: {one.image: one.state for one in items} == ALL_CURRENT, SETTLE_SECONDS
    )
    before = await running(stage, bases)
    await asyncio.sleep(1 / speed)
    prepared = await scenario.prepare(stage)
    if prepared:
        screen.note(prepared)
    stage.cloud.push(BASE, bases[NEW])
    screen.deed(f"push {BASE} with security fixes: {OLD} -> {NEW}")
    await _follow_scenario(stage, scenario, screen, teller)
    after = await running(stage, bases)
    screen.table(before, after)
    return _verdict(stage, scenario, after, screen)


async def _follow_scenario(stage: Stage, scenario: Scenario, screen: Screen, teller: Teller) -> None:
    """Follow the story; a person helps out once, where the scenario says so."""
    moved = False
    if scenario.helped_at is not None:
        image, state = scenario.helped_at

        def waits_for_help(items: list[Standing]) -> bool:
            return any(one.image == image and one.state is state and "attempt" in one.message for one in items)

        await _follow(stage, screen, teller, waits_for_help, STORY_SECONDS)
        screen.deed(await scenario.help_out(stage))
        moved = True

    def is_over(items: list[Standing]) -> bool:
        nonlocal moved
        moved = moved or any(one.state is not State.CURRENT for one in items)
        return moved and scenario.is_over(items)

    await _follow(stage, screen, teller, is_over, STORY_SECONDS)


async def _follow(
    stage: Stage, screen: Screen, teller: Teller, until: Callable[[list[Standing]], bool], seconds: float
) -> None:
    """Tell what happens until the images stand as wanted. Raises TimeoutError or StageError."""
    with screen.following():
        async with asyncio.timeout(seconds):
            while True:
                stage.must_run()
                trackers = stage.trackers()
                for moment in teller.news(trackers):
                    screen.moment(moment)
                items = standings(trackers)
                screen.standings(items)
                if until(items):
                    return
                await asyncio.sleep(LOOK_SECONDS)


def _verdict(stage: Stage, scenario: Scenario, after: list[Running], screen: Screen) -> int:
    """What came of it: runs, and whether what runs is what the scenario's end says."""
    blocked = {image for image, state in scenario.ends.items() if state is not State.CURRENT}
    wrong = [row for row in after if row.image not in blocked and row.base != NEW]
    unsafe = [row for row in after if row.image in blocked and scenario.name == "lacks-base" and row.base != OLD]
    runs = {name: len(stage.cloud.tasks.runs_of(task)) - 1 for name, task in sorted(stage.tasks.items())}
    told = ", ".join(f"{name} {count}" for name, count in runs.items())
    screen.line(
        f"\nRuns of tasks since the base moved: {told}. Leaked tokens: {len(stage.cloud.faults.leaks)}. "
        f"Requests denied by RBAC: {len(stage.cluster.denied)}."
    )
    bad = bool(wrong or unsafe or stage.cluster.denied or stage.cloud.faults.leaks)
    if bad:
        screen.line("That is not how it has to end.", "bold red")
        return 1
    screen.line(f"It took {screen.elapsed:.0f} s, and ended as it has to.", "bold green")
    return 0


async def _stay(stage: Stage, screen: Screen) -> None:
    screen.line(f"\nStaying up. Use it with: . {stage.profile}   Ctrl-C ends it.", "cyan")
    while True:
        stage.must_run()
        await asyncio.sleep(1)


def _show_log(log: Path, screen: Screen) -> None:
    if log.is_file():
        for line in log.read_text(errors="replace").splitlines()[-20:]:
            screen.line(f"  {line}", "dim")
