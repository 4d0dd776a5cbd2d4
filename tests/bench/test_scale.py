"""Scale: each work is done, in both stores, and the ratios are those of the medians."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.scale import WORKS, Scene, measure, show
from rich.console import Console

from estafeta.world.real import run


def test_every_work_is_done_in_both_stores(tmp_path: Path) -> None:
    scenes = []
    for recipients in (500, 800):
        home = tmp_path / str(recipients)
        home.mkdir()
        scenes.append(Scene(f"sqlite:///{home}/estafeta.db", home, recipients))
    taken = run(measure(scenes, 2, lambda text: None))
    assert taken.keys() == WORKS.keys()
    assert all(len(rounds) == 2 for both in taken.values() for rounds in both)


def test_ratios_are_of_the_medians() -> None:
    taken = {"a": [[1.0, 2.0, 90.0], [3.0, 4.0, 5.0]]}
    assert show("sqlite", 1, 2, taken, Console(quiet=True)) == {"a": pytest.approx(2.0)}
