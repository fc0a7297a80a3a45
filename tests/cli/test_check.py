"""`basetracker check`: what the API server would refuse is refused, and what a tracker names is tried."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from basetracker.cli.check import command
from basetracker.emulators import samples

from ..manifests.refusals import REFUSALS, Refusal
from ..manifests.refusals import tracker as good_tracker
from .shop import BASE, Json, Shop, run, tracker

HUB_BASE = "registry.example.com/base/python:3.12"


def checked(text: str, *arguments: str) -> tuple[int, Json]:
    """The exit code and the JSON of an offline check of standard input."""
    runner = CliRunner()
    result = runner.invoke(
        command, ["--offline", "-o", "json", *arguments, "-"], input=text, standalone_mode=False, catch_exceptions=False
    )
    return result.return_value, json.loads(result.stdout)


def wrong(document: Json) -> list[tuple[str, str]]:
    return [(one["what"], one["message"]) for one in document["findings"] if one["result"] == "wrong"]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name.replace(" ", "-"))
def test_whatever_the_crd_refuses_is_refused_in_its_words(refusal: Refusal) -> None:
    code, found = checked(yaml.safe_dump(refusal.tracker, allow_unicode=True))
    assert (code, found["ok"]) == (1, False)
    assert [1 for what, message in wrong(found) if what == refusal.field and refusal.says in message], found


def test_a_good_tracker_passes() -> None:
    code, found = checked(yaml.safe_dump(good_tracker()))
    assert (code, found["ok"], found["trackers"]) == (0, True, 1)
    assert [(one["tracker"], one["what"], one["result"]) for one in found["findings"]] == [
        ("python-3-12", "spec", "ok")
    ]


def _changed(**changes: Any) -> Json:
    return tracker() | changes


@pytest.mark.parametrize(
    ("document", "what", "says"),
    [
        (
            _changed(apiVersion="basetracker.dev/v1"),
            "apiVersion",
            "'basetracker.dev/v1' is not basetracker.dev/v1alpha1",
        ),
        (_changed(kind="BaseImageTraker"), "kind", "'BaseImageTraker' is not BaseImageTracker"),
        (_changed(metadata={}), "metadata.name", "None is not a name"),
        (_changed(metadata={"name": "Python"}), "metadata.name", "'Python' is not a name"),
        (_changed(metadata={"name": 312}), "metadata.name", "312 is not a name"),
        (_changed(spec=None), "spec", ""),
        (_changed(sepc={}), "sepc", "unknown field"),
        (tracker(gatez=[]), "spec.gatez", "unknown field"),
        (tracker(rollout={"max_concurrent": 2}), "spec.rollout.max_concurrent", "unknown field"),
        (tracker(rollout={"maxConcurrent": "2"}), "spec.rollout.maxConcurrent", ""),
        (tracker(downstream=[{"name": "a"}]), "spec.downstream[0].image", "it has to be given"),
    ],
)
def test_what_else_is_wrong(document: Json, what: str, says: str) -> None:
    code, found = checked(yaml.safe_dump(document))
    assert code == 1
    assert [message for place, message in wrong(found) if place == what and says in message], found


def test_several_documents_with_their_lines() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    several = {"apiVersion": "v1", "kind": "List", "items": [tracker("second"), tracker("third", gates=[])]}
    text = "\n---\n".join(yaml.safe_dump(one) for one in (tracker("first"), config, several)) + "---\n# nothing\n"
    code, found = checked(text)
    assert (code, found["trackers"]) == (1, 2)
    told = [(one["tracker"], one["what"], one["result"]) for one in found["findings"]]
    assert told == [
        ("first", "spec", "ok"),
        ("settings", "ConfigMap", "skipped"),
        ("second", "spec", "ok"),
        ("third", "spec.gates", "wrong"),
    ]
    rows = text.splitlines()
    at = [one["line"] for one in found["findings"]]
    assert at[0] == 1
    assert all(rows[line - 1].lstrip("- ").startswith("apiVersion") for line in at)
    assert len(set(at)) == len(at)


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("kind: A\n  b: c\n", 2, 4, "mapping values are not allowed here"),
        ("a: [1\nb: 2\n", 2, 2, "expected ',' or ']'"),
        ("a: 1\n---\nspec:\n  name: x\n  name: y\n", 5, 3, "the key 'name' stands twice"),
        ("a: *b\n", 1, 4, "undefined alias"),
        ("a: !!python/object:os.system {}\n", 1, 4, "could not determine a constructor"),
        ("# a\n---\n# b\nwhen: 2026-13-45\n", 4, None, "month must be in 1..12"),
        ("a: 1\nb: \x07\n", 2, None, "special characters are not allowed"),
        ("- 1\n- 2\n", 1, None, "it isn't an object"),
    ],
)
def test_yaml_that_is_wrong(text: str, line: int, column: int | None, says: str) -> None:
    code, found = checked(text)
    assert code == 1
    (finding,) = [one for one in found["findings"] if one["result"] == "wrong"]
    assert (finding["line"], finding["column"]) == (line, column)
    assert says in finding["message"]


def test_nothing_to_look_at() -> None:
    result = CliRunner().invoke(command, ["--offline", "-"], input="# nothing\n", standalone_mode=False)
    assert (result.return_value, result.stdout) == (0, "")
    assert "the files hold nothing" in result.stderr


def write(shop: Shop, *documents: Json, name: str = "trackers.yaml") -> str:
    path: Path = shop.directory / name
    path.write_text("---\n".join(yaml.safe_dump(one) for one in documents))
    return str(path)


def results(found: Json) -> Iterable[tuple[str, str]]:
    return [(one["what"], one["result"]) for one in found["findings"]]


def message(found: Json, what: str) -> str:
    (only,) = [one["message"] for one in found["findings"] if one["what"] == what]
    return str(only)


async def test_everything_can_be_read(shop: Shop) -> None:
    file = write(shop, tracker(), tracker("again"))
    ran = await shop.run("check", file, "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    one = [("spec", "ok"), ("base", "ok"), ("image checkout", "ok"), ("task checkout", "ok")]
    assert sorted(results(ran.json)) == sorted([*one, *one])
    assert len(shop.cloud.faults.asked("HEAD contoso.azurecr.io .*/base/python/")) == 1, "each image is asked for once"
    assert shop.writes() == []
    assert not [one for one in shop.cluster.requests if "basetracker/" in one.user_agent], "no need for the cluster"
    text = await shop.run("check", file, "--kubeconfig", str(shop.directory / "kubeconfig"))
    head, *rows = text.out.splitlines()
    assert head.split() == ["FILE", "TRACKER", "WHAT", "RESULT", "MESSAGE"]
    assert len(rows) == 8
    assert rows[1].split() == [f"{file}:1", "python", "base", "ok", BASE, "is", shop.base_digest[7:19]]


async def test_offline_asks_nobody(shop: Shop) -> None:
    ran = await shop.run("check", "--offline", write(shop, tracker()))
    assert ran.code == 0
    assert not shop.cloud.faults.log
    assert not shop.cloud.proxy.connects


async def test_what_isnt_there(shop: Shop) -> None:
    shop.task.enabled = False
    other = tracker("other", base="contoso.azurecr.io/base/python:4", image="contoso.azurecr.io/shop/cart:main")
    other["spec"]["downstream"][0]["build"]["acrTask"]["name"] = "build-nothing"
    ran = await shop.run("check", write(shop, tracker()), write(shop, other, name="b.yaml"), "-o", "json")
    assert ran.code == 1
    first, second = (
        {"findings": [one for one in ran.json["findings"] if one["tracker"] == name]} for name in ("python", "other")
    )
    assert "contoso/build-checkout is disabled; enable it with" in message(first, "task checkout")
    assert "contoso.azurecr.io has no such tag" in message(second, "base")
    assert "contoso.azurecr.io has no such tag" in message(second, "image checkout")
    assert "contoso/build-nothing: there is no such task" in message(second, "task checkout")


async def test_without_azure_credentials(shop: Shop) -> None:
    ran = await shop.run("check", write(shop, tracker()), "-o", "json", azure=False)
    assert ran.code == 1
    assert list(results(ran.json)) == [
        ("spec", "ok"),
        ("base", "wrong"),
        ("image checkout", "wrong"),
        ("task checkout", "skipped"),
    ]
    assert "(no AZURE_* credentials are at hand here)" in message(ran.json, "base")
    shop.contoso.access.anonymous_pull = True
    ran = await shop.run("check", write(shop, tracker()), azure=False)
    assert ran.code == 0


def hub(shop: Shop) -> Json:
    """A tracker whose base needs the pull Secret `hub`."""
    shop.cloud.add_token_registry("registry.example.com", "auth.example.com", {"anna": "pass-word"})
    shop.cloud.push(HUB_BASE, samples.python())
    document = tracker(base=HUB_BASE)
    document["spec"]["base"]["pullSecretRef"] = {"name": "hub"}
    del document["metadata"]["namespace"]
    return document


async def test_the_pull_secret_is_read_from_the_cluster(shop: Shop) -> None:
    auths = {"auths": {"registry.example.com": {"username": "anna", "password": "pass-word"}}}
    secret: Json = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "hub", "namespace": "shop"},
        "data": {".dockerconfigjson": base64.b64encode(json.dumps(auths).encode()).decode()},
    }
    file = write(shop, hub(shop))
    absent = await shop.run("check", file, "-o", "json")
    assert (absent.code, message(absent.json, "base").endswith("there is no Secret shop/hub")) == (1, True)
    await shop.cluster.apply(secret)
    ran = await shop.run("check", file, "-o", "json")
    assert (ran.code, message(ran.json, "base")) == (0, f"{HUB_BASE} is {shop.base_digest[7:19]}")
    elsewhere = await shop.run("check", file, "-n", "default", "-o", "json")
    assert message(elsewhere.json, "base").endswith("there is no Secret default/hub")
    assert "pass-word" not in ran.out + ran.err
    assert shop.writes() == []


async def test_no_cluster_for_the_pull_secret(shop: Shop) -> None:
    file = write(shop, hub(shop))
    home = {"KUBECONFIG": "", "HOME": str(shop.directory)}
    ran = await shop.run("check", file, "-o", "json", environment=home)
    assert ran.code == 1
    assert "isn't tried, since its pull Secret can't be read" in message(ran.json, "base")
    assert dict(results(ran.json))["image checkout"] == "ok"
    assert (await shop.run("check", "--offline", file, environment=home)).code == 0


async def test_the_allow_list_counts_where_it_is_at_hand(shop: Shop) -> None:
    allowed = shop.directory / "tasks.yaml"
    allowed.write_text("- {namespaces: [other], registries: [contoso], tasks: ['*']}\n")
    ran = await shop.run(
        "check", write(shop, tracker()), "-o", "json", environment={"BASETRACKER_ALLOW_LIST": str(allowed)}
    )
    assert ran.code == 1
    assert "the allow-list of tasks doesn't name it for this namespace" in message(ran.json, "task checkout")


async def test_standard_input_and_wrong_usage(tmp_path: Path) -> None:
    ran = await run("check", "--offline", "-", stdin=yaml.safe_dump(tracker()).encode())
    assert (ran.code, "standard input:1" in ran.out) == (0, True)
    for arguments in ([], [str(tmp_path / "absent.yaml")], [str(tmp_path)], ["--offline", "-", "-o", "xml"]):
        ran = await run("check", *arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
