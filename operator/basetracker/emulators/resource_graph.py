"""The emulated Azure Resource Graph: Defender's assessments, and as much of KQL as finding them takes.

Owns the assessments, their shape, the query language's few steps, pages and the quota of queries. Who may ask is decided as
everywhere in `arm.py`. What a caller may not read isn't refused but left out, as in Azure: an answer without rows says
nothing. Used by `cloud`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from basetracker.emulators.arm import Json, ResourceManager, arm_error, read_body
from basetracker.emulators.identities import Identity
from basetracker.emulators.timeline import Clock

PATH = "/providers/Microsoft.ResourceGraph/resources"
READ = "Microsoft.Security/assessments/read"
LARGEST_PAGE = 1_000
WINDOW_SECONDS = 5
_PATH = r"[A-Za-z_][\w.]*"
_EXPRESSION = rf"(?:(?P<call>tostring|parse_json|parse_json\(tostring)\()?(?P<path>{_PATH})\)*"


class ResourceGraph:
    """`securityresources` of one subscription."""

    def __init__(self, subscription: str, clock: Clock, manager: ResourceManager) -> None:
        self.assessments: list[Json] = []
        """Whole assessments, as `assessment` makes them; a test may put in others."""
        self.quota = 15
        """Queries in five seconds, for each caller."""
        self.page_size = LARGEST_PAGE
        """Rows of a page at most; less than Azure's makes a caller page."""
        self.pages_end_early = False
        """Whether rows are cut off without a token for the rest, as Azure does when it can't page."""
        self._subscription = subscription
        self._clock = clock
        self._asked: Counter[tuple[str, int]] = Counter()
        manager.provide("POST", PATH, self._resources)

    def add(self, *assessments: Json) -> None:
        """Let these be found from now on."""
        self.assessments.extend(assessments)

    async def _resources(self, identity: Identity, request: web.Request) -> web.Response:
        headers = self._spend(identity)
        body = await read_body(request)
        options = body.get("options") or {}
        if options.get("resultFormat", "objectArray") != "objectArray":
            raise _invalid("Only objectArray is emulated.")
        rows = run(str(body.get("query", "")), self._visible(identity, body.get("subscriptions")))
        start, size = _offset(options.get("$skipToken")), min(int(options.get("$top") or 100), self.page_size)
        page = rows[start : start + size]
        more = start + size < len(rows)
        document: Json = {
            "totalRecords": len(rows),
            "count": len(page),
            "data": page,
            "facets": [],
            "resultTruncated": "true" if more and self.pages_end_early else "false",
        }
        if more and not self.pages_end_early:
            document["$skipToken"] = base64.b64encode(str(start + size).encode()).decode()
        return web.json_response(document, headers=headers)

    def _visible(self, identity: Identity, subscriptions: Sequence[str] | None) -> list[Json]:
        """What the caller may read, of the subscriptions that it names."""
        named = subscriptions is None or self._subscription.lower() in {str(one).lower() for one in subscriptions}
        return self.assessments if named and identity.may(READ, f"/subscriptions/{self._subscription}") else []

    def _spend(self, identity: Identity) -> dict[str, str]:
        """The headers that tell what is left of the quota. Raises RefusedError (429) when nothing is."""
        now = self._clock().timestamp()
        window = (identity.client_id, int(now // WINDOW_SECONDS))
        seconds = math.ceil(WINDOW_SECONDS - now % WINDOW_SECONDS)
        resets = {"x-ms-user-quota-resets-after": f"00:00:{seconds:02d}"}
        if self._asked[window] >= self.quota:
            told = {"x-ms-user-quota-remaining": "0", "Retry-After": str(seconds)}
            raise arm_error(429, "RateLimiting", "Please provide below info when asking for support.", resets | told)
        self._asked[window] += 1
        return resets | {"x-ms-user-quota-remaining": str(self.quota - self._asked[window])}


def assessment(
    *,
    digest: str,
    subscription: str,
    registry: str = "contoso.azurecr.io",
    repository: str = "shop/checkout",
    software: str = "openssl",
    fixed: str = "",
    cves: Sequence[tuple[str, str]] = (),
    code: str = "Unhealthy",
) -> Json:
    """One assessment as Defender writes it: of one package in one image, with its (id, severity) pairs."""
    name = f"{registry}/{repository}/{digest}/{software}".replace("/", "-").replace(":", "-")
    image = {
        "Digest": digest,
        "RepositoryDetails": {"RepositoryName": repository, "RegistryHost": registry},
    }
    return {
        "id": f"/subscriptions/{subscription}/providers/Microsoft.Security/assessments/{name}",
        "type": "microsoft.security/assessments",
        "subscriptionId": subscription,
        "properties": {
            "metadata": {"recommendationCategory": "SoftwareUpdate"},
            "resourceDetails": {"ResourceType": ".containerimage", "Source": "Azure"},
            # Both are JSON in a string, which is why queries parse them.
            "resourceAdditionalData": json.dumps(image),
            "additionalData": {
                "SoftwareName": software,
                "FixedVersion": fixed,
                "CvesDetails": json.dumps(
                    [
                        {"CveId": one, "Severity": severity, "FixStatus": "FixAvailable" if fixed else "NoFix"}
                        for one, severity in cves
                    ]
                ),
            },
            "status": {"code": code},
        },
    }


def run(query: str, resources: Sequence[Json]) -> list[Json]:
    """The rows that a query answers: `where`, `extend`, `project` and `order by … asc` over paths into the resources.

    Raises RefusedError (400) for everything else.
    """
    table, *steps = [part.strip() for part in query.split("|")]
    if table != "securityresources":
        raise _invalid(f"'{table}' is no table that is emulated.")
    rows = [dict(one) for one in resources]
    for step in steps:
        verb, _, rest = step.partition(" ")
        match verb:
            case "where":
                holds = _condition(rest.strip())
                rows = [row for row in rows if holds(row)]
            case "extend":
                added = _columns(rest)
                rows = [row | {name: _value(row, expression) for name, expression in added.items()} for row in rows]
            case "project":
                kept = _columns(rest)
                rows = [{name: _value(row, expression) for name, expression in kept.items()} for row in rows]
            case "order":
                column = re.fullmatch(r"by (\w+) asc", rest.strip())
                if column is None:
                    raise _invalid(f"'{step}' can't be sorted by.")
                rows = sorted(rows, key=lambda row: str(row.get(column[1])))
            case _:
                raise _invalid(f"'{verb}' is not emulated.")
    return rows


def _condition(text: str) -> Any:
    found = re.fullmatch(rf"(?P<left>{_EXPRESSION}) (?:== (?P<one>\".*\")|in \((?P<many>.*)\))", text, re.DOTALL)
    if found is None:
        raise _invalid(f"'{text}' is not a condition.")
    try:
        wanted = set(json.loads(f"[{found['one'] or found['many']}]"))
    except ValueError:
        raise _invalid(f"'{text}' compares with no strings.") from None
    left = found["left"]
    return lambda row: _value(row, left) in wanted


def _columns(text: str) -> dict[str, str]:
    """`name` or `name = expression`, set apart by commas."""
    columns = {}
    for item in text.split(","):
        name, _, expression = (part.strip() for part in item.partition("="))
        columns[name] = expression or name
        if re.fullmatch(_EXPRESSION, columns[name]) is None:
            raise _invalid(f"'{item}' is not a column.")
    return columns


def _value(row: Json, expression: str) -> Any:
    found = re.fullmatch(_EXPRESSION, expression)
    if found is None:
        raise _invalid(f"'{expression}' is not an expression.")
    value: Any = row
    for name in found["path"].split("."):
        value = value.get(name) if isinstance(value, dict) else None
    match found["call"]:
        case "tostring":
            return value if isinstance(value, str) else "" if value is None else json.dumps(value)
        case None:
            return value
        case _:
            return _parsed(value)


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None


def _offset(token: Any) -> int:
    try:
        return int(base64.b64decode(token or "MA==", validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise _invalid("The skip token is invalid.") from None


def _invalid(message: str) -> Exception:
    return arm_error(400, "InvalidQuery", f"Query is invalid. {message}")
