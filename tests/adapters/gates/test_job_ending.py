"""What the end of a Job means: only a scanner that ran to its end has judged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basetracker.adapters.gates.job.ending import How, ending
from basetracker.adapters.gates.job.gate import LONGEST_LOG, last_words

Json = dict[str, Any]


def job(*conditions: tuple[str, str], **status: Any) -> Json:
    listed = [{"type": kind, "status": "True", "reason": reason} for kind, reason in conditions]
    return {"status": {"conditions": listed} | status}


def pod(code: int = 1, reason: str = "Error", *, name: str = "p", created: str = "1", **status: Any) -> Json:
    ended = {"name": "scan", "state": {"terminated": {"exitCode": code, "reason": reason}}}
    return {
        "metadata": {"name": name, "creationTimestamp": created},
        "status": {"phase": "Failed", "containerStatuses": [ended]} | status,
    }


FAILED = job(("Failed", "BackoffLimitExceeded"))
EVICTED = {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}
CASES: list[tuple[str, Json, list[Json], How]] = [
    ("complete", job(("Complete", ""), succeeded=1), [], How.PASSED),
    ("complete and failed", job(("Complete", ""), ("Failed", ""), succeeded=1), [], How.BROKEN),
    ("complete without a Pod", job(("Complete", "")), [], How.BROKEN),
    ("succeeded, not complete", job(succeeded=1), [], How.RUNS),
    ("criteria met, not complete", job(("SuccessCriteriaMet", ""), succeeded=1), [], How.RUNS),
    ("new", {}, [], How.RUNS),
    ("failed", FAILED, [pod(1)], How.FAILED),
    ("failed with 125", FAILED, [pod(125)], How.FAILED),
    ("the last Pod counts", FAILED, [pod(1, created="2"), pod(137, created="1")], How.FAILED),
    ("a Pod that succeeded says nothing", FAILED, [pod(0) | {"status": {"phase": "Succeeded"}}], How.LOST),
    ("out of time", job(("Failed", "DeadlineExceeded")), [pod(1)], How.TIMED_OUT),
    ("out of memory", FAILED, [pod(137, "OOMKilled")], How.LOST),
    ("out of memory with an odd code", FAILED, [pod(1, "OOMKilled")], How.LOST),
    ("killed", FAILED, [pod(137)], How.LOST),
    ("a code below zero", FAILED, [pod(-1)], How.LOST),
    ("no such program", FAILED, [pod(127)], How.BROKEN),
    ("no such program, by the runtime", FAILED, [pod(128, "StartError")], How.BROKEN),
    ("evicted", FAILED, [pod(1, reason="Error") | {"status": {"phase": "Failed", "reason": "Evicted"}}], How.LOST),
    ("preempted", FAILED, [pod(1, **EVICTED)], How.LOST),
    ("no Pod left", FAILED, [], How.LOST),
    ("no container tells", FAILED, [pod(0)], How.LOST),
    ("a code that is no number", FAILED, [pod("1")], How.LOST),  # type: ignore[arg-type]  # garbage
]


@pytest.mark.parametrize(("found", "pods", "how"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_how_a_job_ends(found: Json, pods: list[Json], how: How) -> None:
    assert ending(found, pods).how is how


def ended(name: str, code: int, reason: str = "Error") -> Json:
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason}}}


def test_the_container_that_said_no_is_named() -> None:
    both = [ended("proxy", 143), ended("scan", 2)]
    found = ending(FAILED, [pod(name="p7", containerStatuses=both, initContainerStatuses=[ended("sidecar", 137)])])
    assert (found.how, found.pod, found.container, found.why) == (How.FAILED, "p7", "scan", "exit code 2")


def test_an_init_container_does_not_judge() -> None:
    waiting = [{"name": "scan", "state": {"waiting": {"reason": "PodInitializing"}}}]
    found = ending(FAILED, [pod(containerStatuses=waiting, initContainerStatuses=[ended("fetch", 1)])])
    assert (found.how, found.container, found.why) == (How.LOST, "fetch", "its init container fetch failed")
    found = ending(FAILED, [pod(containerStatuses=waiting, initContainerStatuses=[ended("fetch", 127)])])
    assert (found.how, found.why) == (How.BROKEN, "its container fetch can't be started")


def test_both_words_for_a_failed_pull_are_one() -> None:
    def waiting(reason: str) -> Json:
        return {"status": {"containerStatuses": [{"name": "scan", "state": {"waiting": {"reason": reason}}}]}}

    why = {ending(job(), [waiting(reason)]).why for reason in ("ErrImagePull", "ImagePullBackOff")}
    assert why == {"the image of its container scan can't be pulled"}
    assert ending(job(), [waiting("ContainerCreating")]).why == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["True", "Complete", "Failed", "status", ""]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["status", "conditions", "type", "succeeded", "phase", "containerStatuses", "state", "terminated"]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_JSON, st.lists(_JSON, max_size=3))
@settings(max_examples=300, deadline=None)
def test_garbage_never_passes(found: Any, pods: list[Any]) -> None:
    document = found if isinstance(found, dict) else {"status": found}
    how = ending(document, [one for one in pods if isinstance(one, dict)]).how
    if how is How.PASSED:
        status = document["status"]
        assert status["succeeded"] > 0
        assert {"type": "Complete", "status": "True"}.items() <= status["conditions"][0].items() or any(
            one.get("type") == "Complete" and one.get("status") == "True"
            for one in status["conditions"]
            if isinstance(one, dict)
        )


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", ""),
        ("\n \n\x00\n", ""),
        ("one\r\ntwo\n", "one | two"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07text", "red text"),
        ("a\u202eb\u0085c", "a b | c"),
        ("x" * 700, "…" + "x" * (LONGEST_LOG - 1)),
        ("first\n" + "y" * LONGEST_LOG, "y" * LONGEST_LOG),
    ],
)
def test_the_last_words_are_one_printable_line(log: str, line: str) -> None:
    assert last_words(log) == line


@given(st.text(max_size=3000))
def test_the_last_words_are_bounded(log: str) -> None:
    line = last_words(log)
    assert len(line) <= LONGEST_LOG + 10
    assert line.isprintable()
