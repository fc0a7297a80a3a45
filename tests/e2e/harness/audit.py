"""What the API server itself has written down about the requests of ServiceAccounts.

Owns the audit policy of a control plane of our own, and reading its log. The controllers' accounts are left out. The
server writes a line before it ends its answer, so whatever a client has got an answer to is in the log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that was answered; `namespace` and `resource` are empty where the path names none."""

    verb: str
    namespace: str
    resource: str
    path: str
    code: int
    lacks_right: bool


class AuditLog:
    """The log of one API server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def requests(self, namespace: str, account: str) -> list[Request]:
        """Everything that a ServiceAccount has asked so far, oldest first."""
        user = f"system:serviceaccount:{namespace}:{account}"
        # The last line may be half written.
        lines = self.path.read_text().split("\n")[:-1] if self.path.exists() else []
        events = (json.loads(line) for line in lines if user in line)
        return [_request(event) for event in events if event["user"]["username"] == user]


def _request(event: dict[str, Any]) -> Request:
    about = event.get("objectRef", {})
    return Request(
        verb=event["verb"],
        namespace=about.get("namespace", ""),
        resource="/".join(part for part in (about.get("resource"), about.get("subresource")) if part),
        path=event["requestURI"],
        code=event["responseStatus"]["code"],
        lacks_right=event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid",
    )
