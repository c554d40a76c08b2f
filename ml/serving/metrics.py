"""What Prometheus reads about a serving process."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

# A row takes a fraction of a millisecond: the usual buckets start at 5 ms and see nothing.
_SECONDS = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)


@dataclass(frozen=True)
class Metrics:
    """The measures of one process; version and variant are the same for all of them."""

    registry: CollectorRegistry
    labels: tuple[str, str]
    seconds: Histogram
    rows: Counter
    in_flight: Gauge

    def answered(self, code: int, seconds: float) -> None:
        """Count one prediction request that ended with this status after `seconds`."""
        self.seconds.labels(*self.labels, str(code)).observe(seconds)

    def scored(self, rows: int) -> None:
        """Count rows that got a score."""
        self.rows.labels(*self.labels).inc(rows)


def new_metrics(version: str, variant: str) -> Metrics:
    """Make the measures in a registry of their own."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    names = ("model_version", "variant")
    seconds = Histogram(
        "slipway_predict_seconds",
        "Time from the request's headers to the end of its answer.",
        (*names, "code"),
        buckets=_SECONDS,
        registry=registry,
    )
    rows = Counter("slipway_predict_rows", "Rows scored.", names, registry=registry)
    in_flight = Gauge(
        "slipway_predict_in_flight", "Requests being answered.", names, registry=registry
    )
    return Metrics(registry, (version, variant), seconds, rows, in_flight)
