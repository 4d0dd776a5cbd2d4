"""The simulated world with large bodies in a bucket that is away at times."""

from __future__ import annotations

import pytest

from estafeta.sim.objects import SimBucket
from estafeta.sim.report import Plan
from estafeta.sim.run import run_seed
from estafeta.store.bodies import house

SEEDS = 12
TOGETHER = 6


@pytest.mark.parametrize("first", range(0, SEEDS, TOGETHER))
def test_seeds(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    buckets: list[SimBucket] = []

    def made() -> SimBucket:
        buckets.append(SimBucket())
        return buckets[-1]

    monkeypatch.setattr("estafeta.sim.run.SimBucket", made)
    monkeypatch.setattr(house, "INLINE_MAX", 2000)  # so that most letters go there
    away = 0
    for seed in range(first, first + TOGETHER):
        report = run_seed(seed, Plan(bucket=True))
        assert report.acknowledged > 0, f"seed {seed}"
        away += sum("bucket away" in line for line in report.trace)
    # A run in which nothing large is stored, or all of it at the first try, proves nothing.
    assert any(bucket.objects for bucket in buckets)
    assert sum(bucket.calls for bucket in buckets) >= 10 * TOGETHER
    assert away >= TOGETHER
