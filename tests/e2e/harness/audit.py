"""What the API server itself has written down about the requests of ServiceAccounts.

Owns the audit policy of a control plane of our own, and reading its log. The controllers' accounts are left out. The
server writes a line before it ends its answer, so whatever a client has got an answer to is in the log.

A server that has just begun knows no Role yet and forbids everything to everybody, until it calls itself ready; what it
says then tells nothing of rights. A load balancer sends it nobody before that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
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
    """Whether a server that knew the Roles refused it."""


class AuditLog:
    """The log of one API server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts: list[tuple[datetime, datetime]] = []

    @contextmanager
    def start(self) -> Iterator[None]:
        """The server starts within this block, and is ready at its end."""
        begin = datetime.now(UTC)
        yield
        self._starts.append((begin, datetime.now(UTC)))

    def requests(self, namespace: str, account: str) -> list[Request]:
        """Everything that a ServiceAccount has asked so far, oldest first."""
        user = f"system:serviceaccount:{namespace}:{account}"
        # The last line may be half written.
        lines = self.path.read_text().split("\n")[:-1] if self.path.exists() else []
        events = (json.loads(line) for line in lines if user in line)
        return [self._request(event) for event in events if event["user"]["username"] == user]

    def _request(self, event: dict[str, Any]) -> Request:
        about = event.get("objectRef", {})
        forbidden = event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
        return Request(
            verb=event["verb"],
            namespace=about.get("namespace", ""),
            resource="/".join(part for part in (about.get("resource"), about.get("subresource")) if part),
            path=event["requestURI"],
            code=event["responseStatus"]["code"],
            lacks_right=forbidden and not self._is_starting(datetime.fromisoformat(event["requestReceivedTimestamp"])),
        )

    def _is_starting(self, time: datetime) -> bool:
        return any(begin <= time <= end for begin, end in self._starts)
