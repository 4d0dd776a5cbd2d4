"""SqliteStore: a store in one file, `synchronous=FULL`, WAL.

One connection writes (writer.py), one reads on snapshots, one checkpoints. Commits of this process
wake its listeners at once; those of others are noticed within 20 ms while anybody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import apsw

from estafeta.store.engine import Listening, StoreClosed, StoreError, Unit
from estafeta.store.hints import Hints
from estafeta.store.limits import (
    FOREIGN_COMMIT_PAUSE_SECONDS_MAX,
    FOREIGN_COMMIT_POLL_SECONDS,
    FOREIGN_COMMIT_SHARE_MAX,
    FREE_PAGES_KEPT,
    SHRINK_SLICE,
)
from estafeta.store.sqlite.checkpoint import Checkpointer
from estafeta.store.sqlite.errors import translated
from estafeta.store.sqlite.foreign import Foreign
from estafeta.store.sqlite.transaction import SqliteTx
from estafeta.store.sqlite.turn import Turn
from estafeta.store.sqlite.writer import Writer
from estafeta.store.statistics import Statistics
from estafeta.store.worker import Worker

T = TypeVar("T")


class SqliteStore:
    """Made by `open_sqlite`. statistics: counters for the metrics page."""

    def __init__(
        self,
        path: Path,
        writer: Writer,
        reader: apsw.Connection,
        checkpointer: Checkpointer,
        hints: Hints,
        workers: Sequence[Worker],
        turn: Turn | None,
    ) -> None:
        self.path = path
        self.statistics: Statistics = writer.statistics
        self._writer = writer
        self._reader = reader
        self._tx = SqliteTx(reader)
        self._checkpointer = checkpointer
        self._hints = hints
        self._foreign = Foreign(hints)
        self._workers = workers
        self._turn = turn
        self._closed = False
        self._tick: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Units that were given to this process and are not answered."""
        return self._writer.waiting

    async def run(
        self, unit: Unit[T], *, accounts: Sequence[int] = (), names: Sequence[str] = ()
    ) -> T:
        """See `engine.Store.run`. `accounts`: nothing to lock, the file has one writer."""
        if self._closed:
            raise StoreClosed("the store is closed")
        return await self._writer.submit(unit)

    async def read(self, unit: Unit[T]) -> T:
        """See `engine.Store.read`. Runs at once, on the loop."""
        if self._closed:
            raise StoreClosed("the store is closed")
        return self._snapshot(unit)

    def _snapshot(self, unit: Unit[T]) -> T:
        reader, tx = self._reader, self._tx
        tx.restart()
        self.statistics.reads += 1
        try:
            tx.control("BEGIN")
        except apsw.Error as error:
            raise translated(error, reader.system_errno) from error
        try:
            result = unit(tx)
        finally:
            if reader.in_transaction:
                tx.control("ROLLBACK")
        if tx.failed is not None:
            raise tx.failed
        return result

    def listen(self, topic: tuple[str, int]) -> Listening:
        listener = self._hints.add(topic)
        if self._tick is None and self._turn is not None:
            self._watch()
        return listener

    def _watch(self) -> None:
        """Looks for commits of other processes, as long as anybody listens."""
        self._tick = None
        if self._closed or not self._hints:
            return
        began = perf_counter()
        self.look()
        # With very many listeners a look takes long: rather later than all the time.
        pause = (perf_counter() - began) / FOREIGN_COMMIT_SHARE_MAX
        loop = asyncio.get_running_loop()
        pause = max(FOREIGN_COMMIT_POLL_SECONDS, min(pause, FOREIGN_COMMIT_PAUSE_SECONDS_MAX))
        self._tick = loop.call_later(pause, self._watch)

    def look(self) -> None:
        """Wakes whom a commit of another process concerns. The inline engine does not look by
        itself."""
        if self._closed:
            return
        try:
            if self._writer.saw_foreign_commit():
                self._snapshot(self._foreign.tell)
        except (apsw.Error, StoreError):
            self._hints.wake_all()  # not knowing, everybody looks

    async def tidy(self) -> None:
        """See `engine.Store.tidy`. The file shrinks by what is free beyond a reserve."""
        while True:
            free: int = await self.read(lambda tx: tx.value("PRAGMA freelist_count"))
            if free <= FREE_PAGES_KEPT:
                return
            await self.run(lambda tx: tx.rows(f"PRAGMA incremental_vacuum({SHRINK_SLICE})"))

    def pragmas(self) -> dict[str, int | str]:
        """As the writing connection has them: what a bench prints."""
        names = ("journal_mode", "synchronous", "page_size", "auto_vacuum", "wal_autocheckpoint")
        return {name: self._writer.connection.pragma(name) for name in names}

    async def close(self) -> None:
        """Units already given are finished first."""
        if self._closed:
            return
        self._closed = True
        self._stop_watching()
        await self._writer.drained()
        if self._workers:
            # The last close moves the whole WAL: not on the loop.
            await asyncio.get_running_loop().run_in_executor(None, self._close)
        else:
            self._close()

    def abandon(self) -> None:
        """As a crash: no unit is answered any more, nothing is written. Inline engine only."""
        self._closed = True
        self._stop_watching()
        self._writer.abandon()
        for connection in (self._writer.connection, self._reader):
            with contextlib.suppress(apsw.ConnectionClosedError):  # in a COMMIT, or while closing
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._checkpointer.forget()
        self._close()

    def _stop_watching(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _close(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._reader.close(True)
        self._checkpointer.close()
        self._writer.close()
        if self._turn is not None:
            self._turn.close()
