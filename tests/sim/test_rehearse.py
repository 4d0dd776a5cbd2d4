"""The command: a run told in a sentence, in JSON, and what it says when something did not hold."""

from __future__ import annotations

import json

import pytest
from tests.sim.planted import answer_before_commit

from estafeta.sim.rehearse import rehearse


def test_runs_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearse(seed=3, runs=2, hours=0, letters=3, json=False, trace=True) == 0
    told = capsys.readouterr().out
    assert "seed 3: " in told
    assert "seed 4: " in told
    assert "trouble is over" in told
    assert "2 runs, 0 in which something did not hold" in told


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearse(seed=3, runs=2, hours=0.2, letters=0, json=True) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["seed"] for report in reports] == [3, 4]
    assert all(report["letters"] == 5 and report["virtual_seconds"] > 720 for report in reports)


def test_what_does_not_hold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_before_commit(monkeypatch)
    assert rehearse(seed=0, runs=6, hours=0, letters=0, json=True) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(line.get("findings") and line["trace"] for line in lines)
    assert rehearse(seed=0, runs=6, hours=0, letters=0, json=False) == 1
    assert "what happened:" in capsys.readouterr().out
