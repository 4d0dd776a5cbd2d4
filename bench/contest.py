"""contest: two sides in turns under the same load, so that one minute's noise strikes both."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Load, Run, Side, memory, peak_of_largest
from bench.syncs import count_syncs

# Messages of the run that finds how many fill the wanted time, and warms everything up.
CALIBRATION_MESSAGES = 200

SYNC_MESSAGES = 200

# Share of the machine that others may use during a run; a turn with more is taken again.
FOREIGN_MAX = 0.15

# Turns more than asked for at most, so that as many as asked for are undisturbed.
EXTRA_TURNS = 3

Build = Callable[[Path, Sequence[str]], AbstractContextManager[Side]]


@dataclass(slots=True)
class Result:
    """What one side did. peak: octets, the largest process. held: octets, all processes, at the
    end. syncs: per message."""

    name: str
    runs: list[Run] = field(default_factory=list)
    peak: int = 0
    held: int = 0
    syncs: float | None = None
    facts: dict[str, int | str] = field(default_factory=dict)

    @property
    def median_rate(self) -> float:
        return statistics.median(run.rate for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "median_rate": self.median_rate,
            "runs": [run.as_json() for run in self.runs],
            "peak_octets": self.peak,
            "held_octets": self.held,
            "syncs_per_message": self.syncs,
            "facts": self.facts,
        }


def disturbance(runs: Sequence[Run]) -> float:
    """Of one turn: the largest share of the machine that others used."""
    return max(run.foreign for run in runs)


def quiet(runs: Sequence[Run]) -> bool:
    """Whether one turn was left alone."""
    return disturbance(runs) <= FOREIGN_MAX


def contest(
    builds: Sequence[Build],
    load: Load,
    *,
    turns: int,
    seconds: float,
    syncs: bool,
    progress: Callable[[str], None],
) -> list[Result]:
    """Runs the sides by turns; results in their order. Of the turns the least disturbed count.

    seconds: how long one run of a side should take. syncs: count them too, in short traced runs.
    """
    with tempfile.TemporaryDirectory(prefix="est-") as name, ExitStack() as stack:
        folder = Path(name)
        sides = [
            stack.enter_context(build(folder / str(number), ()))
            for number, build in enumerate(builds)
        ]
        results = [Result(side.name) for side in sides]
        counts = []
        for side in sides:
            rate = side.run(load, CALIBRATION_MESSAGES, 0).rate
            counts.append(max(CALIBRATION_MESSAGES, int(rate * seconds)))
        rounds: list[list[Run]] = []
        for turn in range(1, turns + EXTRA_TURNS + 1):
            if turn > turns and sum(map(quiet, rounds)) >= turns:
                break
            rounds.append([])
            for side, count in zip(sides, counts, strict=True):
                run = side.run(load, count, turn)
                rounds[-1].append(run)
                progress(f"turn {turn}: {side.name}: {run.rate:,.0f}/s, others {run.foreign:.0%}")
        rounds.sort(key=disturbance)
        for runs in rounds[:turns]:
            for result, run in zip(results, runs, strict=True):
                result.runs.append(run)
        for side, result in zip(sides, results, strict=True):
            result.peak = peak_of_largest(side.sessions)
            result.held = memory(side.sessions)
            result.facts = side.facts()
    if syncs:
        for build, side, result in zip(builds, sides, results, strict=True):
            if not side.countable:
                continue
            with tempfile.TemporaryDirectory(prefix="est-") as name:
                progress(f"counting the syncs of {result.name}")
                result.syncs = count_syncs(build, Path(name), load, SYNC_MESSAGES)
    return results
