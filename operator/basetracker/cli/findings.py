"""`basetracker findings`: everything that Trivy finds in a downstream image, and what is new or fixed against what runs.

Scans here and now, as the operator's gate does and with the same parts, but with the user's own Trivy, kubeconfig and
credentials; the operator keeps counts and the worst in the status, not whole reports. Writes nothing anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from basetracker.adapters.kube import path_of
from basetracker.api.gate_trivy import TrivyGate
from basetracker.api.gates import GateKind
from basetracker.api.names import API_VERSION, PLURAL, GateVerdict
from basetracker.api.tracker import Downstream, Tracker, parse_tracker
from basetracker.cli.connection import cluster_options, namespace_option
from basetracker.cli.findings_text import Look, document_of, text_of
from basetracker.cli.looking import announced, looking, read_settings, run
from basetracker.cli.output import show, show_json
from basetracker.cli.sarif import sarif_of
from basetracker.core.findings import Scans, weigh
from basetracker.errors import InvalidError, MissingError
from basetracker.oci.refs import Digest, ImageRef
from basetracker.ports import Credential
from basetracker.wiring import Parts


@click.command("findings")
@click.argument("tracker")
@click.argument("downstream")
@namespace_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "sarif"]),
    default="table",
    show_default=True,
    help="Form of the output.",
)
@cluster_options
def command(
    tracker: str, downstream: str, namespace: str | None, output: str, kubeconfig: Path | None, context: str | None
) -> int:
    """Scan the image DOWNSTREAM of TRACKER with Trivy, and show all that is found.

    The digest is the one that the Trivy gate was last asked about, else the validated one, else what the tag points to.
    It is compared with what runs beside it, or else with what ran before it.
    Exit code 0 when the tracker's Trivy gate passes it, 1 when not, 2 when something that was named doesn't exist, can't
    be reached or can't be scanned.
    """
    look = run(_findings(tracker, downstream, namespace, kubeconfig, context))
    if output == "json":
        show_json(document_of(look))
    elif output == "sarif":
        show_json(sarif_of(look))
    else:
        show(text_of(look))
    return 0 if look.weighed.verdict is GateVerdict.PASS else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What is to be scanned, and by which gate's word."""

    item: Downstream
    gate: TrivyGate
    digest: Digest
    source: str
    running: tuple[Digest, ...]
    ran_before: bool
    notes: tuple[str, ...]


async def _findings(
    name: str, downstream: str, namespace: str | None, kubeconfig: Path | None, context: str | None
) -> Look:
    async with looking(read_settings(), kubeconfig, context) as parts:
        async with announced("reading the tracker"):
            tracker = await _tracker(parts, namespace or await parts.kube.namespace(), name)
            task = _task(tracker, downstream)
            credential = await _credential(parts, tracker, task.item)
        async with announced(f"scanning {task.item.image.repository}, which needs Trivy's database and the image"):
            image = task.item.image.pinned(task.digest)
            found = await _scan(parts, image, credential, task.gate)
            if found is None:
                raise MissingError(f"{image.host} has no image {task.digest.short} in {image.repository.path}")
            beside = {one: await _scan(parts, image.pinned(one), credential, task.gate) for one in task.running}
        gone = [
            f"{one.short} {'ran' if task.ran_before else 'runs'}, and {image.host} hasn't got it any more"
            for one in beside
            if beside[one] is None
        ]
        running = [scans or () for scans in beside.values()]
        return Look(
            tracker=str(tracker.key),
            downstream=task.item.name,
            image=image,
            source=task.source,
            edition=parts.trivy.edition,
            gate=task.gate,
            scans=found,
            running=dict(zip(beside, running, strict=True)),
            ran_before=task.ran_before,
            weighed=weigh(task.gate, found, running, parts.world.clock.now().date()),
            notes=(*task.notes, *gone),
        )


async def _scan(parts: Parts, image: ImageRef, credential: Credential | None, gate: TrivyGate) -> Scans | None:
    return await parts.trivy.scan(image, credential, frozenset(gate.scanners), gate.timeout)


async def _credential(parts: Parts, tracker: Tracker, item: Downstream) -> Credential | None:
    if item.pull_secret_ref is None:
        return None
    return await parts.world.credentials.find(tracker.key.namespace, item.pull_secret_ref.name, item.image.host)


async def _tracker(parts: Parts, namespace: str, name: str) -> Tracker:
    body = await parts.kube.get(path_of(API_VERSION, PLURAL, namespace, name))
    if body is None:
        raise MissingError(f"there is no BaseImageTracker {namespace}/{name}")
    return parse_tracker(body)


def _task(tracker: Tracker, downstream: str) -> _Task:
    """What the tracker and its status say. Raises InvalidError or MissingError."""
    if tracker.spec is None:
        raise InvalidError(f"the spec of {tracker.key} can't be read: {tracker.problem}")
    item = next((one for one in tracker.spec.downstream if one.name == downstream), None)
    if item is None:
        names = ", ".join(one.name for one in tracker.spec.downstream)
        raise MissingError(f"{tracker.key} has no downstream image {downstream}; it has {names}")
    named = [one for one in tracker.spec.asked_gates if one.kind is GateKind.TRIVY]
    gate = named[0].gate.trivy if named else None
    notes = [] if gate is not None else ["the tracker has no Trivy gate; the verdict is that of one without settings"]
    if len(named) > 1:
        notes.append(f"the tracker has {len(named)} Trivy gates; the verdict is that of the first")
    digest, source = _digest(tracker, item, named[0].name if named else "")
    before = tracker.status.of(item.name)
    rows = before.workloads if before is not None else ()
    running = {row.digest for row in rows if row.digest is not None} - {digest}
    ran_before = not running
    if ran_before:  # as the operator asks: where all run it, it is compared with what they ran before it
        running = {row.previous_digest for row in rows if row.previous_digest is not None} - {digest}
    return _Task(
        item=item,
        gate=gate or TrivyGate(),
        digest=digest,
        source=source,
        running=tuple(sorted(running)),
        ran_before=ran_before,
        notes=tuple(notes),
    )


def _digest(tracker: Tracker, item: Downstream, gate: str) -> tuple[Digest, str]:
    """The digest that is looked at, and what it is."""
    before = tracker.status.of(item.name)
    if before is not None:
        asked = next((row.digest for row in before.gates if gate and row.name == gate), None)
        if asked is not None:
            return asked, "asked about by the gate"
        if before.validated is not None:
            return before.validated.digest, "validated"
        if before.latest is not None:
            return before.latest.digest, f"what {item.image.tag} points to"
    raise MissingError(f"the status of {tracker.key} names no digest of {item.name} yet")
