"""Tally: one metrics page out of those of several workers.

Counters and histograms are summed. A gauge tells of the worker (sessions) and is summed, or of the
store (rows of the queue), which all see alike, and the highest counts; the catalogue says which.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from estafeta.office.crew.messages import Family, Sample
from estafeta.office.metrics_catalogue import BY_NAME

_HIGHEST = frozenset(
    (
        *(metric.name for metric in BY_NAME.values() if metric.of_store),
        "process_max_fds",
        "python_info",
    )
)
_LOWEST = frozenset(("process_start_time_seconds",))

_Key = tuple[str, tuple[tuple[str, str], ...]]


def families_of(registry: CollectorRegistry) -> list[Family]:
    """What a worker has counted."""
    return [
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            [Sample(s.name, dict(s.labels), float(s.value)) for s in metric.samples],
        )
        for metric in registry.collect()
    ]


def summed(parts: Iterable[Iterable[Family]]) -> list[Family]:
    """All of them as one."""
    heads: dict[str, Family] = {}
    values: dict[str, dict[_Key, float]] = {}
    for part in parts:
        for family in part:
            heads.setdefault(family.name, family)
            found = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                known = found.get(key)
                found[key] = (
                    sample.value if known is None else _joined(family.name, known, sample.value)
                )
    return [
        Family(
            name,
            head.kind,
            head.help,
            [Sample(key[0], dict(key[1]), value) for key, value in values[name].items()],
        )
        for name, head in heads.items()
    ]


def _joined(name: str, one: float, other: float) -> float:
    if name in _HIGHEST:
        return max(one, other)
    if name in _LOWEST:
        return min(one, other)
    return one + other


def lasting(families: Iterable[Family]) -> list[Family]:
    """What stays true of a worker that is dead: what it has counted, not what it was."""
    return [family for family in families if family.kind in ("counter", "histogram")]


class Collected(Collector):
    """Families as a source that prometheus_client writes out."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, sample.labels, sample.value)
            yield metric


def registry_of(families: Iterable[Family]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Collected(list(families)))
    return registry
