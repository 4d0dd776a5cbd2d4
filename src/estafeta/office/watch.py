"""Watch: metrics that are read when somebody asks: the store's counters and the queue's size."""

from __future__ import annotations

from typing import Any

from estafeta.mail.protocols import Meter
from estafeta.office.metrics import PrometheusMeter
from estafeta.queue import parked
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import milliseconds
from estafeta.world.seams import Clock

STORE_COUNTERS = {
    "units": "store_units",
    "failed": "store_failures",
    "commits": "store_commits",
    "commit_seconds": "store_commit_seconds",
    "work_seconds": "store_work_seconds",
    "lost": "store_lost",
    "waited": "store_waits",
    "reads": "store_reads",
    "checkpoints": "store_checkpoints",
    "pauses": "store_pauses",
}
"""What the engine counts since it was opened (store/statistics.py), as metrics."""


def watch(meter: PrometheusMeter, store: Store, clock: Clock) -> None:
    """Has the store and the queue looked at before each reading of the metrics page."""
    seen = dict.fromkeys(STORE_COUNTERS, 0.0)

    async def store_counters() -> None:
        statistics: Any = getattr(store, "statistics", None)
        if statistics is not None:
            for field, name in STORE_COUNTERS.items():
                now = float(getattr(statistics, field))
                meter.count(name, now - seen[field])
                seen[field] = now

    async def queue_size() -> None:
        await measure_queue(meter, store, clock)

    meter.before_scrape(store_counters)
    meter.before_scrape(queue_size)


async def measure_queue(meter: Meter, store: Store, clock: Clock) -> None:
    """Sets the gauges of the queue from its rows."""

    def unit(tx: Tx) -> tuple[int, int, int, int, int]:
        rows = tx.value("SELECT COUNT(*) FROM queue")
        leased = tx.value("SELECT COUNT(*) FROM queue WHERE lease IS NOT NULL")
        hosts = tx.value("SELECT COUNT(*) FROM backoff")
        waiting = tx.value("SELECT COUNT(*) FROM destination WHERE waits_for <> ''")
        return rows, leased, hosts, waiting, tx.value("SELECT MIN(acceptance) FROM queue") or 0

    rows, leased, hosts, waiting, oldest = await store.read(unit)
    meter.gauge("queue_rows", rows)
    meter.gauge("queue_leased", leased)
    meter.gauge("queue_parked", await store.read(parked.count))
    meter.gauge("queue_hosts_backing_off", hosts)
    meter.gauge("queue_destinations_waiting", waiting)
    age = clock.now() - milliseconds(oldest) / 1000 if oldest else 0.0
    meter.gauge("queue_oldest_seconds", max(0.0, age))
