"""Who may do what: the RBAC authorizer over the stored Roles and Bindings.

Owns the decision and its text, and remembers what it denied, so that a test can claim that nothing was. Reads
rules straight from the store, so a changed Role counts at once. Who somebody is, `identity.py` tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from basetracker.emulators.cluster.document import Json
from basetracker.emulators.cluster.identity import User
from basetracker.emulators.cluster.refusals import Refusal, denied
from basetracker.emulators.cluster.store import Store

_GROUP = "rbac.authorization.k8s.io"
# What every authenticated user may ask for on a real cluster, by system:basic-user and system:discovery.
_OPEN_TO_ALL = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
_OPEN_PATHS = ("/api", "/apis", "/openapi", "/version", "/healthz", "/readyz", "/livez")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """One request as the authorizer sees it; `path` is set, and nothing else but the verb, where no resource is meant."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """`pods` or `pods/status`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Denial:
    """A request that was denied, and the text it got."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    message: str


class Authorizer:
    """Decides by the rules that are stored at that moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.denied: deque[Denial] = deque(maxlen=1000)

    def require(self, user: User, asked: Attributes) -> None:
        """Let an allowed request pass.

        Raises:
            Refusal: 403; the denial is remembered.
        """
        if not self.allows(user, asked):
            refusal = _refusal(user, asked)
            resource = asked.full_resource or asked.path
            self.denied.append(Denial(user.name, asked.verb, resource, asked.namespace, asked.name, refusal.message))
            raise refusal

    def allows(self, user: User, asked: Attributes) -> bool:
        """Whether this user may do that."""
        if user.is_admin:
            return True
        if asked.path:
            return asked.verb == "get" and asked.path.startswith(_OPEN_PATHS)
        if asked.resource in _OPEN_TO_ALL and asked.verb == "create":
            return True
        return any(_covers(rule, asked) for rule in self.rules(user, asked.namespace))

    def rules(self, user: User, namespace: str) -> Iterator[Json]:
        """Every rule that this user has cluster-wide or, when one is given, in this namespace."""
        for _, stored in self._store.all(f"clusterrolebindings.{_GROUP}"):
            yield from self._bound(stored.document, user, "")
        if namespace:
            for _, stored in self._store.all(f"rolebindings.{_GROUP}", namespace):
                yield from self._bound(stored.document, user, namespace)

    def _bound(self, binding: Json, user: User, namespace: str) -> Iterator[Json]:
        if not any(_is_subject(subject, user, namespace) for subject in binding.get("subjects") or []):
            return
        reference = binding["roleRef"]
        if reference["kind"] == "ClusterRole":
            role = self._store.get(f"clusterroles.{_GROUP}", ("", reference["name"]))
        else:
            role = self._store.get(f"roles.{_GROUP}", (namespace, reference["name"]))
        if role is not None:
            yield from role.document.get("rules") or []


def _is_subject(subject: Json, user: User, namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            home = subject.get("namespace") or namespace
            return user.name == f"system:serviceaccount:{home}:{subject['name']}"
    return False


def _covers(rule: Json, asked: Attributes) -> bool:
    def has(field: str, *wanted: str) -> bool:
        values = rule.get(field) or []
        return "*" in values or any(value in values for value in wanted)

    resources = [asked.full_resource] + ([f"*/{asked.subresource}"] if asked.subresource else [])
    if not has("verbs", asked.verb) or not has("apiGroups", asked.group) or not has("resources", *resources):
        return False
    names = rule.get("resourceNames") or []
    return not names or (bool(asked.name) and asked.name in names)


def _refusal(user: User, asked: Attributes) -> Refusal:
    if asked.path:
        message = f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        return denied(message, {})
    qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    scope = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    subject = f'{qualified} "{asked.name}"' if asked.name else qualified
    message = (
        f'{subject} is forbidden: User "{user.name}" cannot {asked.verb} resource "{asked.full_resource}" '
        f'in API group "{asked.group}" {scope}'
    )
    details: Json = {"kind": asked.resource}
    if asked.group:
        details["group"] = asked.group
    if asked.name:
        details["name"] = asked.name
    return denied(message, details)
