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


def contest(
    builds: Sequence[Build],
    load: Load,
    *,
    turns: int,
    seconds: float,
    syncs: bool,
    progress: Callable[[str], None],
) -> list[Result]:
    """Runs the sides by turns; results in their order.

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
        for turn in range(1, turns + 1):
            for side, result, count in zip(sides, results, counts, strict=True):
                run = side.run(load, count, turn)
                result.runs.append(run)
                progress(f"turn {turn}: {side.name}: {run.rate:,.0f}/s")
        for side, result in zip(sides, results, strict=True):
            result.peak = peak_of_largest(side.sessions)
            result.held = memory(side.sessions)
            result.facts = side.facts()
    if syncs:
        for build, result in zip(builds, results, strict=True):
            with tempfile.TemporaryDirectory(prefix="est-") as name:
                progress(f"counting the syncs of {result.name}")
                result.syncs = count_syncs(build, Path(name), load, SYNC_MESSAGES)
    return results
