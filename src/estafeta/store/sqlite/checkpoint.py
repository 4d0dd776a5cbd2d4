"""Checkpoint: moves committed pages from the WAL into the database, never in a committing call.

PASSIVE runs beside the writer and lets the WAL start again when it caught up with it. Under load
without pause it never does; once the WAL is past its bound, the writer pauses for one run.
"""

from __future__ import annotations

from collections.abc import Callable

import apsw

from estafeta.store.limits import CHECKPOINT_AFTER_OCTETS, WAL_OCTETS_MAX
from estafeta.store.sqlite.statistics import Statistics
from estafeta.store.sqlite.worker import Worker


class Checkpointer:
    """worker: None runs inline. Its connection is its own."""

    def __init__(
        self,
        connection: apsw.Connection,
        page_octets: int,
        statistics: Statistics,
        worker: Worker | None,
    ) -> None:
        self._connection = connection
        self._statistics = statistics
        self._worker = worker
        self._step = max(1, CHECKPOINT_AFTER_OCTETS // page_octets)
        self._frames_max = max(1, WAL_OCTETS_MAX // page_octets)
        self._frames = 0  # in the WAL after the last commit
        self._frames_done = 0  # in the WAL when the last run ended
        self._running = False
        self._then: Callable[[], None] | None = None
        self.wants_pause = False

    def committed(self, connection: apsw.Connection, name: str, frames: int) -> int:
        """SQLite's WAL hook; in the thread that commits."""
        if frames < self._frames:
            self._frames_done = 0  # the WAL has started again
        self._frames = frames
        return apsw.SQLITE_OK

    def consider(self) -> None:
        """After each commit, on the loop."""
        if self._running or self._frames - self._frames_done < self._step:
            return
        if self._frames >= self._frames_max:
            self.wants_pause = True
            return
        self.run(None)

    def run(self, then: Callable[[], None] | None) -> None:
        """One run; then calls `then`, in the worker's thread."""
        self._then = then
        if self._running:
            return  # the run that is on its way will call it
        self._running = True
        if self._worker is None:
            self._run()
        else:
            self._worker.submit(self._run)

    def _run(self) -> None:
        paused = self._then is not None
        try:
            frames, moved = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._frames_done = frames
            # With no writer in the way and everything moved, the next commit starts it again.
            if moved >= frames and paused:
                self._frames = 0
        except apsw.Error:
            # Nothing is lost: the WAL keeps what could not be moved. Tried again a step later.
            self._frames_done = self._frames
        self._statistics.checkpoints += 1
        self.wants_pause = False
        self._running = False
        then, self._then = self._then, None
        if then is not None:
            then()

    def forget(self) -> None:
        """Closing will write nothing."""
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    def close(self) -> None:
        """Worker stopped, nothing running."""
        self._connection.close(True)
