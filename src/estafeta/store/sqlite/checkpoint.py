"""Checkpoint: moves committed pages from the WAL into the database, never in a committing call.

PASSIVE runs beside the writer and lets the WAL start again when it caught up with it. Under load
without pause it never does: when little is left to move, the writer pauses for that; once the WAL
is past its bound, for whatever is left. A short WAL is written over in the page cache, and a pause
for little is not felt.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import apsw

from estafeta.store.limits import CHECKPOINT_AFTER_OCTETS, WAL_OCTETS_MAX
from estafeta.store.sqlite.turn import Turn
from estafeta.store.statistics import Statistics
from estafeta.store.worker import Worker


class Checkpointer:
    """worker: None runs inline. turn: of the processes that write. Its connection is its own. All
    but `committed` is on the loop."""

    def __init__(
        self,
        connection: apsw.Connection,
        page_octets: int,
        statistics: Statistics,
        worker: Worker | None,
        turn: Turn | None,
    ) -> None:
        self._turn = turn
        self._connection = connection
        self._statistics = statistics
        self._worker = worker
        self._step = max(1, CHECKPOINT_AFTER_OCTETS // page_octets)
        self._frames_max = max(1, WAL_OCTETS_MAX // page_octets)
        self._little = self._step // 4
        self._frames = 0  # in the WAL after the last commit
        self._frames_done = 0  # in the WAL when the last run ended
        self._running = False
        self._then: Callable[[], None] | None = None
        self.wants_pause = False

    def committed(self, connection: apsw.Connection, name: str, frames: int) -> int:
        """SQLite's WAL hook; in the thread that commits, while the loop waits for it."""
        if frames < self._frames:
            self._frames_done = 0  # the WAL has started again
        self._frames = frames
        return apsw.SQLITE_OK

    def consider(self) -> None:
        """After each commit."""
        if self._frames - self._frames_done < self._step:
            return
        if self._frames >= self._frames_max:
            self.wants_pause = True  # the writer calls `run_paused` before its next transaction
        elif not self._running:
            self._start(paused=False)

    def run_paused(self, then: Callable[[], None]) -> None:
        """One run while nobody writes; then calls `then`."""
        self._then = then
        if not self._running:
            self._start(paused=True)

    def _start(self, *, paused: bool) -> None:
        self._running = True
        if self._worker is None:
            self._done(paused, *self._move())
            return
        loop = asyncio.get_running_loop()

        def work() -> None:
            frames, moved = self._move_alone() if paused else self._move()
            loop.call_soon_threadsafe(self._done, paused, frames, moved)

        self._worker.submit(work)

    def _move_alone(self) -> tuple[int, int]:
        """Other processes do not begin to write meanwhile either: they queue behind this one."""
        if self._turn is None:
            return self._move()
        self._turn.take()
        try:
            return self._move()
        finally:
            self._turn.give()

    def _move(self) -> tuple[int, int]:
        """(frames in the WAL, frames moved)."""
        try:
            return self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error:
            # Nothing is lost: the WAL keeps what could not be moved. Tried again a step later.
            return self._frames, 0

    def _done(self, paused: bool, frames: int, moved: int) -> None:
        self._statistics.checkpoints += 1
        self._running = False
        self._frames_done = frames
        then = self._then
        if then is None:
            self.wants_pause = 0 < self._frames - moved <= self._little
            return
        if not paused:
            self._start(paused=True)  # the writer began to wait in the middle of that run
            return
        self._then = None
        self.wants_pause = False
        then()

    def forget(self) -> None:
        """Closing will write nothing."""
        with contextlib.suppress(apsw.ConnectionClosedError):
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    def close(self) -> None:
        """Worker stopped, nothing running."""
        self._connection.close(True)
