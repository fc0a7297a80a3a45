"""Writes the generated parts of the documentation, or says with `--check` which pages are out of date.

A page holds its own prose, and between `<!-- generated:NAME -->` and `<!-- /generated -->` what is made here from the
source of truth: the CRD, the settings, the metrics, the commands, the rules, and the sentences beside the names in
`api/names.py`. Run by `make docs`; a test and `.ci/run` run it with `--check`.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click
import yaml
from prometheus_client import CollectorRegistry
from pydantic.fields import FieldInfo

from basetracker.api import names
from basetracker.api.duration import format_duration
from basetracker.api.size import format_size
from basetracker.cli.main import COMMANDS, commands
from basetracker.core import rules
from basetracker.settings import Settings
from basetracker.telemetry import Metrics

ROOT: Final = Path(__file__).resolve().parent.parent
CRD: Final = ROOT / "crds" / "baseimagetrackers.basetracker.dev.yaml"
TROUBLES: Final = ROOT / "docs" / "howto" / "troubleshooting.md"
WIDTH: Final = 100
_PART: Final = re.compile(r"(<!-- generated:([a-z-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)

Json = dict[str, Any]


def pages() -> Iterator[Path]:
    """Every page that may hold generated parts."""
    yield from sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def generated(text: str) -> str:
    """The page with its generated parts made anew. Raises KeyError for a part that isn't known."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", text)


def outdated() -> dict[Path, str]:
    """The pages whose text isn't what it would be, with that text."""
    found = {path: generated(path.read_text(encoding="utf-8")) for path in pages()}
    return {path: text for path, text in found.items() if text != path.read_text(encoding="utf-8")}


def main() -> int:
    """Write, or check: 1 when something was out of date and only checked."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; name what is out of date and exit with 1")
    check = parser.parse_args().check
    found = outdated()
    for path, text in found.items():
        sys.stdout.write(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}\n")
        if not check:
            path.write_text(text, encoding="utf-8")
    return 1 if check and found else 0


# Tables


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _prose(text: str) -> str:
    """Text for people in one line; `<x>` would be taken for HTML."""
    return " ".join(text.split()).replace("<", "&lt;")


# The custom resource


def _version() -> Json:
    version: Json = yaml.safe_load(CRD.read_text(encoding="utf-8"))["spec"]["versions"][0]
    return version


def _fields(schema: Json, path: str) -> Iterator[tuple[str, Json, bool]]:
    """Every field below `path`, depth first, with its schema and whether it is required."""
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, field, name in required
        inner = field["items"] if field.get("type") == "array" else field
        yield from _fields(inner, here + ("[]" if field.get("type") == "array" else ""))


def _type(field: Json) -> str:
    if "enum" in field:
        values = [str(value) for value in field["enum"]]
        return "a [state](status.md#states)" if set(values) == set(names.State) else ", ".join(map(_code, values))
    kind = str(field["type"])
    if kind == "array":
        return f"list of {field['items']['type']}s"
    return "time" if field.get("format") == "date-time" else kind


def _default(field: Json) -> str:
    if "default" not in field:
        return ""
    return _code(yaml.safe_dump(field["default"], default_flow_style=True).removesuffix("...\n").strip())


def _field_table(part: str, *, as_input: bool) -> str:
    rows: list[tuple[str, ...]] = []
    for path, field, required in _fields(_version()["schema"]["openAPIV3Schema"]["properties"][part], ""):
        text, kind = _prose(field.get("description", "")), _type(field)
        if as_input:
            rows.append((_code(path), kind, "required" if required else _default(field), text))
        else:
            rows.append((_code(path), kind, text))
    return _table(("field", "type", "default", "meaning") if as_input else ("field", "type", "meaning"), rows)


def tracker_fields() -> str:
    return _field_table("spec", as_input=True)


def status_fields() -> str:
    return _field_table("status", as_input=False)


def refusals() -> str:
    """What the API server refuses, in its words."""
    spec = _version()["schema"]["openAPIV3Schema"]["properties"]["spec"]
    rows = []
    for path, field, _ in [("spec", spec, True), *_fields(spec, "")]:
        item = field.get("items", {})
        for owner, rules_ in ((path, field), (f"{path}[]", item)):
            rows += [(_code(owner), _prose(rule["message"])) for rule in rules_.get("x-kubernetes-validations", [])]
    return _table(("field", "what the API server says"), list(dict.fromkeys(rows)))


def columns() -> str:
    rows = [
        (column["name"].upper(), "wide" if column.get("priority") else "always", column.get("description", ""))
        for column in _version()["additionalPrinterColumns"]
    ]
    return _table(("column", "shown", "meaning"), [("NAME", "always", "The tracker's name."), *rows])


# Names with the sentences beside them


def _source(module: Any) -> str:
    return Path(module.__file__).read_text(encoding="utf-8")


def _told(body: list[ast.stmt]) -> Iterator[tuple[str, str, int]]:
    """Each assignment that has a sentence below it: name, sentence, line."""
    for one, after in pairwise(body):
        target = (
            one.targets[0] if isinstance(one, ast.Assign) else one.target if isinstance(one, ast.AnnAssign) else None
        )
        if not isinstance(target, ast.Name) or not isinstance(after, ast.Expr):
            continue
        if isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            yield target.id, " ".join(after.value.value.split()), one.lineno


def sentences(enum: str) -> dict[str, str]:
    """Value → sentence of one enum in `api/names.py`. Raises ValueError when a member has none."""
    tree = ast.parse(_source(names))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == enum)
    found = {name: text for name, text, _ in _told(body)}
    members: Any = getattr(names, enum)
    missing = [member.name for member in members if member.name not in found]
    if missing:
        raise ValueError(f"{enum} has no sentence for {', '.join(missing)}")
    return {str(member.value): found[member.name] for member in members}


def reasons_by_state() -> dict[str, list[str]]:
    """The reasons below the comment that names their state, in the order of the source."""
    grouped: dict[str, list[str]] = {}
    state = ""
    lines = _source(names).split("class Reason(", 1)[1].split("\nclass ", 1)[0].splitlines()
    for line in lines:
        if heading := re.fullmatch(r"    # (\w+)", line):
            state = str(names.State(heading[1]))
        elif member := re.fullmatch(r'    [A-Z_]+ = "(\w+)"', line):
            grouped.setdefault(state, []).append(member[1])
    return grouped


def reasons() -> str:
    told, states = sentences("Reason"), sentences("State")
    parts = []
    for state, found in reasons_by_state().items():
        rows = [(_reason(reason), told[reason]) for reason in found]
        parts.append(f"### {state}\n\n{states[state]}\n\n{_table(('reason', 'meaning, and what frees it'), rows)}")
    return "\n\n".join(parts)


def _reason(reason: str) -> str:
    """The reason with a place to link to, itself a link where there is more to say."""
    more = f"\n### {reason}\n" in TROUBLES.read_text(encoding="utf-8")
    shown = f"[{_code(reason)}](../howto/troubleshooting.md#{reason.lower()})" if more else _code(reason)
    return f'<a id="{reason.lower()}"></a>{shown}'


def states() -> str:
    return _table(("state", "meaning"), [(_code(name), text) for name, text in sentences("State").items()])


def events() -> str:
    return _table(("event", "meaning"), [(_code(name), text) for name, text in sentences("HistoryEvent").items()])


def conditions() -> str:
    rows = [(_code(name), text) for name, text in sentences("ConditionType").items()]
    return _table(("condition", "meaning"), rows)


def annotation_table() -> str:
    rows = []
    for name, text, _ in _told(ast.parse(_source(names)).body):
        where, _, what = text.partition(": ")
        rows.append((_code(getattr(names, name)), where.removeprefix("On a ").removesuffix(":"), what))
    return _table(
        ("annotation", "on a", "meaning"), [(one, where, what[:1].upper() + what[1:]) for one, where, what in rows]
    )


# The rules


def rule_order() -> str:
    """The rules in their order, each with the comment beside it."""
    with Path(str(rules.__file__)).open("rb") as file:
        comments = {
            token.start[0]: token.string.removeprefix("# ")
            for token in tokenize.tokenize(file.readline)
            if token.type == tokenize.COMMENT
        }
    node = next(
        node
        for node in ast.parse(_source(rules)).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "RULES"
    )
    found = node.value.elts if isinstance(node.value, ast.Tuple) else []
    lines = [(item.id, comments[item.lineno]) for item in found if isinstance(item, ast.Name)]
    return "\n".join(f"{number}. `{name}`: {why}" for number, (name, why) in enumerate(lines, start=1))


# Settings, metrics, commands


def settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        flag = "--" + name.replace("_", "-")
        rows.append((_code(flag), _code(f"BASETRACKER_{name.upper()}"), _code(_shown(field)), str(field.description)))
    return _table(("flag", "variable", "default", "meaning"), rows)


def _shown(field: FieldInfo) -> str:
    """A setting's default as it is written."""
    value: Any = field.default
    if isinstance(value, timedelta):
        return format_duration(value)
    if field.json_schema_extra == {"format": "size"}:
        return format_size(value)
    return "" if value in (None, "", ()) else str(value)


def metrics() -> str:
    """Every family, with the labels that prometheus-client keeps privately until there is a sample."""
    rows = []
    for collector in Metrics().__dict__.values():
        if isinstance(collector, CollectorRegistry):
            continue
        for family in collector.collect():
            labels: tuple[str, ...] = getattr(family, "_labelnames", ()) or getattr(collector, "_labelnames", ())
            name = family.name + ("_total" if family.type == "counter" else "")
            rows.append((_code(name), family.type, ", ".join(map(_code, labels)), family.documentation))
    return _table(("metric", "type", "labels", "meaning"), rows)


def command_help() -> str:
    """The help of each command, as the command prints it."""
    parts = [f"```text\n{_help(commands, 'basetracker')}\n```"]
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands, info_name="basetracker"), name)
        if command is not None:
            parts.append(f"## basetracker {name}\n\n```text\n{_help(command, f'basetracker {name}')}\n```")
    return "\n\n".join(parts)


def _help(command: click.Command, name: str) -> str:
    context = click.Context(
        command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, **command.context_settings
    )
    return command.get_help(context).rstrip()


PARTS: Final[dict[str, Callable[[], str]]] = {
    "tracker-fields": tracker_fields,
    "refusals": refusals,
    "status-fields": status_fields,
    "columns": columns,
    "states": states,
    "conditions": conditions,
    "reasons": reasons,
    "events": events,
    "annotations": annotation_table,
    "rules": rule_order,
    "settings": settings,
    "metrics": metrics,
    "commands": command_help,
}

if __name__ == "__main__":
    sys.exit(main())
