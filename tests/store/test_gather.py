"""Gather: a batch waits while the loop is busy, and only then."""

from __future__ import annotations

import asyncio

import pytest

from estafeta.store.limits import GATHER_SECONDS_MAX, QUIET_TURN_SECONDS
from estafeta.store.sqlite.gather import Gather

pytestmark = pytest.mark.usefixtures("each_engine")


class Stopwatch:
    """Each look at it is a turn of the loop: `steps` of seconds, then none."""

    def __init__(self, steps: list[float]) -> None:
        self._steps = steps
        self._now = 100.0
        self.looks = -1  # the first one starts it

    def __call__(self) -> float:
        self.looks += 1
        if self.looks and self._steps:
            self._now += self._steps.pop(0)
        return self._now


BUSY = QUIET_TURN_SECONDS * 5


@pytest.mark.parametrize(
    ("steps", "enough_at", "turns"),
    [
        ([], 99, 1),  # nothing else to do, or a stopwatch that stands still
        ([QUIET_TURN_SECONDS / 2], 99, 1),
        ([BUSY, BUSY, 0.0, BUSY], 99, 3),
        ([BUSY] * 99, 4, 4),
        ([GATHER_SECONDS_MAX * 0.4] * 99, 99, 3),
    ],
)
def test_it_begins_after_a_quiet_turn_a_full_batch_or_its_time(
    steps: list[float], enough_at: int, turns: int
) -> None:
    async def run() -> None:
        stopwatch = Stopwatch(list(steps))
        begun = asyncio.Event()
        gather = Gather(begun.set, lambda: stopwatch.looks >= enough_at, stopwatch)
        gather.start(asyncio.get_running_loop())
        assert not begun.is_set()  # those of the same turn of the loop come along
        await asyncio.wait_for(begun.wait(), 5)
        assert stopwatch.looks == turns

    asyncio.run(run())
