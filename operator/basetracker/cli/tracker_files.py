"""Tracker files: YAML of several documents, read with the places of what is wrong in them, and validated offline.

Owns which documents count as trackers. Knows no cluster and no registry. Used by `check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import yaml

from basetracker.api.names import GROUP, KIND
from basetracker.api.tracker import Spec, problems

_SHOWN: Final = 80


class Result(StrEnum):
    """What came of one look."""

    OK = "ok"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: where it stands, what it is, and what came of it. Lines and columns count from 1."""

    file: str
    line: int
    column: int | None = None
    tracker: str = ""
    what: str
    result: Result
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerFile:
    """A valid tracker in a file; the namespace is empty where the file doesn't name one."""

    file: str
    line: int
    namespace: str
    name: str
    spec: Spec

    def finding(self, what: str, result: Result, message: str) -> Finding:
        """A finding about this tracker."""
        return Finding(file=self.file, line=self.line, tracker=self.name, what=what, result=result, message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    file: str
    line: int
    body: Any

    def finding(self, what: str, result: Result, message: str, tracker: str = "") -> Finding:
        return Finding(file=self.file, line=self.line, tracker=tracker, what=what, result=result, message=message)


def read_trackers(file: str, content: bytes) -> Iterator[Finding | TrackerFile]:
    """Everything in the file that is to be told, and each valid tracker."""
    for document in _documents(file, content):
        if isinstance(document, Finding):
            yield document
        else:
            yield from _judged(document)


def _documents(file: str, content: bytes) -> Iterator[_Document | Finding]:
    """The documents with their lines, members of a List one by one; the first syntax error ends the file."""
    try:
        loader = yaml.SafeLoader(content)
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield from _constructed(file, loader, node)
    except yaml.reader.ReaderError as error:
        line = content.decode(errors="replace")[: error.position].count("\n") + 1
        yield Finding(file=file, line=line, what="YAML", result=Result.WRONG, message=str(error.reason))
    except yaml.YAMLError as error:
        yield _syntax_error(file, error)
    except RecursionError:
        yield Finding(file=file, line=1, what="YAML", result=Result.WRONG, message="it is nested too deeply")


def _constructed(file: str, loader: yaml.SafeLoader, node: yaml.Node) -> Iterator[_Document | Finding]:
    line = node.start_mark.line + 1
    repeated = list(_repeated_keys(file, node))
    if repeated:
        yield from repeated
        return
    try:
        body = loader.construct_document(node)
    except ValueError as error:  # such as a date that no calendar has
        yield Finding(file=file, line=line, what="YAML", result=Result.WRONG, message=_one_line(error))
        return
    yield from _members(_Document(file=file, line=line, body=body), node)


def _members(document: _Document, node: yaml.Node) -> Iterator[_Document]:
    body = document.body
    if not isinstance(body, dict) or body.get("kind") != "List" or not isinstance(body.get("items"), list):
        yield document
        return
    marks: list[yaml.Node] = next((value.value for key, value in node.value if key.value == "items"), [])
    for item, mark in zip(body["items"], marks, strict=True):
        yield _Document(file=document.file, line=mark.start_mark.line + 1, body=item)


def _repeated_keys(file: str, root: yaml.Node) -> Iterator[Finding]:
    """Keys that stand twice in one mapping: YAML forbids it, and readers silently keep one of them."""
    visited: set[int] = set()
    waiting: list[yaml.Node] = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(reversed(node.value))
        elif isinstance(node, yaml.MappingNode):
            waiting.extend(value for _, value in reversed(node.value))
            yield from _repeated_in(file, node)


def _repeated_in(file: str, node: yaml.MappingNode) -> Iterator[Finding]:
    keys: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in keys:
            mark = key.start_mark
            yield Finding(
                file=file,
                line=mark.line + 1,
                column=mark.column + 1,
                what="YAML",
                result=Result.WRONG,
                message=f"the key {key.value[:_SHOWN]!r} stands twice; keep one of them",
            )
        keys.add(key.value)


def _syntax_error(file: str, error: yaml.YAMLError) -> Finding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = getattr(error, "problem", None) or _one_line(error)
    return Finding(
        file=file,
        line=mark.line + 1 if mark else 1,
        column=mark.column + 1 if mark else None,
        what="YAML",
        result=Result.WRONG,
        message=words,
    )


def _judged(document: _Document) -> Iterator[Finding | TrackerFile]:
    body = document.body
    if body is None:
        return
    if not isinstance(body, Mapping):
        yield document.finding("document", Result.WRONG, f"it isn't an object but {str(body)[:_SHOWN]!r}")
        return
    metadata = body.get("metadata") if isinstance(body.get("metadata"), Mapping) else {}
    name = str((metadata or {}).get("name") or "")
    kind, group = body.get("kind"), str(body.get("apiVersion", "")).partition("/")[0]
    if kind != KIND and group != GROUP:
        yield document.finding(str(kind or "document"), Result.SKIPPED, f"not a {KIND}", name)
        return
    found = problems(body)
    for problem in found:
        where, _, words = problem.partition(": ")
        yield document.finding(where, Result.WRONG, words, name)
    if not found:
        yield document.finding("spec", Result.OK, "valid", name)
        yield TrackerFile(
            file=document.file,
            line=document.line,
            namespace=str((metadata or {}).get("namespace") or ""),
            name=name,
            spec=Spec.model_validate(body["spec"]),
        )


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
