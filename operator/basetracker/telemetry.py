"""Telemetry: logs as text or JSON, and the metrics that `/metrics` shows. Knows no other module of the project."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pythonjsonlogger.json import JsonFormatter

LOGGER: Final = logging.getLogger("basetracker")


@dataclass(slots=True)
class _Series:
    """What is shown of one tracker: state and staleness of each image, gates failed by now, when its base was last read."""

    images: dict[str, tuple[str, float | None]] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    looked_at: float | None = None


class TrackerSeries(Collector):
    """Metrics of trackers, made anew at each scrape, so that one that is gone leaves nothing behind."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}

    def show(
        self, namespace: str, tracker: str, images: dict[str, tuple[str, float | None]], failing: dict[str, str]
    ) -> None:
        """Show these images of a tracker: name → (state, Unix time since when it is stale).

        `failing` is name → the gate that the delivered digest fails by now.
        """
        series = self._series.setdefault((namespace, tracker), _Series())
        series.images, series.failing = images, failing

    def looked(self, namespace: str, tracker: str, at: float) -> None:
        """Show when the tracker's base was last read, as Unix time."""
        self._series.setdefault((namespace, tracker), _Series()).looked_at = at

    def forget(self, namespace: str, tracker: str) -> None:
        """Show nothing more of a tracker."""
        self._series.pop((namespace, tracker), None)

    def collect(self) -> Iterator[Metric]:
        """The families, for prometheus-client."""
        labels = ["namespace", "tracker", "image"]
        states = GaugeMetricFamily(
            "basetracker_image_state", "1 for the state an image is in.", labels=[*labels, "state"]
        )
        stale = GaugeMetricFamily(
            "basetracker_stale_since_timestamp_seconds",
            "Since when what runs lacks the current base, as Unix time; absent when it doesn't.",
            labels=labels,
        )
        fails = GaugeMetricFamily(
            "basetracker_running_image_fails",
            "1 for a gate that a validated and delivered image fails by now.",
            labels=[*labels, "gate"],
        )
        looks = GaugeMetricFamily(
            "basetracker_last_look_timestamp_seconds",
            "When a tracker's base was last read from its registry, as Unix time.",
            labels=labels[:2],
        )
        for key, series in self._series.items():
            for image, (state, since) in series.images.items():
                states.add_metric([*key, image, state], 1)
                if since is not None:
                    stale.add_metric([*key, image], since)
            for image, gate in series.failing.items():
                fails.add_metric([*key, image, gate], 1)
            if series.looked_at is not None:
                looks.add_metric([*key], series.looked_at)
        yield from (states, stale, fails, looks)


class Metrics:
    """Every metric of the operator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.turns = self._counter("turns", "Turns taken, by outcome.", "outcome")
        self.registry_requests = self._counter("registry_requests", "HTTP requests to registries.", "host", "status")
        self.looks = self._counter("looks", "Look-ups of tags, by outcome.", "outcome")
        self.builds = self._counter("builds", "Runs of tasks, by what became of the request.", "outcome")
        self.deliveries = self._counter("deliveries", "Workloads patched, by outcome.", "outcome")
        self.gates = self._counter("gate_answers", "Answers of gates about digests.", "gate", "verdict")
        self.status_writes = self._counter("status_writes", "Writes of a tracker's status.", "kind")
        self.events = self._counter("events", "Kubernetes Events told.", "reason")
        self.turn_seconds = Histogram(
            "basetracker_turn_seconds",
            "How long a turn takes.",
            registry=self.registry,
            buckets=(0.01, 0.05, 0.2, 1, 5, 30),
        )
        self.trackers = TrackerSeries()
        self.registry.register(self.trackers)
        self.queue = self._gauge("queue_length", "Trackers that wait for a turn.")
        self.leader = self._gauge("leader", "1 while this replica leads.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"basetracker_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"basetracker_{name}", text, labels, registry=self.registry)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def set_up_logs(level: str, form: str) -> None:
    """Send the project's and kopf's logs to standard error, as `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        fields = "{asctime}{levelname}{name}{message}"
        handler.setFormatter(
            JsonFormatter(fields, style="{", rename_fields={"asctime": "time", "levelname": "level", "name": "logger"})
        )
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("WARNING")
    LOGGER.setLevel(level)
    for chatty in ("azure", "aiohttp.access"):
        logging.getLogger(chatty).setLevel("WARNING")
