"""ARM ids of Azure registries, read strictly.

Owns their form. Azure compares them without case and doesn't always write them alike, so they are kept in lower case:
one registry has one id here, and so one key for its builds. Used by `arm` and `acr_tasks`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from basetracker.errors import InvalidError

_FORM: Final = re.compile(
    r"/subscriptions/(?P<subscription>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"/resourcegroups/(?P<group>[\w().-]{1,90})"
    r"/providers/microsoft\.containerregistry/registries/(?P<name>[a-z0-9]{5,50})/?",
    re.IGNORECASE,
)
_TASK_NAME: Final = re.compile(r"[A-Za-z0-9_-]{5,50}")


@dataclass(frozen=True, slots=True)
class RegistryId:
    """A registry by subscription, resource group and name, all in lower case."""

    subscription: str
    group: str
    name: str

    def __str__(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
            f"/providers/Microsoft.ContainerRegistry/registries/{self.name}"
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The registry with this ARM id.

        Raises:
            InvalidError: it isn't the ARM id of a registry.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise InvalidError(
                f"{text[:120]!r} is not the ARM id of a registry; it is written /subscriptions/<id>/resourceGroups/"
                "<group>/providers/Microsoft.ContainerRegistry/registries/<name>"
            )
        return cls(found["subscription"].lower(), found["group"].lower(), found["name"].lower())


def task_name(text: str) -> str:
    """The name of a task, if it can be one.

    Raises:
        InvalidError: it can't.
    """
    if not _TASK_NAME.fullmatch(text):
        raise InvalidError(f"{text[:60]!r} is not a task name; it is 5 to 50 letters, digits, '-' and '_'")
    return text
