"""Metrics: counted under their names, and nothing else is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

import estafeta
from estafeta.office.limits import LABEL_VALUES_MAX
from estafeta.office.metrics import PrometheusMeter, UnknownMetric, render
from estafeta.office.metrics_catalogue import CATALOGUE, Kind, find_metric
from estafeta.office.watch import STORE_COUNTERS


def test_counts_times_and_gauges_are_on_the_page() -> None:
    meter = PrometheusMeter(strict=True)
    meter.count("estafeta_messages_accepted_total", origin="smtp")
    meter.count("estafeta_messages_accepted_total", 2, origin="smtp")
    meter.observe("estafeta_relay_seconds", 0.2)
    meter.gauge("estafeta_queue_rows", 7)
    page, content_type = render(meter.registry)
    text = page.decode()
    assert 'estafeta_messages_accepted_total{origin="smtp"} 3.0' in text
    assert "estafeta_relay_seconds_count 1.0" in text
    assert "estafeta_queue_rows 7.0" in text
    assert content_type.startswith("text/plain")
    assert "_created" not in text
    assert meter.value("estafeta_messages_accepted_total", origin="smtp") == 3


def test_an_unknown_name_label_or_kind_fails_when_strict() -> None:
    meter = PrometheusMeter(strict=True)
    with pytest.raises(UnknownMetric):
        meter.count("estafeta_nonsense_total")
    with pytest.raises(UnknownMetric):
        meter.count("estafeta_smtp_sessions_total", colour="red")
    with pytest.raises(UnknownMetric):
        meter.gauge("estafeta_messages_accepted_total", 1, origin="smtp")


def test_an_unknown_name_does_no_harm_in_service() -> None:
    meter = PrometheusMeter()
    for _ in range(3):
        meter.count("estafeta_nonsense_total")
    assert b"nonsense" not in render(meter.registry)[0]


def test_labels_do_not_grow_with_what_a_stranger_sends() -> None:
    meter = PrometheusMeter(strict=True)
    for n in range(LABEL_VALUES_MAX * 3):
        meter.count("estafeta_messages_refused_total", code=str(n))
    assert (
        render(meter.registry)[0].count(b"estafeta_messages_refused_total{") == LABEL_VALUES_MAX + 1
    )
    assert meter.value("estafeta_messages_refused_total", code="other") == LABEL_VALUES_MAX * 2


def test_gauges_may_be_set_when_read() -> None:
    meter = PrometheusMeter(strict=True)

    async def set_it() -> None:
        meter.gauge("queue_rows", 11)

    async def broken() -> None:
        raise OSError("no store")

    meter.before_scrape(broken)
    meter.before_scrape(set_it)
    asyncio.run(meter.refresh())
    assert b"estafeta_queue_rows 11.0" in render(meter.registry)[0]


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    page, content_type = render(
        PrometheusMeter().registry, "application/openmetrics-text; version=1.0.0"
    )
    assert "openmetrics" in content_type
    assert page.endswith(b"# EOF\n")


def test_names_follow_the_rules() -> None:
    assert len({m.name for m in CATALOGUE}) == len(CATALOGUE)
    for metric in CATALOGUE:
        assert re.fullmatch(r"estafeta_[a-z0-9_]+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert metric.help.endswith(".")
        assert (metric.kind == "histogram") == bool(metric.buckets)


_USE = re.compile(r'\.(count|observe|gauge)\(\s*f?"([a-z0-9_]+(?:\{[^}]*protocol\}[a-z0-9_]+)?)"')
_KINDS: dict[str, Kind] = {"count": "counter", "observe": "histogram", "gauge": "gauge"}


def used() -> list[tuple[str, str, Kind]]:
    """(file, name, kind) of each metric that the code names."""
    found: list[tuple[str, str, Kind]] = []
    for file in sorted(Path(estafeta.__file__).parent.rglob("*.py")):
        for method, name in _USE.findall(file.read_text("utf-8")):
            names = {re.sub(r"\{.*\}", protocol, name) for protocol in ("imap", "pop3")}
            found += [(file.name, each, _KINDS[method]) for each in sorted(names)]
    return found


def test_every_metric_the_code_names_is_in_the_catalogue() -> None:
    assert not [each for each in used() if find_metric(each[1], each[2]) is None]


def test_nothing_is_in_the_catalogue_that_nobody_counts() -> None:
    fed = {found.name for _, name, kind in used() if (found := find_metric(name, kind))}
    fed |= {find_metric(name, "counter").name for name in STORE_COUNTERS.values()}  # type: ignore[union-attr]
    fed.add("estafeta_worker_deaths_total")  # by the supervisor, which has no meter
    assert {m.name for m in CATALOGUE} - fed == set()


def test_a_room_may_leave_the_prefix_out() -> None:
    meter = PrometheusMeter(strict=True)
    meter.count("dns_questions", type="MX", answer="Found")
    assert meter.value("estafeta_dns_questions_total", type="MX", answer="Found") == 1
