"""Gather: how long a batch waits for further units.

A commit costs as much as several units. While the loop is busy, those just answered are on their
way to their next unit: the batch is put off until a turn of the loop had nothing else to do. So a
lone client, or an idle loop, is never made to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from estafeta.store.limits import GATHER_SECONDS_MAX, QUIET_TURN_SECONDS


class Gather:
    """then: begins the batch. enough: whether it is full. stopwatch: seconds; where it stands
    still, every turn is a quiet one."""

    __slots__ = ("_enough", "_loop", "_stopwatch", "_then", "_turn_began", "_until")

    def __init__(
        self,
        then: Callable[[], None],
        enough: Callable[[], bool],
        stopwatch: Callable[[], float],
    ) -> None:
        self._then = then
        self._enough = enough
        self._stopwatch = stopwatch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn_began = 0.0
        self._until = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Calls `then` in the next turn of the loop or in a later one."""
        self._loop = loop
        self._turn_began = self._stopwatch()
        self._until = self._turn_began + GATHER_SECONDS_MAX
        loop.call_soon(self._turn)

    def _turn(self) -> None:
        now = self._stopwatch()
        if now - self._turn_began > QUIET_TURN_SECONDS and now < self._until and not self._enough():
            assert self._loop is not None
            self._turn_began = now
            self._loop.call_soon(self._turn)
        else:
            self._then()
