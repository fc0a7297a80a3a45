"""The kinds a cluster serves: what each is called, where it lies and what it can do.

Owns `Resource` and the `Catalogue` in which URLs, kinds and short names are looked up. Built-in kinds come from
`builtin.py`, the others from CustomResourceDefinitions by way of `extensions.py`. Knows nothing of stored objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from basetracker.emulators.cluster.builtin_schemas import INLINE, schema_of
from basetracker.emulators.cluster.document import Json

_NEVER_UNCONDITIONAL = {"leases", "customresourcedefinitions", "poddisruptionbudgets"}
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A printer column: `path` is a JSONPath without braces, priority 0 is always shown, higher ones with -o wide."""

    name: str
    type: str
    path: str
    description: str = ""
    format: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind in one version, as a client meets it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    has_status: bool = False
    has_generation: bool = False
    scale: Json | None = None
    columns: tuple[Column, ...] = ()
    selectable: tuple[str, ...] = ()
    custom: bool = False
    custom_schema: Json = field(default_factory=dict, repr=False, compare=False)
    storage: str = ""
    model: str = ""

    @property
    def schema(self) -> Json:
        """The structural schema: the CRD's own, or that of the client's model (read at first use)."""
        return self.custom_schema if self.custom else schema_of(self.model)

    @property
    def ownership_schema(self) -> Json:
        """The schema by which fields are owned and merged: a custom kind's with the metadata that every kind has."""
        if not self.custom:
            return self.schema
        metadata = schema_of("V1ObjectMeta") | {INLINE: True}
        return self.custom_schema | {
            "properties": (self.custom_schema.get("properties") or {}) | {"metadata": metadata}
        }

    @property
    def api_version(self) -> str:
        """`group/version`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The name in error texts, as `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def key(self) -> str:
        """Where its objects are stored: all versions of a kind share one place."""
        return self.storage or self.qualified

    @property
    def needs_version(self) -> bool:
        """Whether a PUT must name the resourceVersion that it replaces."""
        return self.custom or self.plural in _NEVER_UNCONDITIONAL

    @property
    def prefix(self) -> str:
        """The URL of the API it belongs to."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def subresources(self) -> tuple[str, ...]:
        """The names behind the slash."""
        names = (["status"] if self.has_status else []) + (["scale"] if self.scale else [])
        if self.key == "serviceaccounts":
            names.append("token")
        if self.key == "pods":
            names.append("log")
        return tuple(names)


class Catalogue:
    """All served kinds; custom ones come and go."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        for resource in resources:
            self.add(resource)

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._by_path.values()))

    def add(self, resource: Resource) -> None:
        """Serve this kind, or serve it in this new shape."""
        self._by_path[resource.group, resource.version, resource.plural] = resource

    def drop(self, group: str, plural: str, *, keep: Iterable[str] = ()) -> None:
        """Stop serving this custom kind in every version that isn't to be kept."""
        gone = [
            key
            for key in self._by_path
            if key[0] == group and key[2] == plural and key[1] not in set(keep) and self._by_path[key].custom
        ]
        for key in gone:
            del self._by_path[key]

    def at(self, group: str, version: str, plural: str) -> Resource | None:
        """The kind at that place of the URL space."""
        return self._by_path.get((group, version, plural))

    def of_document(self, document: Json) -> Resource | None:
        """The kind of an object by its apiVersion and kind."""
        api_version, kind = document.get("apiVersion"), document.get("kind")
        return next((r for r in self if r.api_version == api_version and r.kind == kind), None)

    def named(self, name: str) -> Resource:
        """The kind of that kind name, plural, `plural.group`, singular or short name; built-in kinds go first.

        Raises:
            KeyError: there is none.
        """
        low = name.lower()
        for resource in sorted(self, key=lambda item: item.custom):
            names = {resource.kind.lower(), resource.plural, resource.qualified, resource.singular}
            if low in names or low in resource.short_names:
                return resource
        raise KeyError(name)

    def of_group_version(self, group: str, version: str) -> list[Resource]:
        """Every kind served there."""
        return [r for r in self if r.group == group and r.version == version]

    def groups(self) -> dict[str, list[str]]:
        """Group → its versions, in the order they were added; the core group is the empty string."""
        found: dict[str, list[str]] = {}
        for resource in self:
            versions = found.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return found
