"""The account of `explain` for people: made from the very document that is printed as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from basetracker.api.names import State
from basetracker.cli.output import Branch, Grid, Item, Tone
from basetracker.oci.refs import Digest

Json = dict[str, Any]


def text_of(account: Json) -> tuple[Item, ...]:
    """The account as a tree."""
    tracker, summary = account["tracker"], account["summary"]
    head = f"{tracker['namespace']}/{tracker['name']}: {summary['state']}, {summary['text']} current"
    if tracker["mode"] == "Plan":
        head += " (mode Plan: nothing is built or delivered)"
    below = [*_problem_lines("the spec can't be read", tracker["problem"])]
    if account["base"] is not None:
        below += [_base(account["base"]), *_chain(account["chain"])]
    below += [_image(item) for item in account["images"]]
    below += _locks(account["locks"])
    below.append(_next_look(account["nextLook"]))
    below += [Branch(f"note: {note}", tone=Tone.FAINT) for note in account["notes"]]
    return (Branch(head, tuple(below), tone=tone_of(summary["state"])),)


def tone_of(state: str) -> Tone:
    """How a state looks."""
    if State(state).needs_person:
        return Tone.BAD
    return Tone.GOOD if state in {State.CURRENT, State.SUSPENDED} else Tone.WORKING


def _problem_lines(what: str, problem: str | None) -> Iterator[Branch]:
    if problem:
        yield Branch(f"{what}: {problem}", tone=Tone.BAD)


def _base(base: Json) -> Branch:
    below = []
    if base["digest"]:
        source = {
            "parent": "validated by the parent",
            "status": "as the status has it",
            "registry": "as its tag points",
        }
        below.append(Branch(f"digest: {base['digest']}, {source[base['source']]}"))
        below.append(Branch(f"since: {base['since'] or 'seen now, and not yet in the status'}"))
    if base["problem"]:
        below.append(Branch(f"couldn't be read: {base['problem']['message']}", tone=Tone.BAD))
    if base["earlier"]:
        below.append(Branch(f"before: {', '.join(_short(one) for one in base['earlier'])}", tone=Tone.FAINT))
    return Branch(f"base: {base['image']}", tuple(below))


def _chain(chain: Json) -> Iterator[Branch]:
    if chain["parent"]:
        parent = chain["parent"]
        yield Branch(f"parent: the base is built by tracker {parent['name']} as {parent['downstream']}")
    if chain["children"]:
        yield Branch(f"children: {', '.join(chain['children'])}")
    if chain["circle"]:
        yield Branch(f"circle: {' feeds '.join(chain['circle'])}", tone=Tone.BAD)


def _image(item: Json) -> Branch:
    below: list[Item] = [Branch(f"image: {item['image']}"), Branch(f"why: {item['message']}")]
    below += _sources(item)
    if item["staleSince"]:
        below.append(Branch(f"stale since: {item['staleSince']}"))
    below += [_lineage(one) for one in item["lineages"]]
    if item["validated"]:
        kept = item["validated"]
        when = f"at {kept['at']}" if kept["at"] else "now, and not yet in the status"
        passed = tuple(Branch(f"{one['name']}: {one['message']}") for one in kept.get("gates", ()))
        if kept.get("failing"):
            passed = (*passed, _failing(kept["failing"]))
        below.append(
            Branch(f"validated: {_short(kept['digest'])} for base {_short(kept['baseDigest'])} {when}", passed)
        )
    below += [_failing(one) for one in item["failing"] or ()]
    below += _build(item)
    below += _gates(item["gates"] or [])
    below += _workloads(item["workloads"])
    below += _next(item)
    return Branch(f"{item['name']}: {item['state']} ({item['reason']})", tuple(below), tone=tone_of(item["state"]))


def _failing(gate: Json) -> Branch:
    return Branch(f"{_short(gate['digest'])} fails {gate['name']} by now: {gate['message']}", tone=Tone.BAD)


def _sources(item: Json) -> Iterator[Branch]:
    """Where the state comes from, if that needs to be said."""
    for one in item["unread"]:
        yield Branch(f"couldn't be read from here: {one}", tone=Tone.WORKING)
    stored, seen = item["stored"], item["seen"]
    if item["source"] == "status":
        yield Branch("the state is the one that the operator has written into the status", tone=Tone.FAINT)
    elif stored is not None and (stored["state"], stored["reason"]) != (seen["state"], seen["reason"]):
        yield Branch(
            f"the status still says: {stored['state']} ({stored['reason']}): {stored['message']}", tone=Tone.FAINT
        )


def _lineage(one: Json) -> Branch:
    head = f"lineage of {_short(one['digest'])} ({', '.join(one['is'])}): "
    if one["problem"]:
        return Branch(head + f"couldn't be read: {one['problem']['message']}", tone=Tone.WORKING)
    if one["verdict"] is None:
        return Branch(head + "not looked at")
    evidence = tuple(
        Branch(f"{found['platform']}: {found['verdict']}: {found['message']}") for found in one["evidence"]
    )
    return Branch(head + one["verdict"], evidence)


def _build(item: Json) -> Iterator[Branch]:
    record, task = item["build"], item["task"]
    below = tuple(_task(task)) if task else ()
    if record is None:
        yield Branch("build: none recorded" if task else "build: none declared", below)
        return
    words = [
        f"run {record['runID']}" if record["runID"] else "no run",
        record["state"],
        f"attempt {record['attempt']} for base {_short(record['baseDigest'])}",
    ]
    words += [f"instead of {_short(record['replaces'])}"] if record.get("replaces") else []
    words += [f"adopted, {record['message']}" if record["message"] else "adopted"] if record["adopted"] else []
    words += [f"made {_short(record['digest'])}"] if record["digest"] else []
    times = {"asked for": "requestedAt", "ended": "finishedAt", "next attempt": "nextAttemptAt"}
    words += [f"{word} {record[key]}" for word, key in times.items() if record[key]]
    if record["message"] and not record["adopted"]:
        below = (Branch(record["message"]), *below)
    yield Branch(f"build: {', '.join(words)}", below)


def _task(task: Json) -> Iterator[Branch]:
    if task["problem"]:
        yield Branch(f"task {task['name']}: couldn't be read: {task['problem']['message']}", tone=Tone.WORKING)
    elif not task["read"]:
        yield Branch(f"task {task['name']}: not read")
    else:
        trigger = ", ACR's own base image trigger is on" if task["baseTrigger"] else ""
        yield Branch(f"task {task['name']}: {'enabled' if task['enabled'] else 'disabled'}{trigger}")


def _gates(gates: list[Json]) -> Iterator[Branch]:
    if gates:
        rows = tuple((one["name"], one["verdict"], one["reason"], one["message"]) for one in gates)
        about = next((f" about {_short(one['digest'])}" for one in gates if one.get("digest")), "")
        yield Branch(f"gates{about}:", (Grid(columns=("GATE", "VERDICT", "REASON", "MESSAGE"), rows=rows),))


def _workloads(workloads: list[Json]) -> Iterator[Branch]:
    if not workloads:
        yield Branch("workloads: none")
        return
    rows = tuple(
        (
            f"{one['kind']}/{one['name']}",
            one["container"] or "-",
            _short(one["digest"]) if one["digest"] else "-",
            one["state"],
            one["message"],
        )
        for one in workloads
    )
    yield Branch("workloads:", (Grid(columns=("WORKLOAD", "CONTAINER", "DIGEST", "STATE", "MESSAGE"), rows=rows),))


def _next(item: Json) -> Iterable[Branch]:
    if item["next"]:
        return [_action(one) for one in item["next"]]
    if item["source"] == "status":
        return [Branch("next: isn't known from here")]
    return [Branch("next: nothing to be done now")]


def _action(action: Json) -> Branch:
    match action["action"]:
        case "StartBuild":
            pairs = [("argument", one) for one in action["arguments"]] + [("value", one) for one in action["values"]]
            given = tuple(Branch(f"{kind} {one['name']}={one['value']}") for kind, one in pairs)
            start = f"adopt run {action['adopts']} of" if action["adopts"] else "start"
            head = f"next: {start} task {action['task']} for base {action['digest']}, attempt {action['attempt']}"
            head += f", instead of {action['replaces']}" if action["replaces"] else ""
            return Branch(head, given)
        case "CancelRun":
            return Branch(f"next: end run {action['runID']} of task {action['task']}")
        case "Protect" | "Unprotect":
            what = "lock" if action["action"] == "Protect" else "unlock"
            return Branch(f"next: {what} {action['image']} in its registry")
        case _:
            changes = tuple(
                Branch(f"container {one['container']}: {one['old']} -> {one['new']}") for one in action["containers"]
            )
            return Branch(f"next: {action['kind']} {action['name']} gets {action['digest']}", changes)


def _locks(locks: list[Json]) -> Iterator[Branch]:
    if locks:
        rows = tuple(
            (one["for"] or "-", f"{one['repository']}@{_short(one['digest'])}", one["state"], one["message"])
            for one in locks
        )
        yield Branch("locks:", (Grid(columns=("IMAGE", "LOCK", "STATE", "MESSAGE"), rows=rows),))


def _next_look(look: Json) -> Branch:
    when = f"{look['at']} at the latest; " if look["at"] else ""
    return Branch(f"looked at next: {when}{look['message']}")


def _short(digest: str) -> str:
    return Digest(digest).short
