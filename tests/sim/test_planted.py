"""Planted bugs are found: a simulation that finds nothing may be blind."""

from __future__ import annotations

import pytest
from tests.sim.planted import (
    Plant,
    answer_before_commit,
    bounce_and_delete_apart,
    copy_not_told,
    dot_at_a_border_not_stuffed,
)

from estafeta.sim.report import RehearsalFailed
from estafeta.sim.run import run_seed


def first_found(plant: Plant, patch: pytest.MonkeyPatch, seeds: range) -> RehearsalFailed:
    plant(patch)
    for seed in seeds:
        try:
            run_seed(seed)
        except RehearsalFailed as found:
            return found
    raise AssertionError(f"{plant.__name__} was not found in {len(seeds)} seeds")


def says(found: RehearsalFailed, *words: str) -> bool:
    return any(word in finding for finding in found.findings for word in words)


def test_answer_before_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    found = first_found(answer_before_commit, monkeypatch, range(20))
    assert says(found, "vanished", "nobody's address, no bounce"), found


def test_bounce_and_delete_in_two_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = first_found(bounce_and_delete_apart, monkeypatch, range(120))
    assert says(found, "acceptance-lost", "vanished"), found


def test_a_copy_that_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = first_found(copy_not_told, monkeypatch, range(20))
    assert says(found, "tracked-untrue"), found


def test_a_dot_not_stuffed_at_a_border(monkeypatch: pytest.MonkeyPatch) -> None:
    found = first_found(dot_at_a_border_not_stuffed, monkeypatch, range(20))
    assert says(found, "arrived changed", "no letter and no report", "times at", "rest"), found
