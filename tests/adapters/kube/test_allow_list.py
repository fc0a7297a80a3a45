"""The list of allowed tasks: what it allows, and that it fails closed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from basetracker.adapters.allow_list import LOOK_SECONDS, FileAllowList, read_entries
from basetracker.errors import InvalidError

CONTOSO = "/subscriptions/1/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/Contoso"
FABRIKAM = CONTOSO.replace("Contoso", "fabrikam")
TEXT = """
- namespaces: [shop, "team-*"]
  registries: [contoso]
  tasks: [build-checkout, "web-*"]
- namespaces: ["*"]
  registries: ["/subscriptions/1/*/registries/fabrikam"]
  tasks: ["*"]
"""


@pytest.mark.parametrize(
    ("namespace", "registry", "task", "allowed"),
    [
        ("shop", CONTOSO, "build-checkout", True),
        ("shop", CONTOSO.upper(), "BUILD-checkout", True),
        ("team-a", CONTOSO, "web-1", True),
        ("team", CONTOSO, "web-1", False),
        ("shop", CONTOSO, "build-checkout2", False),
        ("shop", CONTOSO, "other", False),
        ("shop", CONTOSO + "2", "build-checkout", False),
        ("other", CONTOSO, "build-checkout", False),
        ("other", FABRIKAM, "anything", True),
        ("other", FABRIKAM.replace("/1/", "/2/"), "anything", False),
    ],
)
async def test_one_entry_must_name_all_three(
    tmp_path: Path, set_clock: Any, namespace: str, registry: str, task: str, allowed: bool
) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(TEXT)
    assert await FileAllowList(path, clock=set_clock).allows(namespace, registry, task) is allowed


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "a: 1",
        "just words",
        "- shop",
        "- {namespaces: [a], registries: [b]}",
        "- {namespaces: [a], registries: [b], tasks: [c], task: [d]}",
        "- {namespaces: a, registries: [b], tasks: [c]}",
        "- {namespaces: [a], registries: [b], tasks: [1]}",
        "- {namespaces: [a], registries: [b], tasks: ['']}",
        "- {namespaces: [a], registries: null, tasks: [c]}",
    ],
)
async def test_a_list_with_any_mistake_allows_nothing(
    tmp_path: Path, set_clock: Any, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    with pytest.raises(InvalidError):
        read_entries(text)
    path = tmp_path / "tasks.yaml"
    path.write_text(TEXT + "\n" + text if text.startswith("-") else text)
    allow_list = FileAllowList(path, clock=set_clock)
    for _ in range(5):
        assert not await allow_list.allows("shop", CONTOSO, "build-checkout")
        set_clock.seconds += LOOK_SECONDS
    assert caplog.text.count("can't be used") == 1, "said once, not at each build"


async def test_an_absent_or_unnamed_list_allows_nothing(
    tmp_path: Path, set_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert not await FileAllowList(tmp_path / "none", clock=set_clock).allows("shop", CONTOSO, "build-checkout")
    assert not await FileAllowList(None, clock=set_clock).allows("shop", CONTOSO, "build-checkout")
    assert not await FileAllowList(tmp_path, clock=set_clock).allows("shop", CONTOSO, "build-checkout")
    assert caplog.text.count("no task is started") == 3
    assert read_entries("") == ()


async def test_a_list_that_is_too_large_allows_nothing(tmp_path: Path, set_clock: Any) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(TEXT + "#" * (1 << 20))
    assert not await FileAllowList(path, clock=set_clock).allows("shop", CONTOSO, "build-checkout")


def swap(mount: Path, generation: int, text: str) -> None:
    """Change a mounted ConfigMap as the kubelet does: a new folder, and a link that is moved to it."""
    folder = mount / f"..{generation}"
    folder.mkdir(parents=True)
    (folder / "tasks.yaml").write_text(text)
    (mount / "..new").symlink_to(folder.name)
    os.replace(mount / "..new", mount / "..data")
    if not (mount / "tasks.yaml").is_symlink():
        (mount / "tasks.yaml").symlink_to("..data/tasks.yaml")


async def test_a_swapped_mount_is_read_anew_within_seconds(tmp_path: Path, set_clock: Any) -> None:
    swap(tmp_path, 1, TEXT)
    allow_list = FileAllowList(tmp_path / "tasks.yaml", clock=set_clock)

    async def allows(task: str) -> bool:
        return await allow_list.allows("shop", CONTOSO, task)

    assert await allows("build-checkout")
    swap(tmp_path, 2, TEXT.replace("build-checkout", "build-shopping"))
    assert await allows("build-checkout"), "not looked at again yet"
    set_clock.seconds += LOOK_SECONDS
    assert not await allows("build-checkout")
    assert await allows("build-shopping")
    swap(tmp_path, 3, "broken: [")
    set_clock.seconds += LOOK_SECONDS
    assert not await allows("build-shopping"), "a list that broke allows nothing, whatever it said before"
    swap(tmp_path, 4, TEXT)
    set_clock.seconds += LOOK_SECONDS
    assert await allows("build-checkout")
