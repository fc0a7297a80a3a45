"""What a field of the spec may hold, and the words that refuse it: names, followed images, durations.

The same rules, in the same words, as the CRD has in CEL: `kubectl apply` and `basetracker check` must not differ, and an
object may have been stored before a rule was. Knows no tracker; `tracker.py` puts its models together from these.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from basetracker.api.duration import format_duration, parse_duration
from basetracker.errors import InvalidError
from basetracker.oci.refs import ImageRef, parse_image

LONGEST_IMAGE: Final = 500
LONGEST_DURATION: Final = timedelta(days=3660)
_LABEL: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}([.]{_LABEL})*"
_VARIABLE: Final = r"[a-zA-Z_][a-zA-Z0-9_]*"
_REGISTRY_ID: Final = r"(?i:/subscriptions/[^/ ]+/resourceGroups/[^/ ]+/providers/Microsoft[.]ContainerRegistry/registries/[a-z0-9]{5,50})"
_DURATION: Final = re.compile(r"([0-9]{1,6}([.][0-9]{1,3})?(h|ms|m|s))+")
_DURATION_LENGTH: Final = 20
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")

_PINNED: Final = "an image pinned by digest never moves; name the tag to follow, without @sha256:…"
_NO_TAG: Final = "the image has no tag; name the tag to follow, like contoso.azurecr.io/base/python:3.12"
_BAD_TAG: Final = "not a tag; a tag is up to 128 letters, digits, '_', '.' and '-', and does not begin with '.' or '-'"
_NO_HOST: Final = (
    "the registry is not a host name; write it like contoso.azurecr.io or localhost:5000, without https://"
)
_NO_REPOSITORY: Final = (
    "not a repository; it is lower case letters and digits in parts set apart by '/', with single '.', '_', '__' or '-' "
    "inside a part, like base/python"
)
_ENDS: Final = "begins and ends with a letter or digit"


def _matching(pattern: str, longest: int, words: str) -> Callable[[str], str]:
    """A validator: the whole text matches, in at most `longest` characters."""
    whole = re.compile(pattern, re.ASCII)

    def valid(text: str) -> str:
        if len(text) > longest:
            raise ValueError(f"longer than {longest} characters; {words}")
        if not whole.fullmatch(text):
            raise ValueError(words)
        return text

    return valid


def _at_most(longest: int) -> Callable[[str], str]:
    def valid(text: str) -> str:
        if len(text) > longest:
            raise ValueError(f"longer than {longest} characters")
        return text

    return valid


def _between(subject: str, least: timedelta, examples: str) -> Callable[[object], timedelta]:
    """A validator: a duration as Go writes it, from `least` to ten years; one that was read already is only bounded."""
    words = (
        f"{subject} is a duration of at least {format_duration(least)} and at most ten years; write it like {examples}"
    )

    def valid(value: object) -> timedelta:
        if isinstance(value, str):
            if len(value) > _DURATION_LENGTH or not _DURATION.fullmatch(value):
                raise ValueError(words)
            try:
                value = parse_duration(value)
            except ValueError:
                raise ValueError(words) from None
        if not isinstance(value, timedelta) or not least <= value <= LONGEST_DURATION:
            raise ValueError(words)
        return value

    return valid


def _followed(value: object) -> ImageRef:
    """The image whose tag is followed."""
    if not isinstance(value, str | ImageRef):
        raise ValueError("an image is a string like contoso.azurecr.io/base/python:3.12")
    text = str(value)
    problem = _image_problem(text)
    if problem:
        raise ValueError(problem)
    return parse_image(text) if isinstance(value, str) else value


def _image_problem(text: str) -> str:
    """The words of the first rule that the image breaks; empty when it can be followed."""
    if len(text) > LONGEST_IMAGE:
        return f"longer than {LONGEST_IMAGE} characters"
    if "@" in text:
        return _PINNED
    _, colon, tag = text.rpartition("/")[2].partition(":")
    if not colon:
        return _NO_TAG
    first, slash, _ = text.partition("/")
    names_host = bool(slash) and ("." in first or ":" in first)
    if names_host and not _is_image(f"{first}/a:1"):
        return _NO_HOST
    if not _TAG.fullmatch(tag):
        return _BAD_TAG
    return "" if _is_image(text) else _NO_REPOSITORY


def _is_image(text: str) -> bool:
    try:
        parse_image(text)
    except InvalidError:
        return False
    return True


def _name(pattern: str, longest: int, subject: str, rule: str) -> AfterValidator:
    return AfterValidator(_matching(pattern, longest, f"not the name of {subject}; it is {rule}"))


_WRITTEN: Final = PlainSerializer(format_duration)
Interval = Annotated[
    timedelta, BeforeValidator(_between("the interval", timedelta(seconds=10), "5m, 1h30m or 90s")), _WRITTEN
]
Timeout = Annotated[
    timedelta, BeforeValidator(_between("the timeout", timedelta(seconds=1), "1h, 1h30m or 90s")), _WRITTEN
]
Wait = Annotated[timedelta, BeforeValidator(_between("the wait", timedelta(0), "6h, 30m or 90s")), _WRITTEN]
ProgressDeadline = Annotated[
    timedelta, BeforeValidator(_between("the progress deadline", timedelta(seconds=10), "10m, 1h30m or 90s")), _WRITTEN
]
RescanInterval = Annotated[
    timedelta, BeforeValidator(_between("the rescan interval", timedelta(minutes=10), "24h, 90m or 1h30m")), _WRITTEN
]
FollowedImage = Annotated[ImageRef, BeforeValidator(_followed), PlainSerializer(str, return_type=str)]

DownstreamName = Annotated[
    str, _name(_LABEL, 63, "a downstream image", f"lower case letters, digits and '-', and {_ENDS}")
]
ContainerName = Annotated[str, _name(_LABEL, 63, "a container", f"lower case letters, digits and '-', and {_ENDS}")]
SecretName = Annotated[str, _name(_SUBDOMAIN, 253, "a Secret", f"lower case letters, digits, '-' and '.', and {_ENDS}")]
ConfigMapName = Annotated[
    str, _name(_SUBDOMAIN, 253, "a ConfigMap", f"lower case letters, digits, '-' and '.', and {_ENDS}")
]
DataKey = Annotated[str, _name(r"[a-zA-Z0-9._-]+", 253, "an entry", "letters, digits, '-', '_' and '.'")]
WorkloadName = Annotated[
    str, _name(_SUBDOMAIN, 253, "a workload", f"lower case letters, digits, '-' and '.', and {_ENDS}")
]
TaskName = Annotated[str, _name(r"[a-zA-Z0-9_-]{5,50}", 50, "an ACR Task", "5 to 50 letters, digits, '-' and '_'")]
_NO_DIGIT: Final = "letters, digits and '_', and does not begin with a digit, like"
BuildArgument = Annotated[str, _name(_VARIABLE, 128, "a build argument", f"{_NO_DIGIT} BASE_IMAGE")]
TaskValue = Annotated[str, _name(_VARIABLE, 128, "a task value", f"{_NO_DIGIT} ID")]
Value = Annotated[str, AfterValidator(_at_most(4096))]
RegistryId = Annotated[
    str,
    AfterValidator(
        _matching(
            _REGISTRY_ID,
            300,
            "not the ARM id of a registry; write it as /subscriptions/<id>/resourceGroups/<group>/providers/"
            "Microsoft.ContainerRegistry/registries/<name>, or leave it out",
        )
    ),
]


def is_object_name(text: object) -> bool:
    """Whether Kubernetes takes it as the name of an object such as a tracker."""
    return isinstance(text, str) and len(text) <= 253 and re.fullmatch(_SUBDOMAIN, text, re.ASCII) is not None
