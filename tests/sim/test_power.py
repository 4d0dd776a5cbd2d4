"""Power losses: `synchronous=FULL` keeps what was answered; NORMAL is shown to lose it."""

from __future__ import annotations

from estafeta.sim.report import Plan, RehearsalFailed
from estafeta.sim.run import run_seed

SEEDS = range(1000, 1010)
DEATHS = ("power", "torn")


def test_full_loses_nothing() -> None:
    deaths = sum(run_seed(seed, Plan(deaths=DEATHS)).deaths for seed in SEEDS)
    assert deaths >= len(SEEDS), "hardly a power loss: nothing is shown"


def test_normal_loses_what_was_answered() -> None:
    lost = 0
    for seed in SEEDS:
        try:
            run_seed(seed, Plan(deaths=DEATHS, synchronous="NORMAL"))
        except RehearsalFailed as failed:
            lost += any("vanished" in finding for finding in failed.findings)
    assert lost >= len(SEEDS) // 2


def test_a_crash_of_the_process_alone_needs_no_sync() -> None:
    """Which shows that it is the power, and not the death, that the sync is against."""
    for seed in range(1000, 1004):
        run_seed(seed, Plan(deaths=("crash",), synchronous="NORMAL"))
