"""As whom an image runs: its configuration decides, whatever its history tells."""

from __future__ import annotations

import asyncio

import pytest

from basetracker.adapters.gates.trivy.user import is_root
from basetracker.api.names import GateVerdict
from basetracker.emulators.images import Image, assemble, encode

from .conftest import Ask, World
from .scanned import alpine

ROOT = (
    *(
        "",
        "root",
        "root:root",
        "root:app",
        "0",
        "0:0",
        "0:1000",
        "00",
        "000:0",
        "+0",
        "9" * 5000,
        "-0",
        ":0",
        ":app",
        " root",
        " 0 ",
    ),
    *("-1", "2147483648", "4294967296", "4294967296:1000", "99999999999999999999"),
)
OTHERS = (
    "1000",
    "1000:0",
    "01000",
    "65532:65532",
    "2147483647",
    "app",
    "app:root",
    "nobody",
    "ROOT",
    "0x0",
    "0app",
    "٠",
)


@pytest.mark.parametrize("user", ROOT)
def test_names_and_numbers_of_root(user: str) -> None:
    assert is_root(user)


@pytest.mark.parametrize("user", OTHERS)
def test_names_and_numbers_of_others(user: str) -> None:
    assert not is_root(user)


@pytest.mark.parametrize(("user", "root"), [("", True), ("ContainerAdministrator", True), ("ContainerUser", False)])
def test_users_of_windows(user: str, root: bool) -> None:
    assert is_root(user, windows=True) is root


def _with(user: str | None, history: str) -> Image:
    """An image whose configuration and whose history name these users."""
    made = alpine()
    config = made.configuration
    config["config"].pop("User")
    if user is not None:
        config["config"]["User"] = user
    for entry in config["history"]:
        if entry["created_by"].startswith("USER "):
            entry["created_by"] = history
    return assemble(encode(config), made.layers)


IMAGES = {
    ("root", "USER 1000"): True,
    (None, "USER 1000"): True,
    ("0:0", "USER app"): True,
    (None, "USER root"): True,
    ("1000", "USER root"): False,
    ("1000", "ENV A=b"): False,
    ("1000", "USER 1000"): False,
}


async def test_the_configuration_decides(world: World, ask: Ask) -> None:
    images = [world.push(f"shop/a:{number}", _with(*one)) for number, one in enumerate(IMAGES)]
    answers = await asyncio.gather(*(ask(image, scanners=["misconfig"]) for image in images))
    found = [
        (one.verdict is GateVerdict.FAIL, "DS-0002 in the image's configuration" in one.message) for one in answers
    ]
    assert dict(zip(IMAGES, found, strict=True)) == {one: (root, root) for one, root in IMAGES.items()}
    waiver = {"id": "DS-0002", "until": "2999-01-01", "reason": "needs a port below 1024"}
    assert (await ask(images[0], scanners=["misconfig"], waivers=[waiver])).verdict is GateVerdict.PASS
    assert (await ask(images[0])).verdict is GateVerdict.PASS, "who doesn't ask isn't told"


async def test_a_configuration_that_can_be_read_in_two_ways_is_roots(world: World, ask: Ask) -> None:
    made = _with("1000", "USER 1000")
    config = made.configuration
    config["config"]["user"] = "root"
    image = world.push("shop/a:1", assemble(encode(config), made.layers))
    assert (await ask(image, scanners=["misconfig"])).verdict is GateVerdict.FAIL
