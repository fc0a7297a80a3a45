"""The CRD and the API types say the same: names, types, required fields, defaults, enums and bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from basetracker.api import names, status
from basetracker.api.gates import Gate
from basetracker.api.tracker import Spec, parse_tracker
from basetracker.emulators.cluster.schema import apply_defaults, prune
from basetracker.emulators.cluster.validation import violations
from basetracker.oci.lineage import Verdict
from basetracker.oci.refs import Digest

from .refusals import REMOVED, tracker
from .schemas import Field, crd, fields, object_schema, part

# The contract names no default, so a user must write it; the types read an object without it all the same.
EXPLICIT = {"downstream[].deploy[].kind"}
# Words that grow with every version: a CRD that lags behind the operator must not make its status unwritable.
OPEN = {"conditions[].type", "downstream[].reason", "history[].event"}
# The types write it as a plain string.
CLOSED = {"conditions[].status": frozenset({"True", "False", "Unknown"})}


def _typed(model: type[Spec] | type[status.Status]) -> dict[str, Field]:
    return fields(model.model_json_schema(by_alias=True, mode="serialization"))


def test_the_names_are_those_of_the_contract() -> None:
    spec = crd()["spec"]
    assert (spec["group"], spec["scope"]) == (names.GROUP, "Namespaced")
    assert spec["names"]["kind"] == names.KIND
    assert spec["names"]["plural"] == names.PLURAL
    assert crd()["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"
    assert [item["name"] for item in spec["versions"]] == [names.VERSION]


def test_the_spec_is_that_of_the_types() -> None:
    ours = _typed(Spec)
    for path in EXPLICIT:
        ours[path] = replace(ours[path], required=True, default=None)
    theirs = fields(part("spec"))
    for path, field in ours.items():
        # The CRD may bound what the types leave open; where the types have a bound, it is the same one.
        bounds = tuple(
            mine if mine is not None else other for mine, other in zip(field.bounds, theirs[path].bounds, strict=True)
        )
        ours[path] = replace(field, bounds=bounds)
    # An object default is filled from the defaults below it.
    assert ours.pop("rollout").default == {"mode": "Apply", "maxConcurrent": 1, "progressDeadline": "10m"}
    assert ours.pop("rescan").default == {"interval": "24h", "rebuild": False}
    assert theirs.pop("rollout") == theirs.pop("rescan") == Field(type="object", required=False)
    assert theirs == ours


def test_the_status_is_that_of_the_types() -> None:
    ours, theirs = _typed(status.Status), fields(part("status"))
    assert set(theirs) == set(ours)
    for path, field in ours.items():
        enum = frozenset() if path in OPEN else CLOSED.get(path, field.enum)
        assert (theirs[path].type, theirs[path].enum) == (field.type, enum), path
        assert theirs[path].default is None, f"{path}: an output has no default"
        assert field.required or not theirs[path].required, f"{path}: the types may leave it out"


def test_defaults_filled_by_the_server_are_those_of_the_types() -> None:
    bare = tracker(
        (("base",), {"image": "contoso.azurecr.io/base/python:3.12"}),
        (("downstream",), [{"name": "a", "image": "b:1", "build": {"acrTask": {"name": "build-a"}}}]),
        *(((key,), REMOVED) for key in ("gates", "rollout", "rescan", "protect", "suspend")),
    )
    unfilled = Spec.model_validate(bare["spec"])
    apply_defaults(object_schema(), bare)
    assert bare["spec"]["base"]["interval"] == "5m"
    assert bare["spec"]["downstream"][0]["build"]["timeout"] == "1h"
    assert bare["spec"]["gates"] == [{"lineage": {"accept": "Proven"}}]
    assert bare["spec"]["rollout"] == {"mode": "Apply", "maxConcurrent": 1, "progressDeadline": "10m"}
    assert bare["spec"]["rescan"] == {"interval": "24h", "rebuild": False}
    assert bare["spec"]["protect"] is bare["spec"]["suspend"] is False
    assert Spec.model_validate(bare["spec"]) == unfilled
    assert unfilled.gates == (Gate.model_validate({"lineage": {}}),)


def test_every_word_of_a_tracker_is_known_to_the_types() -> None:
    whole: dict[str, Any] = tracker()
    assert prune(object_schema(), whole) == []
    whole["metadata"] |= {"uid": "u", "generation": 1, "resourceVersion": "7"}
    parsed = parse_tracker(whole)
    assert parsed.problem == ""
    assert parsed.spec is not None
    dumped = parsed.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    # `kind` and empty lists are the types' defaults; all else comes back as it was written but for spelling of time.
    assert dumped["rollout"]["progressDeadline"] == "1m30s"
    assert set(fields(part("spec"))) == set(_typed(Spec))


def _whole_status() -> status.Status:
    now = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
    digest = Digest.of(b"one")
    gate = status.GateStatus(
        name="signature",
        verdict=names.GateVerdict.PASS,
        reason="Signed",
        message="So.",
        digest=digest,
        since=now,
        question="1f",
        mendable=True,
    )
    return status.Status(
        observed_generation=3,
        conditions=tuple(
            status.Condition(
                type=kind,
                status="True",
                reason="Because",
                message="A sentence.",
                observed_generation=3,
                last_transition_time=now,
            )
            for kind in names.ConditionType
        ),
        base=status.BaseStatus(digest=digest, short_digest=digest.short, since=now),
        summary=status.Summary(current=0, total=1, text="0/1", state=names.State.BUILDING),
        downstream=(
            status.DownstreamStatus(
                name="checkout",
                state=names.State.BUILDING,
                reason=names.Reason.BUILD_QUEUED,
                message="A sentence.",
                lineage=Verdict.REFUTED,
                stale_since=now,
                latest=status.Latest(digest=digest),
                validated=status.Validated(digest=digest, base_digest=digest, at=now, gates=(gate,), failing=gate),
                build=status.BuildStatus(
                    run_id="cf12",
                    state=names.BuildState.QUEUED,
                    base_digest=digest,
                    replaces=digest,
                    attempt=1,
                    requested_at=now,
                    finished_at=now,
                    next_attempt_at=now,
                    adopted=True,
                    digest=digest,
                    message="A sentence.",
                ),
                gates=(gate,),
                failing=(gate,),
                workloads=(
                    status.WorkloadStatus(
                        kind="Deployment",
                        name="checkout",
                        uid="1f2e",
                        container="app",
                        digest=digest,
                        previous_digest=digest,
                        state=names.WorkloadState.PROGRESSING,
                        since=now,
                    ),
                ),
                rejected=(status.Rejected(digest=digest, reason="RolledBack", at=now),),
                protected=(
                    status.Protected(
                        repository="contoso.azurecr.io/shop/checkout",
                        digest=digest,
                        state=names.ProtectionState.LOCKED,
                        message="A sentence.",
                    ),
                ),
            ),
        ),
        unlocking=(status.Unlocking(repository="contoso.azurecr.io/shop/was", digest=digest, message="A sentence."),),
        history=(
            status.HistoryEntry(
                at=now,
                downstream="checkout",
                event=names.HistoryEvent.BASE_MOVED,
                from_=str(digest),
                to=str(digest),
                reason="Because",
            ),
        ),
        last_handled=status.LastHandled(requested_at="1", resume="2"),
    )


@pytest.mark.parametrize("written", [_whole_status(), status.Status()], ids=["whole", "empty"])
def test_what_the_operator_writes_is_kept_and_read_back(written: status.Status) -> None:
    stored = tracker() | {"status": written.document()}
    assert prune(object_schema(), stored) == []
    assert violations(object_schema(), stored) == []
    assert status.Status.read(stored["status"]) == written


def test_the_whole_status_uses_every_field() -> None:
    def paths(value: Any, at: str = "") -> set[str]:
        if isinstance(value, list):
            return {path for item in value for path in paths(item, f"{at}[]")}
        if isinstance(value, dict):
            below = {f"{at}.{key}" if at else key: item for key, item in value.items()}
            return set(below) | {path for key, item in below.items() for path in paths(item, key)}
        return set()

    assert paths(_whole_status().document()) == set(fields(part("status")))


def test_every_state_may_be_written() -> None:
    schema = part("status")["properties"]["summary"]["properties"]["state"]
    assert schema["enum"] == [str(state) for state in names.State], "most urgent first, as the types declare them"
