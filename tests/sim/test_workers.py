"""Several workers on one store, in virtual time: what was promised holds when one dies or stops.

A failure names its seed; `estafeta rehearse --workers 2 --seed N` plays it again.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.sim.planted import Plant
from tests.sim.planted_workers import (
    all_leases_back_at_a_start,
    others_commits_not_seen,
    recent_remembered_by_each_worker,
    token_not_matched,
)

from estafeta.sim.loop import VirtualLoop
from estafeta.sim.report import Plan, RehearsalFailed
from estafeta.sim.run import run_seed
from estafeta.store.sqlite.writer import Writer

SEEDS = 60
TOGETHER = 5
TWO = Plan(workers=2)


@pytest.mark.parametrize("first", range(0, SEEDS, TOGETHER))
def test_seeds_with_two(first: int) -> None:
    reports = [run_seed(seed, TWO) for seed in range(first, first + TOGETHER)]
    assert all(report.acknowledged for report in reports)
    assert all(report.told for report in reports)
    assert sum(report.worker_deaths + report.pauses for report in reports) >= TOGETHER


def test_three() -> None:
    for seed in range(300, 304):
        run_seed(seed, Plan(workers=3))


def test_half_a_day() -> None:
    """Upkeep is done meanwhile, by one of them at a time; the audit proves what it did."""
    report = run_seed(1, Plan(workers=2, letters=20, seconds=12 * 3600.0))
    assert report.virtual_seconds >= 12 * 3600
    assert report.worker_deaths >= 3


def test_late_outcomes_come() -> None:
    """A worker is stopped until its lease has run out: what it then reports is recorded only."""
    assert any(run_seed(seed, TWO).late for seed in range(16, SEEDS)), "none in so many seeds"


def test_the_seed_decides_everything() -> None:
    here = run_seed(5, TWO)
    assert run_seed(5, TWO) == here
    program = (
        "from estafeta.sim.report import Plan; from estafeta.sim.run import run_seed;"
        "print(run_seed(5, Plan(workers=2)).digest)"
    )
    for hashes in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here.digest


def test_no_lock_is_held_while_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction begins and ends in one turn of the loop: nobody finds the file locked."""
    writers: list[Writer] = []
    made = Writer._open
    turns = 0

    def opened(self: Writer) -> None:
        made(self)
        writers.append(self)

    def closed(self: Writer) -> None:
        writers[:] = [writer for writer in writers if writer is not self]
        self.connection.close(True)

    turn = VirtualLoop._process_events

    def between(self: VirtualLoop, events: list[object]) -> None:
        nonlocal turns
        turn(self, events)
        turns += 1
        for writer in writers:
            if not writer._abandoned and not writer._broken:
                assert not writer.connection.in_transaction

    monkeypatch.setattr(Writer, "_open", opened)
    monkeypatch.setattr(VirtualLoop, "_process_events", between)
    monkeypatch.setattr(Writer, "close", closed)
    run_seed(3, TWO)
    assert turns > 1000


# -- planted bugs ------------------------------------------------------------------------------


def first_found(plant: Plant, patch: pytest.MonkeyPatch, seeds: range) -> RehearsalFailed:
    plant(patch)
    for seed in seeds:
        try:
            run_seed(seed, TWO)
        except RehearsalFailed as found:
            return found
    raise AssertionError(f"{plant.__name__} was not found in {seeds}")


@pytest.mark.parametrize(
    ("plant", "seeds", "words"),
    [
        (all_leases_back_at_a_start, range(5, 60), ("in the hands of", "was tried by", "times at")),
        (token_not_matched, range(17, 100), ("has ended already", "was deferred", "times at")),
        (others_commits_not_seen, range(20), ("was not told in IDLE",)),
        (recent_remembered_by_each_worker, range(20), ("was \\Recent 2 times",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_planted_bugs_are_found(
    plant: Plant, seeds: range, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = first_found(plant, monkeypatch, seeds)
    assert any(word in finding for finding in found.findings for word in words), found


@pytest.mark.parametrize("plant", [all_leases_back_at_a_start, token_not_matched])
def test_one_worker_does_not_show_them(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in range(4):
        run_seed(seed)
