"""Watch: the store's counters and the queue's size, as the metrics page gives them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from estafeta.office.metrics import PrometheusMeter
from estafeta.office.watch import STORE_COUNTERS, watch
from estafeta.store.ids import first_at
from estafeta.store.open import open_store
from estafeta.store.statistics import Statistics
from estafeta.world.real import real_world


def test_all_that_the_engine_counts_is_a_metric() -> None:
    fields = {f.name for f in msgspec.structs.fields(Statistics)}
    assert fields - {"last_failure"} == set(STORE_COUNTERS)


def test_store_and_queue_are_measured_when_asked(tmp_path: Path) -> None:
    async def main() -> None:
        world = real_world(tmp_path)
        store = await open_store(f"sqlite://{tmp_path}/e.db", world, inline=True)
        meter = PrometheusMeter(strict=True)
        watch(meter, store, world.clock)
        await meter.refresh()
        assert meter.value("estafeta_queue_rows") == 0
        before = meter.value("estafeta_store_units_total")
        hour_ago = first_at(int((world.clock.now() - 3600) * 1000))
        await store.run(
            lambda tx: tx.run(
                "INSERT INTO queue (acceptance, n, destination, due, lease) "
                "VALUES (?, 0, 'x', 0, 7), (?, 1, 'x', 0, NULL)",
                (hour_ago, hour_ago),
            )
        )
        await meter.refresh()
        assert meter.value("estafeta_queue_rows") == 2
        assert meter.value("estafeta_queue_leased") == 1
        assert 3599 < meter.value("estafeta_queue_oldest_seconds") < 3700
        assert meter.value("estafeta_store_units_total") == before + 1
        assert meter.value("estafeta_store_commits_total") > 0
        await store.close()

    asyncio.run(main())
