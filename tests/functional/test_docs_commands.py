"""What the pages about the demo tell to type, typed beside the demo: kubectl and basetracker print what the pages show.

Two demos run for the whole module, as `make demo` starts them; the page of the tutorial says which. What changes the
shop comes last.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from ..docs.console import GAP, Step, apart, difference, steps
from ..docs.coverage import PLACES, Where, steps_at
from ..docs.pages import ROOT, pages
from ..docs.shell import Shell
from .world import HOST, World

BESIDE = Path(sys.executable).parent
TUTORIAL, REGISTRIES, PROTECT = "docs/tutorial/demo.md", "docs/howto/other-registries.md", "docs/howto/protect.md"
READING = ["README.md", "docs/howto/chains.md", "docs/reference/status.md", "docs/reference/annotations.md"]
WATCH = "kubectl get basetrackers -w"
DEMO_SECONDS = 100.0
_DEMO = re.compile(r'make demo ARGS="(.*)"')
_CLOCK = re.compile(r" *\d+\.\d+s ")
_PROFILE = re.compile(r"^  or, for both: +\. (\S+);", re.MULTILINE)


class Demo:
    """A demo that stays up, and a reader's shell beside it."""

    def __init__(self, arguments: str, directory: Path) -> None:
        directory.mkdir()
        self._output = directory / "output"
        self._watched = directory / "watched"
        self._watching: subprocess.Popen[bytes] | None = None
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BASETRACKER_")}
        with self._output.open("wb") as output, heeding_interrupts():
            self.process = subprocess.Popen(
                [BESIDE / "basetracker", "demo", *arguments.replace("--keep", "").split(), "--keep"],
                env=environment | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.shell = Shell(ROOT, directory / "state", {"PATH": f"{BESIDE}{os.pathsep}{os.environ['PATH']}"})

    @property
    def told(self) -> str:
        """What the demo has printed so far."""
        return self._output.read_text(encoding="utf-8")

    @property
    def profile(self) -> Path:
        """The file to source that it names. Raises LookupError before that."""
        found = _PROFILE.search(self.told)
        if found is None:
            raise LookupError("the demo has not named its file yet")
        return Path(found[1])

    def watch(self) -> None:
        """Begin to watch in another shell, as soon as the demo says how."""
        self._until(lambda: _PROFILE.search(self.told) is not None, "says how to use it")
        with self._watched.open("wb") as output:
            self._watching = subprocess.Popen(
                ["bash", "-c", f". {self.profile}; exec {BESIDE / WATCH}"], stdout=output, stderr=output
            )

    def play_to_the_end(self) -> None:
        """Return when the story is over and the demo stays up."""
        self._until(lambda: "\nStaying up." in self.told, "is over")
        assert "ended as it has to" in self.told, self.told

    def watched(self) -> list[str]:
        """What was watched so far."""
        return self._watched.read_text(encoding="utf-8").splitlines()

    def interrupt(self) -> None:
        """Press Ctrl-C, and wait until it has ended."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def close(self) -> None:
        """End everything that still runs."""
        for process in (self._watching, self.process):
            if process is not None and process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()
                process.wait()

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEMO_SECONDS
        while not holds():
            assert self.process.poll() is None, f"the demo has ended:\n{self.told}"
            assert time.monotonic() < end, f"the demo never {what}:\n{self.told}"
            time.sleep(0.05)


@contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Let processes that are started heed Ctrl-C, also where this one was started in the background and ignores it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Demo]]:
    """The demos that the tutorial starts, each to its end, by the arguments that it gives to `make demo`."""
    told = [_DEMO.match(step.command) for step in steps(pages()[TUTORIAL])]
    directory = tmp_path_factory.mktemp("demos")
    found = {one[1]: Demo(one[1], directory / str(number)) for number, one in enumerate(told) if one}
    try:
        for demo in found.values():
            demo.watch()
        for demo in found.values():
            demo.play_to_the_end()
        yield found
    finally:
        for demo in found.values():
            demo.close()


@pytest.fixture(scope="module")
def demo(demos: dict[str, Demo]) -> Demo:
    """The one of the story that the tutorial begins with."""
    return next(iter(demos.values()))


def commands(page: str) -> list[Step]:
    found = steps_at(Where.EMULATED, page)
    assert found
    return found


def test_the_pages_are_those_of_the_table() -> None:
    emulated = {page for (page, _), place in PLACES.items() if place is Where.EMULATED}
    assert emulated == {*READING, TUTORIAL, REGISTRIES, PROTECT}


def test_the_demo_prints_what_the_pages_show(demo: Demo) -> None:
    shown = [(name, block) for name in ("README.md", TUTORIAL) for block in pages()[name].blocks("text")]
    assert len(shown) == 5
    for name, block in shown:
        lines = block.text.splitlines()
        is_timeline = bool(_CLOCK.match(lines[0]))  # two trackers go their way side by side
        found = difference(lines if is_timeline else [GAP, *lines, GAP], demo.told, ordered=not is_timeline)
        assert not found, f"{name}:{block.line}:\n{found}"


@pytest.mark.parametrize("page", READING)
def test_what_is_read_beside_the_demo(demo: Demo, page: str) -> None:
    demo.shell.run(f". {demo.profile}")
    for step in commands(page):
        demo.shell.play(step)


def test_the_tutorial(demos: dict[str, Demo]) -> None:
    demo = None
    for step in commands(TUTORIAL):
        if starting := _DEMO.match(step.command):
            demo = demos[starting[1]]
            demo.shell.run(f". {demo.profile}")  # where the page doesn't say it again
            continue
        assert demo is not None
        if step.command == WATCH:
            assert step.output
            assert in_the_order_of_each_tracker(step.output, demo.watched()) == "", str(step)
        else:
            demo.shell.play(step, re.sub(r"/tmp/basetracker-demo-\w+/env", str(demo.profile), step.command))


def in_the_order_of_each_tracker(shown: tuple[str, ...], watched: list[str]) -> str:
    """Where a watch differs: each tracker's lines have to come in this order, whatever comes between."""
    trackers = {line.split()[0] for line in shown}
    assert trackers == {"NAME", "platform", "python-3-12"}
    own = {
        name: [[line for line in lines if line.startswith(f"{name} ")] for lines in (shown, watched)]
        for name in trackers
    }
    return "".join(difference(apart(wanted), "\n".join(got)) for wanted, got in own.values())


def test_ctrl_c_ends_the_demo_and_leaves_nothing(demo: Demo) -> None:
    directory = demo.profile.parent
    assert directory.is_dir()
    demo.interrupt()
    assert not directory.exists()


async def test_a_base_that_needs_a_login(world: World, tmp_path: Path) -> None:
    world.cloud.add_token_registry("registry-1.docker.io", "auth.docker.io", {"reader": "a secret"})
    base = "registry-1.docker.io/contoso/hardened-node:22"
    world.push_base("22.1.0", reference=base)
    await world.built(world.add_task("storefront", base=base))
    blocks = pages()[REGISTRIES].blocks("yaml")
    (rights,) = [block.text for block in blocks if "kind: RoleBinding" in block.text]
    (tracker,) = [block.text for block in blocks if "pullSecretRef" in block.text]
    (tmp_path / "tracker.yaml").write_text(tracker)
    shell = shell_beside(world, tmp_path, {"NAME": "reader", "TOKEN": "a secret"})

    for step in commands(REGISTRIES):
        await asyncio.to_thread(shell.play, step)
    assert (
        f"{HOST}/shop/storefront:main"
        in (await asyncio.to_thread(shell.run, "basetracker check tracker.yaml -n shop"))[1]
    )

    await world.apply(rights)
    await world.deploy("storefront")
    await world.operate()
    await world.apply(tracker)
    await world.becomes("Current", "storefront", "hardened-node")


async def test_taking_locks_back(world: World, tmp_path: Path) -> None:
    world.identity.assign("AcrPush", world.registry.id)
    await world.furnish()
    await world.operate()
    (tracker,) = (block.text for block in pages()[PROTECT].blocks("yaml"))
    await world.apply(tracker)
    digest = world.digest(f"{HOST}/shop/checkout:main")
    stored = world.registry.storage.find("shop/checkout", digest)
    assert stored is not None
    await world.until(lambda: not stored.attributes.deletable, "it is locked")
    shell = shell_beside(world, tmp_path)
    let_go, look = commands(PROTECT)
    assert digest in (await asyncio.to_thread(shell.run, look.command))[1]
    await asyncio.to_thread(shell.play, let_go)
    await world.until(lambda: stored.attributes.deletable, "the lock is taken back")
    await world.until(lambda: not world.image(tracker="python-3-12").get("protected"), "the status says so")
    assert await asyncio.to_thread(shell.run, look.command) == (0, "")


def shell_beside(world: World, directory: Path, given: Mapping[str, str] | None = None) -> Shell:
    """A reader's shell beside the world's cluster."""
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(world.cluster.kubeconfig()))
    path = {"PATH": f"{BESIDE}{os.pathsep}{os.environ['PATH']}", "KUBECONFIG": str(kubeconfig)}
    return Shell(directory, directory / "state", {**world.environment(), **path, **(given or {})})
