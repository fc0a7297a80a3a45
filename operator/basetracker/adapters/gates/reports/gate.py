"""The gate that reads reports: `ports.JudgesImages`.

Owns which reports are asked for: by label or by name, never all of them. What they say is read by `documents.py` and weighed
by `core/reports.py`. Reports are about what runs, so there is evidence of a digest only when something in the namespace runs
it already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from basetracker.adapters.gates.reports.documents import (
    Subject,
    bench_results,
    policy_results,
    vulnerabilities,
)
from basetracker.adapters.gates.reports.subjects import pods_of, running
from basetracker.adapters.kube import Json, Kube, path_of
from basetracker.api.gate_reports import ReportSource
from basetracker.api.names import GateVerdict
from basetracker.core.reports import Evidence, Result, has_judged, weigh
from basetracker.errors import DeniedError, InvalidError, MissingError, UnavailableError
from basetracker.oci.refs import ImageRef
from basetracker.ports import Answer, Credential, Question

PAGE: Final = 50
MOST_PAGES: Final = 4
LONGEST_LABEL: Final = 63
_AFTER_FAILURE: Final = timedelta(hours=1)
"""Reports are written anew by others, and nobody tells when."""
_AQUA: Final = "aquasecurity.github.io/v1alpha1"
_KINDS: Final = {
    ReportSource.POLICY_REPORT: ("wgpolicyk8s.io/v1alpha2", "policyreports"),
    ReportSource.OPENREPORTS: ("openreports.io/v1alpha1", "reports"),
}
_CLUSTER_KINDS: Final = (
    ("wgpolicyk8s.io/v1alpha2", "clusterpolicyreports"),
    ("openreports.io/v1alpha1", "clusterreports"),
)
# Its own adapter marks its report with nothing, and Kyverno, which writes thousands, marks all of its own; Trivy's adapter
# says what a report was made of.
_BENCH_LABELS: Final = ("!app.kubernetes.io/managed-by", "trivy-operator.source=CISKubeBenchReport")
_NOTHING_RUNS: Final = "nothing in the namespace runs the digest"
_NO_REPORT: Final = "there is no report about the digest"
_MAYBE_EARLIER: Final = "there are reports about Deployments only, which may be of an earlier digest, and none about their ReplicaSets or Pods"
_NO_CLUSTER_REPORT: Final = "there is no report about the cluster"


class ReportsJudge:
    """Reads reports; safe for any number of questions at once."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def edition(self) -> str:
        """Nothing that is known here: reports change one by one."""
        return ""

    async def judge(self, question: Question, credential: Credential | None) -> Answer:
        """The verdict of all sources that the gate names.

        Raises:
            DeniedError: the component gate-reports isn't installed.
            InvalidError: there are too many reports to be sure.
            UnavailableError: the API server can't answer now.
        """
        gate, image = question.gate.reports, question.image
        if gate is None or image.digest is None:
            raise InvalidError("reports are asked about the digest of an image, and by a gate that names sources")
        namespace = question.tracker.namespace
        try:
            about_images = any(source is not ReportSource.KUBE_BENCH for source in gate.sources)
            subjects = await running(self._kube, namespace, image) if about_images else []
            evidence = [await self._evidence(source, namespace, image, subjects) for source in gate.sources]
        except DeniedError as error:
            raise DeniedError(
                "the operator may not read reports; add the component manifests/components/gate-reports to its "
                f"installation: {error}"
            ) from error
        found = weigh(evidence, gate.severity, gate.on_missing)
        again = _AFTER_FAILURE if found.verdict is GateVerdict.FAIL else None
        return Answer(
            digest=image.digest, verdict=found.verdict, reason=found.reason, message=found.message, again=again
        )

    async def _evidence(
        self, source: ReportSource, namespace: str, image: ImageRef, subjects: Sequence[Subject]
    ) -> Evidence:
        if source is ReportSource.KUBE_BENCH:
            return await self._bench()
        if not subjects:
            return Evidence(source=source, missing=_NOTHING_RUNS)
        if source is ReportSource.TRIVY_OPERATOR:
            return await self._vulnerabilities(namespace, image, subjects)
        return await self._policies(source, namespace, image, subjects)

    async def _vulnerabilities(self, namespace: str, image: ImageRef, subjects: Sequence[Subject]) -> Evidence:
        """trivy-operator names the ReplicaSet and the container in labels, and the digest only inside the report."""
        path = path_of(_AQUA, "vulnerabilityreports", namespace)
        results: list[Result] = []
        is_there = False
        for subject in (one for one in subjects if one.kind == "ReplicaSet"):
            for report in await self._listed(path, _trivy_labels(subject)):
                if not _is_of(report, subject):
                    continue
                found = vulnerabilities(report, image)
                if found is not None:
                    is_there = True
                    results += found
        source = ReportSource.TRIVY_OPERATOR
        return Evidence(source=source, results=tuple(results), is_there=is_there, missing=_NO_REPORT)

    async def _policies(
        self, source: ReportSource, namespace: str, image: ImageRef, subjects: Sequence[Subject]
    ) -> Evidence:
        """Kyverno calls a report by the uid of what it is about; Trivy's adapter by kind and name, or labels it so.

        These reports name no digest, so only what is pinned to the digest counts. What is said about a Deployment may have
        been said about the digest that it ran before: it can object, but it is no evidence. Kyverno leaves ReplicaSets out
        unless it is told otherwise, and then their Pods are asked about.
        """
        results: list[Result] = []
        objections: list[Result] = []
        for subject in (one for one in subjects if one.is_pinned):
            said = await self._said(source, namespace, image, subject)
            if subject.may_change:
                objections += said
                continue
            results += said
            if not has_judged(said):
                for pod in await pods_of(self._kube, namespace, subject):
                    results += await self._said(source, namespace, image, pod)
        return Evidence(
            source=source,
            results=(*results, *objections),
            is_there=has_judged(results),
            missing=_MAYBE_EARLIER if has_judged(objections) else _NO_REPORT,
        )

    async def _said(self, source: ReportSource, namespace: str, image: ImageRef, subject: Subject) -> list[Result]:
        """What the reports about one object say."""
        api_version, plural = _KINDS[source]
        found = [await self._kube.get(path_of(api_version, plural, namespace, subject.uid))]
        if subject.kind != "Pod":  # Trivy speaks of those above it
            name = f"trivy-vuln-polr-{subject.kind.lower()}-{subject.name}"
            found.append(await self._kube.get(path_of(api_version, plural, namespace, name)))
            found += await self._listed(path_of(api_version, plural, namespace), _trivy_labels(subject))
        reports = {_uid(report, number): report for number, report in enumerate(found) if report}
        return [one for report in reports.values() for one in policy_results(report, source, subject, image)]

    async def _bench(self) -> Evidence:
        results: list[Result] = []
        for api_version, plural in _CLUSTER_KINDS:
            for labels in _BENCH_LABELS:
                for report in await self._listed(path_of(api_version, plural), labels):
                    results += bench_results(report)
        source = ReportSource.KUBE_BENCH
        return Evidence(source=source, results=tuple(results), is_there=has_judged(results), missing=_NO_CLUSTER_REPORT)

    async def _listed(self, path: str, labels: str) -> list[Json]:
        """The reports with these labels; none where the cluster doesn't have the kind."""
        found: list[Json] = []
        pages = 0
        try:
            async for page in self._kube.pages(path, {"labelSelector": labels}, limit=PAGE):
                pages += 1
                if pages > MOST_PAGES:
                    raise InvalidError(
                        f"there are more than {PAGE * MOST_PAGES} reports with the labels {labels}; a part of them would "
                        "be no evidence"
                    )
                items = page.get("items")
                if not isinstance(items, list):
                    raise UnavailableError("a list of reports can't be read")
                found += [item for item in items if isinstance(item, dict)]
        except MissingError:
            return []
        return found


def _trivy_labels(subject: Subject) -> str:
    """The labels that trivy-operator gives to all about this object; a long name isn't a label's value."""
    kind = f"trivy-operator.resource.kind={subject.kind}"
    if len(subject.name) <= LONGEST_LABEL:
        return f"{kind},trivy-operator.resource.name={subject.name}"
    containers = ",".join(subject.containers)
    return f"{kind},trivy-operator.resource.name-hash,trivy-operator.container.name in ({containers})"


def _is_of(report: Json, subject: Subject) -> bool:
    """Whether a report is about a container of the subject that runs the image."""
    metadata = report.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(labels, dict):
        return False
    annotations = metadata.get("annotations")
    long_name = annotations.get("trivy-operator.resource.name") if isinstance(annotations, Mapping) else None
    name = labels.get("trivy-operator.resource.name", long_name)
    return name == subject.name and labels.get("trivy-operator.container.name") in subject.containers


def _uid(report: Json, number: int) -> object:
    metadata = report.get("metadata")
    return (metadata.get("uid") if isinstance(metadata, dict) else None) or number
