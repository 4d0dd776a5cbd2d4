"""The simulated world on PostgreSQL: all that needs no virtual disk holds there too.

ESTAFETA_SIM_SEEDS says how many seeds are run with one worker and with two.
"""

from __future__ import annotations

import os

import pytest
from tests.support.peers.postgres import drop_database, fresh_database

from estafeta.sim.report import Plan, Report
from estafeta.sim.run import run_seed

SEEDS = int(os.environ.get("ESTAFETA_SIM_SEEDS", "3"))


def played(seed: int, workers: int) -> Report:
    made: list[str] = []

    def database() -> str:
        made.append(fresh_database())
        return made[-1]

    try:
        return run_seed(seed, Plan(workers=workers), database=database)
    finally:
        for url in made:
            drop_database(url)


@pytest.mark.parametrize("workers", [1, 2])
def test_seeds(workers: int) -> None:
    reports = [played(seed, workers) for seed in range(SEEDS)]
    assert all(report.acknowledged for report in reports)
    assert sum(report.deaths + report.worker_deaths for report in reports) >= SEEDS


def test_the_seed_decides_everything() -> None:
    """Nothing leans on an order that PostgreSQL does not promise, nor on its numbers."""
    assert played(1, 2) == played(1, 2)
