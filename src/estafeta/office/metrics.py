"""Metrics: the `Meter` that Prometheus reads (text format 0.0.4 and OpenMetrics)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import prometheus_client as prometheus
import structlog
from prometheus_client.exposition import choose_encoder

from estafeta.office.limits import LABEL_VALUES_MAX
from estafeta.office.metrics_catalogue import CATALOGUE, Kind, Metric, find_metric

_OTHER = "other"


# Not wanted: a second series for each counter, saying when it was made.
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]


class UnknownMetric(LookupError):
    """A name or a set of labels that the catalogue lacks: a bug of the caller."""


def render(registry: prometheus.CollectorRegistry, accept: str = "") -> tuple[bytes, str]:
    """The page and its content type, in the form that the Accept header asks for."""
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


class PrometheusMeter:
    """`mail.protocols.Meter` over a registry of its own.

    strict: an unknown name raises UnknownMetric (tests); else it is logged once and left out.
    A metric keeps LABEL_VALUES_MAX combinations of labels; further ones count as "other".
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.registry = prometheus.CollectorRegistry()
        self._strict = strict
        self._metrics: dict[str, Any] = {m.name: self._make(m) for m in CATALOGUE}
        self._children: dict[tuple[Any, ...], Any] = {}
        self._sizes: dict[str, int] = {}
        self._unknown: set[str] = set()
        self._before_scrape: list[Callable[[], Awaitable[None]]] = []
        prometheus.ProcessCollector(registry=self.registry)
        prometheus.PlatformCollector(registry=self.registry)

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        child = self._child(name, labels, "counter")
        if child is not None:
            child.inc(by)

    def observe(self, name: str, value: float, **labels: str) -> None:
        child = self._child(name, labels, "histogram")
        if child is not None:
            child.observe(value)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        child = self._child(name, labels, "gauge")
        if child is not None:
            child.set(value)

    def before_scrape(self, hook: Callable[[], Awaitable[None]]) -> None:
        """`hook` runs before each reading of the page, to set what nobody keeps up to date."""
        self._before_scrape.append(hook)

    async def refresh(self) -> None:
        """Runs the hooks; one that fails leaves its metrics as they were."""
        for hook in self._before_scrape:
            try:
                await hook()
            except Exception:
                structlog.get_logger().exception("metrics_hook_failed")

    def value(self, name: str, **labels: str) -> float:
        """What a counter or gauge stands at; 0 where nothing was counted. For tests and pages."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def _make(self, metric: Metric) -> Any:
        common: dict[str, Any] = {"labelnames": metric.labels, "registry": self.registry}
        if metric.kind == "counter":
            return prometheus.Counter(metric.name, metric.help, **common)
        if metric.kind == "gauge":
            return prometheus.Gauge(metric.name, metric.help, **common)
        return prometheus.Histogram(metric.name, metric.help, buckets=metric.buckets, **common)

    def _child(self, name: str, labels: dict[str, str], kind: Kind) -> Any:
        key = (name, kind, *labels.items()) if labels else (name, kind)
        try:
            return self._children[key]
        except KeyError:
            return self._new_child(key, name, labels, kind)

    def _new_child(
        self, key: tuple[Any, ...], name: str, labels: dict[str, str], kind: Kind
    ) -> Any | None:
        metric = find_metric(name, kind)
        if metric is None or set(labels) != set(metric.labels):
            wrong = f"{kind} {name} with labels ({', '.join(labels)})"
            if self._strict:
                raise UnknownMetric(f"not in the catalogue: {wrong}")
            if name not in self._unknown:
                self._unknown.add(name)
                structlog.get_logger().error("metric_unknown", metric=wrong)
            return None
        known = self._metrics[metric.name]
        size = self._sizes.get(metric.name, 0)
        if not metric.labels:
            child = known
        elif size >= LABEL_VALUES_MAX:
            return known.labels(**dict.fromkeys(metric.labels, _OTHER))
        else:
            child = known.labels(**labels)
            self._sizes[metric.name] = size + 1
        self._children[key] = child
        return child
