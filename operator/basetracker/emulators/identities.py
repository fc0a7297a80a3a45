"""Who exists in the emulated tenant and what each may do: identities, roles, assignments.

Owns the built-in roles the product's guide names, with their ARM actions and registry rights, and evaluates
assignments the way Azure does. Knows no HTTP. Asked by Entra, the registries and ARM.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

RP = "Microsoft.ContainerRegistry/registries"
READ = frozenset({"pull", "metadata_read"})
WRITE = READ | {"push", "metadata_write"}
DELETE = frozenset({"delete", "metadata_read"})
ALL = WRITE | DELETE | {"catalog", "quarantine"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role: glob patterns of ARM actions, and rights on a registry's content.

    `mode` names the role assignment mode its content rights count in: `legacy`, `abac` or `any`.
    """

    name: str
    actions: tuple[str, ...] = ()
    content: frozenset[str] = frozenset()
    mode: str = "any"


RUN_ACTIONS = (
    f"{RP}/read",
    f"{RP}/scheduleRun/action",
    f"{RP}/runs/read",
    f"{RP}/runs/listLogSasUrl/action",
    f"{RP}/runs/cancel/action",
    f"{RP}/tasks/read",
)
TASKS_ACTIONS = (
    f"{RP}/read",
    f"{RP}/scheduleRun/action",
    f"{RP}/runs/*",
    f"{RP}/tasks/*",
    f"{RP}/taskruns/*",
)

ROLES = {
    role.name: role
    for role in (
        Role(name="AcrPull", actions=(f"{RP}/pull/read",), content=READ, mode="legacy"),
        Role(name="AcrPush", actions=(f"{RP}/pull/read", f"{RP}/push/write"), content=WRITE, mode="legacy"),
        Role(name="AcrDelete", actions=(f"{RP}/artifacts/delete",), content=DELETE, mode="legacy"),
        Role(name="AcrQuarantineWriter", content=READ | {"quarantine", "metadata_write"}),
        Role(name="Container Registry Repository Reader", content=READ, mode="abac"),
        Role(name="Container Registry Repository Writer", content=WRITE, mode="abac"),
        Role(name="Container Registry Repository Contributor", content=WRITE | DELETE, mode="abac"),
        Role(name="Container Registry Repository Catalog Lister", content=frozenset({"catalog"})),
        Role(name="Container Registry Tasks Contributor", actions=TASKS_ACTIONS),
        Role(name="basetracker operator", actions=RUN_ACTIONS),
        Role(name="Security Reader", actions=("Microsoft.Security/*/read",)),
        Role(name="Reader", actions=("*/read",), content=READ | {"catalog"}, mode="legacy"),
        Role(name="Contributor", actions=("*",), content=ALL, mode="legacy"),
        Role(name="Owner", actions=("*",), content=ALL, mode="legacy"),
    )
}
"""The roles by name; `basetracker operator` is the custom role of least privilege."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A role at a scope (an ARM id: subscription, resource group, registry or task), on some repositories."""

    role: Role
    scope: str
    repositories: tuple[str, ...] = ("*",)

    def covers(self, resource: str) -> bool:
        """Whether the scope is this resource or holds it; ids compare without case."""
        inner, outer = resource.lower().rstrip("/"), self.scope.lower().rstrip("/")
        return inner == outer or inner.startswith(outer + "/")


@dataclass(slots=True, kw_only=True)
class Identity:
    """A managed identity. `subject` (and `issuer`) is its federated credential; None accepts any."""

    name: str
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    object_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    subject: str | None = None
    issuer: str | None = None
    assignments: list[Assignment] = field(default_factory=list)

    def assign(self, role: str, scope: str, *repositories: str) -> None:
        """Give it a role by name at a scope; repositories are globs, none given means all.

        Raises KeyError for a role that doesn't exist.
        """
        self.assignments.append(Assignment(ROLES[role], scope, repositories or ("*",)))

    def unassign(self, role: str) -> None:
        """Take a role away everywhere."""
        self.assignments = [one for one in self.assignments if one.role.name != role]

    def may(self, action: str, resource: str) -> bool:
        """Whether an ARM action on this resource id is allowed."""
        return any(
            fnmatchcase(action.lower(), pattern.lower())
            for one in self.assignments
            if one.covers(resource)
            for pattern in one.role.actions
        )

    def rights(self, registry_id: str, repository: str, *, abac: bool) -> frozenset[str]:
        """The rights on a repository's content (`pull`, `push`, …) in the registry's assignment mode."""
        mode = "abac" if abac else "legacy"
        found: set[str] = set()
        for one in self.assignments:
            counts = one.covers(registry_id) and one.role.mode in {"any", mode}
            if counts and any(fnmatchcase(repository, pattern) for pattern in one.repositories):
                found |= one.role.content
        return frozenset(found)
