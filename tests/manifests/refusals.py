"""What the CRD refuses at `kubectl apply`, as data: a change to a good spec, and the words that it is refused with.

Owns the table only. The tests ask it of the emulated cluster's validator and of the API types, and of a real API
server where one is given; the e2e tests can use it too.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from .gate_refusals import KEYLESS, ROWS

Json = dict[str, Any]
Step = str | int
REGISTRY_ID = (
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/images"
    "/providers/Microsoft.ContainerRegistry/registries/contoso"
)
DIGEST = "sha256:" + "1a2b3c4d" * 8
REMOVED = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One bad spec: `changes` are set in a good one; `field` and `says` are what the refusal must hold.

    `says` is empty where the server's own words for a schema's bound are meant: they differ between versions.
    """

    name: str
    changes: tuple[tuple[tuple[Step, ...], Any], ...]
    field: str
    says: str = ""

    @property
    def tracker(self) -> Json:
        """The whole object that must be refused."""
        return tracker(*self.changes)


def tracker(*changes: tuple[tuple[Step, ...], Any]) -> Json:
    """A tracker that uses every field, with these places of its spec changed."""
    spec = copy.deepcopy(_SPEC)
    for path, value in changes:
        place: Any = spec
        for step in path[:-1]:
            place = place[step]
        if value is REMOVED:
            del place[path[-1]]
        elif isinstance(place, list) and path[-1] == len(place):
            place.append(value)
        else:
            place[path[-1]] = value
    return {
        "apiVersion": "basetracker.dev/v1alpha1",
        "kind": "BaseImageTracker",
        "metadata": {"name": "python-3-12", "namespace": "default"},
        "spec": spec,
    }


_SPEC: Json = {
    "base": {
        "image": "contoso.azurecr.io/base/python:3.12",
        "interval": "5m",
        "pullSecretRef": {"name": "hub"},
    },
    "downstream": [
        {
            "name": "checkout",
            "image": "contoso.azurecr.io/shop/checkout:main",
            "pullSecretRef": {"name": "hub.of-shop"},
            "build": {
                "acrTask": {
                    "name": "build-checkout",
                    "registry": REGISTRY_ID,
                    "baseArgument": "BASE_IMAGE",
                    "arguments": [{"name": "CHANNEL", "value": "stable"}],
                    "values": [{"name": "ID", "value": "42"}],
                },
                "timeout": "1h",
            },
            "deploy": [
                {"kind": "Deployment", "name": "checkout", "container": "app"},
                {"kind": "Deployment", "name": "checkout", "container": "migrate"},
                {"kind": "Deployment", "name": "checkout.canary"},
            ],
        },
        {"name": "cart", "image": "contoso.azurecr.io/shop/cart:main"},
    ],
    "gates": [
        {"lineage": {"accept": "Claimed"}},
        {
            "signature": {
                "cosign": {"publicKey": {"configMapRef": {"name": "keys", "key": "cosign.pub"}}},
                "timeout": "2h",
            }
        },
        {"signature": {"cosign": {"publicKey": {"secretRef": {"name": "keys", "key": "cosign.pub"}}}}},
        *KEYLESS,
        {
            "signature": {
                "notation": {
                    "trustStore": {"configMapRef": {"name": "ca"}},
                    "timestampTrustStore": {"secretRef": {"name": "tsa"}},
                    "identities": ["x509.subject: C=US, ST=WA, O=Contoso\\, Inc., CN=build", "CN=build"],
                }
            }
        },
        {
            "signature": {
                "notation": {
                    "trustStore": {"secretRef": {"name": "ca"}},
                    "timestampTrustStore": {"configMapRef": {"name": "tsa"}},
                    "identities": ["CN=build"],
                }
            }
        },
        {"reports": {"sources": ["trivy-operator", "kube-bench"], "severity": ["HIGH"], "onMissing": "Pass"}},
        {"defender": {"severity": ["CRITICAL", "UNKNOWN"], "waitAtLeast": "2h", "onUnknown": "Pass"}},
        {
            "job": {
                "template": {
                    "metadata": {"labels": {"team": "shop"}, "annotations": {"why": "grype"}},
                    "spec": {"template": {"spec": {"containers": [{"name": "scan", "image": "grype:1"}]}}},
                },
                "timeout": "20m",
            }
        },
        {
            "trivy": {
                "severity": ["HIGH"],
                "ignoreUnfixed": True,
                "compare": "NoWorse",
                "waivers": [{"id": "CVE-2026-1", "until": "2026-12-31", "reason": "not reachable"}],
                "scanners": ["vuln", "secret", "misconfig", "license"],
                "timeout": "1h",
            }
        },
    ],
    "rollout": {"mode": "Plan", "maxConcurrent": 2, "progressDeadline": "90s"},
    "rescan": {"interval": "12h", "rebuild": True},
    "protect": True,
    "suspend": True,
}

BASE = ("base", "image")
FIRST = ("downstream", 0)
TASK = (*FIRST, "build", "acrTask")
DEPLOY = (*FIRST, "deploy")


def _one(name: str, path: tuple[Step, ...], value: Any, field: str, says: str = "") -> Refusal:
    return Refusal(name=name, changes=((path, value),), field=field, says=says)


_NO_TAG = "the image has no tag; name the tag to follow, like contoso.azurecr.io/base/python:3.12"
_PINNED = "an image pinned by digest never moves; name the tag to follow, without @sha256:…"
_NO_HOST = "the registry is not a host name; write it like contoso.azurecr.io or localhost:5000"
_NO_REPOSITORY = "not a repository; it is lower case letters and digits in parts set apart by '/'"
_INTERVAL = "the interval is a duration of at least 10s and at most ten years; write it like 5m, 1h30m or 90s"
_TIMEOUT = "the timeout is a duration of at least 1s and at most ten years; write it like 1h, 1h30m or 90s"
_DEADLINE = "the progress deadline is a duration of at least 10s and at most ten years; write it like 10m, 1h30m or 90s"

IMAGES = (
    _one("base without a tag", BASE, "contoso.azurecr.io/base/python", "spec.base.image", _NO_TAG),
    _one("base with a port and no tag", BASE, "localhost:5000/python", "spec.base.image", _NO_TAG),
    _one("base pinned", BASE, f"contoso.azurecr.io/base/python@{DIGEST}", "spec.base.image", _PINNED),
    _one("base with tag and digest", BASE, f"contoso.azurecr.io/base/python:3.12@{DIGEST}", "spec.base.image", _PINNED),
    _one("base in upper case", BASE, "contoso.azurecr.io/Base/Python:3.12", "spec.base.image", _NO_REPOSITORY),
    _one("base with spaces", BASE, "contoso.azurecr.io/base python:3.12", "spec.base.image", _NO_REPOSITORY),
    _one("base with spaces around", BASE, " contoso.azurecr.io/base/python:3.12 ", "spec.base.image", _NO_HOST),
    _one("base as a URL", BASE, "https://contoso.azurecr.io/python:3.12", "spec.base.image", _NO_HOST),
    _one(
        "base with a bad tag", BASE, "contoso.azurecr.io/base/python:3+12", "spec.base.image", "not a tag; a tag is up"
    ),
    _one("base empty", BASE, "", "spec.base.image", _NO_TAG),
    _one("base too long", BASE, f"contoso.azurecr.io/{'a' * 500}:1", "spec.base.image", ""),
    _one("base absent", BASE, REMOVED, "spec.base.image", ""),
    _one("base as a number", BASE, 312, "spec.base.image", ""),
    _one(
        "image without a tag",
        (*FIRST, "image"),
        "contoso.azurecr.io/shop/checkout",
        "spec.downstream[0].image",
        _NO_TAG,
    ),
    _one(
        "image pinned",
        (*FIRST, "image"),
        f"contoso.azurecr.io/shop/checkout@{DIGEST}",
        "spec.downstream[0].image",
        _PINNED,
    ),
    _one("image in upper case", (*FIRST, "image"), "Shop/Checkout:main", "spec.downstream[0].image", _NO_REPOSITORY),
)

DOWNSTREAM = (
    _one("no downstream", ("downstream",), [], "spec.downstream", "name at least one image that is built on the base"),
    _one("downstream absent", ("downstream",), REMOVED, "spec.downstream", ""),
    _one(
        "one name twice",
        ("downstream", 1, "name"),
        "checkout",
        "spec.downstream",
        "two downstream images have one name; give each a name of its own",
    ),
    _one(
        "one image twice",
        ("downstream", 1, "image"),
        "contoso.azurecr.io/shop/checkout:main",
        "spec.downstream",
        "two downstream entries name one image; put all its workloads under one entry",
    ),
    _one(
        "an output that is its own base",
        (*FIRST, "image"),
        "contoso.azurecr.io/base/python:3.12",
        "spec.downstream",
        "a downstream image is its own base; a tracker's output can't be its input",
    ),
    _one(
        "name in upper case",
        (*FIRST, "name"),
        "Checkout",
        "spec.downstream[0].name",
        "not the name of a downstream image",
    ),
    _one("name too long", (*FIRST, "name"), "a" * 64, "spec.downstream[0].name", ""),
    _one(
        "Secret's name",
        ("base", "pullSecretRef", "name"),
        "My_Hub",
        "spec.base.pullSecretRef.name",
        "not the name of a Secret; it is lower case letters, digits, '-' and '.'",
    ),
    _one("Secret without a name", (*FIRST, "pullSecretRef"), {}, "spec.downstream[0].pullSecretRef.name", ""),
)

DURATIONS = (
    *(
        _one(f"interval {bad or 'empty'}", ("base", "interval"), bad, "spec.base.interval", _INTERVAL)
        for bad in ("9s", "9.999s", "0s", "0", "", "5", "5 m", "5M", "-5m", "5m later", "1d", "999999h")
    ),
    *(
        _one(f"timeout {bad}", (*FIRST, "build", "timeout"), bad, "spec.downstream[0].build.timeout", _TIMEOUT)
        for bad in ("0s", "0h0m", "soon", "-1h")
    ),
    *(
        _one(f"deadline {bad}", ("rollout", "progressDeadline"), bad, "spec.rollout.progressDeadline", _DEADLINE)
        for bad in ("9s", "0s", "ten minutes")
    ),
)

BUILDS = (
    _one("build of no kind", (*FIRST, "build"), {}, "spec.downstream[0].build.acrTask", ""),
    _one("task without a name", (*TASK, "name"), REMOVED, "spec.downstream[0].build.acrTask.name", ""),
    *(
        _one(
            f"task named {bad[:12]}",
            (*TASK, "name"),
            bad,
            "spec.downstream[0].build.acrTask.name",
            "not the name of an ACR Task; it is 5 to 50 letters, digits, '-' and '_'",
        )
        for bad in ("four", "build.checkout", "tasks/build")
    ),
    _one("task's name too long", (*TASK, "name"), "a" * 51, "spec.downstream[0].build.acrTask.name", ""),
    *(
        _one(
            f"registry as {kind}",
            (*TASK, "registry"),
            bad,
            "spec.downstream[0].build.acrTask.registry",
            "not the ARM id of a registry; write it as /subscriptions/<id>/resourceGroups/<group>",
        )
        for kind, bad in (
            ("a name", "contoso"),
            ("a login server", "contoso.azurecr.io"),
            ("another resource", REGISTRY_ID.replace("registries/contoso", "vaults/contoso")),
            ("a task's id", REGISTRY_ID + "/tasks/build-checkout"),
            ("a path that climbs", REGISTRY_ID.replace("images", "images/../other")),
        )
    ),
    _one(
        "base argument listed too",
        (*TASK, "arguments", 0, "name"),
        "BASE_IMAGE",
        "spec.downstream[0].build.acrTask.arguments",
        "baseArgument is also listed in arguments; the operator sets it itself, so take it out of arguments",
    ),
    _one(
        "base argument no identifier",
        (*TASK, "baseArgument"),
        "BASE-IMAGE",
        "spec.downstream[0].build.acrTask.baseArgument",
        "not the name of a build argument; it is letters, digits and '_'",
    ),
    _one(
        "argument no identifier",
        (*TASK, "arguments", 0, "name"),
        "2ND",
        "spec.downstream[0].build.acrTask.arguments[0].name",
        "not the name of a build argument; it is letters, digits and '_'",
    ),
    _one(
        "argument twice",
        (*TASK, "arguments", 1),
        {"name": "CHANNEL", "value": "beta"},
        "spec.downstream[0].build.acrTask.arguments",
        "a build argument is given twice; keep one entry for each name",
    ),
    _one(
        "value twice",
        (*TASK, "values", 1),
        {"name": "ID", "value": "43"},
        "spec.downstream[0].build.acrTask.values",
        "a task value is given twice; keep one entry for each name",
    ),
    _one(
        "value no identifier",
        (*TASK, "values", 0, "name"),
        "run id",
        "spec.downstream[0].build.acrTask.values[0].name",
        "not the name of a task value; it is letters, digits and '_'",
    ),
    _one(
        "value as a number", (*TASK, "values", 0, "value"), 42, "spec.downstream[0].build.acrTask.values[0].value", ""
    ),
)

DELIVERIES = (
    _one(
        "workload twice",
        (*DEPLOY, 3),
        {"kind": "Deployment", "name": "checkout.canary"},
        "spec.downstream[0].deploy",
        "one workload is listed twice; keep one entry for each workload and container",
    ),
    _one(
        "container twice",
        (*DEPLOY, 1, "container"),
        "app",
        "spec.downstream[0].deploy",
        "one workload is listed twice; keep one entry for each workload and container",
    ),
    _one("workload's kind", (*DEPLOY, 0, "kind"), "ReplicaSet", "spec.downstream[0].deploy[0].kind", ""),
    _one(
        "workload's name",
        (*DEPLOY, 0, "name"),
        "Check_Out",
        "spec.downstream[0].deploy[0].name",
        "not the name of a workload; it is lower case letters, digits, '-' and '.'",
    ),
    _one("workload without a name", (*DEPLOY, 0, "name"), REMOVED, "spec.downstream[0].deploy[0].name", ""),
    _one(
        "container's name",
        (*DEPLOY, 0, "container"),
        "app.main",
        "spec.downstream[0].deploy[0].container",
        "not the name of a container; it is lower case letters, digits and '-'",
    ),
)

ROLLOUTS = (
    _one("no gates", ("gates",), [], "spec.gates", "no gate at all would deliver what nobody has looked at"),
    _one("a gate of no kind", ("gates",), [{}], "spec.gates[0]", "a gate names exactly one kind"),
    _one("an unknown gate", ("gates",), [{"horoscope": {}}], "spec.gates[0]", "a gate names exactly one kind"),
    _one("lineage twice", ("gates", 1), {"lineage": {}}, "spec.gates", "lineage is always asked first and once"),
    _one(
        "a rebuild that no gate can call for",
        ("gates",),
        [{"lineage": {}}, {"signature": {"cosign": {"publicKey": {"configMapRef": {"name": "keys", "key": "a.pub"}}}}}],
        "spec.rescan",
        "only the Trivy gate can tell what a rebuild mends",
    ),
    _one("a word for rebuild", ("rescan", "rebuild"), "yes", "spec.rescan.rebuild", ""),
    _one("an unknown acceptance", ("gates", 0, "lineage", "accept"), "Maybe", "spec.gates[0].lineage.accept", ""),
    _one("an unknown mode", ("rollout", "mode"), "Dry", "spec.rollout.mode", ""),
    _one("none at once", ("rollout", "maxConcurrent"), 0, "spec.rollout.maxConcurrent", ""),
    _one("a word for suspend", ("suspend",), "yes", "spec.suspend", ""),
)

GATES = tuple(
    _one(name, ("gates",), [{"lineage": {}}, gate], f"spec.gates[1]{'.' if below else ''}{below}", says)
    for name, gate, below, says in ROWS
)

REFUSALS = (*IMAGES, *DOWNSTREAM, *DURATIONS, *BUILDS, *DELIVERIES, *ROLLOUTS, *GATES)
