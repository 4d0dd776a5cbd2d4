"""Two hundred small internets, each from its seed: whatever goes wrong, what was promised holds.

A failure names its seed; `estafeta rehearse --seed N` plays it again.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from estafeta.sim.report import Plan, Report
from estafeta.sim.run import run_seed

SEEDS = 200
TOGETHER = 5


@pytest.mark.parametrize("first", range(0, SEEDS, TOGETHER))
def test_seeds(first: int) -> None:
    for seed in range(first, first + TOGETHER):
        report = run_seed(seed)
        # A run in which nothing happens proves nothing.
        assert report.acknowledged > 0, f"seed {seed}"
        assert report.handovers >= report.letters / 2, f"seed {seed}"
        assert report.audits >= 4, f"seed {seed}"


def test_over_some_seeds_everything_happens() -> None:
    reports = [run_seed(seed) for seed in range(8)]

    def total(name: str) -> int:
        return sum(int(getattr(report, name)) for report in reports)

    assert total("deaths") >= 8
    assert total("faults_met") >= 8
    assert total("bounces") >= 8
    assert total("refused") >= 1
    assert total("taken_by_peers") >= 20
    assert total("client_tries") > total("letters"), "no client ever had to try again"


def test_a_run_of_two_days() -> None:
    """Days are sealed and garbage is removed while machines die; the audit proves both anew."""
    report = run_seed(1, Plan(letters=60, seconds=48 * 3600.0))
    assert report.virtual_seconds >= 48 * 3600
    assert report.deaths >= 5


def test_a_run_leaves_nothing_open() -> None:
    """Each run once left sixteen files, and a process may have a thousand."""

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    run_seed(0)
    before = descriptors()
    for seed in range(1, 4):
        run_seed(seed)
    assert descriptors() <= before


def test_the_seed_decides_everything() -> None:
    """Octet for octet, moment for moment; also in another process, whose hashes differ."""
    here = run_seed(7)
    assert run_seed(7) == here
    assert run_seed(8).digest != here.digest
    program = "import sys; from estafeta.sim.run import run_seed; print(run_seed(7).digest)"
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hashes in ("1", "2")
    ]
    assert digests == [here.digest] * 2


def test_a_report_can_be_printed() -> None:
    report = run_seed(2)
    assert isinstance(report, Report)
    assert report.seed == 2
